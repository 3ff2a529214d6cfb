# SPDX-License-Identifier: Apache-2.0
"""PATCH, the whole configuration at once, and changes that revert by themselves."""

import contextlib
import datetime
import json
import select
import time

import pytest
from lib.api import PATCH, bare
from lib.waiting import until

TUN0 = "/v1/devices/tun0"


# ---- PATCH ----------------------------------------------------------------------------------------------------------

def test_patch(host):
    host.device("tun0", kind="tun", mtu=1400, labels={"site": "berlin", "old": "yes"}, addresses=["192.168.3.11/24"],
                worker={"type": "monitor", "log_rate": 3})
    patched = host.api("PATCH", TUN0, {"labels": {"old": None, "new": "x"}, "worker": {"log_rate": 4}}, PATCH).expect(200)
    assert patched.changed and patched.json["labels"] == {"new": "x", "site": "berlin"}
    assert patched.json["worker"] == {"type": "monitor", "log_rate": 4} and patched.json["mtu"] == 1400
    assert patched.json["addresses"] == ["192.168.3.11/24"]
    # null is the default again; a list is replaced as a whole; application/json is taken, too
    patched = host.api("PATCH", TUN0, {"mtu": None, "addresses": ["192.168.3.12/24"]}).expect(200)
    assert patched.json["mtu"] == 1500 and patched.json["addresses"] == ["192.168.3.12/24"]
    assert host.namespace.addresses("tun0") == {"192.168.3.12/24"} and host.namespace.link("tun0")["mtu"] == 1500
    assert patched.json == host.get(TUN0)
    again = host.api("PATCH", TUN0, {}, PATCH).expect(200)
    assert again.changed is False and again.headers["etag"] == patched.headers["etag"]
    host.api("PATCH", TUN0, {"status": {"state": "failed"}, "name": "tun0"}, PATCH).expect(200)
    assert host.api("PATCH", TUN0, {"worker": None}, PATCH).expect(200).json["worker"] is None


def test_patch_refused(host):
    host.api("PATCH", TUN0, {"mtu": 1400}, PATCH).problem(404, "not_found")
    host.device("tun0", kind="tun")
    before = host.api("GET", TUN0)
    host.api("PATCH", TUN0, {"mtu": 5, "nonsense": 1}, PATCH).problem(400, "validation_failed", "/mtu", "out_of_range")
    host.api("PATCH", TUN0, {"name": "tun1"}, PATCH).problem(400, "validation_failed", "/name")
    host.api("PATCH", TUN0, raw=b"", headers=PATCH).problem(400, "invalid_json")
    host.api("PATCH", TUN0).problem(400, "invalid_json")
    host.api("PATCH", TUN0, raw=b'{"mtu":1400,"mtu":1300}', headers=PATCH).problem(400, "invalid_json")
    host.api("PATCH", TUN0, raw=b'[{"op":"remove","path":"/mtu"}]',
             headers={"Content-Type": "application/json-patch+json"}).problem(415, "unsupported_media_type")
    host.api("PUT", TUN0, {"kind": "tun"}, PATCH).problem(415, "unsupported_media_type")
    assert host.api("GET", TUN0).body == before.body


# ---- the whole configuration ----------------------------------------------------------------------------------------

def several():
    return [{"name": "tap0", "kind": "tap", "mac": "02:00:5e:00:53:01", "drift": "report"},
            {"name": "tun0", "kind": "tun", "addresses": ["192.168.3.11/24", "fd00:3::11/64"],
             "labels": {"site": "berlin", "city": "Köln"}},
            {"name": "tun1", "kind": "tun", "up": False, "worker": {"type": "monitor"}, "owner": 1000},
            {"name": "tun2", "kind": "tun", "addresses": ["192.168.4.11/24"],
             "routes": [{"to": "10.9.0.0/16", "via": "192.168.4.1", "metric": 7}, {"to": "10.10.0.0/16", "type": "blackhole"}]}]


