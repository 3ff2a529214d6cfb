# SPDX-License-Identifier: Apache-2.0
"""api/openapi.yaml by itself, beside the sources, and beside the daemon: each operation is brought to answer each status
that is written down for it. That the answers are as they are written is seen to by lib/contract.py."""

import itertools
import json
import os
import re
import resource
import subprocess

import pytest
from lib import api, calls, door
from lib import contract as judge
from lib.build import TREE
from lib.calls import MUTATIONS, OPERATIONS, Call, having, tcp
from lib.contract import SOURCE, contract, explained
from lib.host import USER
from lib.waiting import until

DEVICES, CONFIG = "/v1/devices", "/v1/config"
SESSION = ("createSession", "deleteSession")  # neither changes anything here: tests/system/test_session.py
UNREACHABLE = [{"to": "10.7.0.0/16", "via": "203.0.113.1"}]


# ---- the document ---------------------------------------------------------------------------------------------------

def nodes(node, path="#"):
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from nodes(child, f"{path}/{key}")


def test_references_lead_somewhere_and_everything_is_used():
    used = set()
    for path, node in nodes(contract().document):
        if isinstance(node, dict) and "$ref" in node:
            contract().resolve(node)
            used.add(node["$ref"])
    components = contract().document["components"]
    for kind in ("parameters", "requestBodies", "headers", "responses", "schemas"):
        unused = [name for name in components[kind] if f"#/components/{kind}/{name}" not in used]
        assert not unused, f"nobody refers to these {kind}: {unused}"


def test_operations_are_complete():
    assert len({o.id for o in OPERATIONS}) == len(OPERATIONS)
    for operation in OPERATIONS:
        assert operation.node["summary"] and operation.node["tags"]
        in_path = set(re.findall(r"{(\w+)}", operation.path.template))
        assert set(operation.parameters_in("path")) == in_path, operation
        for parameter in operation.parameters:
            assert parameter["description"] and parameter["schema"], (operation, parameter["name"])
        assert {400, 401, 403} <= set(operation.answers)
        assert ({413, 415} <= set(operation.answers)) == (operation.body is not None), operation
        if "dry_run" in operation.parameters_in("query"):
            assert 200 in operation.answers and operation.role in ("operator", "admin"), operation
        for answer in operation.answers.values():
            assert answer.node["description"]


def test_examples_are_of_their_schemas():
    faults, count = [], 0
    for path, node in nodes(contract().document):
        if not isinstance(node, dict):
            continue
        examples = [(node["schema"], node["example"])] if {"schema", "example"} <= set(node) else []
        if isinstance(node.get("examples"), list):
            examples += [(node, e) for e in node["examples"]]
        for schema, example in examples:
            count += 1
            faults += [(path, *explained(e)) for e in contract().validator(schema).iter_errors(example)]
    assert not faults and count > 20


def test_schemas_are_schemas():
    for name, schema in contract().document["components"]["schemas"].items():
        contract().validator(schema).check_schema(contract().inlined(schema))


def test_json_is_made_alike_each_time(tmp_path):
    made = []
    for name in ("a.c", "b.c"):
        subprocess.run(["/usr/bin/python3", TREE / "cmake/embed_openapi.py", SOURCE, tmp_path / name,
                        contract().document["info"]["version"]], check=True, timeout=60)
        made.append((tmp_path / name).read_text())
    assert made[0] == made[1]


