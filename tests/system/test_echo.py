# SPDX-License-Identifier: Apache-2.0
"""The echo worker answers ping by itself: over IPv4 and IPv6, and on a tap after ARP and neighbour discovery."""

import pytest
from lib.capture import ETHERTYPE_ARP, Capture
from lib.waiting import until

ADDRESSES = ["192.168.3.11/24", "fd00:3::11/64"]


@pytest.fixture(params=["tun", "tap"])
def host(request, net):
    host = net.host("host", net.namespace("host", dad=False))
    host.device("echo0", kind=request.param, addresses=ADDRESSES, worker={"type": "echo"})
    host.namespace.settled("echo0")
    host.kind = request.param
    return host


@pytest.mark.parametrize("target", ["192.168.3.12", "fd00:3::12"])
def test_answers_every_ping(host, target):
    for size in (0, 56, 1000):
        ping = host.namespace.ping(target, count=5, size=size)
        assert (ping.sent, ping.received) == (5, 5), ping.text
        assert "DUP" not in ping.text and "wrong" not in ping.text, ping.text


def test_answers_for_any_address_of_its_subnet_and_for_no_other_protocol(host):
    for target in ("192.168.3.1", "192.168.3.254", "fd00:3::abcd"):
        assert host.namespace.ping(target, count=1).received == 1
    before = host.counters("echo0")["worker"]
    sock = host.namespace.socket(2, 2)
    sock.sendto(b"no answer to this", ("192.168.3.12", 7))
    sock.close()
    until(lambda: host.counters("echo0")["worker"]["drops"]["not_forwarded"] > before["drops"]["not_forwarded"], 5,
          "the UDP packet to be counted as not forwarded")


def test_does_not_claim_our_own_address(net):
    """An answer to a probe for an address that is ours would be a duplicate, and IPv6 would give the address up."""
    host = net.host("host")
    with_one = host.device("tap0", kind="tap", addresses=ADDRESSES, worker={"type": "echo"})
    host.namespace.settled("tap0")
    flags = [a for a in host.namespace.link("tap0")["addr_info"] if a.get("dadfailed")]
    assert not flags and with_one["addresses"] == ADDRESSES


def test_tap_resolves_by_arp(net):
    host = net.host("host", net.namespace("host", dad=False))
    host.device("tap0", kind="tap", addresses=ADDRESSES, worker={"type": "echo"})
    with Capture(net, host.namespace, "tap0", "arp") as capture:
        assert host.namespace.ping("192.168.3.77", count=1).received == 1
        arp = capture.wait(lambda p: p.ethertype == ETHERTYPE_ARP, 2)
    operations = [int.from_bytes(p.payload[6:8], "big") for p in arp]
    assert {1, 2} <= set(operations), operations
