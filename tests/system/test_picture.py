# SPDX-License-Identifier: Apache-2.0
"""The picture the project comes from: host (10.32.0.11) – router – far (10.33.0.1), and between the two ends an overlay with
192.168.3.11 and 192.168.3.1. Packets that the routing table sends to tun0 cross inside UDP from 10.32.0.11 to 10.33.0.1.

        host                        router                          far
    tun0 192.168.3.11 · · · · · · · · · · · · · · · · · · · 192.168.3.1 tun0
    eth0 10.32.0.11 ────── .254  eth0   eth1  .254 ────── 10.33.0.1 eth0
"""

import socket

import pytest
from lib.capture import PROTOCOL_UDP, Capture
from lib.topology import udp
from lib.transfer import transfer

SIZE = 100 * 1000 * 1000
HOST, FAR = "10.32.0.11", "10.33.0.1"


def picture(net, build):
    host, router, far = net.namespace("host"), net.namespace("router"), net.namespace("far")
    net.veth(host, [f"{HOST}/24"], router, ["10.32.0.254/24"], b_name="eth0")
    net.veth(far, [f"{FAR}/24"], router, ["10.33.0.254/24"], b_name="eth1")
    router.sysctl("net/ipv4/ip_forward", 1)
    host.ip("route", "add", "default", "via", "10.32.0.254")
    far.ip("route", "add", "default", "via", "10.33.0.254")
    a, b = net.host("host", host, build=build), net.host("far", far, build=build)
    a.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker=udp(HOST, FAR))
    b.device("tun0", kind="tun", addresses=["192.168.3.1/24"], worker=udp(FAR, HOST))
    return a, b


def is_outer(packet):
    return packet.protocol == PROTOCOL_UDP and packet.dport == 5000


def test_ping_crosses_inside_udp_and_nothing_else_does(net):
    a, b = picture(net, "asan")
    with Capture(net, a.namespace, "eth0") as outer, Capture(net, a.namespace, "tun0") as inside:
        ping = a.namespace.ping("192.168.3.1", count=5)
        assert (ping.sent, ping.received) == (5, 5), ping.text
        # what the routing table does not send to tun0 stays outside
        ping = a.namespace.ping(FAR, count=3)
        assert ping.received == 3, ping.text

        requests = inside.wait(lambda p: p.is_echo_request(), 5)
        wrapped = outer.wait(lambda p: is_outer(p) and p.source == HOST and p.inner().is_echo_request(), 5)
        assert {(p.source, p.target) for p in wrapped} == {(HOST, FAR)}
        assert [p.payload for p in wrapped] == [p.ip for p in requests], "inside is the original, byte for byte"
        assert {(p.inner().source, p.inner().target) for p in wrapped} == {("192.168.3.11", "192.168.3.1")}
        back = outer.wait(lambda p: is_outer(p) and p.source == FAR and p.inner().is_echo_reply(), 5)
        assert {(p.inner().source, p.inner().target) for p in back} == {("192.168.3.1", "192.168.3.11")}
        outer.wait(lambda p: p.is_echo_request() and p.target == FAR, 3)

    # neither is anything of the overlay outside without its wrapping, nor anything else in the tunnel
    assert not [str(p) for p in outer.packets() if p.source and p.source.startswith("192.168.3.")]
    assert not [str(p) for p in inside.packets() if p.version == 4 and not
                {p.source, p.target} <= {"192.168.3.11", "192.168.3.1"}]
    assert not [str(p) for p in outer.packets() if is_outer(p) and p.inner().version == 4 and
                not p.inner().source.startswith("192.168.3.")]


@pytest.mark.parametrize("build", ["release", pytest.param("asan", marks=pytest.mark.slow)])
@pytest.mark.limit(180)
def test_100_mb_of_tcp_cross_and_come_back(net, build):
    a, b = picture(net, build)
    before = a.counters("tun0")["worker"]
    peer = transfer(a.namespace, b.namespace, socket.AF_INET, ("192.168.3.1", 4000), SIZE)
    assert peer[0] == "192.168.3.11"
    after = a.counters("tun0")["worker"]
    for direction in ("device_in", "device_out", "wire_in", "wire_out"):
        assert after[direction]["bytes"] - before[direction]["bytes"] > SIZE, f"{direction}: {before} → {after}"
    # and back down: the tunnel has not gone sour
    assert a.namespace.ping("192.168.3.1", count=3).received == 3


def test_route_sends_more_into_the_tunnel(net):
    a, b = picture(net, "asan")
    b.namespace.ip("address", "add", "10.9.0.1/32", "dev", "lo")
    with Capture(net, a.namespace, "eth0") as outer:
        a.put("/v1/devices/tun0/routes/10.9.0.0/16")
        assert a.namespace.ping("10.9.0.1", count=3).received == 3
        outer.wait(lambda p: is_outer(p) and p.inner().target == "10.9.0.1", 3)
    assert not [str(p) for p in outer.packets() if p.target == "10.9.0.1"]
    a.api("DELETE", "/v1/devices/tun0/routes/10.9.0.0/16").expect(204)
    with Capture(net, a.namespace, "eth0") as outer:
        a.namespace.ping("10.9.0.1", count=1)
        outer.wait(lambda p: p.is_echo_request() and p.target == "10.9.0.1", 1)
    assert not [str(p) for p in outer.packets() if is_outer(p) and p.inner().target == "10.9.0.1"]
