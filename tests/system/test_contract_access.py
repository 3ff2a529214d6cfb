# SPDX-License-Identifier: Apache-2.0
"""What who may not must not be able to do or to find out, whichever way they try."""

import pytest
from lib import api, door

BERLIN = {"site": "berlin"}
PARIS0 = "/v1/devices/paris0"
TOKENS = "/v1/tokens"


@pytest.fixture
def host(net):
    host = net.host("a", listen=[f"127.0.0.1:{door.PLAIN_PORT}"])
    host.device("paris0", kind="tun", labels={"site": "paris"}, routes=[{"to": "10.66.0.0/16", "type": "blackhole"}])
    host.device("berlin0", kind="tun", labels=BERLIN)
    return host


class Client:
    """Somebody with a token of their own."""

    def __init__(self, host, name, role, **options):
        self.host, self.secret = host, door.make_token(host, name, role, **options)

    def __call__(self, method, path, body=None, headers=None):
        return door.ask(door.plain(self.host), method, path, self.secret, body, headers)

    def watch(self, query):
        return api.Stream(door.plain(self.host), f"/v1/watch?{query}", {"Authorization": f"Bearer {self.secret}"})


@pytest.fixture
def berlin(host):
    return Client(host, "berlin", "operator", selector="site=berlin")


def types(answer):
    return {event["type"] for event in answer.expect(200).json["items"]}


# ---- what is hidden -------------------------------------------------------------------------------------------------

def test_a_taken_name_tells_nothing_but_that(host, berlin):
    etag = host.api("GET", PARIS0).headers["etag"]
    document = {"name": "paris0", "kind": "tun", "labels": BERLIN}
    answers = {berlin("POST", f"/v1/devices{query}", document, headers).expect(409).body
               for query in ("", "?dry_run=true")
               for headers in ({}, {"If-Match": etag}, {"If-Match": '"other"'}, {"If-Match": "*"}, {"If-None-Match": etag},
                               {"If-None-Match": "*"})}
    assert len(answers) == 1
    answers = {berlin("PUT", f"{PARIS0}{query}", {"kind": "tun", "labels": BERLIN}, headers).expect(404).body
               for query in ("", "?dry_run=true") for headers in ({}, {"If-Match": etag}, {"If-None-Match": "*"})}
    assert len(answers) == 1
    # the same words as for one that is nowhere
    for method, path, body in (("PATCH", "", {"mtu": 1400}), ("DELETE", "", None), ("GET", "", None), ("PUT", "/worker", {"type": "echo"}),
                               ("POST", "/release", None), ("DELETE", "/routes/10.66.0.0/16", None)):
        hidden, absent = (berlin(method, f"/v1/devices/{name}{path}", body).expect(404).body for name in ("paris0", "rome00"))
        assert hidden.replace(b"paris0", b"rome00") == absent


def test_a_change_that_waits_names_no_hidden_device(host, berlin):
    host.api("PATCH", f"{PARIS0}?confirm_s=60", {"mtu": 1400}).expect(200)
    assert berlin("GET", "/v1/config/confirm").expect(200).json["pending"]["operation"] is None
    assert b"paris0" not in berlin("PATCH", "/v1/devices/berlin0", {"mtu": 1400}).expect(409).body
    assert host.get("/v1/config/confirm")["pending"]["operation"] == f"PATCH {PARIS0}"
    host.api("POST", "/v1/config/confirm").expect(200)


def test_some_devices_are_no_reason_to_hold_up_all(host, berlin):
    for method, path, body in (("PATCH", "/v1/devices/berlin0", {"mtu": 1400}), ("DELETE", "/v1/devices/berlin0", None),
                               ("PUT", "/v1/devices/berlin1", {"kind": "tun", "labels": BERLIN}),
                               ("PUT", "/v1/devices/berlin0/addresses/10.1.0.1/24", None)):
        problem = berlin(method, f"{path}?confirm_s=86400", body).problem(403, "forbidden")
        assert "confirm_s" in problem["detail"]
    assert host.get("/v1/config/confirm") == {"pending": None}
    host.api("PATCH", PARIS0, {"mtu": 1400}).expect(200)


@pytest.mark.parametrize("selector", ["site=berlin", "!site", "site!=paris"])
def test_nothing_is_taken_over_by_a_token_with_a_selector(host, selector):
    client = Client(host, "some", "operator", selector=selector)
    host.namespace.ip("tuntap", "add", "vpn0", "mode", "tun")
    answers = {client("POST", f"/v1/devices/{name}/adopt{query}", {"labels": BERLIN}).expect(403).body
               for name in ("vpn0", "paris0", "nowhere0", "lo0") for query in ("", "?dry_run=true", "?netns=nowhere")}
    assert len(answers) == 1
    host.api("POST", "/v1/devices/vpn0/adopt", {"labels": BERLIN}).expect(201)


