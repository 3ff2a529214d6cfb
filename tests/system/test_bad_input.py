# SPDX-License-Identifier: Apache-2.0
"""Bad input leaves everything as it was, and the answer says what was wrong."""

import json
import socket

import pytest
from lib.comparing import same

GOOD = {"kind": "tun", "mtu": 1400, "addresses": ["192.168.3.11/24", "fd00:3::11/64"],
        "routes": [{"to": "10.9.0.0/16", "metric": 100}, {"to": "10.9.0.0/16", "metric": 200}],
        "labels": {"site": "berlin"}, "worker": {"type": "udp", "local": "10.0.0.1:5000", "remote": "10.0.0.2:5000"}}
DEVICES, TUN0, NEW = "/v1/devices", "/v1/devices/tun0", "/v1/devices/new0"
MIB = 1 << 20


@pytest.fixture(scope="module")
def host(module_net):
    a, b = module_net.namespace("a", dad=False), module_net.namespace("b")
    module_net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"])
    host = module_net.host("a", a)
    host.device("tun0", **GOOD)
    host.device("tap0", kind="tap", addresses=["192.168.4.1/24"])
    host.namespace.ip("tuntap", "add", "foreign0", "mode", "tun")
    host.namespace.settled("tun0")
    host.namespace.settled("tap0")
    module_net.settled()
    host.known = None  # what it is like, after the last test
    return host


@pytest.fixture
def refuse(host):
    """refuse(method, path, …) sends a request that must be refused, and checks that nothing is different after it."""
    before = host.known or everything(host)

    def send(method, path, status, code, body=None, raw=None, headers=None, pointer=None, within=None):
        if raw is not None and headers is None:
            headers = {"Content-Type": "application/json"}
        answer = host.api(method, path, body, headers, raw)
        return answer.problem(status, code, pointer, within)

    yield send
    host.known = everything(host)
    same(before, host.known)


def everything(host):
    return {"configuration": host.configuration(), "kernel": host.namespace.kernel(), "worker": host.worker_pid("tun0")}


# ---- JSON ---------------------------------------------------------------------------------------------------------

GOOD_TEXT = json.dumps(GOOD)
NOT_JSON = {
    "empty": b"", "blank": b"  \n", "word": b"hello", "truncated": GOOD_TEXT[:-1].encode(),
    "truncated in a string": GOOD_TEXT[:30].encode(), "truncated number": b'{"mtu": 14', "trailing comma": b'{"kind": "tun",}',
    "two values": b"{} {}", "text after it": GOOD_TEXT.encode() + b"x", "single quotes": b"{'kind': 'tun'}",
    "comment": b'{"kind": "tun" /* a tun */}', "no quotes": b'{kind: "tun"}', "NaN": b'{"mtu": NaN}',
    "Infinity": b'{"mtu": Infinity}', "leading zero": b'{"mtu": 01400}', "plus": b'{"mtu": +1400}', "hex": b'{"mtu": 0x578}',
    "point": b'{"mtu": 1400.}', "duplicate key": b'{"kind": "tun", "mtu": 1400, "mtu": 1300}',
    "duplicate key, escaped": b'{"kind": "tun", "mtu": 1400, "\\u006dtu": 1300}',
    "NUL escaped": b'{"kind": "tun\\u0000"}', "NUL": b'{"kind": "tun"}\0', "bad UTF-8": b'{"labels": {"a": "\xff\xfe"}}',
    "overlong UTF-8": b'{"labels": {"a": "\xc0\xaf"}}', "surrogate alone": b'{"labels": {"a": "\\ud800"}}',
    "UTF-8 surrogate": b'{"labels": {"a": "\xed\xa0\x80"}}', "BOM": b"\xef\xbb\xbf" + GOOD_TEXT.encode(),
    "UTF-16": GOOD_TEXT.encode("utf-16"), "control character": b'{"labels": {"a": "x\ny"}}',
    "bad escape": b'{"labels": {"a": "\\x41"}}', "deep": b'{"labels": ' + b"[" * 100 + b"]" * 100 + b"}",
    "very deep": b"[" * 60000 + b"]" * 60000, "unclosed deep": b'{"a":' * 60000,
}


