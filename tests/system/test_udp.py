# SPDX-License-Identifier: Apache-2.0
"""The udp worker against a far end that is made by hand: congestion marks, packets that are too big, and what is not IP."""

import re
import socket

import pytest
from lib import packet
from lib.capture import Capture
from lib.topology import udp
from lib.waiting import until

IP_RECVTOS, IPV6_TCLASS, IPV6_RECVTCLASS = 13, 67, 66
FAMILIES = {"v4": (socket.AF_INET, "10.0.0.1", "10.0.0.2"), "v6": (socket.AF_INET6, "fd00:a::1", "fd00:a::2")}
NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
UNANSWERED_S = 0.2  # the far end is a plain socket: it answers no ping


class Peer:
    """A plain UDP socket where the far worker would be."""

    def __init__(self, namespace, family):
        self.family, self.near, self.far = FAMILIES[family]
        self.socket = namespace.socket(self.family, socket.SOCK_DGRAM)
        self.socket.bind((self.far, 5000))
        if self.family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)

    def send(self, inner, tos=0):
        if self.family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        else:
            self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_TCLASS, tos)
        self.socket.sendto(inner, (self.near, 5000))

    def receive(self, wanted):
        """(inner packet, outer TOS) of the next datagram of which `wanted` is true."""
        while True:
            data, messages, _, _ = self.socket.recvmsg(65536, 256)
            if wanted(data):
                return data, messages[0][2][0]


@pytest.fixture
def near(net):
    """A host with a udp worker to a far end that has no daemons; host.peer(family) is that far end."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"])
    host = net.host("a", a)
    peers = []

    def peer(family="v4", **fields):
        made = Peer(b, family)
        peers.append(made.socket)
        host.device("tun0", **{"kind": "tun", "addresses": ["192.168.3.11/24", "fd00:3::11/64"],
                               "worker": udp(made.near, made.far), **fields})
        return made

    host.peer, host.far = peer, b
    yield host
    for sock in peers:
        sock.close()


def drops(host, reason):
    return host.counters("tun0")["worker"]["drops"][reason]


def is_echo(data):
    return data[:1] == b"\x45" and data[9] == 1


@pytest.mark.parametrize("outer", FAMILIES)
def test_congestion_marks_on_the_way_out(near, outer):
    """RFC 6040, section 4.1: the outer header gets the inner one's ECN field."""
    peer = near.peer(outer)
    for ecn in (NOT_ECT, ECT1, ECT0, CE):
        near.namespace.ping("192.168.3.1", count=1, Q=hex(ecn), wait=UNANSWERED_S)
        inner, tos = peer.receive(is_echo)
        assert (inner[1] & 3, tos & 3) == (ecn, ecn)


# (outer, inner) → inner as it leaves the tunnel; None: dropped. RFC 6040, figure 4.
MARKS = {(NOT_ECT, NOT_ECT): NOT_ECT, (NOT_ECT, ECT0): ECT0, (NOT_ECT, ECT1): ECT1, (NOT_ECT, CE): CE,
         (ECT0, NOT_ECT): NOT_ECT, (ECT0, ECT0): ECT0, (ECT0, ECT1): ECT1, (ECT0, CE): CE,
         (ECT1, NOT_ECT): NOT_ECT, (ECT1, ECT0): ECT1, (ECT1, ECT1): ECT1, (ECT1, CE): CE,
         (CE, NOT_ECT): None, (CE, ECT0): CE, (CE, ECT1): CE, (CE, CE): CE}


@pytest.mark.parametrize("outer", FAMILIES)
@pytest.mark.parametrize("inner", ["v4", "v6"])
def test_congestion_marks_on_the_way_in(net, near, outer, inner):
    peer = near.peer(outer)
    with Capture(net, near.namespace, "tun0") as capture:
        for number, (outside, inside) in enumerate(MARKS):
            # the hop limit tells them apart; the DSCP must stay
            if inner == "v4":
                data = packet.ipv4("192.168.3.1", "192.168.3.11", tos=0x28 | inside, ttl=100 + number)
            else:
                data = packet.ipv6("fd00:3::1", "fd00:3::11", traffic_class=0x28 | inside, hop_limit=100 + number)
            peer.send(data, tos=outside)
        expected = {100 + n: 0x28 | out for n, out in enumerate(MARKS.values()) if out is not None}
        capture.wait(lambda p: p.ip and p.ttl >= 100, len(expected))
        until(lambda: drops(near, "ecn") == 1, 5, lambda: f"one drop for ecn: {near.counters('tun0')}")
    arrived = [p for p in capture.packets() if p.ip and p.ttl >= 100]
    assert {p.ttl: p.tos for p in arrived} == expected
    if inner == "v4":
        assert all(packet.checksum(p.ip[:20]) == 0 for p in arrived), "the header's checksum follows the mark"