@pytest.mark.parametrize("text,said", [("a: 1\na: 2\n", "twice"), ("200: x\n", "not text"), ("info: {version: 9.9.9}\n", "9.9.9")])
def test_json_is_not_made_of_what_is_doubtful(tmp_path, text, said):
    (tmp_path / "x.yaml").write_text(text)
    done = subprocess.run(["/usr/bin/python3", TREE / "cmake/embed_openapi.py", tmp_path / "x.yaml", tmp_path / "x.c", "0.1.0"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and said in done.stderr


# ---- the judge ------------------------------------------------------------------------------------------------------

BASIC = {"cache-control": "no-store", "x-content-type-options": "nosniff", "content-type": "application/json"}
TAGGED = {**BASIC, "etag": '"1"'}
NOT_FOUND = {"type": "urn:tunwright:error:not_found", "title": "Not found", "status": 404, "detail": "x", "code": "not_found",
             "errors": []}
PROBLEM = {**BASIC, "content-type": "application/problem+json"}
DEVICE = contract().document["components"]["schemas"]["Device"]["examples"][0]
PAGE = {"items": [], "next": None}
# (what is wrong, method, target, status, headers, document); the first ones are good
ANSWERS = [
    (None, "GET", f"{DEVICES}/tun0", 200, TAGGED, DEVICE),
    (None, "HEAD", f"{DEVICES}/tun0", 200, TAGGED, None),
    (None, "GET", f"{DEVICES}/tun0", 404, PROBLEM, NOT_FOUND),
    (None, "GET", "/nowhere", 404, PROBLEM, NOT_FOUND),
    (None, "GET", DEVICES, 200, BASIC, PAGE),
    ("has no status 500", "GET", f"{DEVICES}/tun0", 500, PROBLEM, {**NOT_FOUND, "status": 500, "code": "internal"}),
    ("has no status 500", "GET", "/nowhere", 500, PROBLEM, {**NOT_FOUND, "status": 500, "code": "internal"}),
    ("no header ETag", "GET", f"{DEVICES}/tun0", 200, BASIC, DEVICE),
    ("header ETag", "GET", f"{DEVICES}/tun0", 200, {**BASIC, "etag": "1"}, DEVICE),
    ("not written down", "GET", f"{DEVICES}/tun0", 200, {**TAGGED, "x-colour": "red"}, DEVICE),
    ("Cache-Control", "GET", f"{DEVICES}/tun0", 200, {**TAGGED, "cache-control": "private"}, DEVICE),
    ("its type is", "GET", f"{DEVICES}/tun0", 200, {**TAGGED, "content-type": "text/html"}, DEVICE),
    ("/mtu", "GET", f"{DEVICES}/tun0", 200, TAGGED, {**DEVICE, "mtu": "1400"}),
    ("colour", "GET", f"{DEVICES}/tun0", 200, TAGGED, {**DEVICE, "colour": "red"}),
    ("'drift' is a required", "GET", f"{DEVICES}/tun0", 200, TAGGED, {k: v for k, v in DEVICE.items() if k != "drift"}),
    ("/status/state", "GET", f"{DEVICES}/tun0", 200, TAGGED, {**DEVICE, "status": {**DEVICE["status"], "state": "good"}}),
    ("/addresses/0", "GET", f"{DEVICES}/tun0", 200, TAGGED, {**DEVICE, "addresses": ["10.0.0.1"]}),
    ("/code", "GET", f"{DEVICES}/tun0", 404, PROBLEM, {**NOT_FOUND, "code": "forbidden"}),
    ("Link and next", "GET", DEVICES, 200, BASIC, {**PAGE, "next": "/v1/devices?limit=1&cursor=tun0"}),
    ("Tunwright-Changed", "DELETE", f"{DEVICES}/tun0", 204, {k: v for k, v in BASIC.items() if k != "content-type"}, None),
    ("has a body", "DELETE", f"{DEVICES}/tun0", 204, {**BASIC, "tunwright-changed": "true"}, {}),
    ("Tunwright-Confirm-By", "PATCH", f"{DEVICES}/tun0?confirm_s=60", 200, {**TAGGED, "tunwright-changed": "true"}, DEVICE),
    ("no header ETag", "PATCH", f"{DEVICES}/tun0", 200, {**BASIC, "tunwright-changed": "true"}, DEVICE),
    ("Allow is", "PUT", DEVICES, 405, {**PROBLEM, "allow": "GET, HEAD"}, {**NOT_FOUND, "status": 405, "code": "method_not_allowed"}),
]


@pytest.mark.parametrize("said,method,target,status,headers,document", ANSWERS, ids=range(len(ANSWERS)))
def test_judge(monkeypatch, said, method, target, status, headers, document):
    """lib/contract.py takes what is right, and names what is wrong."""
    monkeypatch.setattr("lib.contract.violations", [])
    monkeypatch.setattr("lib.contract.note", lambda *_: None)
    body = b"" if document is None else json.dumps(document).encode()
    if said is None:
        judge.check(method, target, status, headers, body, "")
        return
    with pytest.raises(AssertionError, match=re.escape(said)):
        judge.check(method, target, status, headers, body, "")
    assert len(judge.violations) == 1


# ---- beside the sources ---------------------------------------------------------------------------------------------

def source(name):
    return (TREE / name).read_text()


def test_rows_are_operations():
    """The route table knows the same methods, paths, roles, queries, preconditions and media types."""
    text = source("src/http/route_table.c") + source("src/http/device_list.h")
    constants = dict(re.findall(r"#define (\w+)\s+(\"[^\n]+)", text))
    flags = {"ROUTE_MUTATION": {"CHANGES", "CONFIRMABLE", "CONDITIONAL"},
             "ROUTE_PATCH": {"CHANGES", "CONFIRMABLE", "CONDITIONAL", "MERGE_PATCH"}}
    rows = {}
    table = text[text.index("rows[] = {"):text.index("};", text.index("rows[] = {"))]
    for row in re.findall(r'\{("[A-Z]+",.*?)\}\s*\}', table, re.S):
        method, path, role, flag, limit, _, rest = (cell.strip() for cell in row.split(",", 6))
        has = set().union(*(flags.get(f, {f.removeprefix("ROUTE_")}) for f in re.findall(r"ROUTE_\w+", flag)))
        for name, value in constants.items():
            path, rest = path.replace(name, value), rest.replace(name, value)
        query = set(re.findall(r'"(\w+)"', rest))
        query |= {name for name, needs in (("dry_run", "CHANGES"), ("confirm_s", "CONFIRMABLE")) if needs in has}
        rows[method.strip('"'), path.strip('"')] = (role.removeprefix("ROLE_").lower(), query, "CONDITIONAL" in has,
                                                    "MERGE_PATCH" in has, limit != "0")
    written = {(o.method, o.path.template): (o.role, set(o.parameters_in("query")), "If-Match" in o.parameters_in("header"),
                                             "application/merge-patch+json" in (o.body or {"content": ()})["content"],
                                             o.body is not None) for o in OPERATIONS}
    assert rows == written


def words(text, pattern):
    return set(re.findall(pattern, text))


def test_words_are_those_of_the_sources():
    schemas = contract().document["components"]["schemas"]
    codes = words(source("src/base/err.c"), r'\[ERR_\w+\]\s*=\s*"(\w+)"') - {"none"}
    assert set(schemas["Code"]["enum"]) == codes
    steps = words(source("src/net/step.c"), r'\[STEP_\w+\]\s*=\s*"(\w+)"')
    assert set(schemas["StepKind"]["enum"]) == steps
    events = set()
    for path in sorted((TREE / "src").rglob("*.c")):
        events |= words(path.read_text(), r'\[EVENT_\w+\]\s*=\s*"(\w+)"')
    assert set(schemas["Event"]["properties"]["type"]["enum"]) == events
    reasons = words(source("src/model/counter_page.c"), r'\[DROP_\w+\]\s*=\s*"(\w+)"')
    assert set(schemas["WorkerCounters"]["properties"]["drops"]["required"]) == reasons
    titles = words(source("src/http/answer.c"), r"\[ERR_(\w+)\]")
    assert {t.lower() for t in titles} - {"none"} == codes


# ---- the daemon -----------------------------------------------------------------------------------------------------

def stand(host):
    """The state that lib/calls.py speaks of."""
    host.device("tun0", **calls.TUN0)
    host.namespace.ip("tuntap", "add", "found0", "mode", "tun")
    host.api("POST", "/v1/tokens", calls.TOKEN).expect(201)


@pytest.fixture(scope="module")
def host(module_net):
    host = module_net.host("a", listen=["127.0.0.1:8080"])
    stand(host)
    return host


@pytest.fixture(scope="module")
def bearer(host):
    """bearer(role, selector) is the secret of such a token."""
    numbers, made = itertools.count(), {}

    def make(role, selector=None):
        if (role, selector) not in made:
            answer = host.api("POST", "/v1/tokens", {"name": f"t{next(numbers)}", "role": role, "selector": selector})
            made[role, selector] = answer.expect(201).json["token"]
        return {"Authorization": f"Bearer {made[role, selector]}"}
    return make


sources = (f"127.0.{a}.{b}" for a in range(1, 250) for b in range(1, 250))


def each(operations):
    return pytest.mark.parametrize("operation", operations, ids=repr)


def send(host, call, **changes):
    return call.with_(**changes).send(host.connection())


def test_served_as_json(host):
    assert host.get("/v1/openapi.json") == contract().document


@each([o for o in OPERATIONS if o.method == "GET" and o.id not in ("watch", "capture")])
def test_head_is_get(host, operation):
    get = send(host, Call(operation)).expect(200)
    call = Call(operation)
    call.method = "HEAD"
    head = send(host, call).expect(200)
    assert head.body == b"" and set(head.headers) == set(get.headers)
    assert all(head.headers[name] == get.headers[name] for name in ("content-type", "etag") if name in get.headers)


@each(OPERATIONS)
def test_400_unknown_query(host, operation):
    send(host, Call(operation), query={"colour": "red"}).problem(400, "invalid_query")


def test_400_body_where_none_is_taken(host):
    for operation in OPERATIONS:
        if operation.body is None:
            send(host, Call(operation), raw="{}", headers={"Content-Type": "application/json"}).problem(400, "invalid_request")


@each([o for o in MUTATIONS if "confirm_s" in o.parameters_in("query")])
def test_400_dry_run_and_confirm(host, operation):
    send(host, Call(operation), query={"dry_run": "true", "confirm_s": "60"}).problem(400, "invalid_query")


@each([o for o in OPERATIONS if o.role != "nobody"])
def test_401(host, operation):
    """What is for everybody wants a certificate at most: tests/system/test_door.py."""
    answer = Call(operation).send(tcp(host, next(sources)))
    answer.problem(401, "unauthenticated")


@each(OPERATIONS)
def test_403_page_of_another_site(host, operation):
    send(host, Call(operation), headers={"Sec-Fetch-Site": "cross-site"}).problem(403, "forbidden")


@each([o for o in OPERATIONS if o.role in ("operator", "admin")])
def test_403_role(host, bearer, operation):
    for role in {"operator": ["reader"], "admin": ["reader", "operator"]}[operation.role]:
        call = Call(operation).with_(headers=bearer(role))
        call.send(tcp(host)).problem(403, "forbidden")


@each([o for o in OPERATIONS if o.role != "nobody"])
def test_role_that_may(host, bearer, operation):
    """A dry run, where there is one; and where there is nothing to confirm, it is for that reason."""
    answer = Call(operation).dry().with_(headers=bearer(operation.role)).send(tcp(host))
    answer.expect(409 if operation.id in ("confirmConfig", "revertConfig") else 200)


@each([o for o in having(404) if o.id != "putDevice"])
def test_404(host, operation):
    send(host, Call(operation).elsewhere()).problem(404, "not_found")


def test_404_what_the_token_may_not_see(host, bearer):
    far = bearer("operator", "site=far")
    for operation in having(404):
        if operation.role in ("admin", "nobody") or operation.id == "adoptDevice":
            continue
        call = Call(operation).with_(headers=far)
        if operation.id == "putDevice":
            call.with_(path="/v1/devices/tun0", body={"kind": "tun", "labels": {"site": "far"}})
        call.send(tcp(host)).problem(404, "not_found")
    for operation, change in (("putConfig", {}), ("confirmConfig", {}), ("revertConfig", {})):
        Call(contract().operations[operation]).with_(headers=far, **change).send(tcp(host)).problem(403, "forbidden")


@pytest.mark.parametrize("path", contract().paths, ids=lambda p: p.template)
def test_405(host, path):
    target = next(iter(map(Call, path.operations.values()))).path
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        if method in path.allow:
            continue
        answer = host.api(method, target).expect(405)
        assert set(answer.headers["allow"].split(", ")) == path.allow
        if method != "HEAD":
            answer.problem(405, "method_not_allowed")


def test_404_path(host):
    for path in ("/v1", "/assets", "/assets/", "/v1/", "/v2/devices", "/v1/devices/", "/v1/devices/tun0/", "/v1/devices/tun0/colour", "/v1//devices"):
        for method in ("GET", "PUT", "DELETE"):
            host.api(method, path).problem(404, "not_found")


@each(having(412))
def test_412(host, operation):
    answer = send(host, Call(operation).dry(), headers={"If-Match": '"nothing like this"'.replace(" ", "")})
    answer.problem(412, "precondition_failed")


@each(having(304))
def test_304(host, operation):
    tag = send(host, Call(operation)).expect(200).headers["etag"]
    for value in (tag, "*", f'"x", {tag}', f"W/{tag}"):
        answer = send(host, Call(operation), headers={"If-None-Match": value}).expect(304)
        assert answer.headers["etag"] == tag and answer.body == b""
    send(host, Call(operation), headers={"If-None-Match": '"x"'}).expect(200)


@each(having(413))
def test_413(host, operation):
    limit = calls.BODY_LIMITS.get(operation.id, 64 * calls.KIB)
    fits = Call(operation).dry()
    padding = b" " * (limit - len(fits.data() or b"{}"))
    answer = send(host, fits, raw=(fits.data() or b"{}") + padding)
    assert answer.status in (200, 409), answer
    send(host, fits, raw=fits.raw + b" ").problem(413, "body_too_large")
    # where the length is told, it is enough
    headers = {"Content-Type": "application/json", "Content-Length": str(1 << 40)}
    api.request(host.connection(), operation.method, fits.target, headers=headers).problem(413, "body_too_large")


@each(having(415))
def test_415(host, operation):
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"},
                    {"Content-Type": "application/json", "Content-Encoding": "gzip"}):
        call = Call(operation).dry()
        send(host, call, raw=call.data() or b"{}", headers=headers).problem(415, "unsupported_media_type")


def test_429(host):
    """Who fails too often waits, whatever he asks for next; and others do not."""
    lost = next(sources)
    until(lambda: host_answers(host, lost) == 429, 20, "a refusal of the address", interval=0)
    for operation in having(429):
        call = Call(operation)
        if tcp_status(host, lost, call) != 429:  # one attempt came back meanwhile
            until(lambda: host_answers(host, lost) == 429, 20, "a refusal of the address", interval=0)
            assert tcp_status(host, lost, call) == 429
    assert host.api("GET", DEVICES).status == 200
    assert tcp_status(host, lost, Call(contract().operations["getHealth"])) == 200
    assert tcp_status(host, next(sources), Call(contract().operations["getVersion"])) == 401


def tcp_status(host, source_address, call):
    return call.send(tcp(host, source_address)).status


def host_answers(host, source_address):
    return tcp_status(host, source_address, Call(contract().operations["getVersion"]))


@each([o for o in MUTATIONS if {"dry_run"} <= set(o.parameters_in("query")) and o.id != "revertConfig"])
def test_200_dry_run(host, operation):
    before = host.configuration(), host.get("/v1/tokens")
    answer = send(host, Call(operation).dry()).expect(200)
    assert answer.changed is False and answer.json["changed"] is True
    assert (host.configuration(), host.get("/v1/tokens")) == before


@each(MUTATIONS)
def test_409_and_nothing_else_while_a_change_waits(host, operation):
    """Also what is refused otherwise: that a name is taken."""
    if operation.id in ("confirmConfig", "revertConfig"):
        send(host, Call(operation)).problem(409, "nothing_pending")
        return
    if operation.id == "createToken":
        send(host, Call(operation), body=calls.TOKEN).problem(409, "already_exists")
        return
    if operation.id == "deleteToken" or operation.id in SESSION:
        return
    host.api("PATCH", f"{DEVICES}/tun0?confirm_s=600", {"labels": {"waits": "yes"}}).expect(200)
    try:
        send(host, Call(operation)).problem(409, "confirmation_pending")
        send(host, Call(operation).dry()).expect(200)
    finally:
        host.api("POST", f"{CONFIG}/revert").expect(200)


# ---- what changes something -------------------------------------------------------------------------------------------

@pytest.fixture
def own(net):
    host = net.host("a")
    stand(host)
    return host


def call_of(name):
    return Call(contract().operations[name])


def test_every_change_for_once(own):
    """Each operation in turn does what it is there for, and the second time nothing."""
    def do(name, *statuses, changed=True, **changes):
        answer = send(own, call_of(name), **changes).expect(*statuses)
        assert answer.changed is changed, answer
        return answer

    do("createDevice", 201)
    do("putDevice", 200, changed=False)
    do("deleteDevice", 204, path=f"{DEVICES}/made0")
    do("putDevice", 201)
    do("patchDevice", 200)
    do("patchDevice", 200, changed=False)
    do("adoptDevice", 201)
    do("releaseDevice", 204, path=f"{DEVICES}/found0/release")
    do("putAddress", 201)
    do("putAddress", 200, changed=False)
    do("deleteAddress", 204)
    do("putRoute", 201)
    do("putRoute", 200, changed=False)
    do("deleteRoute", 204)
    do("putWorker", 200)
    do("deleteWorker", 204)
    do("putWorker", 201)
    do("putConfig", 200, query={"confirm_s": "600"})
    assert own.get(f"{CONFIG}/confirm")["pending"]["operation"] == f"PUT {CONFIG}"
    send(own, call_of("revertConfig").dry()).expect(200)
    do("revertConfig", 200)
    do("putConfig", 200, query={"confirm_s": "600"})
    do("confirmConfig", 200)
    assert own.get(f"{CONFIG}/confirm") == {"pending": None}
    do("createToken", 201)
    do("deleteToken", 204)
    for name in ("listEvents", "listAudit", "listTokens", "getConfig", "getMetrics", "listCounters"):
        send(own, call_of(name)).expect(200)


def test_422(own):
    """The kernel refuses: a gateway that it cannot reach, an IPv6 address where there is no IPv6, a socket's address that
    is not there, a namespace that is gone."""
    for name, body in (("createDevice", {**calls.DOCUMENT, "name": "made0", "routes": UNREACHABLE}),
                       ("putDevice", {**calls.DOCUMENT, "routes": UNREACHABLE}), ("patchDevice", {"routes": UNREACHABLE}),
                       ("adoptDevice", {"up": True, "routes": UNREACHABLE}),
                       ("putConfig", {"devices": [{"name": "tun0", "kind": "tun", "routes": UNREACHABLE}]}),
                       ("putRoute", {"via": "203.0.113.1"}),
                       ("putWorker", {"type": "udp", "local": "203.0.113.1:5000", "remote": "203.0.113.2:5000"})):
        problem = send(own, call_of(name), body=body).problem(422, "kernel_refused")
        assert problem["errno"] in ("ENETUNREACH", "EADDRNOTAVAIL", "EHOSTUNREACH") and problem["operation"], problem
    own.namespace.sysctl("net/ipv6/conf/tun0/disable_ipv6", 1)
    send(own, call_of("putAddress"), path=f"{DEVICES}/tun0/addresses/fd00:3::1/64").problem(422, "kernel_refused")
    own.put(f"{DEVICES}/tun0/routes/10.6.0.0/16", {"via": "192.168.3.1"})
    send(own, call_of("deleteAddress")).problem(422, "kernel_refused")


def test_422_where_a_namespace_is_gone(own, net):
    """What is left in it cannot be changed; and what was in it cannot come back."""
    inner = net.namespace("inner")
    own.put(f"{DEVICES}/tun9", {"kind": "tun", "netns": inner.name, "routes": [{"to": "10.9.0.0/16"}], "worker": {"type": "echo"}})
    own.put(f"{DEVICES}/tun8", {"kind": "tun", "netns": inner.name})
    own.api("DELETE", f"{DEVICES}/tun8?confirm_s=600").expect(204)
    inner.delete()
    net.namespaces.remove(inner)
    send(own, call_of("revertConfig")).problem(422, "kernel_refused")
    own.api("POST", f"{CONFIG}/confirm").expect(200)
    for name, path in (("deleteRoute", "/routes/10.9.0.0/16"), ("deleteWorker", "/worker")):
        send(own, call_of(name), path=f"{DEVICES}/tun9{path}").problem(422, "kernel_refused")


def test_503_without_netd(own):
    """Reads go on."""
    own.kill9("netd")
    until(lambda: own.api("GET", "/readyz").status == 503, 5, "not ready without netd")
    for operation in MUTATIONS:
        if operation.role == "operator" and operation.path.template not in (f"{CONFIG}/confirm", f"{CONFIG}/revert"):
            send(own, Call(operation)).problem(503, "netd_unavailable")
    for operation in OPERATIONS:
        if operation.id == "capture":
            send(own, Call(operation)).problem(503, "netd_unavailable")
        elif operation.method == "GET" and operation.id != "getReadiness":
            send(own, Call(operation)).expect(200)
    own.netd_start()
    own.ready()


def waiting_then(own, spoil, mend, status, code):
    """With a change that waits: neither can it be confirmed nor reverted. Without: nothing can be changed, and all can be
    read."""
    own.api("PATCH", f"{DEVICES}/tun0?confirm_s=600", {"mtu": 1333}).expect(200)
    spoil()
    for name in ("confirmConfig", "revertConfig"):
        send(own, call_of(name)).problem(status, code)
    mend()
    own.api("POST", f"{CONFIG}/revert").expect(200)
    before = own.get(CONFIG), own.get("/v1/tokens"), own.namespace.kernel()
    spoil()
    for operation in having(status, MUTATIONS):
        if operation.id not in ("confirmConfig", "revertConfig"):
            send(own, Call(operation)).problem(status, code)
    for operation in OPERATIONS:
        if operation.method == "GET" and operation.id != "getReadiness":
            send(own, Call(operation)).expect(200)
    assert (own.get(CONFIG), own.get("/v1/tokens"), own.namespace.kernel()) == before
    mend()
    own.ready()
    send(own, call_of("patchDevice")).expect(200)


def test_503_store_that_cannot_be_written(own):
    """Its journal is somebody else's."""
    journal = own.state_dir / "tunwright.db-journal"

    def spoil():
        journal.touch()
        os.chown(journal, 0, 0)
        journal.chmod(0o400)

    waiting_then(own, spoil, journal.unlink, 503, "store_unavailable")


@pytest.fixture
def small_disk(net):
    """A host whose state directory is a file system of its own; and what fills it."""
    host = net.host("a", start=False)
    host.state_dir.mkdir(mode=0o700)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4m,mode=700,uid={USER},gid={USER}", "tmpfs", host.state_dir],
                          capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr}")
    host.start()
    stand(host)
    yield host
    subprocess.run(["umount", "-l", host.state_dir], check=True, timeout=20)


def test_507(small_disk):
    ballast = small_disk.state_dir / "ballast"

    def fill():
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass

    waiting_then(small_disk, fill, ballast.unlink, 507, "store_full")


@pytest.mark.slow
def test_503_too_many_streams(own):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(re.search(r"SERVER_STREAMS_OF_ONE\s+(\d+)", source("src/http/server.h"))[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, most + 200)), hard))
    streams = []
    try:
        for _ in range(most):
            streams.append(own.watch("?topics=events"))
            assert streams[-1].status == 200
        send(own, call_of("watch")).problem(503, "limit_exceeded")
        # and somebody else finds room all the same
        streams.append(api.Stream(door.UserConnection(own.socket, USER), "/v1/watch?topics=events"))
        assert streams[-1].status == 200
    finally:
        for stream in streams:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
