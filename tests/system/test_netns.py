# SPDX-License-Identifier: Apache-2.0
"""The device in a named namespace, its worker's socket in the daemon's."""

from lib.capture import Capture
from lib.topology import OVERLAY, udp
from lib.waiting import until

TUN0 = "/v1/devices/tun0"


def tunnel_into(pair, inner):
    a, b = pair
    b.device("tun0", kind="tun", addresses=OVERLAY["b"], worker=udp("10.0.0.2", "10.0.0.1"))
    return a.device("tun0", kind="tun", netns=inner.name, addresses=OVERLAY["a"], worker=udp("10.0.0.1", "10.0.0.2"),
                    routes=[{"to": "0.0.0.0/0"}, {"to": "fd00:9::/48", "via": "fd00:3::1"}])


def test_device_there_and_socket_here(net, pair):
    a, b = pair
    inner = net.namespace("inner")
    document = tunnel_into(pair, inner)
    assert document["netns"] == inner.name and document["status"]["state"] == "ready"
    assert a.namespace.link("tun0") is None
    assert inner.ifindex("tun0") == document["status"]["ifindex"]
    assert inner.addresses("tun0") == set(OVERLAY["a"])
    assert {r["dst"] for r in inner.routes(dev="tun0", protocol="84")} == {"default", "fd00:9::/48"}
    with Capture(net, a.namespace, "eth0", "udp port 5000") as outer:
        assert inner.ping("192.168.3.1", count=3).received == 3
        assert inner.ping("fd00:3::1", count=3).received == 3
        outer.wait(lambda p: p.inner().is_echo_request(), 6)
    assert a.counters("tun0")["kernel"]["tx_packets"] == inner.stats("tun0")["tx_packets"]
    # changes reach it there
    a.put(f"{TUN0}/addresses/10.77.0.1/32")
    a.put(f"{TUN0}/routes/10.78.0.0/16")
    assert "10.77.0.1/32" in inner.addresses("tun0") and inner.routes(dst="10.78.0.0/16")
    a.api("DELETE", TUN0).expect(204)
    assert inner.link("tun0") is None and not [r for r in inner.routes() if str(r.get("protocol")) == "84"]


def test_restart_adopts_it_there(net, pair):
    a, b = pair
    inner = net.namespace("inner")
    tunnel_into(pair, inner)
    index, pid = inner.ifindex("tun0"), a.worker_pid("tun0")
    for restart in (lambda: a.kill9("tunwrightd") or a.daemon_start(), lambda: a.kill9("netd") or a.netd_start()):
        restart()
        a.ready()
        assert inner.ifindex("tun0") == index and a.worker_pid("tun0") == pid
        until(lambda: a.status("tun0")["state"] == "ready", 10, lambda: f"state ready: {a.status('tun0')}")
        assert inner.ping("192.168.3.1", count=2).received == 2


def test_two_devices_of_one_kernel_name(net):
    """A document's name is unique; the kernel's names are so in each namespace only."""
    host, inner = net.host("a"), net.namespace("inner")
    inner.ip("tuntap", "add", "tun0", "mode", "tun")
    host.device("tun0", kind="tun")  # here the name is free
    host.api("PUT", "/v1/devices/tun1", {"kind": "tun", "netns": inner.name}).expect(201)
    host.api("DELETE", TUN0).expect(204)
    host.api("PUT", TUN0, {"kind": "tun", "netns": inner.name}).problem(409, "foreign_device")


def test_move_to_another_namespace_makes_it_anew(net):
    host, inner = net.host("a"), net.namespace("inner")
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "echo"})
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "echo"}, netns=inner.name)
    assert host.namespace.link("tun0") is None and inner.addresses("tun0") == {"192.168.3.11/24"}
    assert inner.ping("192.168.3.12", count=2).received == 2
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "echo"})
    assert inner.link("tun0") is None and host.namespace.ping("192.168.3.12", count=2).received == 2
