# SPDX-License-Identifier: Apache-2.0
"""A device that somebody else made is taken over, looked after, and let go again: it stays, whatever becomes of us."""

import contextlib
import fcntl
import os
import struct

import pytest
from lib.api import PATCH, bare
from lib.waiting import until

TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI = 0x400454CA, 1, 2, 0x1000


@pytest.fixture
def found(host):
    """tap9, made by hand."""
    ip = host.namespace.ip
    ip("tuntap", "add", "tap9", "mode", "tap", "user", "1234")
    ip("link", "set", "tap9", "address", "02:00:5e:00:53:09", "mtu", "1400", "txqueuelen", "77", "up")
    ip("address", "add", "192.168.9.1/24", "dev", "tap9")
    ip("route", "add", "10.9.0.0/16", "via", "192.168.9.2", "dev", "tap9", "metric", "7")
    return host


def seen(host, name="tap9"):
    """What ip(8) shows of it, but for who has marked what as whose."""
    link = host.namespace.link(name)
    routes = {(r["dst"], r.get("gateway"), r.get("metric")) for r in host.namespace.routes(dev=name)}
    return ({k: link[k] for k in ("ifindex", "mtu", "txqlen", "address", "flags")} | {"data": link["linkinfo"]["info_data"]},
            host.namespace.addresses(name), routes)


def test_adopted_as_it_is(found):
    before = seen(found)
    assert found.api("GET", "/v1/devices/tap9").status == 404
    found.api("PUT", "/v1/devices/tap9", {"kind": "tap"}).problem(409, "foreign_device")
    plan = found.api("POST", "/v1/devices/tap9/adopt?dry_run=true").expect(200)
    assert plan.json["changed"] and plan.json["disturbs"] == "none" and plan.json["steps"][0]["operation"] == "device_adopt"
    assert plan.json["differences"][0]["action"] == "adopted"
    assert "ifalias" not in found.namespace.link("tap9") and found.get("/v1/devices")["items"] == []

    adopted = found.api("POST", "/v1/devices/tap9/adopt").expect(201)
    assert adopted.changed and adopted.headers["location"] == "/v1/devices/tap9"
    document = adopted.json
    assert bare(document) == {
        "name": "tap9", "kind": "tap", "up": True, "mtu": 1400, "txqueuelen": 77, "queues": 1, "mac": "02:00:5e:00:53:09",
        "owner": 1234, "group": None, "netns": None, "master": None, "labels": {}, "addresses": ["192.168.9.1/24"],
        "routes": [{"to": "10.9.0.0/16", "via": "192.168.9.2", "metric": 7, "table": 254, "type": "unicast", "source": None}],
        "worker": None, "drift": "report"}
    assert document["status"]["state"] == "ready" and document["status"]["ifindex"] == before[0]["ifindex"]
    assert adopted.headers["etag"] == found.api("GET", "/v1/devices/tap9").headers["etag"]
    assert seen(found) == before
    assert found.namespace.link("tap9")["ifalias"] == f"tunwright:{document['status']['uuid']}"
    found.api("POST", "/v1/devices/tap9/adopt").problem(409, "already_exists")
    assert found.get("/v1/audit")["items"][-1]["changes"][0]["action"] == "adopted"

    # it is looked at from now on, and looked after once that is asked for
    found.namespace.ip("link", "set", "tap9", "mtu", "1300")
    until(lambda: found.status("tap9")["deviations"], 5, "a deviation")
    found.api("PATCH", "/v1/devices/tap9", {"drift": "repair"}, PATCH).expect(200)
    until(lambda: found.namespace.link("tap9")["mtu"] == 1400, 5, "a repair")

    released = found.api("POST", "/v1/devices/tap9/release").expect(204)
    assert released.changed and released.body == b""
    assert seen(found) == before and "ifalias" not in found.namespace.link("tap9")
    found.api("GET", "/v1/devices/tap9").problem(404, "not_found")
    found.api("POST", "/v1/devices/tap9/release").problem(404, "not_found")
    assert found.get("/v1/audit")["items"][-1]["changes"][0]["action"] == "released"
    # nobody cares for it any more
    found.namespace.ip("link", "set", "tap9", "mtu", "1300")
    found.restart()
    assert found.namespace.link("tap9")["mtu"] == 1300
    found.api("POST", "/v1/devices/tap9/adopt").expect(201)