def test_a_name_that_is_taken_again_brings_no_history_along(host, berlin):
    host.api("DELETE", PARIS0).expect(204)
    assert berlin("PUT", PARIS0, {"kind": "tun", "labels": BERLIN}).expect(201).changed
    mine = [event["type"] for event in berlin("GET", "/v1/events?device=paris0&limit=1000").expect(200).json["items"]]
    all_of_them = [event["type"] for event in host.get("/v1/events?device=paris0&limit=1000")["items"]]
    assert mine[0] == "device_created" and mine.count("device_created") == 1 and "device_deleted" not in mine
    assert all_of_them.count("device_created") == 2 and all_of_them[-len(mine):] == mine
    stream = berlin.watch("topics=events&after=0&device=paris0")
    assert stream.next()["data"]["type"] == "device_created"
    created = host.get(PARIS0)["status"]["created"]
    assert all(event["time"] >= created for event in berlin("GET", "/v1/events?device=paris0").json["items"])


def test_watching_what_is_hidden_is_watching_nothing(host, berlin):
    for name in ("paris0", "rome0"):
        stream = berlin.watch(f"device={name}&interval_ms=100&after=0")
        assert stream.next_of("counters")["data"]["items"] == []
    for query in ("selector=site%3Dparis", "selector=site"):
        items = berlin.watch(f"topics=counters&{query}").next_of("counters")["data"]["items"]
        assert "paris0" not in [item["device"] for item in items]


# ---- who has which token --------------------------------------------------------------------------------------------

def test_tokens_are_the_admins_business(host, berlin):
    reader, operator, admin = (Client(host, f"my-{role}", role) for role in ("reader", "operator", "admin"))
    streams = [client.watch("topics=events&after=0") for client in (reader, operator)]
    for client in (reader, operator, berlin):
        assert not any(t.startswith("token") for t in types(client("GET", "/v1/events?limit=1000")))
        client("GET", TOKENS).problem(403, "forbidden")
    assert "token_created" in types(admin("GET", "/v1/events?limit=1000"))
    assert admin.watch("topics=events&after=0").next_of("token_created")["data"]["detail"] == "berlin"
    # what follows is told, and none of the tokens before it
    host.device("last0", kind="tun")
    for stream in streams:
        told = []
        while not told or told[-1]["device"] != "last0":
            told.append(stream.next()["data"])
        assert not any(event["type"].startswith("token") for event in told)


def test_an_admin_of_some_devices_sees_no_tokens(host):
    some = Client(host, "some", "admin", selector="site=berlin")
    for method, path in (("GET", TOKENS), ("GET", "/v1/audit"), ("DELETE", f"{TOKENS}/admin"), ("DELETE", f"{TOKENS}/nobody")):
        some(method, path).problem(403, "forbidden")
    assert not any(t.startswith("token") for t in types(some("GET", "/v1/events?limit=1000")))


def test_audit_tells_what_a_token_may(host):
    first = host.get("/v1/audit")["items"][0]
    assert first["actor"] == "system" and first["address"] == "" and first["operation"] == "provision the first token"
    assert first["changes"] == [{"token": "admin", "action": "created", "kind": "bearer", "role": "admin", "selector": None,
                                 "expires": None}]
    token = {"name": "ci", "kind": "bearer", "role": "operator", "selector": "site=Köln,!old", "expires": "2099-01-01T00:00:00.000Z"}
    plan = host.api("POST", f"{TOKENS}?dry_run=true", token).expect(200).json["differences"]
    secret = host.api("POST", TOKENS, token).expect(201).json["token"]
    host.api("DELETE", f"{TOKENS}/ci").expect(204)
    answer = host.api("GET", "/v1/audit?limit=1000")
    created, deleted = (entry["changes"] for entry in answer.json["items"][-2:])
    wanted = {**{k: v for k, v in token.items() if k != "name"}, "token": "ci"}
    assert created == plan == [{**wanted, "action": "created"}] and deleted == [{**wanted, "action": "deleted"}]
    assert secret not in answer.body.decode()
    # it is there once, and stays
    host.restart()
    assert host.api("GET", "/v1/audit?limit=1000").body == answer.body
