# SPDX-License-Identifier: Apache-2.0
"""GUE between two of ours: what is on the wire, byte by byte; bulk in both directions, with and without remote checksum
offload; a bare end and one that speaks GUE; and a far end made by hand."""

import socket
import struct

import pytest
from lib import packet
from lib.capture import LINK_RAW, Capture, Packet
from lib.counted import all_counted
from lib.topology import OVERLAY, udp
from lib.transfer import transfer
from lib.waiting import until

pytestmark = pytest.mark.slow

INNER = {"v4": (socket.AF_INET, "192.168.3.1"), "v6": (socket.AF_INET6, "fd00:3::1")}
UNDERLAY = {"v4": ("10.0.0.1", "10.0.0.2"), "v6": ("fd00:a::1", "fd00:a::2")}
START = {4: 20, 6: 40}       # where TCP and UDP begin in a packet without options
FIELD = {6: 16, 17: 6}       # their checksums in them
PROTOCOL = {4: 4, 6: 41}     # what GUE calls IPv4 and IPv6


def hosts_of(net, first, second, outer="v4", super_packets=True):
    """Two hosts whose workers have these members besides the endpoints."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"], super_packets=super_packets)
    hosts = net.host("a", a), net.host("b", b)
    near, far = UNDERLAY[outer]
    for host, end, local, remote, members in ((hosts[0], "a", near, far, first), (hosts[1], "b", far, near, second)):
        host.device("tun0", kind="tun", addresses=OVERLAY[end], worker={**udp(local, remote), **members})
    for host in hosts:
        host.namespace.settled("tun0")
    for family in "v4", "v6":
        assert a.ping(INNER[family][1], count=3).received == 3
    for host in hosts:
        host.lost = 0
    return hosts


def bulk(a, b, family, size=4 << 20, port=7000):
    """So many bytes to b, and as many back."""
    kind, address = INNER[family]
    transfer(a.namespace, b.namespace, kind, (address, port), size)


def gue(remote_checksum=True):
    return {"header": "gue", "offload": {"checksum": remote_checksum}}


def pseudo_sum(inner):
    """What stands in the field of a checksum that is still to be made."""
    start = START[inner.version]
    addresses = inner.ip[12:20] if inner.version == 4 else inner.ip[8:40]
    return ~packet.checksum(addresses + struct.pack("!II", len(inner.ip) - start, inner.protocol)) & 0xFFFF


def field_of(inner):
    at = START[inner.version] + FIELD[inner.protocol]
    return struct.unpack("!H", inner.ip[at:at + 2])[0]


def datagrams(capture, protocol):
    """(GUE header, inner packet) of each datagram with a packet of this protocol, on a cable that takes no super-packets."""
    found = []
    for outer in capture.packets():
        if outer.dport != 5000 or not outer.payload:
            continue
        head = 4 + 4 * (outer.payload[0] & 31) if outer.payload[0] >> 4 == 0 else 0
        inner = Packet(LINK_RAW, outer.payload[head:])
        if inner.protocol == protocol:
            found.append((outer.payload[:head], inner))
    return found


@pytest.mark.parametrize("outer,inner", [("v4", "v4"), ("v6", "v6"), pytest.param("v4", "v6", marks=pytest.mark.slow),
                                         pytest.param("v6", "v4", marks=pytest.mark.slow)])
@pytest.mark.parametrize("checksum", [True, False], ids=["remote", "complete"])
def test_bulk_both_ways(net, checksum, outer, inner):
    a, b = hosts_of(net, gue(checksum), gue(checksum), outer)
    bulk(a, b, inner, 8 << 20)
    all_counted(a, b)
    for host in a, b:
        worker = host.counters("tun0")["worker"]
        assert not any(worker["drops"].values()), worker
        head = worker["wire_out"]["bytes"] - worker["device_in"]["bytes"]
        packets = worker["wire_out"]["packets"]
        assert 4 * packets <= head <= (12 if checksum else 4) * packets
        assert host.status("tun0")["worker"]["report"]["offload"]["checksum"] is checksum


@pytest.mark.parametrize("checksum", [True, False], ids=["remote", "complete"])
@pytest.mark.parametrize("inner", ["v4", "v6"])
def test_on_the_wire(net, inner, checksum):
    """A datagram and a super-packet: each has the header of the draft, with the checksum where it says."""
    a, b = hosts_of(net, gue(checksum), gue(checksum), super_packets=False)
    with Capture(net, a.namespace, "eth0", "udp port 5000") as capture:
        bulk(a, b, inner, 200_000)
        source = a.namespace.socket(INNER[inner][0], socket.SOCK_DGRAM)
        source.sendto(b"x" * 33, (INNER[inner][1], 9))
        source.close()
        until(lambda: len(datagrams(capture, 17)) >= 1 and len(datagrams(capture, 6)) >= 140, 5, "the packets on the wire")
    for protocol in 6, 17:
        for head, packet_inside in datagrams(capture, protocol):
            version, start = packet_inside.version, START[packet_inside.version]
            assert version == int(inner[1])
            if checksum:
                assert head == struct.pack("!BBHIHH", 2, PROTOCOL[version], 1, 1 << 31, start, start + FIELD[protocol])
                assert field_of(packet_inside) == pseudo_sum(packet_inside)
            else:
                assert head == bytes([0, PROTOCOL[version], 0, 0])
                upper = packet_inside.ip[start:]
                addresses = packet_inside.ip[12:20] if version == 4 else packet_inside.ip[8:40]
                assert packet.checksum(addresses + struct.pack("!II", len(upper), protocol) + upper) == 0
            if version == 4:
                assert packet.checksum(packet_inside.ip[:20]) == 0


@pytest.mark.parametrize("inner", ["v4", "v6"])
def test_one_end_bare(net, inner):
    """Both forms are taken, whatever is configured."""
    a, b = hosts_of(net, gue(), {})
    bulk(a, b, inner)
    all_counted(a, b)
    worker = b.counters("tun0")["worker"]
    assert worker["wire_out"]["bytes"] == worker["device_in"]["bytes"], "no header goes before what is sent here"


@pytest.mark.slow
def test_path_narrower_than_the_device(net):
    a, b = hosts_of(net, gue(), gue())
    for host in a, b:
        host.namespace.ip("link", "set", "eth0", "mtu", 1300)
    for family in "v4", "v6":
        bulk(a, b, family, 2 << 20)
    ping = a.namespace.ping(INNER["v4"][1], count=2, size=1290, M="dont")
    assert ping.received == 2, ping.text
    ping = a.namespace.ping(INNER["v4"][1], count=2, size=1290, M="do")
    ping = a.namespace.ping(INNER["v4"][1], count=2, size=1290, M="do")
    assert ping.received == 0 and str(1300 - 20 - 8 - 12) in ping.text, ping.text


def test_without_batches(net):
    """Where the kernel takes no batches, each datagram goes by itself and is the same."""
    settings = {"header": "gue", "offload": {"udp_segment": False, "udp_gro": False}}
    a, b = hosts_of(net, settings, settings)
    bulk(a, b, "v4", 2 << 20)
    bulk(a, b, "v6", 2 << 20)
    all_counted(a, b)


def test_hostile_headers(net):
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"])
    host = net.host("a", a)
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={**udp("10.0.0.1", "10.0.0.2"), **gue()})
    inner = packet.ipv4("192.168.3.1", "192.168.3.11", payload=b"x" * 40)
    remote = bytes.fromhex("0204000180000000")
    bad = [bytes([0, 4, 0, 0]), bytes([0, 41, 0, 0]) + inner, bytes([0x20, 4, 0, 0]) + inner, bytes([0x80, 4, 0, 0]) + inner,
           bytes([0x1f, 4, 0, 0]) + inner, bytes([1, 4, 0, 0]) + bytes(4) + inner, bytes([0, 6, 0, 0]) + inner,
           bytes([0, 4, 0, 2]) + inner, remote + struct.pack("!HH", 20, 59) + inner,
           remote + struct.pack("!HH", 20, 19) + inner, bytes.fromhex("0204000140000000 00140024") + inner]
    peer = b.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("10.0.0.2", 5000))
    for data in bad:
        peer.sendto(data, ("10.0.0.1", 5000))
    until(lambda: host.counters("tun0")["worker"]["drops"]["malformed"] == len(bad), 5,
          lambda: f"{len(bad)} malformed: {host.counters('tun0')}")
    before = host.counters("tun0")["worker"]["device_out"]["packets"]
    for data in (bytes([0, 4, 0, 0]) + inner, bytes.fromhex("0104000100000000") + inner, inner,
                 remote + struct.pack("!HH", 20, 58) + inner):
        peer.sendto(data, ("10.0.0.1", 5000))
    until(lambda: host.counters("tun0")["worker"]["device_out"]["packets"] == before + 4, 5, "the good ones to pass")
    peer.close()


def test_wrong_checksum_is_not_mended(net):
    """Remote checksum offload over a field that has not the pseudo-header's sum: the receiver sees that it is wrong."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"])
    host = net.host("a", a)
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={**udp("10.0.0.1", "10.0.0.2"), **gue()})
    target = a.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.bind(("192.168.3.11", 7300))
    peer = b.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("10.0.0.2", 5000))
    for text, change in ((b"first", 0), (b"wrong", 1), (b"last", 0)):
        addresses = bytes([192, 168, 3, 1, 192, 168, 3, 11])
        seed = ~packet.checksum(addresses + struct.pack("!II", 8 + len(text), 17)) & 0xFFFF
        datagram = struct.pack("!HHHH", 7301, 7300, 8 + len(text), seed ^ change) + text
        peer.sendto(bytes.fromhex("0204000180000000 0014001a") + packet.ipv4("192.168.3.1", "192.168.3.11", 17, datagram),
                    ("10.0.0.1", 5000))
    assert target.recv(100) == b"first"
    assert target.recv(100) == b"last"
    peer.close()
    target.close()