def test_adopted_with_a_patch(found):
    patch = {"labels": {"site": "berlin"}, "mtu": 1350, "addresses": ["192.168.9.1/24", "192.168.10.1/24"], "drift": "report",
             "worker": {"type": "monitor"}}
    adopted = found.api("POST", "/v1/devices/tap9/adopt", patch, PATCH).expect(201)
    assert adopted.json | patch | {"worker": adopted.json["worker"]} == adopted.json
    assert found.namespace.addresses("tap9") == {"192.168.9.1/24", "192.168.10.1/24"}
    assert found.namespace.link("tap9")["mtu"] == 1350
    assert found.worker_pid("tap9")
    # drift is reported, field by field
    found.namespace.ip("link", "set", "tap9", "mtu", "1300")
    deviations = until(lambda: found.status("tap9")["deviations"], 5, "a deviation")
    assert deviations == [{"pointer": "/mtu", "operation": "link_set", "wanted": 1350, "found": 1300}]
    found.namespace.ip("link", "set", "tap9", "mtu", "1350")
    until(lambda: not found.status("tap9")["deviations"], 5, "an end of it")
    for condition in ({"If-Match": '"other"'}, {"If-None-Match": "*"}):
        found.api("POST", "/v1/devices/tap9/release", headers=condition).problem(412, "precondition_failed")
    found.api("POST", "/v1/devices/tap9/release", {}, {"If-Match": adopted.headers["etag"]}).expect(204)
    assert found.namespace.addresses("tap9") == {"192.168.9.1/24", "192.168.10.1/24"}
    until(lambda: not found.worker_pids(), 5, "an end of the worker")


def test_adoption_refused(found):
    before = seen(found)
    found.namespace.ip("link", "add", "dummy9", "type", "bridge")
    found.device("tun0", kind="tun")
    for name, status, code in (("nobody", 404, "not_found"), ("tun0", 409, "already_exists"), ("dummy9", 422, "kernel_refused"),
                               ("a23456789012345x", 404, "not_found")):
        found.api("POST", f"/v1/devices/{name}/adopt").problem(status, code)
    found.api("POST", "/v1/devices/tap9/adopt?netns=nowhere").problem(404, "not_found")
    found.api("POST", "/v1/devices/tap9/adopt?netns=..").problem(400, "invalid_query")
    found.api("POST", "/v1/devices/tap9/adopt", {"mtu": 5}).problem(400, "validation_failed", "/mtu", "out_of_range")
    found.api("POST", "/v1/devices/tap9/adopt", {"name": "tap8"}).problem(400, "validation_failed", "/name")
    found.api("POST", "/v1/devices/tap9/release").problem(404, "not_found")
    found.namespace.ip("link", "set", "tap9", "alias", "somebody's own")
    found.api("POST", "/v1/devices/tap9/adopt").problem(409, "foreign_device")
    assert seen(found) == before and found.namespace.link("tap9")["ifalias"] == "somebody's own"


def test_another_installation_keeps_its_devices(net):
    shared = net.namespace("ab")
    a, b = net.host("a", shared), net.host("b", shared)
    a.device("tun0", kind="tun")
    b.api("POST", "/v1/devices/tun0/adopt").problem(409, "foreign_device")
    b.api("POST", "/v1/devices/tun0/release").problem(404, "not_found")
    a.api("POST", "/v1/devices/tun0/release").expect(204)
    b.api("POST", "/v1/devices/tun0/adopt").expect(201)
    a.api("PUT", "/v1/devices/tun0", {"kind": "tun"}).problem(409, "foreign_device")


@contextlib.contextmanager
def held(namespace, name, flags):
    """The device's queue in somebody else's hands."""
    with namespace.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        with namespace.entered():
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags | IFF_NO_PI))
        yield
    finally:
        os.close(fd)


def test_device_in_somebodys_hands(found):
    """Its queue is taken, or it would go with its holder."""
    with held(found.namespace, "tun9", IFF_TUN):
        found.api("POST", "/v1/devices/tun9/adopt").problem(422, "kernel_refused")
        found.api("POST", "/v1/devices/tun9/adopt", {"worker": {"type": "echo"}}).problem(422, "kernel_refused")
    with held(found.namespace, "tap9", IFF_TAP):
        found.api("POST", "/v1/devices/tap9/adopt", {"worker": {"type": "echo"}}).expect(422)
    found.api("POST", "/v1/devices/tap9/adopt", {"worker": {"type": "echo"}}).expect(201)


def test_release_takes_the_time_to_think(found):
    """confirm_s: what is not confirmed is ours again."""
    found.api("POST", "/v1/devices/tap9/adopt").expect(201)
    found.api("POST", "/v1/devices/tap9/release?confirm_s=1").expect(204)
    until(lambda: found.api("GET", "/v1/devices/tap9").status == 200, 10, "its return")
    assert "ifalias" in found.namespace.link("tap9")
