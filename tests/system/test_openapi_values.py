# SPDX-License-Identifier: Apache-2.0
"""The checks in C and the schemas in api/openapi.yaml are one and the same: each value that a schema refuses is refused with
an error that points to it, and each that a schema takes is taken, field by field."""

import itertools
import json
import urllib.parse

import pytest
from lib import api, calls, values
from lib.calls import OPERATIONS, Call
from lib.contract import contract

pytestmark = pytest.mark.slow

FULL = {"name": "val0", "kind": "tun", "up": True, "mtu": 1400, "txqueuelen": 500, "queues": 2, "mac": None, "owner": 0, "group": None,
        "netns": "blue", "master": None, "labels": {"site": "berlin"}, "addresses": ["10.50.0.1/24", "10.50.0.2/24"],
        "routes": [{"to": "10.51.0.0/16", "via": "10.50.0.3", "metric": 5, "table": 100, "type": "unicast", "source": "10.50.0.1"}],
        "worker": {"type": "udp", "local": "10.0.0.1:5000", "remote": "10.0.0.2:5000"}, "drift": "repair"}
TAP = {**FULL, "kind": "tap", "mac": "02:00:00:00:00:01", "master": "br0", "routes": [{"to": "10.52.0.0/16", "type": "blackhole"}],
       "netns": None, "worker": {"type": "monitor", "log_rate": 5}}
ECHO = {"name": "val0", "kind": "tun", "mtu": None, "worker": {"type": "echo"}, "addresses": ["fd00:50::1/64"],
        "routes": [{"to": "fd00:51::/64", "via": None, "metric": None, "source": None}]}
TOKEN = {"name": "val", "role": "reader", "kind": "bearer", "selector": "site=berlin", "expires": "2099-01-01T00:00:00Z"}
# faults that no schema can say: how one field goes with another
BETWEEN = {"incompatible", "host_bits_set"}


class Kept:
    """A connection that goes on from one request to the next."""

    def __init__(self, host):
        self.host, self.connection = host, host.connection()

    def request(self, *args, **options):
        try:
            self.connection.request(*args, **options)
            self.answer = self.connection.getresponse()
        except (ConnectionError, api.http.client.HTTPException):  # it was closed after the answer before
            self.connection.close()
            self.connection = self.host.connection()
            self.connection.request(*args, **options)
            self.answer = self.connection.getresponse()

    def getresponse(self):
        return self.answer

    def close(self):
        pass


@pytest.fixture(scope="module")
def host(module_net):
    host = module_net.host("a", listen=["127.0.0.1:8080"])
    host.device("tun0", **calls.TUN0)
    host.namespace.ip("tuntap", "add", "found0", "mode", "tun")
    host.api("POST", "/v1/tokens", calls.TOKEN).expect(201)
    return host


@pytest.fixture(scope="module")
def kept(host):
    return Kept(host)


def points_to(errors, wanted):
    """At it or below it. A pointer that is too long is cut between two of its pieces. What kind of thing it is (`type`, `kind`)
    decides what the fields beside it may be, so that a fault may be found with those."""
    parent, _, last = wanted.rpartition("/")
    if last in ("type", "kind"):
        wanted = parent
    return any(f"{e['pointer']}/".startswith(f"{wanted}/") or (len(wanted) > 120 and wanted.startswith(e["pointer"])) for e in errors)


def judge(kept, operation, schema, what, document, path, prefix=()):
    """Sends it as a dry run. Returns what is wrong with the answer, or None."""
    call = Call(operation).dry().with_(raw=json.dumps(document))
    if operation.id == "putDevice":
        call.with_(path="/v1/devices/val0")
    answer = call.send(kept)
    good = contract().validator(schema).is_valid(document)
    if good and answer.status == 400:
        if {e["code"] for e in answer.json["errors"]} <= BETWEEN:
            return None
        return f"{operation}: {what}: the schema takes it, and the daemon does not: {answer.body.decode()[:300]}"
    if not good and answer.status != 400:
        return f"{operation}: {what}: the schema refuses it, and the daemon answers {answer.status} {answer.body.decode()[:200]}"
    if not good and not points_to(answer.json["errors"], values.pointer((*prefix, *path))):
        return f"{operation}: {what}: no error points to {values.pointer((*prefix, *path))!r}: {answer.body.decode()[:400]}"
    return None