@pytest.mark.parametrize("name", NOT_JSON)
@pytest.mark.parametrize("method,path", [("PUT", TUN0), ("PUT", NEW), ("POST", DEVICES)])
def test_not_json(refuse, method, path, name):
    refuse(method, path, 400, "invalid_json", raw=NOT_JSON[name])


@pytest.mark.parametrize("path,method", [(f"{TUN0}/worker", "PUT"), (f"{TUN0}/routes/10.8.0.0/16", "PUT")])
@pytest.mark.parametrize("name", ["word", "truncated number", "duplicate key", "bad UTF-8", "two values"])
def test_not_json_for_a_part(refuse, method, path, name):
    refuse(method, path, 400, "invalid_json", raw=NOT_JSON[name])


@pytest.mark.parametrize("value", [None, 1, "x", True, [], [GOOD]])
def test_no_object(refuse, value):
    text = json.dumps(value).encode()
    refuse("PUT", TUN0, 400, "validation_failed", raw=text, pointer="", within="wrong_type")
    refuse("POST", DEVICES, 400, "validation_failed", raw=text, pointer="", within="wrong_type")


# ---- fields -------------------------------------------------------------------------------------------------------

UDP = GOOD["worker"]
# field values that are wrong: (change to the good document, pointer, code)
FIELDS = {
    "unknown field": ({"colour": "red"}, "/colour", "unknown_field"),
    "unknown field in another case": ({"MTU": 1400}, "/MTU", "unknown_field"),
    "unknown field with a slash": ({"a/b~c": 1}, "/a~1b~0c", "unknown_field"),
    "kind missing": ({"kind": ...}, "/kind", "missing_field"),
    "kind null": ({"kind": None}, "/kind", "wrong_type"),
    "kind unknown": ({"kind": "bridge"}, "/kind", "invalid_value"),
    "kind in capitals": ({"kind": "TUN"}, "/kind", "invalid_value"),
    "kind a number": ({"kind": 1}, "/kind", "wrong_type"),
    "up a string": ({"up": "true"}, "/up", "wrong_type"),
    "up a number": ({"up": 1}, "/up", "wrong_type"),
    "mtu a string": ({"mtu": "1400"}, "/mtu", "wrong_type"),
    "mtu a list": ({"mtu": [1400]}, "/mtu", "wrong_type"),
    "mtu a bool": ({"mtu": True}, "/mtu", "wrong_type"),
    "mtu a fraction": ({"mtu": 1400.5}, "/mtu", None),
    "mtu negative": ({"mtu": -1}, "/mtu", "out_of_range"),
    "mtu 0": ({"mtu": 0}, "/mtu", "out_of_range"),
    "mtu 67": ({"mtu": 67, "addresses": [], "routes": []}, "/mtu", "out_of_range"),
    "mtu 65536": ({"mtu": 65536}, "/mtu", "out_of_range"),
    "mtu 2^32 + 1400": ({"mtu": 2 ** 32 + 1400}, "/mtu", "out_of_range"),
    "mtu 10^30": ({"mtu": 10 ** 30}, "/mtu", "out_of_range"),
    "mtu too small for IPv6": ({"mtu": 1279}, None, "incompatible"),
    "txqueuelen 0": ({"txqueuelen": 0}, "/txqueuelen", "out_of_range"),
    "txqueuelen 1000001": ({"txqueuelen": 1000001}, "/txqueuelen", "out_of_range"),
    "queues 0": ({"queues": 0}, "/queues", "out_of_range"),
    "queues 17": ({"queues": 17}, "/queues", "out_of_range"),
    "mac on a tun": ({"mac": "02:00:00:00:00:01"}, "/mac", "incompatible"),
    "mac of five bytes": ({"kind": "tap", "mac": "02:00:00:00:01"}, "/mac", "invalid_address"),
    "mac with a letter too many": ({"kind": "tap", "mac": "02:00:00:00:00:0g"}, "/mac", "invalid_address"),
    "mac multicast": ({"kind": "tap", "mac": "03:00:00:00:00:01"}, "/mac", "invalid_address"),
    "mac zero": ({"kind": "tap", "mac": "00:00:00:00:00:00"}, "/mac", "invalid_address"),
    "owner negative": ({"owner": -1}, "/owner", "out_of_range"),
    "owner 2^32": ({"owner": 2 ** 32}, "/owner", "out_of_range"),
    "owner a name": ({"owner": "root"}, "/owner", "wrong_type"),
    "netns with a slash": ({"netns": "../host"}, "/netns", "invalid_name"),
    "netns empty": ({"netns": ""}, "/netns", "invalid_name"),
    "netns that is a dot": ({"netns": ".."}, "/netns", "invalid_name"),
    "master on a tun": ({"master": "br0"}, "/master", "incompatible"),
    "labels a list": ({"labels": []}, "/labels", "wrong_type"),
    "label a number": ({"labels": {"site": 1}}, "/labels/site", "wrong_type"),
    "label too long": ({"labels": {"site": "x" * 256}}, "/labels/site", None),
    "label key bad": ({"labels": {"a b": "x"}}, "/labels/a b", None),
    "labels too many": ({"labels": {f"k{n}": "" for n in range(65)}}, "/labels", "limit_exceeded"),
    "drift unknown": ({"drift": "ignore"}, "/drift", "invalid_value"),
    "name other than in the path": ({"name": "tun1"}, "/name", None),
    # addresses
    "addresses a string": ({"addresses": "192.168.3.11/24"}, "/addresses", "wrong_type"),
    "address a number": ({"addresses": [1]}, "/addresses/0", "wrong_type"),
    "address without length": ({"addresses": ["192.168.3.11"]}, "/addresses/0", "invalid_address"),
    "address with length 33": ({"addresses": ["192.168.3.11/33"]}, "/addresses/0", "invalid_address"),
    "address with length 129": ({"addresses": ["fd00:3::1/129"]}, "/addresses/0", "invalid_address"),
    "address with length -1": ({"addresses": ["192.168.3.11/-1"]}, "/addresses/0", "invalid_address"),
    "address with length 024": ({"addresses": ["192.168.3.11/024"]}, "/addresses/0", "invalid_address"),
    "address with a netmask": ({"addresses": ["192.168.3.11/255.255.255.0"]}, "/addresses/0", "invalid_address"),
    "address of three bytes": ({"addresses": ["192.168.3/24"]}, "/addresses/0", "invalid_address"),
    "address with 256": ({"addresses": ["192.168.3.256/24"]}, "/addresses/0", "invalid_address"),
    "address with 011": ({"addresses": ["192.168.3.011/24"]}, "/addresses/0", "invalid_address"),
    "address with a blank": ({"addresses": [" 192.168.3.11/24"]}, "/addresses/0", "invalid_address"),
    "address with a zone": ({"addresses": ["fe80::1%eth0/64"]}, "/addresses/0", "invalid_address"),
    "address mapped": ({"addresses": ["::ffff:1.2.3.4/128"]}, "/addresses/0", "invalid_address"),
    "address with two ::": ({"addresses": ["fd00::3::1/64"]}, "/addresses/0", "invalid_address"),
    "address a name": ({"addresses": ["localhost/24"]}, "/addresses/0", "invalid_address"),
    "address multicast": ({"addresses": ["224.0.0.1/24"]}, "/addresses/0", None),
    "address any": ({"addresses": ["0.0.0.0/0"]}, "/addresses/0", None),
    "second address bad": ({"addresses": ["192.168.3.11/24", "x"]}, "/addresses/1", "invalid_address"),
    "address twice": ({"addresses": ["192.168.3.11/24", "192.168.3.11/24"]}, "/addresses/1", "duplicate"),
    "address twice, written otherwise": ({"addresses": ["fd00:3::11/64", "fd00:3:0:0::11/64"]}, "/addresses/1", "duplicate"),
    "addresses too many": ({"addresses": [f"10.1.{n // 250}.{n % 250 + 1}/32" for n in range(257)]}, "/addresses",
                           "limit_exceeded"),
    # routes
    "routes an object": ({"routes": {}}, "/routes", "wrong_type"),
    "route a string": ({"routes": ["10.9.0.0/16"]}, "/routes/0", "wrong_type"),
    "route without to": ({"routes": [{"metric": 1}]}, "/routes/0/to", "missing_field"),
    "route with an unknown field": ({"routes": [{"to": "10.9.0.0/16", "dev": "eth0"}]}, "/routes/0/dev", "unknown_field"),
    "route with host bits": ({"routes": [{"to": "10.9.0.1/16"}]}, "/routes/0/to", "host_bits_set"),
    "route with host bits, IPv6": ({"routes": [{"to": "fd00:9::1/48"}]}, "/routes/0/to", "host_bits_set"),
    "route to nothing": ({"routes": [{"to": "nowhere"}]}, "/routes/0/to", "invalid_address"),
    "route to default": ({"routes": [{"to": "default"}]}, "/routes/0/to", "invalid_address"),
    "route via a name": ({"routes": [{"to": "10.9.0.0/16", "via": "gateway"}]}, "/routes/0/via", "invalid_address"),
    "route via the other family": ({"routes": [{"to": "10.9.0.0/16", "via": "fd00:3::1"}]}, "/routes/0/via", "incompatible"),
    "route via any": ({"routes": [{"to": "10.9.0.0/16", "via": "0.0.0.0"}]}, "/routes/0/via", None),
    "route source of the other family": ({"routes": [{"to": "10.9.0.0/16", "source": "fd00:3::11"}]}, "/routes/0/source",
                                         "incompatible"),
    "route metric negative": ({"routes": [{"to": "10.9.0.0/16", "metric": -1}]}, "/routes/0/metric", "out_of_range"),
    "route metric 2^32": ({"routes": [{"to": "10.9.0.0/16", "metric": 2 ** 32}]}, "/routes/0/metric", "out_of_range"),
    "route table 0": ({"routes": [{"to": "10.9.0.0/16", "table": 0}]}, "/routes/0/table", "out_of_range"),
    "route table local": ({"routes": [{"to": "10.9.0.0/16", "table": 255}]}, "/routes/0/table", None),
    "route table a name": ({"routes": [{"to": "10.9.0.0/16", "table": "main"}]}, "/routes/0/table", "wrong_type"),
    "route type unknown": ({"routes": [{"to": "10.9.0.0/16", "type": "nat"}]}, "/routes/0/type", "invalid_value"),
    "blackhole via": ({"routes": [{"to": "10.9.0.0/16", "type": "blackhole", "via": "192.168.3.1"}]}, "/routes/0/via",
                      "incompatible"),
    "blackhole in a netns": ({"netns": "x", "routes": [{"to": "10.9.0.0/16", "type": "blackhole"}]}, "/routes/0", "incompatible"),
    "route twice": ({"routes": [{"to": "10.9.0.0/16"}, {"to": "10.9.0.0/16"}]}, "/routes/1", "duplicate"),
    # workers
    "worker a string": ({"worker": "udp"}, "/worker", "wrong_type"),
    "worker without type": ({"worker": {}}, "/worker/type", "missing_field"),
    "worker type unknown": ({"worker": {"type": "carrier-pigeon"}}, "/worker/type", "invalid_value"),
    "worker type none": ({"worker": {"type": "none"}}, "/worker/type", "invalid_value"),
    "worker type a path": ({"worker": {"type": "../../bin/sh"}}, "/worker/type", "invalid_value"),
    "worker field unknown": ({"worker": {**UDP, "key": "x"}}, "/worker/key", "unknown_field"),
    "worker field of another type": ({"worker": {"type": "echo", "local": UDP["local"]}}, "/worker/local", "unknown_field"),
    "worker without local": ({"worker": {"type": "udp", "remote": UDP["remote"]}}, "/worker/local", "missing_field"),
    "worker without remote": ({"worker": {"type": "udp", "local": UDP["local"]}}, "/worker/remote", "missing_field"),
    "worker local without port": ({"worker": {**UDP, "local": "10.0.0.1"}}, "/worker/local", "invalid_address"),
    "worker local port 0": ({"worker": {**UDP, "local": "10.0.0.1:0"}}, "/worker/local", None),
    "worker local port 65536": ({"worker": {**UDP, "local": "10.0.0.1:65536"}}, "/worker/local", "invalid_address"),
    "worker remote a name": ({"worker": {**UDP, "remote": "far.example:5000"}}, "/worker/remote", "invalid_address"),
    "worker remote any": ({"worker": {**UDP, "remote": "0.0.0.0:5000"}}, "/worker/remote", None),
    "worker remote multicast": ({"worker": {**UDP, "remote": "224.0.0.1:5000"}}, "/worker/remote", None),
    "worker families differ": ({"worker": {**UDP, "remote": "[fd00:a::2]:5000"}}, None, "incompatible"),
    "worker IPv6 without brackets": ({"worker": {**UDP, "remote": "fd00:a::2:5000"}}, "/worker/remote", "invalid_address"),
    "monitor log_rate 1001": ({"worker": {"type": "monitor", "log_rate": 1001}}, "/worker/log_rate", "out_of_range"),
    "monitor log_rate -1": ({"worker": {"type": "monitor", "log_rate": -1}}, "/worker/log_rate", "out_of_range"),
}