def test_export_wipe_import(host):
    put = host.api("PUT", "/v1/config", {"devices": several()}).expect(200)
    exported = host.api("GET", "/v1/config").expect(200)
    assert put.changed and put.body == exported.body and put.headers["etag"] == exported.headers["etag"]
    assert [d["name"] for d in exported.json["devices"]] == ["tap0", "tun0", "tun1", "tun2"]
    assert all("status" not in d for d in exported.json["devices"])

    again = host.api("PUT", "/v1/config", raw=exported.body, headers={"Content-Type": "application/json"}).expect(200)
    assert again.changed is False and again.headers["etag"] == exported.headers["etag"] and again.body == exported.body

    wiped = host.api("PUT", "/v1/config", {"devices": []}).expect(200)
    assert wiped.changed and wiped.json == {"devices": []} and host.get("/v1/devices")["items"] == []
    host.api("PUT", "/v1/config", raw=exported.body, headers={"Content-Type": "application/json"}).expect(200)
    assert host.api("GET", "/v1/config").body == exported.body
    assert host.namespace.addresses("tun0") == {"192.168.3.11/24", "fd00:3::11/64"}


def test_what_devices_answer_may_be_put_as_the_configuration(host):
    host.api("PUT", "/v1/config", {"devices": several()}).expect(200)
    devices = host.get("/v1/devices")["items"]
    assert [bare(d) for d in devices] == host.get("/v1/config")["devices"]
    assert host.api("PUT", "/v1/config", {"devices": devices}).expect(200).changed is False


def test_config_disturbs_only_what_differs(host):
    host.api("PUT", "/v1/config", {"devices": several()}).expect(200)
    before = {d["name"]: d["status"] for d in host.get("/v1/devices")["items"]}
    pid = host.worker_pid("tun1")
    documents = [d for d in host.get("/v1/config")["devices"] if d["name"] != "tap0"]
    documents[0]["addresses"].append("192.168.3.12/24")
    host.api("PUT", "/v1/config", {"devices": documents}).expect(200)
    after = {d["name"]: d["status"] for d in host.get("/v1/devices")["items"]}
    assert set(after) == {"tun0", "tun1", "tun2"} and after["tun0"]["generation"] == 2
    assert all(after[n]["generation"] == 1 and after[n]["uuid"] == before[n]["uuid"] for n in ("tun1", "tun2"))
    assert all(after[n]["ifindex"] == before[n]["ifindex"] for n in after) and host.worker_pid("tun1") == pid
    assert host.namespace.link("tap0") is None


def test_config_is_all_or_nothing(host):
    """The last of several cannot be carried out: the kernel is as it was before."""
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"])
    config, kernel = host.api("GET", "/v1/config"), host.namespace.kernel()
    audit = host.get("/v1/audit")
    wanted = [{"name": "tun0", "kind": "tun", "mtu": 1400}, {"name": "tun1", "kind": "tun"},
              {"name": "tun2", "kind": "tun", "routes": [{"to": "10.9.0.0/16", "via": "203.0.113.1"}]}]  # not on link
    refused = host.api("PUT", "/v1/config", {"devices": wanted})
    refused.problem(422, "kernel_refused", "/devices/2/routes/0")
    # by its place in the request, whatever the order of names
    host.api("PUT", "/v1/config", {"devices": wanted[::-1]}).problem(422, "kernel_refused", "/devices/0/routes/0")
    after = host.api("GET", "/v1/config")
    assert after.body == config.body and after.headers["etag"] == config.headers["etag"] and host.get("/v1/audit") == audit
    until(lambda: host.namespace.kernel() == kernel, 5, lambda: f"{kernel}, and not {host.namespace.kernel()}")


def test_config_faults_point_into_the_list(host):
    wrong = [{"name": "tun0", "kind": "tun", "mtu": 5}, {"name": "tun1", "kind": "tun"}, {"kind": "tun"}, 7]
    refused = host.api("PUT", "/v1/config", {"devices": wrong})
    refused.problem(400, "validation_failed", "/devices/0/mtu", "out_of_range")
    pointers = {e["pointer"] for e in refused.json["errors"]}
    assert pointers == {"/devices/0/mtu", "/devices/2/name", "/devices/3"}, refused
    twice = [{"name": "tun1", "kind": "tun"}, {"name": "tun0", "kind": "tun"}, {"name": "tun1", "kind": "tun"}]
    host.api("PUT", "/v1/config", {"devices": twice}).problem(400, "validation_failed", "/devices/2/name", "duplicate")
    host.api("PUT", "/v1/config", {"devices": [], "absent": ["tun0"]}).problem(400, "validation_failed", "/absent", "unknown_field")
    host.api("PUT", "/v1/config", {}).problem(400, "validation_failed", "/devices", "missing_field")
    host.api("PUT", "/v1/config", {"name": "tun0", "kind": "tun"}).expect(400)
    host.api("PUT", "/v1/config").problem(400, "invalid_json")
    assert host.get("/v1/config") == {"devices": []}


