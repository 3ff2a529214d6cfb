# SPDX-License-Identifier: Apache-2.0
"""Only what is ours is touched."""

import pytest
from lib.comparing import same
from lib.waiting import until

TUN0 = "/v1/devices/tun0"


@pytest.mark.parametrize("make", [("tuntap", "add", "x0", "mode", "tun"), ("tuntap", "add", "x0", "mode", "tap", "multi_queue"),
                                  ("link", "add", "x0", "type", "bridge")])
def test_device_of_somebody_else_is_a_conflict_and_untouched(net, make):
    host = net.host("a")
    host.namespace.ip(*make)
    host.namespace.ip("link", "set", "x0", "up", "alias", "mine")
    host.namespace.ip("address", "add", "192.168.9.1/24", "dev", "x0")
    kernel = host.namespace.kernel()
    for kind in ("tun", "tap"):
        host.api("PUT", "/v1/devices/x0", {"kind": kind, "mtu": 1300, "up": False}).problem(409, "foreign_device")
        host.api("POST", "/v1/devices", {"kind": kind, "name": "x0"}).problem(409, "foreign_device")
    host.api("GET", "/v1/devices/x0").problem(404, "not_found")
    host.api("DELETE", "/v1/devices/x0").problem(404, "not_found")
    host.restart()
    same(kernel, host.namespace.kernel())
    # once it is gone, the name is free
    host.namespace.ip("link", "del", "x0")
    host.api("PUT", "/v1/devices/x0", {"kind": "tun"}).expect(201)


def test_what_others_put_on_our_device_stays(net):
    host = net.host("a")
    document = host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], routes=[{"to": "10.9.0.0/16"}])
    ip = host.namespace.ip
    ip("address", "add", "10.99.0.1/32", "dev", "tun0")
    ip("address", "add", "fd00:99::1/64", "dev", "tun0", "nodad")
    ip("route", "add", "10.98.0.0/16", "dev", "tun0")
    ip("route", "add", "10.97.0.0/16", "dev", "tun0", "proto", "static", "metric", "7")
    host.put(f"{TUN0}/addresses/192.168.3.12/24")
    host.api("DELETE", f"{TUN0}/addresses/192.168.3.11/24").expect(204)
    host.put(f"{TUN0}/routes/10.8.0.0/16")
    host.put(TUN0, {**document, "mtu": 1400, "routes": []})
    host.restart()
    assert {"10.99.0.1/32", "fd00:99::1/64"} <= host.namespace.addresses("tun0")
    assert {"10.98.0.0/16", "10.97.0.0/16"} <= {r["dst"] for r in host.namespace.routes(dev="tun0")}


def test_routes_of_others_with_the_same_key_are_a_refusal(net):
    host = net.host("a")
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"])
    host.namespace.ip("route", "add", "10.9.0.0/16", "dev", "lo")
    problem = host.api("PUT", f"{TUN0}/routes/10.9.0.0/16").problem(422, "kernel_refused")
    assert problem["errno"] == "EEXIST" and problem["operation"] == "RTM_NEWROUTE"
    assert [r["dev"] for r in host.namespace.routes(dst="10.9.0.0/16")] == ["lo"]
    assert host.get(TUN0)["routes"] == []


def test_two_daemon_pairs_in_one_namespace_leave_each_other_alone(net):
    namespace = net.namespace("shared")
    one, two = net.host("one", namespace), net.host("two", namespace)
    for host, name in ((one, "one0"), (two, "two0")):
        host.device(name, kind="tun", routes=[{"to": "10.8.0.0/16" if host is one else "10.9.0.0/16"},
                                              {"to": "10.18.0.0/16" if host is one else "10.19.0.0/16", "type": "blackhole"}])
    one.api("PUT", "/v1/devices/two0", {"kind": "tun"}).problem(409, "foreign_device")
    one.restart()
    one.device("one1", kind="tun")
    one.api("DELETE", "/v1/devices/one0").expect(204)
    two.restart()
    assert namespace.link("two0") and namespace.link("one1") and not namespace.link("one0")
    ours = {r["dst"] for r in namespace.routes(protocol="84")}
    assert ours == {"10.9.0.0/16", "10.19.0.0/16"}


def test_orphan_of_a_crash_is_removed_at_the_start(net):
    """A device that carries our installation's mark and is in no document: the daemon died between the two."""
    host = net.host("a")
    uuid = host.device("tun0", kind="tun")["status"]["uuid"]
    host.kill9("tunwrightd")
    orphan = uuid[:-12] + "0123456789ab"
    foreign = "00000000" + uuid[8:]
    for name, mark in (("orphan0", orphan), ("foreign0", foreign)):
        host.namespace.ip("tuntap", "add", name, "mode", "tun")
        host.namespace.ip("link", "set", name, "alias", f"tunwright:{mark}")
    host.daemon_start()
    host.ready()
    until(lambda: host.namespace.link("orphan0") is None, 10, "the orphan to be gone")
    assert host.namespace.link("foreign0") and host.namespace.link("tun0")["ifalias"] == f"tunwright:{uuid}"


def test_foreign_device_under_a_name_of_ours_at_the_start(net):
    """Ours is gone, and somebody else has its name: a conflict that is told, and the other devices come up."""
    host = net.host("a")
    host.device("tun0", kind="tun")
    host.device("tun1", kind="tun")
    host.kill9("tunwrightd")
    host.kill9("netd")
    for name in ("tun0", "tun1"):
        host.namespace.ip("link", "del", name)
    host.namespace.ip("tuntap", "add", "tun0", "mode", "tap")
    other = host.namespace.link("tun0")
    host.start()
    status = until(lambda: host.status("tun0")["reason"] and host.status("tun0"), 10, "a reason")
    assert status["state"] == "conflict" and status["reason"]["code"] == "foreign_device", status
    # nothing was done, so there is nothing to roll back and nothing to say of it
    refused = host.api("PUT", "/v1/devices/tun0/addresses/192.168.3.12/24").problem(409, "foreign_device", "/name")
    assert len(refused["errors"]) == 1, refused
    assert host.status("tun1")["state"] == "ready"
    assert host.namespace.link("tun0") == other
