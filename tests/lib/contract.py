# SPDX-License-Identifier: Apache-2.0
"""api/openapi.yaml as the judge of every answer that a test sees.

lib/api.py has each answer checked here: the operation is known, the status is written down for it, the headers that belong to
it are there, and the body is as its schema says. What was seen is noted, so that at the end of a whole run somebody can ask
what was not (tests/system/test_zz_coverage.py). Requests below HTTP, on a bare socket, do not come by."""

import datetime
import functools
import ipaddress
import json
import os
import re
import urllib.parse

import jsonschema
import yaml
from lib.build import TREE

SOURCE = TREE / "api/openapi.yaml"
METHODS = ("get", "put", "post", "patch", "delete")
ANNOTATIONS = {"description", "default", "example", "examples", "readOnly", "writeOnly", "title"}
ITEMS_CHECKED = 100  # of a long list: so many at each end
# what a path that is not written down, or a request that got no further than the door, may be answered with
DOOR = {400: "BadRequest", 401: "Unauthenticated", 403: "Forbidden", 404: "NotFound", 429: "RateLimited"}


# ---- schemas --------------------------------------------------------------------------------------------------------

formats = jsonschema.FormatChecker(formats=())


def checks(name):
    """The function under it fails (ValueError) where its text is not of the format."""
    return lambda function: formats.checks(name, raises=ValueError)(lambda text: not isinstance(text, str) or function(text) or True)


@checks("ip-address")
def ip_address(text):
    address = ipaddress.ip_address(text)
    if "%" in text or (address.version == 6 and address.ipv4_mapped):
        raise ValueError("a zone, or IPv4-mapped")
    return address


@checks("ip-prefix")
def ip_prefix(text):
    address, slash, length = text.partition("/")
    if not slash or not re.fullmatch(r"0|[1-9][0-9]{0,2}", length):
        raise ValueError("no prefix length")
    ip_address(address)
    ipaddress.ip_interface(text)


@checks("ip-endpoint")
def ip_endpoint(text):
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([1-9][0-9]{0,4})", text)
    if not match or int(match[3]) > 65535:
        raise ValueError("not an address and a port")
    if (ipaddress.ip_address(match[1] or match[2]).version == 6) != bool(match[1]):
        raise ValueError("brackets are for IPv6")
    ip_address(match[1] or match[2])


@checks("mac")
def mac(text):
    octets = bytes.fromhex(text.replace(":", ""))
    if len(octets) != 6 or octets[0] & 1 or not any(octets):
        raise ValueError("not six bytes, multicast, or zero")


@checks("date-time")
def date_time(text):
    datetime.datetime.fromisoformat(text)


@checks("json-pointer")
def json_pointer(text):
    if not re.fullmatch(r"(/([^~/]|~[01])*)*", text):
        raise ValueError("not a JSON Pointer")


class Contract:
    def __init__(self, document):
        self.document = document
        self.paths = [Path(self, template, item) for template, item in document["paths"].items()]
        self.operations = {o.id: o for path in self.paths for o in path.operations.values()}

    def resolve(self, node):
        """What a $ref leads to; anything else as it is."""
        while isinstance(node, dict) and "$ref" in node:
            node = functools.reduce(lambda at, key: at[key], node["$ref"].removeprefix("#/").split("/"), self.document)
        return node

    def inlined(self, node):
        """A schema without any $ref, which is faster to check against."""
        if isinstance(node, list):
            return [self.inlined(n) for n in node]
        if not isinstance(node, dict):
            return node
        beside = {k: self.inlined(v) for k, v in node.items() if k not in ("$ref", "discriminator")}
        if "$ref" not in node:
            return beside
        target = self.inlined(self.resolve({"$ref": node["$ref"]}))
        if isinstance(target, dict) and set(beside) <= ANNOTATIONS:
            return {**target, **beside}
        return {"allOf": [target], **beside}

    def validator(self, schema):
        return jsonschema.Draft202012Validator(self.inlined(schema), format_checker=formats)

    def find(self, target):
        """The path that a request's target means, or None."""
        segments = target.partition("?")[0].split("/")
        fitting = [path for path in self.paths if path.fits(segments)]
        return max(fitting, key=lambda path: path.literals, default=None)