def changed(change):
    return {k: v for k, v in {**GOOD, **change}.items() if v is not ...}


@pytest.mark.parametrize("name", FIELDS)
def test_field(refuse, name):
    change, pointer, code = FIELDS[name]
    where = NEW if changed(change).get("kind") != "tun" else TUN0
    for path in {where, NEW}:
        problem = refuse("PUT", path, 400, "validation_failed", body=changed(change), pointer=pointer, within=code)
        if pointer is None:
            assert code in [e["code"] for e in problem["errors"]], problem
    if name != "name other than in the path":
        refuse("POST", DEVICES, 400, "validation_failed", body={**changed(change), "name": "new0"}, pointer=pointer)


def test_all_faults_are_told_at_once(refuse):
    problem = refuse("PUT", TUN0, 400, "validation_failed", body={
        **GOOD, "mtu": 5, "colour": "red", "addresses": ["x", "10.0.0.1/24"], "worker": {"type": "udp", "local": "y"}})
    pointers = {e["pointer"] for e in problem["errors"]}
    assert {"/mtu", "/colour", "/addresses/0", "/worker/local", "/worker/remote"} <= pointers, problem


# ---- names --------------------------------------------------------------------------------------------------------

NAMES = {"empty": "", "16 characters": "abcdefghijklmnop", "dots": "..", "dot": ".", "slash": "a/b", "format": "tun%n",
         "format s": "tun%s", "percent d in the middle": "t%dn", "space": "tun 0", "leading space": " tun0",
         "trailing space": "tun0 ", "newline": "tun\n0", "trailing newline": "tun0\n", "tab": "tun\t0", "escape": "tun\x1b[1m",
         "DEL": "tun\x7f", "UTF-8": "tün0", "UTF-8, 15 characters": "ü" * 15, "emoji": "🚇", "digits": "123", "all": "all",
         "default": "default", "lo": "lo", "dash first": "-tun", "dot first": ".tun", "colon": "tun:0", "at": "tun@0",
         "backslash": "tun\\0", "quote": "tun'0", "semicolon": "tun;id", "dollar": "$(id)", "star": "*"}


