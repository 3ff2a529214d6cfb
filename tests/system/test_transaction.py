# SPDX-License-Identifier: Apache-2.0
"""Several devices in one change, in a real kernel: what one gives up another takes, and a thousand are soon compared."""

import http.client
import json
import threading
import time

import pytest
from lib.waiting import until

pytestmark = pytest.mark.slow


def udp(name, port, **more):
    worker = {"type": "udp", "local": f"127.0.0.1:{port}", "remote": "127.0.0.2:5000"}
    return {"name": name, "kind": "tun", "worker": worker, **more}


def put(host, *devices, status=200, query=""):
    return host.api("PUT", f"/v1/config{query}", {"devices": list(devices)}).expect(status)


def test_workers_swap_their_addresses(host):
    """Neither could be bound while the other still is; who is not concerned keeps its process."""
    put(host, udp("tun0", 5000), udp("tun1", 5001), udp("tun2", 5002))
    bystander = host.worker_pid("tun2")
    put(host, udp("tun0", 5001), udp("tun1", 5000), udp("tun2", 5002))
    for name in ("tun0", "tun1", "tun2"):
        until(lambda n=name: host.status(n)["state"] == "ready", 10, name)
    assert host.worker_pid("tun2") == bystander
    # down a chain, too: each takes the next one's
    put(host, udp("tun0", 5000), udp("tun1", 5002), udp("tun2", 5009))
    assert put(host, udp("tun0", 5000), udp("tun1", 5002), udp("tun2", 5009)).changed is False


def test_swap_that_fails_is_undone(host):
    put(host, udp("tun0", 5000), udp("tun1", 5001))
    kernel = host.namespace.kernel()
    refused = put(host, udp("tun0", 5001), udp("tun1", 5000, routes=[{"to": "10.9.0.0/16", "via": "203.0.113.1"}]),
                  status=422)
    refused.problem(422, "kernel_refused", "/devices/1/routes/0")
    until(lambda: host.namespace.kernel() == kernel, 10, "the kernel is as it was")
    for name, port in (("tun0", 5000), ("tun1", 5001)):
        until(lambda n=name: host.status(n)["state"] == "ready", 10, name)
        assert host.get(f"/v1/devices/{name}")["worker"]["local"] == f"127.0.0.1:{port}"


def test_what_moves_between_devices(host):
    attached = {"to": "10.9.0.0/16", "metric": 5}
    blackhole = {"to": "10.11.0.0/16", "type": "blackhole", "metric": 7}
    put(host, {"name": "tun0", "kind": "tun", "addresses": ["192.168.7.1/24", "fd00:7::1/64"],
               "routes": [attached, blackhole]}, {"name": "tun1", "kind": "tun"})
    put(host, {"name": "tun0", "kind": "tun"},
        {"name": "tun1", "kind": "tun", "addresses": ["192.168.7.1/24", "fd00:7::1/64"], "routes": [attached, blackhole]})
    assert host.namespace.addresses("tun0") == set()
    assert host.namespace.addresses("tun1") == {"192.168.7.1/24", "fd00:7::1/64"}
    for name in ("tun0", "tun1"):
        assert host.status(name)["state"] == "ready"
    assert [r["dev"] for r in host.namespace.ip_json("route", "show", "10.9.0.0/16")] == ["tun1"]
    assert len(host.namespace.ip_json("route", "show", "10.11.0.0/16")) == 1
    # a device of one name may become quite another, and back
    put(host, {"name": "tun0", "kind": "tap", "addresses": ["192.168.7.1/24"]}, {"name": "tun1", "kind": "tun"})
    assert host.namespace.addresses("tun0") == {"192.168.7.1/24"} and not host.namespace.addresses("tun1")
    assert host.namespace.ip_json("route", "show", "10.11.0.0/16") == []


@pytest.mark.slow
def test_a_thousand_unchanged(host):
    """A configuration that is there already is compared, and nothing else."""
    devices = [{"name": f"tun{i}", "kind": "tun", "addresses": [f"10.{i // 250}.{i % 250}.1/24"]} for i in range(1000)]
    put(host, *devices)
    body = json.dumps({"devices": devices}).encode()
    took = []
    for _ in range(5):
        begun = time.monotonic()
        answer = host.api("PUT", "/v1/config", raw=body, headers={"Content-Type": "application/json"}).expect(200)
        took.append(time.monotonic() - begun)
        assert answer.changed is False
    print(f"unchanged: {min(took) * 1000:.0f} ms")
    assert min(took) < 2  # with sanitizers, and the answer of a thousand documents
    put(host)