class Path:
    def __init__(self, contract, template, item):
        self.contract, self.template, self.item = contract, template, item
        self.segments = template.split("/")
        self.literals = sum(not s.startswith("{") for s in self.segments)
        self.operations = {m.upper(): Operation(self, m.upper(), item[m]) for m in METHODS if m in item}
        self.others = Answer(contract, f"{template} by another method", 405, item["x-other-methods"])

    def fits(self, segments):
        return len(segments) == len(self.segments) and all(
            bool(given) if wanted.startswith("{") else urllib.parse.unquote(given) == wanted
            for given, wanted in zip(segments, self.segments))

    @property
    def allow(self):
        """What Allow says."""
        return {*self.operations, *(["HEAD"] if "GET" in self.operations else [])}


class Operation:
    def __init__(self, path, method, node):
        contract = path.contract
        self.contract, self.path, self.method, self.node, self.id = contract, path, method, node, node["operationId"]
        self.role = node["security"][0]["bearer"][0] if node["security"] else "nobody"
        self.parameters = [contract.resolve(p) for p in path.item.get("parameters", []) + node.get("parameters", [])]
        self.body = contract.resolve(node.get("requestBody"))
        self.answers = {int(status): Answer(contract, self.id, int(status), answer)
                        for status, answer in node["responses"].items()}

    def __repr__(self):
        return self.id

    def parameters_in(self, where):
        return {p["name"]: p for p in self.parameters if p["in"] == where}

    def body_schema(self):
        """Of the first media type."""
        return self.contract.inlined(next(iter(self.body["content"].values()))["schema"])


class Answer:
    """One status of one operation, ready to be checked against."""

    def __init__(self, contract, what, status, node):
        self.contract, self.what, self.status, self.node = contract, what, status, contract.resolve(node)

    @functools.cached_property
    def headers(self):
        nodes = {name: self.contract.resolve(h) for name, h in self.node.get("headers", {}).items()}
        return [(name, h, self.contract.validator(h["schema"])) for name, h in nodes.items()]

    @functools.cached_property
    def content(self):
        return {kind: Checker(self.contract, c["schema"]) for kind, c in self.node.get("content", {}).items()}

    @functools.cached_property
    def messages(self):
        kinds = self.node["content"]["text/event-stream"]["x-messages"]
        return {name: Checker(self.contract, schema) for name, schema in kinds.items()}

    def faults_of_headers(self, query, headers, document):
        required = {"without dry_run": query.get("dry_run") != "true",
                    "changed with confirm_s": "confirm_s" in query and headers.get("tunwright-changed") == "true",
                    "with next": isinstance(document, dict) and bool(document.get("next"))}
        for name, node, validator in self.headers:
            value = headers.get(name.lower())
            if value is None:
                if node.get("required") or required.get(node.get("x-required")):
                    yield f"there is no header {name}"
                continue
            yield from (f"header {name}: {e.message}" for e in validator.iter_errors(value))
        if isinstance(document, dict) and "next" in document and ("link" in headers) != bool(document["next"]):
            yield "Link and next do not say the same"
        if "link" in headers and isinstance(document, dict) and headers["link"] != f'<{document.get("next")}>; rel="next"':
            yield f"Link says {headers['link']}, and next {document.get('next')}"
        known = {"content-type", "content-length", "date", "connection", "transfer-encoding", "cache-control",
                 "x-content-type-options", "server"} | {name.lower() for name, _, _ in self.headers}
        yield from (f"the header {name} is not written down" for name in headers if name not in known)

    def faults(self, method, query, headers, body):
        """What is not as it is written. `body` is None where only the head is there."""
        may_be_kept = any(name == "Cache-Control" for name, _, _ in self.headers)  # what it says is checked with the headers
        if (not may_be_kept and headers.get("cache-control") != "no-store") or headers.get("x-content-type-options") != "nosniff":
            yield "it lacks Cache-Control: no-store or X-Content-Type-Options: nosniff"
        kind, document = headers.get("content-type"), None
        if not self.content:
            if kind is not None or body:
                yield f"it has a body, of type {kind}"
        elif kind not in self.content:
            yield f"its type is {kind}, not {' or '.join(self.content)}"
        elif body is not None and method != "HEAD":
            if "json" in kind:
                try:
                    document = json.loads(body)
                except ValueError as error:
                    yield f"the body is not JSON: {error}"
                    return
            else:
                document = body.decode(errors="replace")
            yield from self.content[kind].faults(document)
        if method != "HEAD":
            yield from self.faults_of_headers(query, headers, document)


