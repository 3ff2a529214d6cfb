# SPDX-License-Identifier: Apache-2.0
"""Changes on terms: entity tags and preconditions, and dry runs that change nothing."""

import pytest
from lib.api import PATCH, bare

TUN0 = "/v1/devices/tun0"


# ---- entity tags ----------------------------------------------------------------------------------------------------

def test_tag_names_the_configuration_and_not_the_status(host):
    put = host.api("PUT", TUN0, {"kind": "tun", "addresses": ["192.168.3.11/24"]}).expect(201)
    tag = put.headers["etag"]
    assert tag.startswith('"') and tag.endswith('"')
    host.namespace.ip("link", "set", "tun0", "txqueuelen", "77")  # status changes, and changes back
    for path in (TUN0, f"{TUN0}/addresses", f"{TUN0}/routes"):
        assert host.api("GET", path).expect(200).headers["etag"] == tag
    again = host.api("PUT", TUN0, put.json).expect(200)
    assert again.headers["etag"] == tag and again.changed is False
    changed = host.api("PUT", f"{TUN0}/routes/10.9.0.0/16").expect(201)
    assert changed.headers["etag"] != tag
    worker = host.api("PUT", f"{TUN0}/worker", {"type": "echo"}).expect(201)
    assert worker.headers["etag"] not in (tag, changed.headers["etag"])
    assert host.api("GET", f"{TUN0}/worker").headers["etag"] == worker.headers["etag"]
    tags = [host.api("DELETE", f"{TUN0}/{part}").expect(204).headers["etag"]
            for part in ("worker", "routes/10.9.0.0/16", "addresses/192.168.3.11/24")]
    assert len({tag, changed.headers["etag"], worker.headers["etag"], *tags}) == 6
    assert host.api("GET", TUN0).headers["etag"] == tags[-1]
    deleted = host.api("DELETE", TUN0).expect(204)
    assert "etag" not in deleted.headers
    # one that is made again is another
    assert host.api("PUT", TUN0, {"kind": "tun"}).expect(201).headers["etag"] != tag


@pytest.mark.parametrize("path", [TUN0, f"{TUN0}/addresses", f"{TUN0}/routes", f"{TUN0}/worker", "/v1/config"])
def test_reads_on_conditions(host, path):
    host.device("tun0", kind="tun", worker={"type": "echo"})
    whole = host.api("GET", path).expect(200)
    tag = whole.headers["etag"]
    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        unchanged = host.api("GET", path, headers={"If-None-Match": value}).expect(304)
        assert unchanged.body == b"" and unchanged.headers["etag"] == tag and "content-type" not in unchanged.headers
        host.api("HEAD", path, headers={"If-None-Match": value}).expect(304)
    assert host.api("GET", path, headers={"If-None-Match": '"other"'}).expect(200).body == whole.body
    assert host.api("GET", path, headers={"If-Match": tag}).expect(200).body == whole.body
    host.api("GET", path, headers={"If-Match": '"other"'}).problem(412, "precondition_failed")


def test_of_what_is_not_there_nothing_is_said(host):
    host.api("GET", TUN0, headers={"If-None-Match": "*"}).problem(404, "not_found")
    host.device("tun0", kind="tun")
    host.api("GET", f"{TUN0}/worker", headers={"If-None-Match": "*"}).problem(404, "not_found")


def changes():
    """Each change of tun0 that may stand on a condition."""
    return [("PUT", TUN0, {"kind": "tun", "mtu": 1400}, None), ("PATCH", TUN0, {"mtu": 1300}, PATCH),
            ("PUT", f"{TUN0}/addresses/192.168.3.12/24", None, None), ("DELETE", f"{TUN0}/addresses/192.168.3.11/24", None, None),
            ("PUT", f"{TUN0}/routes/10.8.0.0/16", None, None), ("DELETE", f"{TUN0}/routes/10.9.0.0/16", None, None),
            ("PUT", f"{TUN0}/worker", {"type": "monitor"}, None), ("DELETE", f"{TUN0}/worker", None, None),
            ("DELETE", TUN0, None, None)]


def test_changes_only_what_was_seen(host):
    wanted = {"kind": "tun", "addresses": ["192.168.3.11/24"], "routes": [{"to": "10.9.0.0/16"}], "worker": {"type": "echo"}}
    for method, path, body, headers in changes():
        before = host.api("PUT", TUN0, wanted).expect(200, 201)
        for condition in ({"If-Match": '"other"'}, {"If-Match": f'W/{before.headers["etag"]}'}, {"If-None-Match": "*"},
                          {"If-None-Match": before.headers["etag"]}):
            refused = host.api(method, path, body, headers={**(headers or {}), **condition})
            refused.problem(412, "precondition_failed")
            refused = host.api(method, f"{path}?dry_run=true", body, headers={**(headers or {}), **condition})
            refused.problem(412, "precondition_failed")
        assert host.api("GET", TUN0).headers["etag"] == before.headers["etag"]
        condition = {"If-Match": f'"other" , {before.headers["etag"]}'}
        done = host.api(method, path, body, headers={**(headers or {}), **condition}).expect(200, 201, 204)
        assert done.changed is True


