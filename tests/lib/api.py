# SPDX-License-Identifier: Apache-2.0
"""An HTTP client for the API, over its Unix socket or TCP. Every answer is held to the contract."""

import contextlib
import http.client
import json as json_module
import socket

from lib import contract

PATCH = {"Content-Type": "application/merge-patch+json"}


def bare(document):
    """A device's document without what it is and does just now."""
    return {key: value for key, value in document.items() if key != "status"}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Response:
    def __init__(self, request, status, headers, body):
        self.request, self.status, self.body = request, status, body
        self.headers = {key.lower(): value for key, value in headers}

    @property
    def json(self):
        return json_module.loads(self.body)

    @property
    def changed(self):
        """What the answer says of itself: whether the call changed anything."""
        return {"true": True, "false": False}[self.headers["tunwright-changed"]]

    def expect(self, *statuses):
        assert self.status in statuses, f"expected {' or '.join(map(str, statuses))}, got {self}"
        return self

    def problem(self, status, code, pointer=None, within=None):
        """Checks that this is the problem document with `status` and `code`; with `pointer`, that one of its errors
        points there (`within`: has that code). Returns the document."""
        self.expect(status)
        assert self.headers.get("content-type") == "application/problem+json", self
        document = self.json
        assert document["status"] == status and document["code"] == code, self
        assert document["type"] == f"urn:tunwright:error:{code}", self
        assert document["title"] and isinstance(document["detail"], str) and document["detail"], self
        assert isinstance(document["errors"], list), self
        for error in document["errors"]:
            assert set(error) == {"pointer", "code", "detail"} and error["detail"], self
        if pointer is not None:
            found = [e for e in document["errors"] if e["pointer"] == pointer]
            assert found, f"no error points to {pointer!r}: {self}"
            assert within is None or within in [e["code"] for e in found], f"no {within} at {pointer!r}: {self}"
        return document

    def __str__(self):
        return f"{self.status} {self.body.decode(errors='replace')[:3000]}\n   in answer to {self.request[:1000]}"


def request(connection, method, path, body=None, headers=None, raw=None):
    """One request, its connection closed after it. `body` becomes JSON; `raw` is sent as it is."""
    headers = dict(headers or {})
    data = raw
    if body is not None:
        data = json_module.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    if isinstance(data, str):
        data = data.encode()
    with contextlib.closing(connection):
        connection.request(method, path, body=data, headers=headers)
        answer = connection.getresponse()
        shown = f"{method} {path} {data!r}" if data is not None else f"{method} {path}"
        response = Response(shown, answer.status, answer.getheaders(), answer.read())
        contract.check(method, path, response.status, response.headers, response.body, response)
        return response


class Stream:
    """Server-sent events of GET /v1/watch, message by message."""

    def __init__(self, connection, path, headers=None):
        self.connection, self.path = connection, path
        self.last_id = None  # what a browser would send as Last-Event-ID
        connection.request("GET", path, headers=headers or {})
        self.answer = connection.getresponse()
        self.status = self.answer.status
        self.headers = {key.lower(): value for key, value in self.answer.getheaders()}
        contract.check("GET", path, self.status, self.headers, None, self.headers)

    def next(self):
        """The next message as {"event", "data", "id"}, data decoded; comments are passed over."""
        message = {}
        while True:
            line = self.answer.readline()
            if not line:
                raise AssertionError(f"the stream ended, inside {message}")
            line = line.decode().rstrip("\r\n")
            if not line and message:
                self.last_id = message.get("id", self.last_id)
                if "data" not in message:  # a sign of life
                    message = {}
                    continue
                message["data"] = json_module.loads(message["data"])
                contract.check_message(message, self.path)
                return message
            if line and not line.startswith(":"):
                field, _, value = line.partition(": ")
                message[field] = message[field] + "\n" + value if field in message else value

    def next_of(self, event, most=50):
        """The next message of that type."""
        for _ in range(most):
            message = self.next()
            if message.get("event") == event:
                return message
        raise AssertionError(f"{most} messages, and none is {event}")

    def close(self):
        self.answer.close()
        self.connection.close()
