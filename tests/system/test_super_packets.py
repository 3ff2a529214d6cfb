# SPDX-License-Identifier: Apache-2.0
"""What crosses a udp tunnel in super-packets arrives byte by byte, on cables that carry them whole and on those that do
not, and every packet is counted."""

import hashlib
import os
import socket
import struct
import threading

import pytest
from lib.counted import all_counted, lost
from lib.topology import tunnel
from lib.waiting import until

pytestmark = pytest.mark.slow

SOL_UDP, UDP_SEGMENT = 17, 103
INNER = {"v4": (socket.AF_INET, "192.168.3.1"), "v6": (socket.AF_INET6, "fd00:3::1")}


def two_hosts(net, super_packets, kind="tun", outer="v4"):
    """Two hosts with a tunnel between them: 192.168.3.11 and .1, fd00:3::11 and ::1."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"], super_packets=super_packets)
    hosts = net.host("a", a), net.host("b", b)
    tunnel(*hosts, {"v4": ("10.0.0.1", "10.0.0.2"), "v6": ("fd00:a::1", "fd00:a::2")}[outer], kind=kind)
    for family in "v4", "v6":
        assert a.ping(INNER[family][1], count=3).received == 3
    for host in hosts:
        host.lost = lost(host.counters("tun0")["worker"])  # what a device says of itself before the other is there
    return hosts


def offload(host):
    return host.status("tun0")["worker"]["report"]["offload"]


class Transfer:
    """Random bytes through one TCP connection, in a thread; check() compares what came with what was sent."""

    def __init__(self, sender, receiver, family, size, port=7000):
        kind, address = INNER[family]
        listener = receiver.namespace.socket(kind, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(1)
        self.out = sender.namespace.socket(kind, socket.SOCK_STREAM)
        self.out.connect((address, port))
        self.into = listener.accept()[0]
        listener.close()
        for end in self.out, self.into:
            end.settimeout(30)
        self.size, self.sent, self.came, self.received = size, hashlib.sha256(), hashlib.sha256(), 0
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        left = self.size
        while left:
            piece = os.urandom(min(left, 1 << 20))
            self.sent.update(piece)
            self.out.sendall(piece)
            left -= len(piece)
        self.out.shutdown(socket.SHUT_WR)

    def _receive(self):
        while piece := self.into.recv(1 << 18):
            self.came.update(piece)
            self.received += len(piece)

    def check(self):
        for thread in self.threads:
            thread.join(50)
        self.out.close()
        self.into.close()
        assert self.received == self.size, f"{self.received} of {self.size} bytes came"
        assert self.came.digest() == self.sent.digest(), "other bytes came than were sent"


@pytest.mark.parametrize("inner", ["v4", "v6"])
@pytest.mark.parametrize("kind", ["tun", "tap"])
@pytest.mark.parametrize("cable", ["wire", "super-packets"])
def test_tcp_arrives_whole(net, cable, kind, inner):
    a, b = two_hosts(net, cable == "super-packets", kind, outer=inner)
    Transfer(a, b, inner, 20 << 20).check()
    sent = a.counters("tun0")["worker"]["wire_out"]["packets"]
    assert sent >= (20 << 20) / 1500, "super-packets count as the packets in them"
    kernel = a.counters("tun0")["kernel"]["tx_packets"]
    assert kernel < sent / 2, f"{kernel} reads for {sent} packets: the device hands over super-packets"
    assert offload(a)["tso"] and offload(a)["udp_segment"] and offload(b)["udp_gro"] and offload(b)["merge"]
    all_counted(a, b)


def test_both_directions_and_several_flows_at_once(net):
    a, b = two_hosts(net, True)
    flows = [Transfer(a, b, family, 8 << 20, port) for port, family in enumerate(["v4", "v6", "v4", "v6"], 7001)]
    for flow in flows:
        flow.check()
    all_counted(a, b)


def test_path_narrower_than_the_device(net):
    """The segments of a super-packet do not fit: the sender is told, and goes on with smaller ones."""
    a, b = two_hosts(net, True)
    for host in a, b:
        host.namespace.ip("link", "set", "eth0", "mtu", 1300)
    for family in "v4", "v6":
        Transfer(a, b, family, 2 << 20).check()
    drops = a.counters("tun0")["worker"]["drops"]
    assert drops["too_big"] > 0 and sum(drops.values()) == drops["too_big"]


@pytest.mark.parametrize("cable", ["wire", "super-packets"])
def test_udp_in_bulk(net, cable):
    """A sender that hands many datagrams over at once: each arrives by itself, none changed."""
    a, b = two_hosts(net, cable == "super-packets")
    target = b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    target.bind(("192.168.3.1", 7100))
    source = a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.connect(("192.168.3.1", 7100))
    source.setsockopt(SOL_UDP, UDP_SEGMENT, 1400)
    wanted = []
    for batch in range(20):
        pieces = [struct.pack("!HH", batch, i) + os.urandom(1396) for i in range(20)]
        pieces.append(struct.pack("!HH", batch, 20) + os.urandom(96))  # shorter: the last of its batch
        source.send(b"".join(pieces))
        wanted += pieces
        came = sorted(target.recv(65536) for _ in pieces)
        assert came == sorted(pieces)
    source.close()
    target.close()
    all_counted(a, b)


def test_far_end_without_offloads(net, other_workers):
    """A worker that knows nothing of super-packets at the far end gets packets, and its packets are merged here."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"], super_packets=True)
    hosts = net.host("a", a), net.host("b", b, worker_dir=other_workers)
    tunnel(*hosts)
    Transfer(*hosts, "v4", 2 << 20).check()
    Transfer(*hosts, "v6", 2 << 20, 7002).check()


def test_worker_that_follows_one_with_offloads(net):
    """What the udp worker asked of the device is not left to the next one."""
    a, b = two_hosts(net, True)
    Transfer(a, b, "v4", 1 << 20).check()
    b.put("/v1/devices/tun0/worker", {"type": "echo"})
    far = b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.connect(("192.168.3.77", 9))
    far.setsockopt(SOL_UDP, UDP_SEGMENT, 100)
    before = b.counters("tun0")["worker"]["device_in"]["packets"]
    far.send(bytes(1000))
    until(lambda: b.counters("tun0")["worker"]["device_in"]["packets"] >= before + 10, 5, "ten packets, one by one")
    far.close()