def check(kept, name, base, every=1, prefix=(), wrap=lambda document: document):
    operation = contract().operations[name]
    schema = operation.body_schema()
    assert contract().validator(schema).is_valid(wrap(base)), f"{base} is meant to be good"
    faults, count = [], 0
    inner = schema
    for key in prefix:  # the schema of the part that is varied
        inner = inner["items"] if isinstance(key, int) else inner["properties"][key]
    for what, document, path in itertools.islice(values.variations(inner, base), 0, None, every):
        if wrong_elsewhere(what, path):
            continue
        count += 1
        fault = judge(kept, operation, schema, what, wrap(document), path, prefix)
        if fault:
            faults.append(fault)
    assert not faults, f"{len(faults)} of {count}:\n" + "\n".join(faults[:40])
    assert count > 20


def wrong_elsewhere(what, path):
    """Another name than the path's is good by itself: and an address that is no host's is one to a schema."""
    return path == ("name",) or (path[:1] == ("addresses",) and "0.0.0.0/0" in what)


@pytest.mark.parametrize("good", [FULL, TAP, ECHO], ids=["udp", "tap", "echo"])
def test_fields_of_a_device(kept, good):
    check(kept, "putDevice", good)


def test_fields_of_a_new_device(kept):
    check(kept, "createDevice", {**FULL, "netns": None}, every=5)


def test_fields_of_a_patch(kept):
    base = {k: v for k, v in FULL.items() if k not in ("worker", "name", "kind")}
    check(kept, "patchDevice", base, every=3)


def test_fields_of_an_adopted_device(kept):
    base = {k: v for k, v in FULL.items() if k not in ("worker", "name", "kind", "netns", "queues")}
    check(kept, "adoptDevice", base, every=5)


def test_fields_of_everything(kept):
    for at in (0, 1):
        others = [{"name": "aaa0", "kind": "tun"}] * at
        check(kept, "putConfig", FULL, every=7, prefix=("devices", at), wrap=lambda document: {"devices": [*others, document]})
    check(kept, "putConfig", {"devices": [{"name": "aaa0", "kind": "tun"}]}, every=3)


def test_fields_of_a_route(kept):
    check(kept, "putRoute", {"to": "10.8.0.0/16", "via": "192.168.3.1", "metric": 5, "table": 100, "type": "unicast", "source": None})


@pytest.mark.parametrize("good", [FULL["worker"], TAP["worker"], ECHO["worker"]], ids=lambda w: w["type"])
def test_fields_of_a_worker(kept, good):
    check(kept, "putWorker", good)


def test_fields_of_a_token(kept):
    check(kept, "createToken", TOKEN)


@pytest.mark.parametrize("name", ["releaseDevice", "putAddress"])
def test_body_that_says_nothing(kept, name):
    for body in ({"a": 1}, [], "x", 1, None, True):
        call = Call(contract().operations[name]).dry().with_(raw=json.dumps(body))
        call.send(kept).problem(400, "validation_failed")
    Call(contract().operations[name]).dry().with_(raw="{}").send(kept).expect(200)


MANY = {"addresses": lambda n: f"10.{60 + (n >> 8)}.{n & 255}.1/32",
        "routes": lambda n: {"to": f"10.{n >> 8}.{n & 255}.0/24"},
        "devices": lambda n: {"name": f"many{n}", "kind": "tun"}}