def test_config_may_be_big(host):
    label = "x" * 255
    devices = [{"name": f"tun{i}", "kind": "tun", "labels": {f"key{j}": label for j in range(64)}} for i in range(70)]
    body = json.dumps({"devices": devices}).encode()
    assert len(body) > 1 << 20
    dry = host.api("PUT", "/v1/config?dry_run=true", raw=body, headers={"Content-Type": "application/json"}).expect(200)
    assert len(dry.json["differences"]) == 70
    for connection in (host.connection(), host.connection()):
        answer = api_put_in_chunks(connection, b" " * ((32 << 20) + 1))
        assert answer == 413


def api_put_in_chunks(connection, body):
    connection.request("PUT", "/v1/config", body=iter([body[i:i + (1 << 20)] for i in range(0, len(body), 1 << 20)]),
                       headers={"Content-Type": "application/json"}, encode_chunked=True)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    assert document["code"] == "body_too_large" and document["status"] == answer.status
    return answer.status


def send_slowly(host, piece, pause, times, rest):
    """The connection, and when the daemon closed it, in seconds from the beginning; None: it did not."""
    connection = host.connection()
    connection.connect()
    length = times * len(piece) + len(rest)
    connection.sock.sendall(b"PUT /v1/config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                            b"Content-Length: %d\r\n\r\n" % length)
    began = time.monotonic()
    for _ in range(times):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sock.sendall(piece)
        if select.select([connection.sock], [], [], pause)[0]:
            return connection, time.monotonic() - began
    connection.sock.sendall(rest)
    return connection, None


@pytest.mark.slow
def test_big_config_may_take_its_time_and_a_trickle_may_not(host):
    """Whoever sends steadily is waited for, longer than for any other request; whoever only keeps the connection is not."""
    connection, closed = send_slowly(host, b" " * (1 << 20), 1, 7, b'{"devices":[]}')
    with contextlib.closing(connection):
        assert closed is None and connection.sock.recv(15).startswith(b"HTTP/1.1 200")
    connection, closed = send_slowly(host, b" ", 0.5, 20, b'{"devices":[]}')
    with contextlib.closing(connection):
        assert closed and 4 < closed < 9 and connection.sock.recv(1) == b""


# ---- confirmation ---------------------------------------------------------------------------------------------------

def moment(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def pending(host):
    return host.get("/v1/config/confirm")["pending"]


def test_confirmed_in_time(host):
    host.device("tun0", kind="tun")
    changed = host.api("PATCH", f"{TUN0}?confirm_s=30", {"mtu": 1400}, PATCH).expect(200)
    assert changed.changed and changed.json["mtu"] == 1400 and host.namespace.link("tun0")["mtu"] == 1400
    by = changed.headers["tunwright-confirm-by"]
    assert 25 < moment(by) - time.time() <= 30
    waiting = pending(host)
    assert waiting.pop("remaining_s") in range(25, 31)
    assert waiting == {"deadline": by, "actor": "uid:0", "operation": "PATCH /v1/devices/tun0"}

    # everything else waits, but reads and dry runs
    for method, path, body in (("PUT", TUN0, {"kind": "tun"}), ("DELETE", TUN0, None), ("PUT", "/v1/config", {"devices": []}),
                               ("PUT", f"{TUN0}/worker", {"type": "echo"}), ("POST", "/v1/devices", {"name": "tun1", "kind": "tun"}),
                               ("PUT", f"{TUN0}?confirm_s=5", {"kind": "tun"}), ("POST", f"{TUN0}/release", None)):
        host.api(method, path, body).problem(409, "confirmation_pending")
    host.api("DELETE", f"{TUN0}?dry_run=true").expect(200)
    host.get(TUN0)

    confirmed = host.api("POST", "/v1/config/confirm", {}).expect(200)
    assert confirmed.json == {"pending": None} and confirmed.changed is True
    assert pending(host) is None and host.get(TUN0)["mtu"] == 1400
    host.api("POST", "/v1/config/confirm").problem(409, "nothing_pending")
    host.api("POST", "/v1/config/revert").problem(409, "nothing_pending")
    host.api("DELETE", TUN0).expect(204)


def test_reverts_by_itself(host):
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"])
    config = host.get("/v1/config")
    wanted = {"devices": [{"name": "tun1", "kind": "tun", "worker": {"type": "echo"}}]}
    changed = host.api("PUT", "/v1/config?confirm_s=1", wanted).expect(200)
    assert "tunwright-confirm-by" in changed.headers and host.namespace.link("tun0") is None
    until(lambda: pending(host) is None, 10, "the end of the wait")
    assert host.get("/v1/config") == config
    until(lambda: host.namespace.link("tun1") is None and host.namespace.addresses("tun0") == {"192.168.3.11/24"}, 5,
          "the kernel of before")
    events = [e["type"] for e in host.get("/v1/events")["items"]]
    assert "confirmation_pending" in events and "config_reverted" in events
    last = host.get("/v1/audit")["items"][-1]
    assert last["actor"] == "system" and [(c["device"], c["action"]) for c in last["changes"]] == [
        ("tun0", "created"), ("tun1", "deleted")]


def test_reverted_by_hand(host):
    host.device("tun0", kind="tun")
    config = host.api("GET", "/v1/config")
    host.api("DELETE", f"{TUN0}?confirm_s=600").expect(204)
    plan = host.api("POST", "/v1/config/revert?dry_run=true").expect(200)
    assert [(d["device"], d["action"]) for d in plan.json["differences"]] == [("tun0", "created")]
    assert host.namespace.link("tun0") is None
    reverted = host.api("POST", "/v1/config/revert", {}).expect(200)
    assert reverted.changed and reverted.body == config.body and reverted.headers["etag"] == host.api("GET", "/v1/config").headers["etag"]
    assert host.namespace.link("tun0") and pending(host) is None
    host.api("POST", "/v1/config/revert").problem(409, "nothing_pending")


def test_nothing_to_confirm_where_nothing_changed(host):
    host.device("tun0", kind="tun")
    answer = host.api("PUT", f"{TUN0}?confirm_s=600", {"kind": "tun"}).expect(200)
    assert answer.changed is False and "tunwright-confirm-by" not in answer.headers and pending(host) is None


@pytest.mark.parametrize("path", ["/v1/config/confirm", "/v1/config/revert"])
def test_confirmation_takes_no_body(host, path):
    host.api("POST", path, {"yes": True}).problem(400, "validation_failed", "", "unknown_field")
    host.api("POST", path, []).problem(400, "validation_failed", "", "wrong_type")


def test_reverts_after_a_crash(host):
    """The daemon is killed while it waits, and the deadline passes without it."""
    host.device("tun0", kind="tun", mtu=1400)
    host.api("PATCH", f"{TUN0}?confirm_s=1", {"mtu": 1300}, PATCH).expect(200)
    host.kill9("tunwrightd")
    deadline = time.time() + 1.1
    until(lambda: time.time() > deadline, 5, "the deadline")
    host.daemon_start()
    host.ready()
    assert host.get(TUN0)["mtu"] == 1400 and pending(host) is None
    until(lambda: host.namespace.link("tun0")["mtu"] == 1400, 5, "the mtu of before")


@pytest.mark.slow
def test_reverts_after_a_power_cut(net, host):
    """The machine goes down while the change waits, and comes up before the deadline: it still waits, and still reverts."""
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"])
    config = host.api("GET", "/v1/config").body
    wanted = {"devices": [{"name": "tun1", "kind": "tun"}]}
    by = host.api("PUT", "/v1/config?confirm_s=8", wanted).expect(200).headers["tunwright-confirm-by"]
    host.reboot(net.namespace("up"))
    host.start()
    assert pending(host)["deadline"] == by and pending(host)["operation"] == "PUT /v1/config"
    assert host.namespace.link("tun1") and host.namespace.link("tun0") is None
    host.api("DELETE", "/v1/devices/tun1").problem(409, "confirmation_pending")
    until(lambda: pending(host) is None, 20, "the end of the wait")
    assert host.api("GET", "/v1/config").body == config and time.time() >= moment(by)
    until(lambda: host.namespace.link("tun1") is None and host.namespace.addresses("tun0") == {"192.168.3.11/24"}, 5,
          "the kernel of before")