# ---- many at once ---------------------------------------------------------------------------------------------------


def many(count, **more):
    return [{"name": f"tun{i}", "kind": "tun", "addresses": [f"10.{i // 250}.{i % 250}.1/24"],
             "routes": [{"to": f"11.{i // 250}.{i % 250}.0/24"}], **more} for i in range(count)]


def facts(host):
    """What is there, but for what a device that was made anew has of its own: index, link-local address."""
    links = host.namespace.ip_json("address", "show")
    return {(link["ifname"], link["mtu"], link["operstate"], address["local"]) for link in links
            for address in link["addr_info"] if address["scope"] == "global"}, \
        {(route["dst"], route["dev"]) for route in host.namespace.ip_json("route", "show")}


def names(host):
    return {link["ifname"] for link in host.namespace.ip_json("link", "show")}


def test_a_thousand_deleted(net):
    """By groups, and not one after the other (20 s); of whom another has the name, the mark or the group nothing is touched."""
    host = net.host("a", build="release", log_level="info")
    put(host, *many(1000))
    namespace = host.namespace
    namespace.ip("tuntap", "add", "foreign", "mode", "tun")
    for name in ("foreign", "tun7", "tun8"):
        namespace.ip("link", "set", name, "group", "5")
    namespace.ip("link", "set", "tun500", "alias", "theirs")  # not ours any more
    begun = time.monotonic()
    connection = host.connection()
    connection.request("PUT", "/v1/config", body=b'{"devices": []}', headers={"Content-Type": "application/json"})
    assert connection.getresponse().status == 200
    took = time.monotonic() - begun
    print(f"deleted: {took * 1000:.0f} ms")
    assert names(host) == {"lo", "foreign", "tun500"}
    assert namespace.link("foreign")["group"] == "5" and namespace.link("tun500")["group"] == "default"
    assert took < 3


def test_workers_end_together(net):
    host = net.host("a", build="release", log_level="info")
    put(host, *many(100, worker={"type": "echo"}))
    assert len(host.worker_pids()) == 100
    begun = time.monotonic()
    put(host)
    took = time.monotonic() - begun
    print(f"100 workers stopped, and their devices deleted: {took * 1000:.0f} ms")
    assert names(host) == {"lo"} and not host.worker_pids()
    assert took < 3


def test_deletion_of_many_is_undone(host):
    """What is refused comes after all of them have gone; and what was begun after the refused one is undone, too."""
    devices = many(60)
    put(host, *devices)
    was = facts(host)
    bad = [{"name": f"new{i}", "kind": "tun", "routes": [{"to": f"12.{i}.0.0/16", **({"via": "203.0.113.1"} if i == 3 else {})}]}
           for i in range(10)]
    put(host, *bad, status=422).problem(422, "kernel_refused", "/devices/3/routes/0")
    until(lambda: facts(host) == was, 20, "the kernel is as it was")
    assert put(host, *devices).changed is False


@pytest.mark.parametrize("which", ["netd", "tunwrightd"])
@pytest.mark.limit(120)
def test_killed_while_many_are_deleted(host, which):
    """All of them, or none; and no group's number is left on those that stay."""
    devices = many(60)
    for delay in (0.0, 0.02, 0.05, 0.1):
        put(host, *devices)
        change = threading.Thread(target=broken_off, args=(host,), daemon=True)
        change.start()
        time.sleep(delay)  # into the midst of it, now here, now there: not a wait for anything
        host.kill9(which)
        if which == "netd":
            host.netd_start()
        change.join(30)
        assert not change.is_alive()
        if which == "tunwrightd":
            host.daemon_start()
        host.ready()
        wanted = {d["name"] for d in host.get("/v1/config")["devices"]}
        assert wanted in (set(), {d["name"] for d in devices})
        until(lambda w=wanted: names(host) == {"lo", *w}, 20, lambda: f"{len(names(host))} devices in the kernel")
        assert {link["group"] for link in host.namespace.ip_json("link", "show")} == {"default"}


def broken_off(host):
    try:
        host.api("PUT", "/v1/config", {"devices": []})
    except (OSError, http.client.HTTPException):
        pass
