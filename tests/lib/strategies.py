# SPDX-License-Identifier: Apache-2.0
"""What hypothesis draws from: documents that a schema takes, the same with something wrong, and whole requests."""

import functools
import json
import urllib.parse

from hypothesis import strategies as st
from lib import values
from lib.calls import OPERATIONS, Call
from lib.contract import contract

anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
                        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4), max_leaves=12)
# few, so that requests meet each other
NAMES = ["tun0", "tun1", "tap0", "found0", "val0"]
PREFIXES = ["10.9.0.0/16", "10.8.0.0/16", "192.168.3.11/24", "192.168.3.12/32", "fd00:3::/64", "fd00:3::11/64", "0.0.0.0/0", "::/0"]
FORMATS = {
    "ip-address": st.sampled_from(["192.168.3.11", "192.168.3.1", "fd00:3::1", "0.0.0.0", "::", "127.0.0.1"]) | st.ip_addresses().map(str),
    "ip-prefix": st.sampled_from(PREFIXES),
    "ip-endpoint": st.sampled_from(["10.0.0.1:5000", "127.0.0.1:5001", "0.0.0.0:5002", "127.0.0.1:1", "[::1]:5000", "[fd00::2]:65535"]),
    "mac": st.sampled_from(["02:00:5e:10:00:01", "02:00:5E:10:00:02"]),
    "date-time": st.sampled_from(["2099-01-01T00:00:00Z", "2000-01-01T00:00:00Z", "2099-12-31T23:59:59.999Z"]),
}


def merged(schema):
    """All that a schema says of an object or text, with its allOf in it."""
    made = {k: v for k, v in schema.items() if k != "allOf"}
    for part in map(merged, schema.get("allOf", [])):
        made = {**part, **made, "properties": {**part.get("properties", {}), **made.get("properties", {})},
                "required": [*part.get("required", []), *made.get("required", [])]}
    return made


def of(schema):
    """Values that the schema mostly takes: conditions between fields are left to chance."""
    schema = merged(schema)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return st.one_of([of(part) for part in schema[key]])
    kinds = schema.get("type", "object" if schema.get("properties") else "anything")
    return st.one_of([of_type(schema, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def of_type(schema, kind):
    if kind == "null":
        return st.none()
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "number"):
        return st.integers(schema.get("minimum", 0), schema.get("maximum", 2 ** 53))
    if kind == "string":
        if schema.get("pattern") == contract().document["components"]["schemas"]["DeviceName"]["pattern"]:
            return st.sampled_from(NAMES)
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]]
        return st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else st.text(max_size=30)
    if kind == "array":
        return st.lists(of(schema.get("items", {})), max_size=3)
    if kind == "object":
        fields = schema.get("properties", {})
        required = {k: v for k, v in fields.items() if k in schema.get("required", [])}
        optional = {k: of(v) for k, v in fields.items() if k not in required}
        fixed = st.fixed_dictionaries({k: of(v) for k, v in required.items()}, optional=optional)
        if isinstance(schema.get("additionalProperties"), dict) and "propertyNames" in schema:
            more = st.dictionaries(of(schema["propertyNames"]), of(schema["additionalProperties"]), max_size=3)
            return st.builds(lambda a, b: {**b, **a}, fixed, more)
        return fixed
    return anything


@st.composite
def spoilt(draw, good, schema):
    """A document with one thing different, as tests/lib/values.py does it."""
    document = draw(good)
    made = [whole for _, whole, _ in values.variations(schema, document)]
    return draw(st.sampled_from(made)) if made else document


@functools.cache
def bodies(operation):
    """Text of a body."""
    schema = operation.body_schema()
    good = of(schema)
    text = st.one_of(good, good, good, spoilt(good, schema), anything).map(json.dumps).map(str.encode)
    cut = st.builds(lambda b, n: b[:n], text, st.integers(0, 200))
    return st.one_of(text, text, text, cut, st.binary(max_size=40))


@functools.cache
def texts(parameter_name, operation):
    """Good and bad texts of a parameter."""
    parameter = next(p for p in operation.parameters if p["name"] == parameter_name and p["in"] != "path")
    found = list(values.queries(parameter))
    return [t for t, good in found if good] or ["x"], [t for t, good in found if not good] or ["x"]


@st.composite
def calls(draw):
    operation = draw(st.sampled_from(OPERATIONS))
    call = Call(operation)
    for name, parameter in operation.parameters_in("path").items():
        good = of(contract().inlined(parameter["schema"]))
        text = str(draw(st.one_of(good, good, good, st.sampled_from(values.TEXTS))))
        if text and text not in (".", "..") and not draw(st.integers(0, 2)):
            call.path = fill(call, operation, name, text)
    for parameter in operation.parameters:
        if parameter["in"] == "path" or draw(st.integers(0, 3)):
            continue
        good, bad = texts(parameter["name"], operation)
        text = draw(st.sampled_from(good if draw(st.integers(0, 4)) else bad))
        if parameter["in"] == "query":
            call.query[parameter["name"]] = text
        elif text.isascii() and text.isprintable():
            call.headers[parameter["name"]] = text
    if not draw(st.integers(0, 30)):
        call.query[draw(st.sampled_from(["colour", "dry_run", "limit", "Name"]))] = "1"
    if operation.body and draw(st.integers(0, 9)):
        call.raw = draw(bodies(operation))
    if not draw(st.integers(0, 20)):
        call.headers["Content-Type"] = draw(st.sampled_from(["text/plain", "application/json; charset=utf-8", "application/json;x"]))
    return call


def fill(call, operation, name, text):
    pieces = call.path.split("/")
    place = operation.path.segments.index(f"{{{name}}}")
    pieces[place] = urllib.parse.quote(text, safe="")
    return "/".join(pieces)