class Checker:
    """A schema that remembers what it has judged: many answers are alike, and so are the items of many lists."""

    def __init__(self, contract, schema):
        self.validator, self.judged = contract.validator(schema), {}
        fields = {k: f for k, f in self.validator.schema.get("properties", {}).items() if isinstance(f, dict)}
        self.lists = {key: Checker(contract, field["items"]) for key, field in fields.items()
                      if field.get("type") == "array" and isinstance(field.get("items"), dict) and not field.get("uniqueItems")}

    def faults(self, document):
        text = json.dumps(document)
        if text not in self.judged:
            if len(self.judged) > 4096:
                self.judged.clear()
            self.judged[text] = tuple(self.judge(document))
        return self.judged[text]

    def judge(self, document):
        for key, checker in self.lists.items():
            items = document.get(key) if isinstance(document, dict) else None
            if not isinstance(items, list):
                continue
            for at in sample(len(items)):
                yield from (f"/{key}/{at}{fault}" for fault in checker.faults(items[at]))
            if "maxItems" not in self.validator.schema["properties"][key]:
                document = {**document, key: items[:1]}  # the rest of it says nothing new to the list's own schema
        if not self.validator.is_valid(document):
            for error in self.validator.iter_errors(document):
                yield from explained(error)


def sample(count):
    """The places of a list that are looked at: all of them, or those at both ends."""
    return range(count) if count <= 2 * ITEMS_CHECKED else (*range(ITEMS_CHECKED), *range(count - ITEMS_CHECKED, count))


def explained(error):
    """The deepest reasons: that nothing of an anyOf fits says little."""
    if error.context:
        best = jsonschema.exceptions.best_match([error])
        yield f"/{'/'.join(map(str, best.absolute_path))}: {best.message[:500]}"
    yield f"/{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"


@functools.cache
def contract():
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with open(SOURCE, encoding="utf-8") as file:
        return Contract(yaml.load(file, loader))


# ---- the judge ------------------------------------------------------------------------------------------------------

seen = set()      # (operationId, status), by this process
violations = []   # also those that a thread's end swallowed
RECORD = "TUNWRIGHT_CONTRACT_SEEN"  # names the file of the session


def note(operation, status):
    if (operation, status) in seen:
        return
    seen.add((operation, status))
    if os.environ.get(RECORD):
        with open(os.environ[RECORD], "a", encoding="ascii") as file:
            file.write(f"{operation} {status}\n")


def everything_seen():
    """By all processes of the session."""
    found = {f"{operation} {status}" for operation, status in seen}
    if os.environ.get(RECORD) and os.path.exists(os.environ[RECORD]):
        with open(os.environ[RECORD], encoding="ascii") as file:
            found |= set(file.read().splitlines())
    return found


def answer_for(method, target, status):
    """(what is written of it, the operation), where either may be None."""
    path = contract().find(target)
    if not path:
        return (Answer(contract(), "a path that is not there", status, contract().document["components"]["responses"][DOOR[status]])
                if status in DOOR else None), None
    operation = path.operations.get("GET" if method == "HEAD" else method)
    if operation:
        return operation.answers.get(status), operation
    if status == 405:
        return path.others, None
    return (Answer(contract(), path.others.what, status, contract().document["components"]["responses"][DOOR[status]])
            if status in DOOR else None), None


def check(method, target, status, headers, body, shown):
    """Fails where an answer is not as api/openapi.yaml has it. `headers` have small letters."""
    answer, operation = answer_for(method, target, status)
    query = dict(urllib.parse.parse_qsl(target.partition("?")[2], keep_blank_values=True))
    if answer is None:
        faults = [f"{operation or 'a path that is not there'} has no status {status}"]
    else:
        faults = list(answer.faults(method, query, headers, body))
        if status == 405 and not operation and method != "HEAD":
            allow = set(headers.get("allow", "").split(", "))
            if allow != contract().find(target).allow:
                faults.append(f"Allow is {sorted(allow)}, and the path has {sorted(contract().find(target).allow)}")
    if operation and method != "HEAD":
        note(operation.id, status)
    fail(faults, f"{method} {target}", shown)


def check_message(message, target):
    """One message of GET /v1/watch, its data decoded."""
    messages = contract().operations["watch"].answers[200].messages
    kind = message.get("event")
    data = message["data"]
    faults = list(messages.get(kind, messages["*"]).faults(data))
    if kind not in messages and (data.get("type") != kind or message.get("id") != str(data.get("sequence"))):
        faults.append("event and id do not say what the data says")
    if kind in messages and "id" in message:
        faults.append("only events have an id")
    fail(faults, f"a message of {target}", message)


def fail(faults, what, shown):
    if faults:
        text = f"{what} is not as api/openapi.yaml has it:\n  " + "\n  ".join(faults) + f"\n{shown}"
        violations.append(text)
        raise AssertionError(text)