def test_create_only(host):
    once = {"If-None-Match": "*"}
    host.api("PUT", TUN0, {"kind": "tun"}, headers=once).expect(201)
    host.api("PUT", TUN0, {"kind": "tun", "mtu": 1400}, headers=once).problem(412, "precondition_failed")
    assert host.get(TUN0)["mtu"] == 1500
    host.api("PUT", "/v1/devices/tun1", {"kind": "tun"}, headers={"If-Match": "*"}).problem(412, "precondition_failed")
    host.api("GET", "/v1/devices/tun1").problem(404, "not_found")


def test_config_only_as_it_was_seen(host):
    config = host.api("GET", "/v1/config").expect(200)
    changed = host.api("PUT", "/v1/config", {"devices": [{"name": "tun0", "kind": "tun"}]},
                       headers={"If-Match": config.headers["etag"]}).expect(200)
    assert changed.headers["etag"] != config.headers["etag"]
    host.api("PUT", "/v1/config", {"devices": []}, headers={"If-Match": config.headers["etag"]}).problem(412, "precondition_failed")
    # what changes one device changes the whole
    host.device("tun0", kind="tun", mtu=1400)
    host.api("PUT", "/v1/config", {"devices": []}, headers={"If-Match": changed.headers["etag"]}).problem(412, "precondition_failed")
    assert len(host.get("/v1/config")["devices"]) == 1


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", ["", "tag", '"a', '"a" "b"', '*, "a"', 'w/"a"', ",", '"a b"'])
def test_malformed_lists(still, name, value):
    still.api("PUT", TUN0, {"kind": "tun"}, headers={name: value}).problem(400, "invalid_request")
    still.api("GET", "/v1/config", headers={name: value}).problem(400, "invalid_request")
    still.api("GET", TUN0).problem(404, "not_found")


# ---- dry runs -------------------------------------------------------------------------------------------------------

WHOLE = {"kind": "tun", "addresses": ["192.168.3.11/24"], "routes": [{"to": "10.9.0.0/16"}], "worker": {"type": "echo"},
         "labels": {"site": "berlin"}}


def state(host):
    return host.configuration(), host.namespace.kernel(), host.get("/v1/events?limit=1000"), host.get("/v1/audit?limit=1000")


def tried(host, method, path, body=None, headers=None):
    """A dry run, which must change nothing; then the change itself, which must do what the dry run said."""
    separator = "&" if "?" in path else "?"
    before = state(host)
    plan = host.api(method, f"{path}{separator}dry_run=true", body, headers).expect(200)
    assert plan.changed is False and "location" not in plan.headers and "etag" not in plan.headers
    assert state(host) == before
    done = host.api(method, f"{path}{separator}dry_run=false", body, headers).expect(200, 201, 204)
    assert done.changed is plan.json["changed"]
    again = host.get("/v1/audit?limit=1000")["items"]
    if plan.json["changed"]:
        assert again[-1]["changes"] == plan.json["differences"], "the audit log says what the dry run said"
    else:
        assert again == before[3]["items"]
    return plan.json


def operations(plan):
    return [step["operation"] for step in plan["steps"]]