@pytest.mark.parametrize("name", NAMES)
def test_name_in_the_document(refuse, name):
    refuse("POST", DEVICES, 400, "validation_failed", body={**GOOD, "name": NAMES[name], "worker": None}, pointer="/name",
           within="invalid_name")


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("empty", "dots", "dot", "slash")])
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_name_in_the_path(refuse, host, method, name):
    path = DEVICES + "/" + "".join(f"%{byte:02x}" for byte in NAMES[name].encode())
    answer = host.api(method, path, GOOD if method == "PUT" else None)
    if method == "PUT":
        answer.expect(400)
    else:
        answer.expect(400, 404)
    answer.problem(answer.status, answer.json["code"])


@pytest.mark.parametrize("path", ["/v1/devices/../devices/tun0", "/v1/devices/%2e%2e/tun0", "/v1/devices//tun0",
                                  "/v1/devices/a%2fb", "/v1/devices/a%2Fb/worker", "/v1/devices/tun0/", "/v1/devices/tun0%00",
                                  "/v1/devices/%", "/v1/devices/%4", "/v1/devices/%zz", "/v1/devices/tun0/../../version",
                                  "/../../etc/passwd", "/v1/devices/tun0/addresses/192.168.3.11%2f24/24"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_path_that_is_no_name(refuse, host, method, path):
    answer = host.api(method, path, GOOD if method == "PUT" else None)
    answer.expect(400, 404, 405)
    answer.problem(answer.status, answer.json["code"])


def test_name_missing(refuse):
    refuse("POST", DEVICES, 400, "validation_failed", body=GOOD, pointer="/name", within="missing_field")
    refuse("POST", DEVICES, 400, "validation_failed", body={**GOOD, "name": None}, pointer="/name")
    refuse("POST", DEVICES, 400, "validation_failed", body={**GOOD, "name": 5}, pointer="/name", within="wrong_type")


# ---- parts of a device --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("part", ["192.168.3.300/24", "192.168.3.11/33", "192.168.3.11/x", "x/24", "192.168.3.11/24/1",
                                  "192.168.3.11/+24", "192.168.3.011/24", "fe80::1%25eth0/64", "0.0.0.0/0", "224.0.0.1/4",
                                  "192.168.3.11/-1", "%20192.168.3.12/24"])
