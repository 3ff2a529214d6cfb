# SPDX-License-Identifier: Apache-2.0
"""A tunnel with several queues: each flow keeps to one of them at both ends and in both directions, and to its order."""

import mmap
import os
import pathlib
import socket
import struct
import threading

import pytest
from lib.topology import udp
from lib.transfer import transfer
from lib.waiting import until

QUEUES = 4
NEAR, FAR = "192.168.3.11", "192.168.3.1"
PAIRS = ("device_in", "wire_out", "wire_in", "device_out")


@pytest.fixture(params=["tun", "tap"])
def ends(net, request):
    a, b = net.namespace("a", ipv6=False), net.namespace("b", ipv6=False)  # nothing but our flows in the tunnel
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"], super_packets=True)
    hosts = net.host("a", a), net.host("b", b)
    for host, address, local, remote in (hosts[0], NEAR, "10.0.0.1", "10.0.0.2"), (hosts[1], FAR, "10.0.0.2", "10.0.0.1"):
        host.device("tun0", kind=request.param, queues=QUEUES, addresses=[f"{address}/24"], worker=udp(local, remote))
    if request.param == "tap":  # ARP's packets are no part of a flow
        for host, other, address in (hosts[0], hosts[1], FAR), (hosts[1], hosts[0], NEAR):
            host.namespace.ip("neigh", "replace", address, "lladdr", other.namespace.link("tun0")["address"],
                              "dev", "tun0", "nud", "permanent")
    return hosts


def lanes(host):
    """Packets by lane: the slots of the worker's counter page."""
    pid = host.worker_pid("tun0")
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if "tunwright-counters" in os.readlink(entry):
            with open(entry, "rb") as file, mmap.mmap(file.fileno(), 8192, prot=mmap.PROT_READ) as page:
                return [dict(zip(PAIRS, struct.unpack_from("8Q", page, 256 * (1 + lane))[::2])) for lane in range(QUEUES)]
    raise AssertionError(f"no counter page among the descriptors of {pid}")


def moved(before, host):
    """Lane by lane, what went up by how much."""
    after = lanes(host)
    return {lane: difference for lane in range(QUEUES)
            if (difference := {key: after[lane][key] - before[lane][key] for key in PAIRS if
                               after[lane][key] != before[lane][key]})}


class Echo:
    """Sends back each datagram that comes, in its order."""

    def __init__(self, namespace, port):
        self.socket = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((FAR, port))
        self.socket.settimeout(0.2)
        self.numbers = {}  # source: what came
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.is_set():
            try:
                data, source = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            self.numbers.setdefault(source, []).append(struct.unpack_from("!I", data)[0])
            self.socket.sendto(data, source)

    def close(self):
        self.stopping.set()
        self.thread.join(5)
        self.socket.close()


def flow(namespace, port, count, size=200, window=16):
    """`count` numbered datagrams there, and back again: both in order, none missing. Returns our address."""
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.connect((FAR, port))
        ours.settimeout(10)
        for number in range(count + window):
            if number < count:
                ours.send(struct.pack("!I", number) + bytes(size))
            if number >= window:
                assert struct.unpack_from("!I", ours.recv(65536))[0] == number - window
        return ours.getsockname()


def test_flow_has_one_lane_both_ways(ends):
    a, b = ends
    echo = Echo(b.namespace, 7000)
    used = set()
    for _ in range(16):
        before = lanes(a), lanes(b)
        source = flow(a.namespace, 7000, 40)
        for host, then in zip(ends, before):
            # a packet may arrive before it is counted
            until(lambda host=host, then=then: [set(counts.values()) for counts in moved(then, host).values()] == [{40}],
                  5, lambda host=host, then=then: f"40 each way on one lane; {moved(then, host)}")
        (lane,), (far_lane,) = moved(before[0], a), moved(before[1], b)
        assert lane == far_lane
        assert echo.numbers[source] == list(range(40))
        used.add(lane)
    echo.close()
    assert len(used) > 1, "sixteen flows on one lane"


def test_many_flows_at_once_keep_their_order(ends):
    a, b = ends
    echo = Echo(b.namespace, 7000)
    faults, sources = [], []

    def run(work, *args):
        try:
            sources.append(work(*args))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run, args=(flow, a.namespace, 7000, 300, size)) for size in (20, 200, 1200, 1300)]
    threads += [threading.Thread(target=run, args=(transfer, client, server, socket.AF_INET, (address, port), 4 << 20))
                for port in (7001, 7002)
                for client, server, address in ((a.namespace, b.namespace, FAR), (b.namespace, a.namespace, NEAR))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    echo.close()
    assert not faults and len(sources) == len(threads), faults
    assert all(numbers == list(range(300)) for numbers in echo.numbers.values()) and len(echo.numbers) == 4
    for host in ends:
        assert len([lane for lane in lanes(host) if lane["device_out"] > 20]) > 1, "all flows on one lane"


def test_far_end_with_fewer_queues_is_told(ends):
    """What it does not listen to comes back as an error, and the other lanes go on."""
    a, b = ends
    document = b.get("/v1/devices/tun0")
    b.api("DELETE", "/v1/devices/tun0").expect(204)
    b.device("tun0", kind=document["kind"], queues=1, addresses=document["addresses"], worker=document["worker"],
             mac=document["mac"])
    sent = a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def refused():
        for port in range(7100, 7116):
            sent.sendto(b"?", (FAR, port))
        return a.status("tun0")["worker"]["report"]["wire_error"] == "ECONNREFUSED"
    until(refused, 10, lambda: f"ECONNREFUSED; {a.status('tun0')['worker']['report']}", interval=0.2)
    sent.close()
