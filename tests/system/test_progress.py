# SPDX-License-Identifier: Apache-2.0
"""GET /v1/watch?topics=progress: a long change is told while it goes on, and at its end; a short one is not."""

import contextlib
import threading
import time

import pytest
from lib import api, door

COUNT = 300


def config(count=COUNT, **fields):
    return {"devices": [{"name": f"tun{i}", "kind": "tun", "up": False, "addresses": [f"10.{i // 250}.{i % 250}.1/24"], **fields}
                        for i in range(count)]}


@contextlib.contextmanager
def followed(stream):
    """All messages of the change that is made meanwhile, each with when it came."""
    told = []

    def follow():
        while not told or not told[-1][1]["finished"]:
            message = stream.next()
            assert message["event"] == "progress" and "id" not in message
            told.append((time.monotonic(), message["data"]))
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    yield told
    thread.join(10)
    assert told and told[-1][1]["finished"], told


def judge(told, actor="uid:0", operation="PUT /v1/config"):
    for _, data in told:
        assert data["operation"] == operation and data["actor"] == actor
        assert 0 <= data["done"] <= data["total"]
    done = [data["done"] for _, data in told]
    assert done == sorted(done) and [data["finished"] for _, data in told] == [False] * (len(told) - 1) + [True]
    lasted = told[-1][0] - told[0][0]
    assert len(told) <= 3 + 5 * lasted, f"{len(told)} in {lasted} s"


def test_many_devices(net):
    host = net.host("a", net.namespace("a"), listen=["127.0.0.1:8080"])
    token = door.make_token(host, "all", "reader")
    narrow = door.make_token(host, "ci", "reader", selector="site=berlin")
    stream = host.watch("?topics=progress")
    others = [api.Stream(door.plain(host), "/v1/watch?topics=progress,events", {"Authorization": f"Bearer {t}"})
              for t in (token, narrow)]
    with followed(stream) as told:
        host.put("/v1/config", config())
    judge(told)
    first, last = told[0][1], told[-1][1]
    assert first["done"] == 0 and first["total"] >= COUNT
    assert last["done"] == last["total"] >= 2 * COUNT
    # a token that sees all is told, one with a selector is not
    assert others[0].next_of("progress")["data"]["total"] >= COUNT
    host.device("berlin0", kind="tun", labels={"site": "berlin"})
    message = others[1].next()
    assert message["event"] == "device_created" and message["data"]["device"] == "berlin0"
    # neither a short change nor a dry run is
    host.put("/v1/config?dry_run=true", {"devices": []})
    with followed(stream) as told:
        host.put("/v1/config", {"devices": []})  # 300 are deleted
    judge(told)
    assert told[-1][1]["total"] >= COUNT
    for each in (stream, *others):
        each.close()


@pytest.mark.slow
def test_change_that_is_taken_back(net):
    """One device in the midst of many cannot be made: what was done is undone, and told as more to do."""
    host = net.host("a", net.namespace("a"))
    stream = host.watch("?topics=progress")
    wanted = config()
    wanted["devices"][200]["routes"] = [{"to": "10.99.0.0/16", "via": "203.0.113.1"}]
    wanted["devices"][200]["up"] = True
    with followed(stream) as told:
        assert host.api("PUT", "/v1/config", wanted).status == 422
    judge(told)
    assert told[-1][1]["total"] > told[0][1]["total"], "the way back is more to do"
    assert host.get("/v1/devices")["items"] == []
    stream.close()