def test_address_in_the_path(refuse, host, part):
    for method in ("PUT", "DELETE"):
        answer = host.api(method, f"{TUN0}/addresses/{part}")
        answer.expect(400, 404) if method == "DELETE" or part.count("/") > 1 else answer.expect(400)
        answer.problem(answer.status, answer.json["code"])


@pytest.mark.parametrize("part,code", [("10.8.0.1/16", "host_bits_set"), ("10.8.0.0/33", "invalid_address"),
                                       ("x/16", "invalid_address"), ("fd00:8::1/32", "host_bits_set")])
def test_route_in_the_path(refuse, host, part, code):
    for method in ("PUT", "DELETE"):
        answer = host.api(method, f"{TUN0}/routes/{part}")
        document = answer.problem(400, answer.json["code"])
        assert code in [document["code"], *(e["code"] for e in document["errors"])], answer


@pytest.mark.parametrize("body,pointer,code", [
    ({"to": "10.7.0.0/16"}, "/to", None), ({"metric": "low"}, "/metric", "wrong_type"), ({"colour": 1}, "/colour", "unknown_field"),
    ({"via": "x"}, "/via", "invalid_address"), ({"type": "nat"}, "/type", "invalid_value"), ([], "", "wrong_type")])
def test_route_document(refuse, body, pointer, code):
    refuse("PUT", f"{TUN0}/routes/10.8.0.0/16", 400, "validation_failed", body=body, pointer=pointer, within=code)


