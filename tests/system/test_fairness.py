# SPDX-License-Identifier: Apache-2.0
"""A flood through the tunnel does not starve who else is in it. Against its direction nothing is lost or late; in its
direction what comes stands in the device's queue, which the kernel fills and cuts off at its end, and some of it gets
through. With the programs as they are shipped."""

import socket
import struct
import threading
import time

import pytest
from lib.topology import tunnel

SOL_UDP, UDP_SEGMENT = 17, 103
NEAR, FAR = "192.168.3.11", "192.168.3.1"
PROBES, PROBE_INTERVAL_S = 200, 0.01
# Starved is who waits for seconds, or for ever; a machine that has other things to do takes its part of these.
AGAINST_P99_MS, ALONG_P99_MS = 500, 1000
SO_TIMESTAMPNS = 35


class Flood:
    """Datagrams of `size` bytes as fast as they go, from the `with`'s beginning. Handed over many at once, or the tunnel
    would not be what is slow. Nobody reads them."""

    def __init__(self, sender, receiver, size):
        self.sink = receiver.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind((FAR, 9000))
        self.socket = sender.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((FAR, 9000))
        self.socket.setsockopt(SOL_UDP, UDP_SEGMENT, size)
        self.batch, self.per_batch, self.sent = bytes(40 * size), 40, 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self.stopping.is_set():
            self.socket.send(self.batch)
            self.sent += self.per_batch

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(10)
        self.socket.close()
        self.sink.close()


class Probe:
    """Datagrams in one direction, each with the time it was sent; the kernel says when it arrived."""

    def __init__(self, sender, receiver, address):
        self.into = receiver.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.into.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.into.bind((address, 9001))
        self.out = sender.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.out.connect((address, 9001))
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        for _ in range(PROBES):
            self.out.send(struct.pack("=q", time.time_ns()))
            time.sleep(PROBE_INTERVAL_S)

    def times(self):
        """Milliseconds of each that arrived, in order of size."""
        self.thread.join(PROBES * PROBE_INTERVAL_S * 10)
        self.into.settimeout(0.7)
        found = []
        try:
            while True:
                data, control, _, _ = self.into.recvmsg(8, 64)
                seconds, nanoseconds = struct.unpack("=qq", control[0][2])
                found.append((seconds * 10**9 + nanoseconds - struct.unpack("=q", data)[0]) / 1e6)
        except TimeoutError:
            pass
        self.out.close()
        self.into.close()
        return sorted(found)


def probes(a, b):
    """What arrived of the probes against the flood's direction, and of those along with it."""
    made = Probe(b, a, NEAR), Probe(a, b, FAR)
    return [probe.times() for probe in made]


def text(times):
    return f"{len(times)} of {PROBES}, p50 {times[len(times) // 2]:.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms"


@pytest.mark.slow
@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("size", [22, 1400], ids=["small", "full"])  # 22: an inner packet of 50 bytes
def test_flood_starves_nobody(net, size, queues):
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"], super_packets=True)
    hosts = net.host("a", a, build="release"), net.host("b", b, build="release")
    tunnel(*hosts, queues=queues)
    a.ping(FAR)
    quiet = probes(a, b)
    with Flood(a, b, size):
        against, along = probes(a, b)
        ping = a.ping(FAR, count=30, interval=0.05, timeout=30)
    print(f"quiet: {text(quiet[0])}\nagainst the flood: {text(against)}\nalong: {text(along)}; pings {ping.received} of 30")
    assert len(quiet[0]) == len(quiet[1]) == PROBES
    assert len(against) >= PROBES * 0.98 and against[len(against) * 99 // 100] <= AGAINST_P99_MS
    assert len(along) >= PROBES * 0.1 and along[len(along) * 99 // 100] <= ALONG_P99_MS
    assert ping.received > 0