@pytest.mark.parametrize("outer,fits", [("v4", 1472), ("v6", 1452)])
def test_too_big_is_answered_with_the_size_that_fits(near, outer, fits):
    """The device takes more than the path does: ICMP says so, with an MTU that then works."""
    near.peer(outer, mtu=2000)
    near.namespace.ping("192.168.3.1", count=1, size=1700, M="do", wait=UNANSWERED_S)
    ping = near.namespace.ping("192.168.3.1", count=1, size=1700, M="do", wait=UNANSWERED_S)
    told = re.search(r"mtu[ =:]+(\d+)", ping.text)
    assert ping.received == 0 and told and int(told[1]) == fits, ping.text

    ping = near.namespace.ping("fd00:3::1", count=1, size=1700, M="do", wait=UNANSWERED_S)
    ping = near.namespace.ping("fd00:3::1", count=1, size=1700, M="do", wait=UNANSWERED_S)
    told = re.search(r"mtu[ =:]+(\d+)", ping.text)
    assert ping.received == 0 and told and int(told[1]) == fits, ping.text


@pytest.mark.parametrize("outer", FAMILIES)
def test_too_big_without_df_arrives(pair, outer):
    """What may be fragmented is, and arrives whole."""
    a, b = pair
    _, near, far = FAMILIES[outer]
    for host, address, local, remote in ((a, "192.168.3.11/24", near, far), (b, "192.168.3.1/24", far, near)):
        host.device("tun0", kind="tun", mtu=2000, addresses=[address], worker=udp(local, remote))
    ping = a.namespace.ping("192.168.3.1", count=3, size=1700, M="dont")
    assert ping.received == 3, ping.text


def test_malformed_from_the_wire_is_counted(near):
    peer = near.peer("v4")
    bad = [b"", b"\x45", b"\x45" + bytes(18), b"\x60" + bytes(38), b"\x00" * 60, b"\xff" * 60,
           packet.ipv4("192.168.3.1", "192.168.3.11", payload=b"x" * 40)[:-1],   # shorter than it says
           b"\x44" + packet.ipv4("192.168.3.1", "192.168.3.11")[1:],             # a header of 16 bytes
           packet.ipv6("fd00:3::1", "fd00:3::11", payload=b"x" * 40)[:-1]]
    before = near.counters("tun0")
    for data in bad:
        peer.send(data)
    until(lambda: drops(near, "malformed") == len(bad), 5, lambda: f"{len(bad)} malformed: {near.counters('tun0')}")
    good = packet.ipv4("192.168.3.1", "192.168.3.11")
    peer.send(good)
    after = until(lambda: more(near, before, 1), 5, "the good one to pass")
    assert after["kernel"]["rx_packets"] - before["kernel"]["rx_packets"] == 1
    assert after["worker"]["wire_in"]["packets"] - before["worker"]["wire_in"]["packets"] == len(bad) + 1


def more(host, before, packets):
    now = host.counters("tun0")
    return now if now["worker"]["device_out"]["packets"] >= before["worker"]["device_out"]["packets"] + packets else None


@pytest.mark.parametrize("outer", FAMILIES)
def test_packet_for_the_peer_itself_does_not_loop(near, outer):
    """A route that sends the peer's own address into the tunnel: counted, and the tunnel lives on after it."""
    peer = near.peer(outer)
    route = f"/v1/devices/tun0/routes/{peer.far}/{32 if outer == 'v4' else 128}"
    near.put(route)
    ping = near.namespace.ping(peer.far, count=3, I="192.168.3.11" if outer == "v4" else "fd00:3::11", wait=UNANSWERED_S)
    assert ping.received == 0
    until(lambda: drops(near, "loop") >= 1, 5, lambda: f"a drop for loop: {near.counters('tun0')}")
    near.api("DELETE", route).expect(204)
    near.namespace.ping("192.168.3.1", count=1, wait=UNANSWERED_S)
    assert is_echo(peer.receive(is_echo)[0])


def test_nobody_at_the_far_end(near):
    """Refused by the far host (ICMP port unreachable): counted, and nothing breaks."""
    peer = near.peer("v4")
    peer.socket.close()
    assert near.namespace.ping("192.168.3.1", count=5, wait=UNANSWERED_S).received == 0
    again = Peer(near.far, "v4")
    near.namespace.ping("192.168.3.1", count=3, wait=UNANSWERED_S)
    assert is_echo(again.receive(is_echo)[0])
    again.socket.close()
    worker = near.counters("tun0")["worker"]
    assert worker["device_in"]["packets"] == worker["wire_out"]["packets"] + sum(worker["drops"].values()), worker
