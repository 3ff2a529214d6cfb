# SPDX-License-Identifier: Apache-2.0
"""Offloads of the udp worker: turned off and on under traffic, and refused by this very kernel; what arrives is the same."""

import os
import socket
import struct
import time

import pytest
from lib import packet
from lib.capture import Capture
from lib.flow import PingFlow
from lib.topology import tunnel, udp
from lib.transfer import transfer
from lib.waiting import until

pytestmark = pytest.mark.slow

TUN0 = "/v1/devices/tun0"
FAR = "192.168.3.1"
SWITCHES = ("tso", "uso", "merge", "udp_segment", "udp_gro")
SOL_UDP, UDP_SEGMENT = 17, 103


@pytest.fixture
def hosts(net):
    """Two hosts with a tunnel on a cable that carries super-packets whole."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"], super_packets=True)
    made = net.host("a", a), net.host("b", b)
    tunnel(*made)
    assert a.ping(FAR, count=3).received == 3
    return made


def report(host):
    return host.status("tun0")["worker"]["report"]["offload"]


def switch(host, **offload):
    host.api("PATCH", TUN0, {"worker": {"offload": offload or None}}).expect(200)


def drops(host):
    return host.counters("tun0")["worker"]["drops"]


def move(a, b, size=1 << 20, port=7000):
    """So many bytes by TCP there and as many back, and datagrams by the many: all must come as they were sent."""
    transfer(a.namespace, b.namespace, socket.AF_INET, (FAR, port), size)
    target = b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    target.bind((FAR, port))
    source = a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.connect((FAR, port))
    source.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
    for size in 1200 * 20, 1200 * 7 + 100, 1200:
        data = os.urandom(size)
        source.send(data)
        came = [target.recv(65536) for _ in range(0, size, 1200)]
        assert b"".join(sorted(came)) == b"".join(sorted(data[at:at + 1200] for at in range(0, size, 1200)))
    source.close()
    target.close()


def test_switches(hosts):
    """One by one at both ends: told in the status, and nothing else changes."""
    a, b = hosts
    assert report(a) == {**{name: True for name in SWITCHES}, "checksum": False}
    for number, name in enumerate(SWITCHES):
        for host in a, b:
            switch(host, **{name: False})
            off = {name, "uso"} if name == "tso" else {name}
            assert {key for key in SWITCHES if not report(host)[key]} == off
            assert host.get(TUN0)["worker"]["offload"] == {**{key: key != name for key in SWITCHES}, "checksum": True}
        move(a, b, port=7000 + number)
        for host in a, b:
            switch(host)
            assert all(report(host)[key] for key in SWITCHES)
    assert all(sum(drops(host).values()) == 0 for host in (a, b)), (drops(a), drops(b))


def test_nothing_is_lost_when_they_change(hosts):
    """Under a ping and a stream of data, at the end that sends and at the end that receives."""
    a, b = hosts
    pids = a.worker_pid("tun0"), b.worker_pid("tun0")
    with PingFlow(a.namespace, FAR) as flow:
        for name in (*SWITCHES, None):
            for host in a, b:
                for value in (False, True):
                    switch(host, **({name: value} if name else {key: value for key in SWITCHES}))
                    flow.running(5)
        flow.nothing_lost()
    assert pids == (a.worker_pid("tun0"), b.worker_pid("tun0"))
    assert all(sum(drops(host).values()) == 0 for host in (a, b)), (drops(a), drops(b))


@pytest.mark.slow
def test_a_stream_while_they_change(hosts):
    """UDP at full speed in bulk: what the worker reads goes on or is dropped for want of room; never is it malformed, which
    datagrams would be that were put together and not taken apart again."""
    a, b = hosts
    source = a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.connect((FAR, 7000))
    source.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
    source.setblocking(False)
    for turn in range(30):
        for host in a, b:
            for _ in range(100):
                try:
                    source.send(bytes(1200 * 40))
                except (BlockingIOError, ConnectionRefusedError):
                    pass
            switch(host, **{name: bool(turn % 2) for name in SWITCHES})
    source.close()
    for host in a, b:
        def all_ended(host=host):
            worker = host.counters("tun0")["worker"]
            return worker["device_in"]["packets"] + worker["wire_in"]["packets"] == \
                worker["device_out"]["packets"] + worker["wire_out"]["packets"] + worker["drops"]["queue_full"]
        # the last of them may be on their way yet
        until(all_ended, 10, lambda host=host: f"each packet in one counter: {host.counters('tun0')['worker']}")
        counted = drops(host)
        assert sum(counted.values()) == counted["queue_full"] + counted["rcvbuf_full"], counted


def test_a_way_out_without_checksums(hosts):
    """Older kernels refuse UDP_SEGMENT then (EIO), newer ones cut in software."""
    a, b = hosts
    for host in a, b:
        host.namespace.run("ethtool", "-K", "eth0", "tx", "off")
    move(a, b)
    assert all(sum(drops(host).values()) == 0 for host in (a, b))


@pytest.mark.parametrize("outer", ["v4", "v6"])
def test_a_path_that_became_narrower(net, outer):
    """The kernel refuses the segments (EMSGSIZE): the report names the path, and what is still to be sent goes in smaller
    packets, over either outer protocol."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"], super_packets=True)
    one, two = net.host("a", a), net.host("b", b)
    tunnel(one, two, {"v4": ("10.0.0.1", "10.0.0.2"), "v6": ("fd00:a::1", "fd00:a::2")}[outer])
    transfer(a, b, socket.AF_INET, (FAR, 7000), 1 << 18)
    for namespace in a, b:
        namespace.ip("link", "set", "eth0", "mtu", 1300)
    transfer(a, b, socket.AF_INET, (FAR, 7001), 1 << 18)
    transfer(a, b, socket.AF_INET6, ("fd00:3::1", 7002), 1 << 18)
    until(lambda: one.status("tun0")["worker"]["report"]["path_mtu"] == 1300, 5, lambda: f"1300: {one.status('tun0')}")
    assert report(one)["udp_segment"], "that may end"
    counted = drops(one)
    assert counted["too_big"] > 0 and sum(counted.values()) == counted["too_big"], counted


