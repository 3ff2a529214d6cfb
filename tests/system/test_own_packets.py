# SPDX-License-Identifier: Apache-2.0
"""The tunnel's own packets, where the default route leads into the tunnel: lost in it, or led past it by a mark or an
interface."""

import pytest
from lib.flow import PingFlow
from lib.topology import udp
from lib.waiting import until

pytestmark = pytest.mark.slow

TUN0 = "/v1/devices/tun0"
FAR = "192.168.3.1"
# the near end, its gateway; the far end, its gateway; everything
WAYS = {"v4": ("10.0.1.2", "10.0.1.1", "10.0.2.2", "10.0.2.1", "0.0.0.0/0", 24),
        "v6": ("fd00:1::2", "fd00:1::1", "fd00:2::2", "fd00:2::1", "::/0", 64)}


@pytest.fixture
def routed(net):
    """routed(family): two hosts with a router between them; the first one's default route leads into the tunnel."""
    def make(family):
        near, near_gateway, far, far_gateway, everything, length = WAYS[family]
        a, router, b = net.namespace("a"), net.namespace("r"), net.namespace("b")
        net.veth(a, [f"{near}/{length}"], router, [f"{near_gateway}/{length}"], b_name="eth0")
        net.veth(b, [f"{far}/{length}"], router, [f"{far_gateway}/{length}"], b_name="eth1")
        for key in "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding":
            router.sysctl(key, 1)
        version = ["-4"] if family == "v4" else ["-6"]
        b.ip(*version, "route", "add", "default", "via", far_gateway)
        # the mark's own table, and a way by the interface that loses against the tunnel's
        a.ip(*version, "route", "add", "default", "via", near_gateway, "table", 51)
        a.ip(*version, "rule", "add", "fwmark", 51, "lookup", 51)
        a.ip(*version, "route", "add", "default", "via", near_gateway, "metric", 4000)
        one, two = net.host("a", a), net.host("b", b)
        two.device("tun0", kind="tun", addresses=["192.168.3.1/24"], worker=udp(far, near))
        one.device("tun0", kind="tun", addresses=["192.168.3.11/24", "fd00:3::11/64"], worker=udp(near, far),
                   routes=[{"to": everything, "metric": 10}])
        return one, two
    return make


def patch(host, **worker):
    return host.api("PATCH", TUN0, {"worker": worker}).expect(200)


def loops(host):
    return host.counters("tun0")["worker"]["drops"]["loop"]


def goes_round(a):
    """Nothing arrives, and it is counted."""
    before = loops(a)
    assert a.namespace.ping(FAR, count=2).received == 0
    until(lambda: loops(a) > before, 5, lambda: f"drops for loop: {a.counters('tun0')}")


def goes_through(a):
    before = loops(a)
    assert a.namespace.ping(FAR, count=3).received == 3
    # what the worker learnt of the path is of the real one, and not of the way through the tunnel
    assert a.namespace.ping(FAR, count=2, size=a.get(TUN0)["mtu"] - 28, M="do").received == 2
    assert loops(a) == before


@pytest.mark.parametrize("family", WAYS)
def test_a_mark_leads_them_past_the_tunnel(routed, family):
    a, _ = routed(family)
    goes_round(a)
    patch(a, mark=51)
    goes_through(a)
    pid = a.worker_pid("tun0")
    patch(a, mark=50)  # no rule is about it
    goes_round(a)
    patch(a, mark=51)
    goes_through(a)
    assert a.worker_pid("tun0") == pid, "the worker goes on"


@pytest.mark.parametrize("family", WAYS)
def test_an_interface_leads_them_past_the_tunnel(routed, family):
    a, _ = routed(family)
    goes_round(a)
    patch(a, interface="eth0")
    goes_through(a)
    patch(a, interface=None)
    goes_round(a)


def test_they_stay_where_they_are_led(routed):
    """Over a restart of netd, and of the worker, whose sockets it is not."""
    a, _ = routed("v4")
    patch(a, mark=51, interface="eth0")
    with PingFlow(a.namespace, FAR) as flow:
        flow.running(20)
        a.kill9("netd")
        a.netd_start()
        a.ready()
        flow.running(20)
        patch(a, interface=None)
        flow.running(20)
        patch(a, mark=None, interface="eth0")
        flow.running(20)
        flow.nothing_lost()
    said = a.namespace.run("ss", "-Hnlue").stdout
    assert "%eth0" in said, said


def test_an_interface_that_is_not_there(pair):
    a, _ = pair
    worker = udp("10.0.0.1", "10.0.0.2")
    problem = a.api("PUT", TUN0, {"kind": "tun", "worker": {**worker, "interface": "nowhere0"}}) \
        .problem(422, "kernel_refused", "/worker/interface")
    assert "nowhere0" in problem["detail"] and problem["operation"] == "SO_BINDTODEVICE" and problem["errno"] == "ENODEV"
    a.api("GET", TUN0).problem(404, "not_found")

    a.device("tun0", kind="tun", worker={**worker, "mark": 7, "interface": "eth0"})
    before = a.namespace.run("ss", "-Hnlue").stdout
    a.api("PATCH", TUN0, {"worker": {"interface": "nowhere0", "mark": 8}}).problem(422, "kernel_refused", "/worker/interface")
    assert a.namespace.run("ss", "-Hnlue").stdout == before and "fwmark:0x7" in before
    assert a.get(TUN0)["worker"]["interface"] == "eth0" and a.status("tun0")["state"] == "ready"
    a.api("PATCH", TUN0, {"worker": {"interface": "tun0"}}).problem(400, "validation_failed", "/worker/interface", "incompatible")


def test_one_address_on_two_interfaces(net):
    """Workers that are bound to different interfaces may have the same port."""
    a, b, c = net.namespace("a"), net.namespace("b"), net.namespace("c")
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"])
    net.veth(a, ["10.0.1.1/24"], c, ["10.0.1.2/24"], a_name="eth1")
    host = net.host("a", a)
    for name, interface, remote in (("tun0", "eth0", "10.0.0.2"), ("tun1", "eth1", "10.0.1.2")):
        host.device(name, kind="tun", worker={**udp("0.0.0.0", remote), "interface": interface})
    host.api("PUT", "/v1/devices/tun2", {"kind": "tun", "worker": {**udp("0.0.0.0", "10.0.1.2"), "interface": "eth1"}}) \
        .problem(409, "address_in_use", "/worker/local")
