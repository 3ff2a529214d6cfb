# SPDX-License-Identifier: Apache-2.0
"""Named tokens: made, shown once, kept as a hash, limited by role, selector and time, and ended at once."""

import datetime
import os
import re
import sqlite3
import stat
import time

import pytest
from lib import api, door
from lib.host import USER
from lib.waiting import until

TOKENS = "/v1/tokens"
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


@pytest.fixture
def host(net):
    return net.host("a", listen=[f"127.0.0.1:{door.PLAIN_PORT}"])


def ask(host, token, method, path, body=None, headers=None):
    return door.ask(door.plain(host, door.new_source()), method, path, token, body, headers)


def names(host):
    return [t["name"] for t in host.get(TOKENS)["items"]]


def in_seconds(seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


# ---- made and ended -------------------------------------------------------------------------------------------------

def test_made_shown_once_and_ended(host):
    made = host.api("POST", TOKENS, {"name": "ci", "role": "operator"}).expect(201)
    assert made.headers["location"] == "/v1/tokens/ci" and made.changed and made.headers["cache-control"] == "no-store"
    document = made.json
    secret = document.pop("token")
    assert re.fullmatch(r"[0-9a-f]{64}", secret) and TIME.match(document["created"])
    assert document == {"name": "ci", "kind": "bearer", "role": "operator", "selector": None, "created": document["created"],
                        "expires": None}
    listed = host.api("GET", TOKENS).expect(200)
    assert listed.json["items"][1] == document and listed.json["next"] is None and secret not in listed.body.decode()
    assert names(host) == ["admin", "ci"]
    host.api("POST", TOKENS, {"name": "ci", "role": "reader"}).problem(409, "already_exists", "/name")
    assert ask(host, secret, "PUT", "/v1/devices/tun0", {"kind": "tun"}).expect(201).changed

    ended = host.api("DELETE", f"{TOKENS}/ci").expect(204)
    assert ended.changed and ended.body == b""
    ask(host, secret, "GET", "/v1/devices").problem(401, "unauthenticated")
    host.api("DELETE", f"{TOKENS}/ci").problem(404, "not_found")
    host.api("DELETE", f"{TOKENS}/{'x' * 70}").problem(404, "not_found")
    # another of the same name is another
    again = door.make_token(host, "ci", "reader")
    assert again != secret
    ask(host, secret, "GET", "/v1/devices").problem(401, "unauthenticated")
    ask(host, again, "GET", "/v1/devices").expect(200)


def test_dry_run(host):
    answer = host.api("POST", f"{TOKENS}?dry_run=true", {"name": "ci", "role": "reader"}).expect(200)
    assert answer.json["changed"] is True and answer.json["steps"] == [] and answer.json["disturbs"] == "none"
    assert answer.changed is False and "token" not in answer.json and names(host) == ["admin"]
    host.api("DELETE", f"{TOKENS}/admin?dry_run=true").expect(200)
    assert names(host) == ["admin"]
    host.api("POST", f"{TOKENS}?dry_run=true", {"name": "admin", "role": "reader"}).problem(409, "already_exists")
    host.api("POST", f"{TOKENS}?confirm_s=5", {"name": "ci", "role": "reader"}).problem(400, "invalid_query")


@pytest.mark.parametrize("change,pointer", [
    ({"name": ""}, "/name"), ({"name": "a b"}, "/name"), ({"name": "x" * 64}, "/name"), ({"name": "-x"}, "/name"),
    ({"name": "a/b"}, "/name"), ({"role": "root"}, "/role"), ({"role": "nobody"}, "/role"), ({"kind": "password"}, "/kind"),
    ({"selector": "a b"}, "/selector"), ({"selector": ""}, "/selector"), ({"selector": ["a"]}, "/selector"), ({"expires": "tomorrow"}, "/expires"),
    ({"expires": 5}, "/expires"), ({"expires": "2020-01-01T00:00:00Z"}, "/expires"), ({"token": "0" * 64}, "/token"),
    ({"created": "2020-01-01T00:00:00Z"}, "/created"), ({"digest": "0"}, "/digest"), ({"role": None}, "/role")])
def test_faults(still, change, pointer):
    still.api("POST", TOKENS, {"name": "ci", "role": "reader", **change}).problem(400, "validation_failed", pointer)
    assert names(still) == ["admin"]


def test_what_is_on_disk_opens_nothing(host):
    secret = door.make_token(host, "ci", "admin")
    host.daemon.kill9()
    for file in host.state_dir.iterdir():
        assert secret.encode() not in file.read_bytes(), file
    with sqlite3.connect(f"file:{host.state_dir}/tunwright.db?mode=ro", uri=True) as database:
        digest = database.execute("SELECT digest FROM token WHERE name = 'ci'").fetchone()[0].hex()
    host.daemon_start()
    host.ready()
    ask(host, digest, "GET", "/v1/devices").problem(401, "unauthenticated")
    ask(host, secret, "GET", "/v1/devices").expect(200)  # what was acknowledged survived the kill


def test_audit_and_events_tell_who_but_no_secret(host):
    secret = door.make_token(host, "ci", "admin")
    other = ask(host, secret, "POST", TOKENS, {"name": "second", "role": "reader"}).expect(201).json["token"]
    ask(host, secret, "DELETE", f"{TOKENS}/second").expect(204)
    answer = host.api("GET", "/v1/audit").expect(200)
    mine = [e for e in answer.json["items"] if e["actor"] == "token:ci"]
    assert [e["operation"] for e in mine] == ["POST /v1/tokens", "DELETE /v1/tokens/second"]
    assert [(e["changes"][0]["token"], e["changes"][0]["action"]) for e in mine] == [("second", "created"), ("second", "deleted")]
    assert re.fullmatch(r"127\.\d+\.\d+\.\d+:\d+", mine[0]["address"])
    root = [e for e in answer.json["items"] if e["operation"] == "POST /v1/tokens"][0]
    assert root["actor"] == "uid:0" and root["address"] == "unix"
    assert secret not in answer.body.decode() and other not in answer.body.decode()
    events = [(e["type"], e["detail"]) for e in host.get("/v1/events?limit=1000")["items"] if e["type"].startswith("token")]
    assert events[-3:] == [("token_created", "ci"), ("token_created", "second"), ("token_deleted", "second")]


# ---- time -----------------------------------------------------------------------------------------------------------

def test_expiry(host):
    expires = in_seconds(2)
    secret = door.make_token(host, "short", "admin", expires=expires)
    ask(host, secret, "GET", TOKENS).expect(200)
    assert host.get(TOKENS)["items"][1]["expires"] == expires
    stream = api.Stream(door.plain(host), "/v1/watch?topics=events", {"Authorization": f"Bearer {secret}"})
    assert stream.status == 200
    began = time.monotonic()
    until(lambda: ask(host, secret, "GET", TOKENS).status == 401, 5, "its end")
    ended(stream, 2)
    assert time.monotonic() - began < 4
    assert "expired" in ask(host, secret, "GET", TOKENS).problem(401, "unauthenticated")["detail"]


def ended(stream, within):
    """The stream's connection is closed, and not just silent."""
    stream.connection.sock.settimeout(within)
    while True:
        try:
            if not stream.answer.readline():
                return
        except api.http.client.IncompleteRead:
            return


def test_streams_end_with_their_token(host):
    first, second = door.make_token(host, "first", "reader"), door.make_token(host, "second", "reader")
    streams = {t: api.Stream(door.plain(host), "/v1/watch?topics=events", {"Authorization": f"Bearer {t}"}) for t in (first, second)}
    host.api("DELETE", f"{TOKENS}/first").expect(204)
    ended(streams[first], 3)
    # the other goes on, and so does that of root
    host.device("tun0", kind="tun")
    assert streams[second].next_of("device_created")["data"]["device"] == "tun0"
    # made anew it is another token
    host.api("DELETE", f"{TOKENS}/second").expect(204)
    door.make_token(host, "second", "reader")
    ended(streams[second], 3)


def test_captures_end_with_their_token(host):
    host.device("tun0", kind="tun", worker={"type": "monitor"})
    secret = door.make_token(host, "probe", "operator")
    capture = api.Stream(door.plain(host), "/v1/devices/tun0/capture", {"Authorization": f"Bearer {secret}"})
    assert capture.status == 200
    host.api("DELETE", f"{TOKENS}/probe").expect(204)
    ended(capture, 3)


# ---- selectors ------------------------------------------------------------------------------------------------------

def test_selector(host):
    host.device("berlin0", kind="tun", labels={"site": "berlin"})
    host.device("paris0", kind="tun", labels={"site": "paris"})
    secret = door.make_token(host, "berlin", "operator", selector="site=berlin")
    assert [d["name"] for d in ask(host, secret, "GET", "/v1/devices").expect(200).json["items"]] == ["berlin0"]
    assert [d["device"] for d in ask(host, secret, "GET", "/v1/counters").expect(200).json["items"]] == ["berlin0"]
    assert [d["name"] for d in ask(host, secret, "GET", "/v1/config").expect(200).json["devices"]] == ["berlin0"]
    before = host.get("/v1/devices/paris0")
    for method, path, body in (
            ("GET", "", None), ("PATCH", "", {"mtu": 1300}), ("DELETE", "", None), ("GET", "/worker", None),
            ("GET", "/counters", None), ("GET", "/addresses", None), ("GET", "/routes", None), ("PUT", "/worker", {"type": "echo"}),
            ("PUT", "/addresses/10.1.1.1/32", None), ("DELETE", "/routes/10.1.0.0/16", None), ("POST", "/release", None)):
        ask(host, secret, method, f"/v1/devices/paris0{path}", body).problem(404, "not_found")
    # to take what is there and hidden, or to make what it could not see
    assert ask(host, secret, "PUT", "/v1/devices/paris0", {"kind": "tun", "labels": {"site": "berlin"}}).status in (403, 404, 409)
    ask(host, secret, "PUT", "/v1/devices/new0", {"kind": "tun", "labels": {"site": "rome"}}).problem(403, "forbidden", "/labels")
    ask(host, secret, "PUT", "/v1/devices/new0", {"kind": "tun"}).problem(403, "forbidden", "/labels")
    ask(host, secret, "PATCH", "/v1/devices/berlin0", {"labels": {"site": "paris"}}).problem(403, "forbidden", "/labels")
    for method, path, body in (("PUT", "/v1/config", {"devices": []}), ("POST", "/v1/config/confirm", None),
                               ("POST", "/v1/config/revert", None), ("GET", TOKENS, None), ("GET", "/v1/audit", None)):
        ask(host, secret, method, path, body).problem(403, "forbidden")
    assert host.get("/v1/devices/paris0") == before and host.namespace.link("new0") is None
    # and what it may, it may
    assert ask(host, secret, "PUT", "/v1/devices/berlin1", {"kind": "tun", "labels": {"site": "berlin"}}).expect(201).changed
    ask(host, secret, "PATCH", "/v1/devices/berlin0", {"mtu": 1300}).expect(200)
    ask(host, secret, "DELETE", "/v1/devices/berlin1").expect(204)
    assert "paris0" not in ask(host, secret, "GET", "/v1/events?limit=1000").expect(200).body.decode()
    assert 'device="paris0"' not in ask(host, secret, "GET", "/metrics").expect(200).body.decode()


def test_admin_of_some_devices_makes_no_admin_of_all(host):
    secret = door.make_token(host, "berlin", "admin", selector="site=berlin")
    ask(host, secret, "POST", TOKENS, {"name": "all", "role": "admin"}).problem(403, "forbidden")
    ask(host, secret, "DELETE", f"{TOKENS}/admin").problem(403, "forbidden")
    assert names(host) == ["admin", "berlin"]


# ---- the first token --------------------------------------------------------------------------------------------------

def test_first_token_is_made_once(host):
    first = host.token()
    ask(host, first, "GET", TOKENS).expect(200)
    assert host.get(TOKENS)["items"][0]["role"] == "admin"
    # the file is neither needed nor read any more
    (host.state_dir / "admin.token").write_text("f" * 64 + "\n")
    host.restart()
    ask(host, "f" * 64, "GET", TOKENS).problem(401, "unauthenticated")
    (host.state_dir / "admin.token").unlink()
    host.restart()
    ask(host, first, "GET", TOKENS).expect(200)
    assert not (host.state_dir / "admin.token").exists()
    # and its end is an end
    ask(host, first, "DELETE", f"{TOKENS}/admin").expect(204)
    host.restart()
    assert names(host) == [] and not (host.state_dir / "admin.token").exists()
    ask(host, first, "GET", TOKENS).problem(401, "unauthenticated")


def provision(net, text, mode, uid):
    """A host whose token somebody put there before the first start."""
    host = net.host("a", listen=[f"127.0.0.1:{door.PLAIN_PORT}"], start=False)
    host.state_dir.mkdir(mode=0o700)
    file = host.state_dir / "admin.token"
    file.write_text(text)
    file.chmod(mode)
    os.chown(host.state_dir, USER, USER)
    os.chown(file, uid, uid)
    return host


def test_first_token_may_be_put_there(net):
    host = provision(net, "c0ffee" + "0" * 58 + "\n", 0o600, USER)
    host.start()
    ask(host, "c0ffee" + "0" * 58, "GET", TOKENS).expect(200)


@pytest.mark.parametrize("text,mode,uid,said", [
    ("c0ffee\n", 0o600, USER, "does not hold a token"), ("", 0o600, USER, "does not hold a token"),
    ("0" * 64 + "\n", 0o644, USER, "nobody else"), ("0" * 64 + "\n", 0o640, USER, "nobody else"),
    ("0" * 64 + "\n", 0o600, 64199, "admin.token")])
def test_first_token_that_is_no_good(net, text, mode, uid, said):
    host = provision(net, text, mode, uid)
    host.netd_start()
    host.daemon_start()
    until(lambda: not host.daemon.alive(), 20, "tunwrightd to refuse")
    assert host.daemon.process.returncode == 1 and said in host.daemon.log.read_text()
    host.daemon.process = None
    # put right, it starts
    host.daemon.log.write_text("")
    (host.state_dir / "admin.token").unlink()
    host.daemon_start()
    host.ready()
    assert stat.S_IMODE(os.stat(host.state_dir / "admin.token").st_mode) == 0o600
