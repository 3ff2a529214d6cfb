# SPDX-License-Identifier: Apache-2.0
"""What a refusal says: what is wrong, of which device, where, and what there is to be done."""

import pytest

TUN0 = "/v1/devices/tun0"
UDP_FIELDS = ("local", "remote", "header", "mark", "interface", "offload")


def test_a_refused_configuration_names_the_device(host):
    host.namespace.ip("tuntap", "add", "vpn0", "mode", "tun")
    fine = {"name": "z9", "kind": "tun"}
    for status, code, pointer, device in (
            (422, "kernel_refused", "/devices/1/routes/0", {"name": "a0", "kind": "tun", "routes": [{"to": "10.9.0.0/16", "via": "10.8.0.1"}]}),
            (400, "validation_failed", "/devices/1/mtu", {"name": "a0", "kind": "tun", "mtu": 7}),
            (400, "validation_failed", "/devices/1/colour", {"name": "a0", "kind": "tun", "colour": "red"}),
            (400, "validation_failed", "/devices/1/mac", {"name": "a0", "kind": "tun", "mac": "02:00:5e:00:53:01"}),
            (409, "foreign_device", "/devices/1/name", {"name": "vpn0", "kind": "tun"})):
        problem = host.api("PUT", "/v1/config", {"devices": [fine, device]}).problem(status, code, pointer)
        assert f"{device['name']}: " in problem["detail"] and f"{device['name']}: " in problem["errors"][0]["detail"]
    host.namespace.ip("link", "delete", "vpn0")
    # what has no name that could be said is told by its place
    problem = host.api("PUT", "/v1/config", {"devices": [fine, {"name": "a b", "kind": "tun"}]}).problem(400, "validation_failed")
    assert problem["detail"].startswith("/devices/1/name: \"a b\" ")


def test_fields_that_a_patched_worker_leaves_behind_are_explained(host):
    host.device("tun0", kind="tun", worker={"type": "udp", "local": "127.0.0.1:7000", "remote": "127.0.0.1:7001"})
    problem = host.api("PATCH", TUN0, {"worker": {"type": "monitor", "nonsense": 1}}).problem(400, "validation_failed", "/worker/local",
                                                                                        "unknown_field")
    said = {error["pointer"]: error["detail"] for error in problem["errors"]}
    assert set(said) == {f"/worker/{field}" for field in (*UDP_FIELDS, "nonsense")}
    assert all(("null in the patch takes it away" in said[pointer]) == (pointer != "/worker/nonsense") for pointer in said)
    patched = host.api("PATCH", TUN0, {"worker": {"type": "monitor", **{field: None for field in UDP_FIELDS}}}).expect(200)
    assert patched.json["worker"] == {"type": "monitor", "log_rate": 10}


def test_a_master_that_is_no_bridge(host):
    host.device("tun0", kind="tun")
    for master in ("tun0", "nowhere0"):
        host.api("PUT", "/v1/devices/tap0", {"kind": "tap", "master": master}).problem(422, "kernel_refused", "/master")


def test_a_change_that_waits_says_what_ends_it(host):
    host.api("PUT", f"{TUN0}?confirm_s=60", {"kind": "tun"}).expect(201)
    detail = host.api("DELETE", TUN0).problem(409, "confirmation_pending")["detail"]
    assert "by uid:0 " in detail and "POST /v1/config/confirm" in detail and "POST /v1/config/revert" in detail


# ---- a dry run says what the call would say -------------------------------------------------------------------------

@pytest.mark.parametrize("document, pointer", [
    ({"kind": "tun", "netns": "nowhere"}, "/netns"), ({"kind": "tap", "master": "nowhere0"}, "/master"),
    ({"kind": "tap", "master": "tun0"}, "/master")])
def test_a_dry_run_is_refused_as_the_call(host, document, pointer):
    host.device("tun0", kind="tun")
    for path, body, where in (("/v1/devices/tap0", document, pointer),
                              ("/v1/config", {"devices": [{"name": "tun0", "kind": "tun"}, {"name": "tap0", **document}]},
                               f"/devices/1{pointer}")):
        real = host.api("PUT", path, body)
        real.problem(422, "kernel_refused", where)
        assert host.api("PUT", f"{path}?dry_run=true", body).expect(422).json == real.json
    assert host.namespace.link("tap0") is None


def test_a_dry_run_where_all_is_there(host, net):
    other = net.namespace("o")
    for namespace in (host.namespace, other):
        namespace.ip("link", "add", "br0", "type", "bridge")
    devices = [{"name": f"tap{i}", "kind": "tap", "master": "br0", "netns": other.name if i % 2 else None} for i in range(4)]
    host.api("PUT", "/v1/config?dry_run=true", {"devices": devices}).expect(200)
    host.api("PUT", "/v1/config", {"devices": devices}).expect(200)
    other.ip("link", "delete", "br0")
    host.api("PATCH", "/v1/devices/tap0?dry_run=true", {"netns": other.name}).problem(422, "kernel_refused", "/master")


def test_what_is_taken_over_stays_where_it_is(host, net):
    other = net.namespace("o")
    host.namespace.ip("tuntap", "add", "vpn0", "mode", "tun")
    for query in ("", "?dry_run=true"):
        host.api("POST", f"/v1/devices/vpn0/adopt{query}", {"netns": other.name}).problem(400, "validation_failed", "/netns")