def test_answers_are_rationed(hosts):
    """A flood of packets that are too big is answered a hundred times a second, and no more."""
    a, _ = hosts
    a.api("PATCH", TUN0, {"mtu": 3000}).expect(200)
    source = a.namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    data = packet.ipv4("192.168.3.11", FAR, payload=bytes(2900))
    before, begun = a.counters("tun0")["worker"], time.monotonic()
    for _ in range(1000):
        source.sendto(data, (FAR, 0))
    # some may find the device's queue full
    until(lambda: drops(a)["too_big"] >= before["drops"]["too_big"] + 800, 5, lambda: f"1000 too big: {drops(a)}")
    answers = a.counters("tun0")["worker"]["device_out"]["packets"] - before["device_out"]["packets"]
    most = 120 + 100 * (time.monotonic() - begun)
    assert 50 <= answers <= most, f"{answers} answers to 1000 packets, and not {most}"
    source.close()


def test_one_datagram_with_a_large_packet(net, hosts):
    """As a kernel tunnel on the same cable hands it over: a packet larger than any wire takes, whole."""
    a, b = hosts
    b.api("DELETE", f"{TUN0}").expect(204)
    for host in a, b:
        host.namespace.ip("link", "set", "eth0", "mtu", 65535)
    peer = b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("10.0.0.2", 5000))
    with Capture(net, a.namespace, "tun0") as capture:
        whole = packet.ipv4(FAR, "192.168.3.11", payload=os.urandom(28 * 1024))
        peer.sendto(whole, ("10.0.0.1", 5000))
        came = capture.wait(lambda p: p.ip and p.source == FAR, 1)[0]
    assert came.data == whole[:len(came.data)] and len(came.data) > 4000  # what a capture keeps of it
    assert a.counters("tun0")["worker"]["device_out"]["bytes"] >= len(whole)
    peer.close()


def test_another_tunnel_talks_to_the_port(net):
    """The kernel's VXLAN sends whole super-packets to it, which is none of our forms: counted, and the tunnel lives on."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"], super_packets=True)
    host = net.host("a", a)
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker=udp("10.0.0.1", "10.0.0.2"))
    for feature in "on", "off":
        b.run("ethtool", "-K", "eth0", "tx-udp_tnl-segmentation", feature)
        b.ip("link", "add", "vx0", "type", "vxlan", "id", 7, "remote", "10.0.0.1", "dstport", 5000, "srcport", 5000, 5001)
        b.ip("address", "add", "192.168.9.2/24", "dev", "vx0")
        b.ip("link", "set", "vx0", "up")
        b.ip("neighbour", "add", "192.168.9.1", "lladdr", "02:00:00:00:00:01", "dev", "vx0")
        source = b.socket(socket.AF_INET, socket.SOCK_DGRAM)
        source.setsockopt(SOL_UDP, UDP_SEGMENT, 1400)
        before = host.counters("tun0")["worker"]
        for _ in range(10):
            source.sendto(bytes(1400 * 20), ("192.168.9.1", 7000))
        source.close()

        def counted():
            now = host.counters("tun0")["worker"]
            came = now["wire_in"]["packets"] - before["wire_in"]["packets"]
            refused = sum(now["drops"].values()) - sum(before["drops"].values())
            return came >= 10 and came == refused
        until(counted, 5, lambda: f"each to be counted: {host.counters('tun0')}")
        b.ip("link", "delete", "vx0")
    peer = b.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("10.0.0.2", 5000))
    a.ping(FAR, count=1)
    assert struct.unpack("!B", peer.recv(2000)[:1])[0] in (0x45, 0x60)
    peer.close()
