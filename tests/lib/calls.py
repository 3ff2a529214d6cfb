# SPDX-License-Identifier: Apache-2.0
"""A good call of every operation of the contract, against one standing state of a host, for tests that spoil it."""

import contextlib
import json
import socket
import urllib.parse

from lib import api
from lib.contract import contract

KIB, MIB = 1 << 10, 1 << 20
TUN0 = {"kind": "tun", "addresses": ["192.168.3.11/24"], "routes": [{"to": "10.9.0.0/16"}], "worker": {"type": "monitor"},
        "labels": {"site": "berlin"}}
TOKEN = {"name": "kept", "role": "reader"}
DOCUMENT = {"kind": "tun", "labels": {"site": "berlin"}}
# operation: (variables of the path, body); what is changed is a device of its own or tun0
CALLS = {
    "createDevice": ({}, {"name": "made0", **DOCUMENT}),
    "putDevice": ({"name": "made0"}, DOCUMENT),
    "patchDevice": ({"name": "tun0"}, {"mtu": 1300}),
    "adoptDevice": ({"name": "found0"}, None),
    "releaseDevice": ({"name": "tun0"}, None),
    "putAddress": ({"name": "tun0", "ip": "192.168.3.12", "length": "24"}, None),
    "deleteAddress": ({"name": "tun0", "ip": "192.168.3.11", "length": "24"}, None),
    "putRoute": ({"name": "tun0", "prefix": "10.8.0.0", "length": "16"}, None),
    "deleteRoute": ({"name": "tun0", "prefix": "10.9.0.0", "length": "16"}, None),
    "putWorker": ({"name": "tun0"}, {"type": "echo"}),
    "putConfig": ({}, {"devices": [{"name": "tun0", "kind": "tun"}]}),
    "createToken": ({}, {"name": "new", "role": "reader"}),
    "deleteToken": ({"name": "kept"}, None),
    "getAsset": ({"name": "style.css"}, None),
    "createSession": ({}, {"token": "0123456789abcdef" * 4}),  # on the Unix socket it is not looked at
}
QUERIES = {"capture": {"seconds": "1"}}  # else it goes on for an hour
BODY_LIMITS = {"createDevice": MIB, "putDevice": MIB, "patchDevice": MIB, "adoptDevice": MIB, "putConfig": 32 * MIB}
OPERATIONS = list(contract().operations.values())
MUTATIONS = [o for o in OPERATIONS if o.method != "GET"]


def having(status, operations=None):
    """The operations that have a status, as pytest takes them."""
    return [o for o in operations or OPERATIONS if status in o.answers]


class Call:
    """One request, ready to be spoilt."""

    def __init__(self, operation):
        self.operation, self.method = operation, operation.method
        variables, self.body = CALLS.get(operation.id, ({"name": "tun0"}, None))
        self.path = operation.path.template.format(**variables)
        self.query, self.headers, self.raw = dict(QUERIES.get(operation.id, {})), {}, None

    def with_(self, path=None, body=..., raw=None, query=(), headers=()):
        if path:
            self.path = path
        if body is not ...:
            self.body = body
        self.raw = raw if raw is not None else self.raw
        self.query.update(query)
        self.headers.update(headers)
        return self

    def dry(self):
        """It changes nothing, where that can be said."""
        return self.with_(query={"dry_run": "true"}) if "dry_run" in self.operation.parameters_in("query") else self

    def elsewhere(self):
        """To a device or token that is not there."""
        name = self.path.split("/")[3 if self.path.startswith("/v1/") else 2]
        return self.with_(path=self.path.replace(f"/{name}", "/none0", 1))

    @property
    def target(self):
        return self.path + (f"?{urllib.parse.urlencode(self.query)}" if self.query else "")

    def data(self):
        if self.raw is not None:
            return self.raw.encode() if isinstance(self.raw, str) else self.raw
        return None if self.body is None else json.dumps(self.body).encode()

    def send(self, connection):
        headers, data = dict(self.headers), self.data()
        if data:
            kind = "application/merge-patch+json" if self.operation.id in ("patchDevice", "adoptDevice") else "application/json"
            headers.setdefault("Content-Type", kind)
        if self.operation.id == "watch" or (self.operation.id == "capture" and self.query["seconds"] != "1"):
            return stream_head(connection, self.target, headers, data)
        return api.request(connection, self.method, self.target, headers=headers, raw=data)

    def __str__(self):
        return f"{self.operation}: {self.method} {self.target} {self.headers} {(self.data() or b'')[:300]!r}"


def stream_head(connection, target, headers, data=None):
    """The answer to GET /v1/watch or the like, of which only the head is waited for where it is a stream."""
    with contextlib.closing(connection):
        connection.request("GET", target, headers=headers, body=data)
        answer = connection.getresponse()
        body = None if answer.status == 200 else answer.read()
        response = api.Response(f"GET {target}", answer.status, answer.getheaders(), body or b"")
        api.contract.check("GET", target, response.status, response.headers, body, response)
        return response


def tcp(host, source="127.0.0.1", port=8080):
    """A connection to the host's API over TCP, from an address of one's own: refusals are counted for each address."""
    connection = api.http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.sock = host.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.sock.bind((source, 0))
    connection.sock.connect(("127.0.0.1", port))
    return connection
