# SPDX-License-Identifier: Apache-2.0
"""A tap carries Ethernet, a tun carries IP only; both over IPv4 and IPv6, inside and outside."""

import socket

import pytest
from lib.capture import ETHERTYPE_ARP, LINK_ETHERNET, PROTOCOL_UDP, Capture
from lib.topology import tunnel
from lib.waiting import until

UNDERLAYS = {"v4": ("10.0.0.1", "10.0.0.2"), "v6": ("fd00:a::1", "fd00:a::2")}
TARGETS = {"v4": "192.168.3.1", "v6": "fd00:3::1"}
ETH_P_ALL = 3
EXPERIMENTAL = 0x88B5  # IEEE 802: local experimental ethertype


@pytest.mark.parametrize("kind", ["tun", "tap"])
@pytest.mark.parametrize("outer", UNDERLAYS)
def test_both_families_inside_and_outside(net, pair, kind, outer):
    a, b = pair
    mine, _ = tunnel(a, b, UNDERLAYS[outer], "x0", kind=kind)
    outer_size = {"v4": 20, "v6": 40}[outer] + 8
    assert mine["mtu"] == 1500 - outer_size - (14 if kind == "tap" else 0)
    for inner, target in TARGETS.items():
        header = {"v4": 20, "v6": 40}[inner]
        with Capture(net, a.namespace, "eth0", "udp port 5000") as capture:
            ping = a.namespace.ping(target, count=3)
            assert (ping.sent, ping.received) == (3, 3), ping.text
            # the largest packet that the device takes fits into 1500 bytes of wire, whole
            ping = a.namespace.ping(target, count=2, size=mine["mtu"] - header - 8)
            assert (ping.sent, ping.received) == (2, 2), ping.text
            link = LINK_ETHERNET if kind == "tap" else 101
            found = capture.wait(lambda p: p.inner(link).is_echo_request(), 5)
        assert {(p.source, p.target) for p in found} == {UNDERLAYS[outer]}
        assert max(len(p.ip) for p in found) == 1500


def test_tap_carries_arp_end_to_end(net, pair):
    a, b = pair
    _, theirs = tunnel(a, b, name="tap0", kind="tap")
    with Capture(net, b.namespace, "tap0", "arp") as far, Capture(net, a.namespace, "eth0", "udp port 5000") as outer:
        assert a.namespace.ping("192.168.3.1", count=1).received == 1
        far.wait(lambda p: p.ethertype == ETHERTYPE_ARP and p.payload[6:8] == b"\0\1", 1)
        far.wait(lambda p: p.ethertype == ETHERTYPE_ARP and p.payload[6:8] == b"\0\2", 1)
        outer.wait(lambda p: p.protocol == PROTOCOL_UDP and p.inner(LINK_ETHERNET).ethertype == ETHERTYPE_ARP, 2)
    neighbours = {n["dst"]: n.get("lladdr") for n in a.namespace.ip_json("neigh", "show", "dev", "tap0")}
    assert neighbours["192.168.3.1"] == theirs["status"]["mac"] == b.namespace.link("tap0")["address"]


def test_bridged_frame_arrives_byte_for_byte(net, pair):
    """lan (on host a's bridge) ─ br0 ─ tap0 ═ tunnel ═ tap0 ─ br0 ─ lan of host b."""
    a, b = pair
    lans = []
    for host in pair:
        lan = net.namespace(f"lan-{host.name}")
        host.namespace.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
        host.namespace.ip("link", "set", "br0", "up")
        net.veth(lan, [], host.namespace, [], b_name="lan0")
        host.namespace.ip("link", "set", "lan0", "master", "br0")
        lans.append(lan)
    tunnel(a, b, name="tap0", kind="tap", addresses=[], master="br0")
    for host in pair:
        assert host.namespace.link("tap0")["master"] == "br0"
        until(lambda: all(host.namespace.link(port)["linkinfo"]["info_slave_data"]["state"] == "forwarding"
                          for port in ("lan0", "tap0")), 10, f"forwarding bridge ports of {host.name}")

    sender, receiver = (lan.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) for lan in lans)
    with sender, receiver:
        sender.bind(("eth0", ETH_P_ALL))
        receiver.bind(("eth0", EXPERIMENTAL))
        source = bytes.fromhex(lans[0].link("eth0")["address"].replace(":", ""))
        for target, payload in ((b"\xff" * 6, bytes(range(46))), (b"\x02\0\0\0\0\x99", bytes(range(256)) * 5)):
            frame = target + source + EXPERIMENTAL.to_bytes(2, "big") + payload
            sender.send(frame)
            assert receive(receiver, EXPERIMENTAL) == frame


