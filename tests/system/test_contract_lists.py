# SPDX-License-Identifier: Apache-2.0
"""Lists: selectors, pages with Link, events and the audit log."""

import re

import pytest

TUN0 = "/v1/devices/tun0"


@pytest.fixture(scope="module")
def many(still):
    """Twelve devices in two sites, every third old, which are only looked at."""
    return filled(still)


def filled(host):
    host.api("PUT", "/v1/config", {"devices": [
        {"name": f"tun{i:02}", "kind": "tun", "up": False,
         "labels": {"site": "Köln" if i % 2 else "berlin", **({"old": "1"} if i % 3 == 0 else {})}} for i in range(12)]}).expect(200)
    return host


def linked(answer):
    """The next path, which body and header must agree on."""
    next_path = answer.json["next"]
    if next_path is None:
        assert "link" not in answer.headers
        return None
    match = re.fullmatch(r'<([^<>]*)>; rel="next"', answer.headers["link"])
    assert match and match[1] == next_path, answer.headers
    return next_path


def pages(host, path):
    while path:
        answer = host.api("GET", path).expect(200)
        yield answer.json["items"]
        path = linked(answer)


def names(items):
    return [item.get("name", item.get("device")) for item in items]


# ---- devices and counters -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/v1/devices", "/v1/counters"])
def test_pages(many, path):
    whole = many.api("GET", path).expect(200)
    assert linked(whole) is None and names(whole.json["items"]) == [f"tun{i:02}" for i in range(12)]
    for limit in (1, 5, 6, 11, 12, 13, 1000):
        found = list(pages(many, f"{path}?limit={limit}"))
        assert [len(p) for p in found[:-1]] == [limit] * (len(found) - 1) and 0 < len(found[-1]) <= limit
        assert sum(map(names, found), []) == names(whole.json["items"])


@pytest.mark.parametrize("path", ["/v1/devices", "/v1/counters"])
@pytest.mark.parametrize("selector, expected", [
    ("site=berlin", range(0, 12, 2)), ("site=K%C3%B6ln", range(1, 12, 2)), ("old", range(0, 12, 3)), ("!old", [1, 2, 4, 5, 7, 8, 10, 11]),
    ("site=berlin,!old", [2, 4, 8, 10]), ("site!=berlin,old=1", [3, 9]), ("nobody=has,it", []), ("", range(12)),
    ("nobody!=has", range(12))])
def test_selectors(many, path, selector, expected):
    wanted = [f"tun{i:02}" for i in expected]
    assert names(many.get(f"{path}?selector={selector}")["items"]) == wanted
    assert sum(map(names, pages(many, f"{path}?limit=2&selector={selector}")), []) == wanted


def test_a_page_goes_on_where_it_was_though_devices_come_and_go(host):
    many = filled(host)
    first = many.api("GET", "/v1/devices?limit=4").expect(200)
    for name in ("tun03", "tun05"):
        many.api("DELETE", f"/v1/devices/{name}").expect(204)
    many.device("tun04x", kind="tun", up=False)
    assert names(many.get(linked(first))["items"]) == ["tun04", "tun04x", "tun06", "tun07"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "cursor=", "cursor=a%20b", "cursor=..", "selector=,", "selector==x",
                                   "selector=a,,b", "selector=%21", "selector=a%20b=c", "limits=1", "limit=1&limit=2"])
def test_wrong_queries(still, query):
    for path in ("/v1/devices", "/v1/counters"):
        still.api("GET", f"{path}?{query}").problem(400, "invalid_query")


# ---- events ---------------------------------------------------------------------------------------------------------

def test_events(host):
    empty = host.get("/v1/events")
    assert empty == {"items": [], "next": None, "oldest": 0, "newest": 0}
    host.device("tun0", kind="tun")
    host.device("tun1", kind="tun")
    host.device("tun0", kind="tun", mtu=1400)
    host.device("tun0", kind="tun", mtu=1400)  # nothing
    host.api("DELETE", TUN0).expect(204)
    whole = host.get("/v1/events")
    told = [(e["type"], e["device"]) for e in whole["items"] if e["type"] != "device_state"]
    assert told == [("device_created", "tun0"), ("device_created", "tun1"), ("device_changed", "tun0"), ("device_deleted", "tun0")]
    numbers = [e["sequence"] for e in whole["items"]]
    assert numbers == list(range(1, len(numbers) + 1)) and (whole["oldest"], whole["newest"]) == (1, numbers[-1])
    assert sum(pages(host, "/v1/events?limit=1"), []) == whole["items"]
    assert sum(pages(host, "/v1/events?limit=2&device=tun0"), []) == [e for e in whole["items"] if e["device"] == "tun0"]
    assert host.get("/v1/events?after=3")["items"] == whole["items"][3:]
    assert host.get(f"/v1/events?after={numbers[-1]}")["items"] == host.get("/v1/events?after=9223372036854775807")["items"] == []

    # they are on disk
    host.restart()
    again = host.get("/v1/events")
    assert again["items"][:len(numbers)] == whole["items"]


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=9223372036854775808", "limit=0", "limit=1001", "device=a%20b", "device=",
                                   "selector=a", "types=x"])
def test_wrong_event_queries(still, query):
    still.api("GET", f"/v1/events?{query}").problem(400, "invalid_query")


# ---- audit ----------------------------------------------------------------------------------------------------------

def test_audit(host):
    first = host.get("/v1/audit")
    assert [i["operation"] for i in first["items"]] == ["provision the first token"] and first["next"] is None
    host.device("tun0", kind="tun", labels={"site": "berlin"})
    host.device("tun0", kind="tun", labels={"site": "berlin"})  # nothing
    host.api("PUT", "/v1/devices/tun1", {"kind": "tun", "mtu": 5}).expect(400)
    host.api("PUT", f"{TUN0}/addresses/192.168.3.11/24?confirm_s=60").expect(201)
    host.api("POST", "/v1/config/confirm").expect(200)
    host.api("DELETE", TUN0).expect(204)
    items = host.get("/v1/audit?after=1")["items"]
    assert [i["operation"] for i in items] == ["PUT /v1/devices/tun0", "PUT /v1/devices/tun0/addresses/192.168.3.11/24",
                                               "POST /v1/config/confirm", "DELETE /v1/devices/tun0"]
    assert all(i["actor"] == "uid:0" and i["address"] == "unix" for i in items)
    assert items[0]["changes"][0]["patch"]["labels"] == {"site": "berlin"}
    assert items[1]["changes"] == [{"device": "tun0", "action": "changed", "patch": {"addresses": ["192.168.3.11/24"]}}]
    assert items[3]["changes"] == [{"device": "tun0", "action": "deleted", "patch": None}]
    assert [i["sequence"] for i in items] == [2, 3, 4, 5]
    assert sum(pages(host, "/v1/audit?limit=1"), []) == sum(pages(host, "/v1/audit?limit=3"), []) == first["items"] + items
    assert host.get("/v1/audit?after=3")["items"] == items[2:]
    for query in ("after=x", "limit=0", "device=tun0"):
        host.api("GET", f"/v1/audit?{query}").problem(400, "invalid_query")
    host.kill9("tunwrightd")
    host.daemon_start()
    host.ready()
    assert host.get("/v1/audit")["items"] == first["items"] + items