def test_dry_run_of_a_device(host):
    plan = tried(host, "PUT", TUN0, WHOLE)
    assert plan["changed"] is True
    assert operations(plan) == ["device_create", "link_set", "address_add", "route_add", "worker_start"]
    create, _, address, route, worker = plan["steps"]
    assert create["device"] == "tun0" and create["netns"] is None and create["create"]["kind"] == "tun"
    assert address["address"] == "192.168.3.11/24" and route["route"]["to"] == "10.9.0.0/16" and worker["worker"] == {"type": "echo"}
    difference, = plan["differences"]
    assert (difference["device"], difference["action"]) == ("tun0", "created")
    assert difference["patch"] == bare(host.get(TUN0))

    plan = tried(host, "PUT", TUN0, WHOLE)
    assert plan == {"changed": False, "disturbs": "none", "steps": [], "differences": []}

    plan = tried(host, "PATCH", TUN0, {"mtu": 1400, "labels": {"site": None}}, PATCH)
    assert operations(plan) == ["link_set"] and plan["steps"][0]["link"] == {"mtu": 1400} and plan["disturbs"] == "none"
    assert plan["differences"] == [{"device": "tun0", "action": "changed", "patch": {"mtu": 1400, "labels": {"site": None}}}]

    plan = tried(host, "PUT", f"{TUN0}/addresses/192.168.3.12/24")
    assert operations(plan) == ["address_add"] and plan["disturbs"] == "none"
    plan = tried(host, "PUT", f"{TUN0}/worker", {"type": "monitor"})
    assert plan["disturbs"] == "none" and operations(plan) == ["worker_configure"]
    plan = tried(host, "DELETE", f"{TUN0}/worker")
    assert plan["disturbs"] == "flap" and operations(plan) == ["worker_stop"]
    plan = tried(host, "PATCH", TUN0, {"up": False}, PATCH)
    assert plan["disturbs"] == "flap" and {"up": False} in [step.get("link") for step in plan["steps"]]
    plan = tried(host, "PATCH", TUN0, {"up": True}, PATCH)
    assert "route_add" in operations(plan)
    plan = tried(host, "PUT", TUN0, {**WHOLE, "kind": "tap"})
    assert plan["disturbs"] == "recreate" and {"device_delete", "device_create"} <= set(operations(plan))
    plan = tried(host, "DELETE", TUN0)
    assert plan["disturbs"] == "recreate" and operations(plan)[-1] == "device_delete"
    assert plan["differences"] == [{"device": "tun0", "action": "deleted", "patch": None}]


def test_dry_run_of_a_name_to_be_found(host):
    host.device("tun0", kind="tun")
    plan = tried(host, "POST", "/v1/devices", {"name": "tun%d", "kind": "tun"})
    assert plan["steps"][0]["device"] == "tun1" and plan["differences"][0]["device"] == "tun1"


def test_dry_run_of_the_whole_configuration(host):
    host.device("tun0", kind="tun")
    host.device("tun1", kind="tun")
    plan = tried(host, "PUT", "/v1/config", {"devices": [{"name": "tun1", "kind": "tun", "mtu": 1400}, {"name": "tun2", "kind": "tun"}]})
    assert [(d["device"], d["action"]) for d in plan["differences"]] == [
        ("tun0", "deleted"), ("tun1", "changed"), ("tun2", "created")]
    assert plan["disturbs"] == "recreate"
    assert {step["device"] for step in plan["steps"]} == {"tun0", "tun1", "tun2"}


def test_dry_run_is_refused_as_the_change_is(host):
    host.namespace.ip("tuntap", "add", "theirs", "mode", "tun")
    host.device("tun0", kind="tun", worker={"type": "udp", "local": "127.0.0.1:5000", "remote": "127.0.0.1:5001"})
    before = state(host)
    for method, path, body, status, code in (
            ("PUT", "/v1/devices/tun1", {"kind": "tun", "mtu": 5}, 400, "validation_failed"),
            ("PATCH", "/v1/devices/tun1", {"mtu": 1400}, 404, "not_found"),
            ("PATCH", TUN0, {"mtu": 5}, 400, "validation_failed"),
            ("DELETE", "/v1/devices/tun1", None, 404, "not_found"),
            ("POST", "/v1/devices", {"name": "tun0", "kind": "tun"}, 409, "already_exists"),
            ("PUT", "/v1/devices/theirs", {"kind": "tun"}, 409, "foreign_device"),
            ("DELETE", f"{TUN0}/routes/10.9.0.0/16", None, 404, "not_found"),
            ("POST", "/v1/config/revert", None, 409, "nothing_pending")):
        dry = host.api(method, f"{path}?dry_run=true", body).problem(status, code)
        wet = host.api(method, path, body).problem(status, code)
        assert dry == wet
    assert state(host) == before


@pytest.mark.parametrize("query", ["dry_run=yes", "dry_run", "dry_run=1", "dry_run=true&dry_run=true", "dry_run=true&confirm_s=60",
                                   "confirm_s=0", "confirm_s=86401", "confirm_s=1.5", "confirm_s=-1", "confirm_s", "confirm=60"])
def test_wrong_terms(still, query):
    for method, path, body in (("PUT", TUN0, {"kind": "tun"}), ("PUT", "/v1/config", {"devices": []}), ("DELETE", TUN0, None)):
        still.api(method, f"{path}?{query}", body).problem(400, "invalid_query")
    assert still.get("/v1/devices")["items"] == []
    still.api("GET", "/v1/devices?dry_run=true").problem(400, "invalid_query")
    still.api("POST", "/v1/config/confirm?dry_run=true").problem(400, "invalid_query")
    still.api("POST", "/v1/config/revert?confirm_s=5").problem(400, "invalid_query")