def receive(sock, ethertype):
    while True:
        frame = sock.recv(65536)
        if frame[12:14] == ethertype.to_bytes(2, "big"):
            return frame


def test_mac_is_stable_or_as_asked(net):
    host = net.host("host")
    derived = host.device("tap0", kind="tap")
    assert derived["mac"] is None
    mac = derived["status"]["mac"]
    assert int(mac[:2], 16) & 3 == 2, "locally administered, unicast"
    assert host.namespace.link("tap0")["address"] == mac
    host.namespace.ip("link", "del", "tap0")
    host.restart()
    assert host.namespace.link("tap0")["address"] == mac, "the same after it was made anew"
    asked = host.device("tap0", kind="tap", mac="02:00:5e:10:00:01")
    assert asked["mac"] == asked["status"]["mac"] == host.namespace.link("tap0")["address"] == "02:00:5e:10:00:01"


def test_tun_carries_ip_only(net, pair):
    a, b = pair
    tunnel(a, b)
    with Capture(net, a.namespace, "tun0") as inside:
        assert a.namespace.ping("192.168.3.1", count=2).received == 2
        inside.wait(lambda p: p.is_echo_reply(), 2)
    assert {p.version for p in inside.packets()} <= {4, 6}
    assert "NOARP" in a.namespace.link("tun0")["flags"]

    # what is no IP packet is counted as such and goes nowhere
    before = a.counters("tun0")["worker"]
    with Capture(net, a.namespace, "eth0", "udp port 5000") as outer:
        with a.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EXPERIMENTAL)) as raw:
            raw.bind(("tun0", EXPERIMENTAL))
            raw.send(b"\x10 neither version 4 nor 6, long enough for both of their headers")
            raw.send(b"\x45\x00")
            raw.send(b"\x45\x00\x00\xff\x00\x00\x00\x00\x40\x01\x00\x00" + bytes(8))  # says 255 bytes, has 20
        after = until(lambda: more(a, before, 3), 5, lambda: f"three packets read: {before} → {a.counters('tun0')}")
        assert a.namespace.ping("192.168.3.1", count=1).received == 1  # whatever came out before has come by now
        outer.wait(lambda p: p.inner().is_echo_request(), 1)
    assert after["drops"]["malformed"] - before["drops"]["malformed"] == 3, f"{before} → {after}"
    assert not [str(p) for p in outer.packets() if p.inner().version not in (4, 6) or len(p.payload) < 20]


def more(host, before, packets):
    worker = host.counters("tun0")["worker"]
    return worker if worker["device_in"]["packets"] >= before["device_in"]["packets"] + packets else None


@pytest.mark.parametrize("kind", ["tun", "tap"])
def test_only_the_peer_is_heard(net, pair, kind):
    """udp learns nothing: what does not come from the peer's address and port is counted and dropped."""
    a, b = pair
    tunnel(a, b, name="x0", kind=kind)
    with Capture(net, a.namespace, "x0") as inside:
        before = a.counters("x0")["worker"]["drops"]["unknown_source"]
        forged = bytes.fromhex("45000014000000004001000001020304c0a8030b")
        with b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("10.0.0.2", 5001))  # right address, wrong port
            for _ in range(7):
                stranger.sendto(forged, ("10.0.0.1", 5000))
        b.namespace.ip("address", "add", "10.0.0.3/24", "dev", "eth0")
        with b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("10.0.0.3", 5000))  # wrong address, right port
            for _ in range(5):
                stranger.sendto(forged, ("10.0.0.1", 5000))
        until(lambda: a.counters("x0")["worker"]["drops"]["unknown_source"] == before + 12, 5,
              lambda: f"12 drops: {a.counters('x0')['worker']}")
        assert a.namespace.ping("192.168.3.1", count=1).received == 1
        inside.wait(lambda p: p.is_echo_reply(), 1)
    assert not [str(p) for p in inside.packets() if p.source == "1.2.3.4"]


@pytest.mark.slow
def test_new_ipv6_address_is_a_source_at_once(net):
    """IPv6 looks for duplicates of an address for a second or two, and refuses it as a route's source meanwhile."""
    host = net.host("a")
    host.device("tap0", kind="tap", addresses=["fd00:3::11/64"], routes=[{"to": "fd00:9::/48", "source": "fd00:3::11"}])
    assert [r["prefsrc"] for r in host.namespace.routes(dst="fd00:9::/48")] == ["fd00:3::11"]