@pytest.mark.parametrize("query", ["metric=x", "metric=-1", "metric=4294967296", "table=abc", "colour=red",
                                   "metric=1&metric=2", "metric="])
def test_route_query(refuse, query):
    for method in ("PUT", "DELETE"):
        refuse(method, f"{TUN0}/routes/10.9.0.0/16?{query}", 400, "invalid_query")


def test_route_query_with_a_table_that_is_the_kernel_s(refuse):
    for table in (0, 255):
        refuse("PUT", f"{TUN0}/routes/10.9.0.0/16?table={table}", 400, "validation_failed", pointer="/table")


def test_route_query_that_contradicts_the_body(refuse, host):
    host.api("PUT", f"{TUN0}/routes/10.8.0.0/16?metric=5", {"metric": 6}).expect(400)
    refuse("DELETE", f"{TUN0}/routes/10.9.0.0/16", 400, "invalid_query")  # there are two


def test_what_is_not_there(refuse):
    for method, path in (("GET", "/v1/devices/none0"), ("DELETE", "/v1/devices/none0"), ("GET", "/v1/devices/none0/worker"),
                         ("PUT", "/v1/devices/none0/addresses/10.1.1.1/32"), ("PUT", "/v1/devices/none0/routes/10.1.0.0/16"),
                         ("DELETE", f"{TUN0}/addresses/10.1.1.1/32"), ("DELETE", f"{TUN0}/addresses/192.168.3.11/25"),
                         ("DELETE", f"{TUN0}/routes/10.1.0.0/16"), ("DELETE", f"{TUN0}/routes/10.9.0.0/16?metric=7"),
                         ("GET", "/v1/devices/tap0/worker"), ("DELETE", "/v1/devices/tap0/worker"),
                         ("GET", "/v1/devices/none0/counters"), ("GET", "/v2/devices"), ("GET", "/v1"), ("GET", "/nothing")):
        refuse(method, path, 404, "not_found")
    refuse("PUT", "/v1/devices/none0/worker", 404, "not_found", body={"type": "echo"})


