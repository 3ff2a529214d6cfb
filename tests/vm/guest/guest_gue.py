# SPDX-License-Identifier: Apache-2.0
"""Our udp worker with Linux's own fou module at the far end, in every form that both speak.

    a: tunwrightd, tun0 ── udp worker ── 10.0.0.1:5000 ~~~~~~ 10.0.0.2:5000 ── fou ── ipip, sit or ip6tnl device: b

Linux's devices take one inner family each over IPv4: ipip and sit. What it sends must come from port 5000, as the worker takes
packets from its peer only."""

import dataclasses
import re
import socket

import pytest
from lib.capture import Capture
from lib.command import run
from lib.counted import lost
from lib.topology import OVERLAY, udp
from lib.transfer import transfer
from lib.waiting import until

OUTER = {"v4": ("10.0.0.1", "10.0.0.2"), "v6": ("fd00:a::1", "fd00:a::2")}
INNER = {"v4": ("192.168.3.11", "192.168.3.1"), "v6": ("fd00:3::11", "fd00:3::1")}
SIZE = 512 << 10
FAMILY = {"v4": socket.AF_INET, "v6": socket.AF_INET6}


@dataclasses.dataclass
class Form:
    """How both ends put packets into UDP."""
    ours: dict             # of the worker's document
    linux: list            # of ip link add
    outer: str = "v4"
    seen: tuple = (0, 0)   # bytes of the header before a large TCP segment, ours and Linux's
    finished: bool = True  # whether Linux's end of the cable makes packets as a wire wants them


GUE = {"header": "gue"}
GUE_PLAIN = {"header": "gue", "offload": {"checksum": False}}
REMOTE = ["encap", "gue", "encap-csum", "encap-remcsum"]
PLAIN = ["encap", "gue", "encap-csum", "noencap-remcsum"]
FORMS = {
    "bare": Form({}, ["encap", "fou", "encap-csum"]),
    "bare-without-outer-checksum": Form({}, ["encap", "fou", "noencap-csum"]),
    "bare-over-IPv6": Form({}, ["encap", "fou", "encap-csum"], "v6"),
    "gue-remote-checksums": Form(GUE, REMOTE, seen=(12, 12)),
    "gue-remote-checksums-over-IPv6": Form(GUE, REMOTE, "v6", seen=(12, 12)),
    "gue-remote-checksums-unfinished": Form(GUE, REMOTE, seen=(12, 12), finished=False),
    "gue-remote-checksums-from-us": Form(GUE, PLAIN, seen=(12, 4)),
    "gue-remote-checksums-from-Linux": Form(GUE_PLAIN, REMOTE, seen=(4, 12)),
    "gue-plain": Form(GUE_PLAIN, PLAIN, seen=(4, 4)),
    "gue-plain-over-IPv6": Form(GUE_PLAIN, PLAIN, "v6", seen=(4, 4)),
    "gue-without-outer-checksum": Form(GUE_PLAIN, ["encap", "gue", "noencap-csum", "noencap-remcsum"], seen=(4, 4)),
    "bare-to-gue": Form({}, REMOTE, seen=(0, 12)),
}
SHORT = ("bare", "gue-remote-checksums", "gue-remote-checksums-over-IPv6", "gue-plain")  # of these, tests/vm/run --short
HEADERS = {b"\x45": 0, b"\x60": 0, b"\x00": 4, b"\x02": 12}  # by the first byte


@pytest.fixture(scope="module", autouse=True)
def modules():
    for module in "fou", "fou6", "ipip", "sit", "ip6_tunnel":
        run("modprobe", module)


@pytest.fixture(params=[name if name in SHORT else pytest.param(name, marks=pytest.mark.slow) for name in FORMS])
def form(request):
    return FORMS[request.param]


@pytest.fixture
def ends(net, form):
    """Our host and the namespace that is Linux's end."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"], super_packets=True)
    # A cable of veth's carries what Linux has not finished: super-packets, and inner checksums that a card was to fill in.
    if form.finished:
        b.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off")
    local, remote = OUTER[form.outer]
    b.ip(*(["-6"] if form.outer == "v6" else []), "fou", "add", "port", 5000, "gue")
    link = ["local", remote, "remote", local, "ttl", 64, *form.linux, "encap-sport", 5000, "encap-dport", 5000]
    if form.outer == "v4":
        b.ip("link", "add", "four", "type", "ipip", *link)
        b.ip("link", "add", "six", "type", "sit", "mode", "ip6ip", *link)
        devices = {"v4": "four", "v6": "six"}
    else:
        b.ip("link", "add", "both", "type", "ip6tnl", "mode", "any", "encaplimit", "none", *link)
        devices = {"v4": "both", "v6": "both"}
    for device in set(devices.values()):
        b.ip("link", "set", device, "mtu", 1400, "up")
    for family, length in (("v4", 24), ("v6", 64)):
        b.ip("address", "add", f"{INNER[family][1]}/{length}", "dev", devices[family], *(["nodad"] if family == "v6" else []))
    host = net.host("a", a)
    host.device("tun0", kind="tun", mtu=1400, addresses=OVERLAY["a"], worker={**udp(local, remote), **form.ours})
    a.settled("tun0")
    return host, b


def wrong_checksums(namespace):
    said = namespace.run("nstat", "-asz", "UdpInCsumErrors", "Udp6InCsumErrors", "TcpInCsumErrors", "IpInHdrErrors").stdout
    return {name: int(value) for name, value in re.findall(r"^(\w+)\s+(\d+)", said, re.M)}


def headers(capture, source):
    """How long the headers before large packets from `source` are."""
    found = {packet.payload[:1] for packet in capture.packets() if packet.source == source and len(packet.payload or b"") > 1000}
    return {HEADERS.get(first, first) for first in found}


def test_ping_and_tcp_both_ways(net, ends, form):
    host, linux = ends
    with Capture(net, linux, "eth0", "udp port 5000") as capture:
        for family, (ours, theirs) in INNER.items():
            for size in 0, 56, 1301:
                assert host.namespace.ping(theirs, count=3, size=size).received == 3, (family, size)
            assert linux.ping(ours, count=3).received == 3, family
        pings = len(capture.packets())
        for family, (ours, theirs) in INNER.items():
            transfer(host.namespace, linux, FAMILY[family], (theirs, 7000), SIZE, timeout=60)
            transfer(linux, host.namespace, FAMILY[family], (ours, 7001), SIZE, timeout=60)
        assert len(capture.packets()) > pings
    worker = host.counters("tun0")["worker"]
    until(lambda: lost(host.counters("tun0")["worker"]) == 0, 5, lambda: f"equal counters: {host.counters('tun0')}")
    least = 4 * SIZE / 1400
    assert worker["wire_in"]["packets"] > least and worker["wire_out"]["packets"] > least, worker
    assert not any(worker["drops"].values()), worker["drops"]
    for namespace in host.namespace, linux:
        assert not any(wrong_checksums(namespace).values()), wrong_checksums(namespace)
    for source, length in zip(OUTER[form.outer], form.seen):
        assert length in headers(capture, source), (source, headers(capture, source))