@pytest.mark.parametrize("field,most", [("addresses", 256), ("routes", 16384), ("devices", 4096)])
def test_as_many_as_there_may_be(kept, field, most):
    operation = contract().operations["putConfig" if field == "devices" else "putDevice"]
    for count in (most, most + 1):
        items = [MANY[field](n) for n in range(count)]
        document = {field: items} if field == "devices" else {"kind": "tun", field: items}
        good = contract().validator(operation.body_schema()).is_valid(document)
        assert good == (count == most)
        call = Call(operation).dry().with_(body=document)
        if field != "devices":
            call.with_(path="/v1/devices/val0")
        answer = call.send(kept)
        if good:
            answer.expect(200)
        else:
            answer.problem(400, "validation_failed", pointer=f"/{field}", within="limit_exceeded")


# ---- queries, header fields, paths ------------------------------------------------------------------------------------

PARAMETERS = [(o, p) for o in OPERATIONS for p in o.parameters if p["in"] in ("query", "header")]


@pytest.mark.parametrize("operation,parameter", PARAMETERS, ids=[f"{o}-{p['name']}" for o, p in PARAMETERS])
def test_parameter(kept, operation, parameter):
    faults = []
    for text, good in values.queries(parameter):
        if parameter["name"] == "filter" and good:
            continue  # as far as its schema can say
        call = Call(operation)
        if parameter["in"] == "query":
            call.with_(query={parameter["name"]: text})
            codes = ("invalid_query", "validation_failed")  # of a route, a parameter is a field as well
        elif not text.isascii() or not text.isprintable() or text != text.strip():
            continue  # no header field can say it
        else:
            call.with_(headers={parameter["name"]: text})
            codes = ("invalid_request",)
        if "If-Match" in operation.parameters_in("header") and parameter["name"] != "If-Match" and operation.method != "GET":
            call.with_(headers={"If-Match": '"none"'})  # so that nothing is changed by what is good
        elif "dry_run" in operation.parameters_in("query") and parameter["name"] not in ("dry_run", "confirm_s"):
            call.dry()
        elif operation.id == "createToken":
            call.with_(body=calls.TOKEN)  # there is one already
        elif operation.id == "deleteToken":
            call.elsewhere()
        if operation.id in ("watch", "capture"):
            answer = call.send(kept.host.connection())
        else:
            answer = call.send(kept)
        if (answer.status != 400) != good or (not good and answer.json["code"] not in codes):
            faults.append(f"{parameter['name']}={text[:60]!r} is {'good' if good else 'bad'}: {answer.status} {answer.body[:200]}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if "{name}" in o.path.template and o.id != "deleteToken"], ids=repr)
def test_name_in_the_path(kept, operation):
    """What cannot be a name is nowhere; PUT, which would make it, says why."""
    bad = contract().validator({"$ref": "#/components/schemas/DeviceName"})
    for text in values.TEXTS:
        if not text or not text.isprintable() or bad.is_valid(text):
            continue
        call = Call(operation)
        call.with_(path="/".join([*call.path.split("/")[:3], urllib.parse.quote(text, safe=""), *call.path.split("/")[4:]]))
        answer = call.send(kept)
        if operation.id == "putDevice":
            answer.problem(400, "validation_failed", pointer="/name", within="invalid_name")
        else:
            answer.expect(400, 404, *([422] if operation.id == "adoptDevice" and text == "lo" else []))  # which there is


@pytest.mark.parametrize("name", ["putAddress", "deleteAddress", "putRoute", "deleteRoute"])
def test_address_in_the_path(kept, name):
    operation = contract().operations[name]
    is_good = contract().validator({"$ref": "#/components/schemas/IpPrefix"}).is_valid
    for text in values.TEXTS:
        address, slash, length = text.partition("/")
        if not address or not text.isprintable() or (slash and not length):
            continue
        last = f"{urllib.parse.quote(address, safe='')}/{urllib.parse.quote(length or 'x', safe='')}"
        call = Call(operation).dry()
        call.with_(path="/".join([*call.path.split("/")[:5], last]))
        answer = call.send(kept)
        if not is_good(text):
            answer.problem(400, "validation_failed")
        else:
            assert answer.status in (200, 404) or "validation_failed" in answer.body.decode(), answer