@pytest.mark.parametrize("body,pointer,code", [
    ({"type": "carrier-pigeon"}, "/type", "invalid_value"), ({}, "/type", "missing_field"), ([], "", "wrong_type"),
    ({"type": "udp"}, "/local", "missing_field"), ({"type": "echo", "x": 1}, "/x", "unknown_field"), (None, None, None)])
def test_worker_document(refuse, body, pointer, code):
    refuse("PUT", f"{TUN0}/worker", 400, "validation_failed", raw=json.dumps(body).encode(), pointer=pointer, within=code)


# ---- what only the kernel can refuse -----------------------------------------------------------------------------------

def test_device_that_is_not_ours(refuse, host):
    refuse("PUT", "/v1/devices/foreign0", 409, "foreign_device", body={"kind": "tun"})
    refuse("POST", DEVICES, 409, "foreign_device", body={"kind": "tun", "name": "foreign0"})
    refuse("PUT", "/v1/devices/eth0", 409, "foreign_device", body={"kind": "tap"})
    refuse("DELETE", "/v1/devices/foreign0", 404, "not_found")
    assert host.namespace.link("foreign0") and host.namespace.link("eth0")


def test_device_that_exists_already(refuse):
    refuse("POST", DEVICES, 409, "already_exists", body={"kind": "tun", "name": "tun0"})


def test_route_through_nowhere(refuse):
    """The gateway is on no subnet of the device: the kernel's own words."""
    for body in ({"via": "10.200.0.1"},):
        problem = refuse("PUT", f"{TUN0}/routes/10.8.0.0/16", 422, "kernel_refused", body=body)
        assert problem["operation"] == "RTM_NEWROUTE" and problem["errno"] == "ENETUNREACH", problem
    problem = refuse("PUT", f"{TUN0}/routes/fd00:8::/32", 422, "kernel_refused", body={"via": "fd00:200::1"})
    assert problem["operation"] == "RTM_NEWROUTE" and problem["errno"] in ("ENETUNREACH", "EHOSTUNREACH"), problem
    problem = refuse("PUT", TUN0, 422, "kernel_refused",
                     body={**GOOD, "mtu": 1350, "addresses": ["10.1.1.1/24"], "routes": [{"to": "10.8.0.0/16", "via": "10.200.0.1"}]})
    assert problem["errno"] == "ENETUNREACH", problem
    refuse("PUT", NEW, 422, "kernel_refused", body={"kind": "tun", "routes": [{"to": "10.8.0.0/16", "via": "10.200.0.1"}]})
    refuse("PUT", f"{TUN0}/routes/10.8.0.0/16", 422, "kernel_refused", body={"source": "10.200.0.1"})


def test_netns_that_is_not_there(refuse):
    problem = refuse("PUT", NEW, 422, "kernel_refused", body={"kind": "tun", "netns": "tunwright-no-such"})
    assert problem["errno"] == "ENOENT", problem


def test_master_that_is_not_there(refuse):
    refuse("PUT", NEW, 422, "kernel_refused", body={"kind": "tap", "master": "nobridge0"})


def test_local_address_that_is_bound_already(refuse, host):
    with host.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("10.0.0.1", 5999))
        worker = {"type": "udp", "local": "10.0.0.1:5999", "remote": "10.0.0.2:5999"}
        refuse("PUT", NEW, 409, "address_in_use", body={"kind": "tun", "worker": worker})
        refuse("PUT", f"{TUN0}/worker", 409, "address_in_use", body=worker)
        refuse("PUT", "/v1/devices/tap0/worker", 409, "address_in_use", body=worker)
    # that of another tunnel is as taken
    refuse("PUT", "/v1/devices/tap0/worker", 409, "address_in_use", body=UDP)


def test_local_address_that_is_not_this_host_s(refuse):
    problem = refuse("PUT", NEW, 422, "kernel_refused", body={"kind": "tun", "worker": {**UDP, "local": "10.99.0.1:5001"}},
                     pointer="/worker/local")
    assert problem["operation"] == "bind" and problem["errno"] == "EADDRNOTAVAIL", problem


# ---- HTTP ---------------------------------------------------------------------------------------------------------

def test_body_too_large(refuse):
    padded = GOOD_TEXT.encode() + b" " * MIB
    refuse("PUT", TUN0, 413, "body_too_large", raw=padded)
    refuse("POST", DEVICES, 413, "body_too_large", raw=padded)
    refuse("PUT", f"{TUN0}/worker", 413, "body_too_large", raw=json.dumps(UDP).encode() + b" " * 65536)
    refuse("PUT", f"{TUN0}/routes/10.8.0.0/16", 413, "body_too_large", raw=b"{}" + b" " * 65536)


def test_body_that_is_as_large_as_it_may_be(host):
    room = MIB - len(GOOD_TEXT)
    answer = host.api("PUT", TUN0, raw=GOOD_TEXT.encode() + b" " * room, headers={"Content-Type": "application/json"})
    assert answer.expect(200).changed is False


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "json", None,
                                  "multipart/form-data"])
def test_media_type(refuse, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    refuse("PUT", TUN0, 415, "unsupported_media_type", raw=GOOD_TEXT, headers=headers)
    refuse("POST", DEVICES, 415, "unsupported_media_type", raw=GOOD_TEXT, headers=headers)


@pytest.mark.parametrize("path,allowed", [(DEVICES, {"GET", "HEAD", "POST"}), (TUN0, {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
                                          (f"{TUN0}/worker", {"GET", "HEAD", "PUT", "DELETE"}),
                                          (f"{TUN0}/addresses", {"GET", "HEAD"}), (f"{TUN0}/counters", {"GET", "HEAD"}),
                                          (f"{TUN0}/addresses/10.1.1.1/32", {"PUT", "DELETE"}),
                                          ("/v1/counters", {"GET", "HEAD"}), ("/v1/version", {"GET", "HEAD"}),
                                          ("/healthz", {"GET", "HEAD"}), ("/v1/watch", {"GET", "HEAD"})])
def test_method_not_allowed(refuse, host, path, allowed):
    for method in {"GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"} - allowed:
        answer = host.api(method, path)
        answer.expect(405)
        assert set(answer.headers["allow"].replace(" ", "").split(",")) == allowed, answer.headers
        answer.problem(405, "method_not_allowed")


HEAD = b"Host: localhost\r\n"
RAW = {
    "no host": b"GET /v1/version HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v1/version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two lengths": b"PUT /v1/devices/tun0 HTTP/1.1\r\n" + HEAD +
                   b"Content-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "length and chunked": b"PUT /v1/devices/tun0 HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
                          b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "bad length": b"PUT /v1/devices/tun0 HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\nContent-Length: +2\r\n\r\n{}",
    "blank before the colon": b"GET /v1/version HTTP/1.1\r\n" + HEAD + b"X-A : b\r\n\r\n",
    "folded": b"GET /v1/version HTTP/1.1\r\n" + HEAD + b"X-A: b\r\n c\r\n\r\n",
    "unknown coding": b"PUT /v1/devices/tun0 HTTP/1.1\r\n" + HEAD +
                      b"Content-Type: application/json\r\nTransfer-Encoding: gzip\r\n\r\n{}",
}


@pytest.mark.parametrize("name", RAW)
def test_ambiguous_request(refuse, host, name):
    assert raw_status(host, RAW[name]) in (400, 501), name


def raw_status(host, data):
    return status_of(raw_sent(host, data))


def raw_sent(host, data):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(15)
    sock.connect(str(host.socket))
    sock.sendall(data)
    return sock


def status_of(sock):
    answer = b""
    with sock:
        while b"\r\n" not in answer:
            piece = sock.recv(65536)
            if not piece:
                break
            answer += piece
    return int(answer.split()[1]) if answer else 400  # closed without a word: refused as well


def test_garbage_instead_of_http(refuse, host):
    for data in (b"HELO there\r\n\r\n", b"GET\r\n\r\n", b"GET " + b"/" * 70000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
        assert raw_status(host, data) in (400, 404, 413, 414, 431)
    assert host.api("GET", "/healthz").status == 200


@pytest.mark.slow
def test_garbage_without_a_line_is_refused_in_time(refuse, host):
    begun = [raw_sent(host, data) for data in (b"\0" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")]
    assert [status_of(sock) for sock in begun] == [400, 400]
    assert host.api("GET", "/healthz").status == 200
