# SPDX-License-Identifier: Apache-2.0
"""What others do to our devices by hand: healed, or told, each within two seconds."""

import contextlib
import fcntl
import os
import struct
import subprocess
import time

import pytest
from lib.waiting import until

pytestmark = pytest.mark.slow

QUICK_S = 2
TUNSETIFF, TUNSETOWNER = 0x400454CA, 0x400454CC
IFF_TUN, IFF_NO_PI, IFF_MULTI_QUEUE = 0x1, 0x1000, 0x100

ADDRESSES = ["192.168.3.11/24", "192.168.3.12/24", "fd00:3::11/64"]
ROUTES = [{"to": "10.9.0.0/16", "via": "192.168.3.1", "metric": 100}, {"to": "10.8.0.0/16"}, {"to": "fd09::/32"},
          {"to": "10.7.0.0/16", "type": "blackhole"}]


@contextlib.contextmanager
def queue(namespace, name, flags):
    """Holds one more queue of a device."""
    with namespace.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags | IFF_NO_PI))
        yield fd
    finally:
        os.close(fd)


def set_owner(host, name):
    with queue(host.namespace, name, IFF_TUN | IFF_MULTI_QUEUE) as fd:
        fcntl.ioctl(fd, TUNSETOWNER, 4242)


def rename(host, name):
    host.namespace.ip("link", "set", name, "down")
    host.namespace.ip("link", "set", name, "name", "renamed0")


def reorder(host, name):
    """The second address of the subnet becomes its first. In one go: the daemon would put the first back in between."""
    lines = [f"address {verb} {ADDRESSES[0]} dev {name}\n" for verb in ("del", "add")]
    host.namespace.run("ip", "-batch", "-", stdin="".join(lines))


def ip(*words):
    """A sabotage by one call of ip(8); NAME is the device's name."""
    return lambda host, name: host.namespace.ip(*[name if word == "NAME" else word for word in words])


# what is done, what the document has besides, and where in it a deviation is told
SABOTAGES = {
    "deleted": (ip("link", "del", "NAME"), {}, "/name"),
    "renamed": (rename, {}, "/name"),
    "down": (ip("link", "set", "NAME", "down"), {}, "/up"),
    "up": (ip("link", "set", "NAME", "up"), {"up": False}, "/up"),
    "address removed": (ip("address", "del", ADDRESSES[0], "dev", "NAME"), {}, "/addresses/0"),
    "IPv6 address removed": (ip("address", "del", ADDRESSES[2], "dev", "NAME"), {}, "/addresses/2"),
    "all addresses removed": (ip("address", "flush", "dev", "NAME"), {}, "/addresses/0"),
    "addresses in another order": (reorder, {}, "/addresses/1"),
    "route removed": (ip("route", "del", "10.9.0.0/16", "metric", "100"), {}, "/routes/3"),
    "route changed": (ip("route", "replace", "10.9.0.0/16", "via", "192.168.3.2", "metric", "100"), {}, "/routes/3"),
    "route's gateway taken away": (ip("route", "replace", "10.9.0.0/16", "dev", "NAME", "metric", "100"), {}, "/routes/3"),
    "IPv6 route removed": (ip("-6", "route", "del", "fd09::/32", "dev", "NAME"), {}, "/routes/2"),
    "blackhole removed": (ip("route", "del", "blackhole", "10.7.0.0/16"), {}, "/routes/0"),
    "mtu": (ip("link", "set", "NAME", "mtu", "1300"), {}, "/mtu"),
    "mtu too small for IPv6": (ip("link", "set", "NAME", "mtu", "1000"), {}, "/mtu"),
    "txqueuelen": (ip("link", "set", "NAME", "txqueuelen", "7"), {}, "/txqueuelen"),
    "mac": (ip("link", "set", "NAME", "address", "02:00:00:00:00:99"), {"kind": "tap"}, "/mac"),
    "owner": (set_owner, {"queues": 2}, "/owner"),
    "master changed": (ip("link", "set", "NAME", "master", "br1"), {"kind": "tap", "master": "br0"}, "/master"),
    "master taken away": (ip("link", "set", "NAME", "nomaster"), {"kind": "tap", "master": "br0"}, "/master"),
    "moved to another namespace": (ip("link", "set", "NAME", "netns", "1"), {}, "/name"),
}


@pytest.fixture(scope="module")
def host(module_net):
    made = module_net.host("a")
    for bridge in ("br0", "br1"):
        made.namespace.ip("link", "add", bridge, "type", "bridge")
    made.elsewhere = module_net.namespace("elsewhere")
    return made


@pytest.fixture
def make(host, request):
    """make(drift, …): a device of this test's own."""
    def made(drift, name="tun0", **document):
        wanted = {"kind": "tun", "addresses": ADDRESSES, "routes": ROUTES, "worker": {"type": "monitor"}, "drift": drift}
        if document.get("kind") == "tap":
            wanted.update(addresses=[], routes=[])  # duplicates of addresses would be looked for, for seconds
        got = host.device(name, **{**wanted, **document})
        until(lambda: host.status(name)["state"] == "ready", 10, lambda: f"readiness: {host.status(name)}")
        return {k: v for k, v in got.items() if k != "status"}
    yield made
    host.api("DELETE", "/v1/devices/tun0").expect(204)
    if host.namespace.link("renamed0"):
        host.namespace.ip("link", "del", "renamed0")
    if host.elsewhere.link("tun0"):
        host.elsewhere.ip("link", "del", "tun0")


def facts(host, name):
    """What is in the kernel of a device, without what comes anew with it."""
    link = host.namespace.link(name)
    if not link:
        return None
    routes = {(r["dst"], r.get("gateway"), r.get("metric"), r.get("type")) for r in host.namespace.routes(dev=name)
              if r.get("protocol") not in ("kernel", "ra")}
    routes |= {(r["dst"], r["type"]) for r in host.namespace.routes(type="blackhole")}
    order = [a["local"] for a in link["addr_info"] if a["scope"] == "global"]
    return {"up": "UP" in link["flags"], "mtu": link["mtu"], "txqlen": link["txqlen"], "address": link.get("address"),
            "master": link.get("master"), "alias": link.get("ifalias"), "addresses": order, "routes": routes,
            "owner": link["linkinfo"]["info_data"].get("user")}


def sabotage(host, name, does):
    if does is SABOTAGES["moved to another namespace"][0]:
        host.namespace.ip("link", "set", name, "netns", host.elsewhere.name)
    else:
        does(host, name)
    return time.monotonic()


def told(host, pointer):
    """The status, once it tells of a deviation there."""
    status = host.status("tun0")
    return status if pointer in [d["pointer"] for d in status["deviations"]] else None


@pytest.mark.parametrize("what", SABOTAGES)
def test_sabotage_is_healed(host, make, what):
    does, document, _ = SABOTAGES[what]
    make("repair", **document)
    before = facts(host, "tun0")
    sabotage(host, "tun0", does)
    until(lambda: facts(host, "tun0") == before, QUICK_S, lambda: f"{before}, not {facts(host, 'tun0')}", 0.05)
    status = until(lambda: host.status("tun0")["state"] == "ready" and host.status("tun0"), QUICK_S,
                   lambda: f"readiness: {host.status('tun0')}")
    assert status["deviations"] == [] and status["reason"] is None


@pytest.mark.parametrize("what", SABOTAGES)
def test_sabotage_is_reported(host, make, what):
    does, document, pointer = SABOTAGES[what]
    wanted = make("report", **document)
    before = facts(host, "tun0")
    sabotage(host, "tun0", does)
    after = facts(host, "tun0")
    status = until(lambda: told(host, pointer), QUICK_S, lambda: f"a deviation: {host.status('tun0')}")
    assert status["state"] == "degraded" and status["reason"]["code"] == "drifted", status
    assert facts(host, "tun0") == after
    # asked for again, it is healed
    host.put("/v1/devices/tun0", wanted)
    until(lambda: facts(host, "tun0") == before, QUICK_S, lambda: f"{before}, not {facts(host, 'tun0')}", 0.05)
    assert host.status("tun0")["deviations"] == []


def test_what_others_add_is_no_deviation(host, make):
    make("repair")
    host.namespace.ip("address", "add", "172.16.0.1/16", "dev", "tun0")
    host.namespace.ip("route", "add", "10.77.0.0/16", "dev", "tun0")
    host.namespace.ip("link", "set", "tun0", "mtu", "1300")  # once this is healed, the rest has been seen, too
    until(lambda: host.namespace.link("tun0")["mtu"] == 1500, QUICK_S, "a repair")
    status = until(lambda: host.status("tun0")["state"] == "ready" and host.status("tun0"), QUICK_S,
                   lambda: f"readiness: {host.status('tun0')}")
    assert status["deviations"] == []
    assert "172.16.0.1/16" in host.namespace.addresses("tun0")
    assert host.namespace.routes(dst="10.77.0.0/16")


def test_killed_worker_comes_back(host, make):
    make("report")
    pid = host.worker_pid("tun0")
    host.kill9("tun0")
    until(lambda: (host.status("tun0")["worker"] or {}).get("pid") not in (None, pid), QUICK_S, "another worker")
    until(lambda: host.status("tun0")["state"] == "ready", QUICK_S, lambda: host.status("tun0"))


def test_mark_taken_off_is_a_conflict(host, make):
    """What does not carry our mark is not ours to touch, whatever it was before."""
    make("repair")
    alias = host.namespace.link("tun0")["ifalias"]
    host.namespace.ip("link", "set", "tun0", "alias", "mine")
    status = until(lambda: host.status("tun0")["state"] == "conflict" and host.status("tun0"), QUICK_S,
                   lambda: f"a conflict: {host.status('tun0')}")
    assert status["reason"]["code"] == "foreign_device" and [d["pointer"] for d in status["deviations"]] == ["/name"]
    host.namespace.ip("link", "set", "tun0", "alias", alias)
    until(lambda: host.status("tun0")["state"] == "ready", QUICK_S, lambda: f"readiness: {host.status('tun0')}")


def test_what_cannot_be_healed_is_told(host, make):
    """A route of the same key through another device, and IPv6 turned off."""
    make("repair")
    host.namespace.ip("route", "replace", "10.8.0.0/16", "dev", "lo")
    status = until(lambda: host.status("tun0")["state"] == "failed" and host.status("tun0"), QUICK_S,
                   lambda: f"a failure: {host.status('tun0')}")
    assert status["reason"]["errno"] == "EEXIST" and status["reason"]["operation"] == "RTM_NEWROUTE", status
    assert "/routes/1" in [d["pointer"] for d in status["deviations"]], status
    host.namespace.ip("route", "del", "10.8.0.0/16", "dev", "lo")
    until(lambda: host.status("tun0")["state"] == "ready", 10, lambda: f"readiness: {host.status('tun0')}")
    host.namespace.sysctl("net/ipv6/conf/tun0/disable_ipv6", 1)
    status = until(lambda: host.status("tun0")["state"] == "failed" and told(host, "/addresses/2"), QUICK_S,
                   lambda: f"a failure: {host.status('tun0')}")
    assert "/addresses/2" in [d["pointer"] for d in status["deviations"]], status
    host.namespace.sysctl("net/ipv6/conf/tun0/disable_ipv6", 0)
    until(lambda: host.status("tun0")["state"] == "ready", 10, lambda: f"readiness: {host.status('tun0')}")


def test_stolen_queue_is_told(host, make):
    """Both the worker and netd are gone, and somebody else takes the queue."""
    make("repair")
    pid = host.worker_pid("tun0")
    host.kill9("netd")
    os.kill(pid, 9)
    until(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in open(f"/proc/{pid}/stat").read().split()[2], 5, "its end")
    with queue(host.namespace, "tun0", IFF_TUN):
        host.netd_start()
        status = until(lambda: host.status("tun0")["state"] == "failed" and host.status("tun0"), 5,
                       lambda: f"a failure: {host.status('tun0')}")
        assert status["reason"]["errno"] == "EBUSY", status
        assert [d["pointer"] for d in status["deviations"]] == ["/worker"], status
    until(lambda: host.status("tun0")["state"] == "ready", 20, lambda: f"readiness: {host.status('tun0')}")


def refusals(host):
    return host.netd.log.read_text(errors="replace").count(" refused: ")


def given_up_for_now(host, before):
    """After so many tries (250 ms, 500 ms, 1 s, 2 s) the next one by itself is seconds away."""
    until(lambda: refusals(host) >= before + 5, 20, lambda: f"five refusals more than {before}: {refusals(host)}")


# ---- causes that go by themselves ------------------------------------------------------------------------------------

def test_namespace_that_comes_back(host):
    """A device whose namespace has gone is there at once when the namespace is."""
    name = f"{host.namespace.name}l"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        host.device("tun7", kind="tun", netns=name, worker={"type": "monitor"})
        before = refusals(host)
        subprocess.run(["ip", "netns", "del", name], check=True)
        until(lambda: host.status("tun7")["state"] == "failed", 5, lambda: f"a failure: {host.status('tun7')}")
        given_up_for_now(host, before)
        subprocess.run(["ip", "netns", "add", name], check=True)
        until(lambda: host.status("tun7")["state"] == "ready", QUICK_S, lambda: f"readiness: {host.status('tun7')}")
    finally:
        host.api("DELETE", "/v1/devices/tun7")
        subprocess.run(["ip", "netns", "del", name], check=False)


def test_bridge_that_comes_back(host, make):
    host.namespace.ip("link", "add", "br7", "type", "bridge")
    make("repair", kind="tap", master="br7")
    before = refusals(host)
    host.namespace.ip("link", "del", "br7")
    until(lambda: host.status("tun0")["state"] == "failed", 5, lambda: f"a failure: {host.status('tun0')}")
    given_up_for_now(host, before)
    host.namespace.ip("link", "add", "br7", "type", "bridge")
    until(lambda: host.status("tun0")["state"] == "ready", QUICK_S, lambda: f"readiness: {host.status('tun0')}")
    host.namespace.ip("link", "del", "br7")


# ---- a fight ---------------------------------------------------------------------------------------------------------

def test_fight_ends_in_a_conflict_and_peace_in_readiness(host, make):
    wanted = make("repair")
    rounds = 0
    with host.namespace.popen("sh", "-c", "while sleep 0.1; do ip link set tun0 mtu 1300; done") as opponent:
        try:
            status = until(lambda: host.status("tun0")["state"] == "conflict" and host.status("tun0"), 10,
                           lambda: f"a conflict: {host.status('tun0')}")
            assert status["reason"]["code"] == "contested" and status["reason"]["operation"] == "link_set", status
            assert [(d["pointer"], d["wanted"], d["found"]) for d in status["deviations"]] == [("/mtu", 1500, 1300)], status
            # it is only looked at
            for _ in range(10):
                assert host.namespace.link("tun0")["mtu"] == 1300
                rounds += host.status("tun0")["state"] == "conflict"
                time.sleep(0.1)
            assert rounds == 10
            assert host.api("GET", "/healthz").status == 200
        finally:
            opponent.kill()
            opponent.wait(10)
    # asked for again, it is led back
    host.put("/v1/devices/tun0", wanted)
    until(lambda: host.status("tun0")["state"] == "ready", QUICK_S, lambda: f"readiness: {host.status('tun0')}")
    assert host.namespace.link("tun0")["mtu"] == 1500
    # and peace is peace also when the other one makes it
    for mtu in (1301, 1302, 1303):
        host.namespace.ip("link", "set", "tun0", "mtu", str(mtu))
        until(lambda: host.namespace.link("tun0")["mtu"] == 1500 and host.status("tun0")["state"] == "ready", QUICK_S,
              lambda: f"a repair: {host.status('tun0')}")
    host.namespace.ip("link", "set", "tun0", "mtu", "1304")
    until(lambda: host.status("tun0")["state"] == "conflict", QUICK_S, lambda: f"a conflict: {host.status('tun0')}")
    host.namespace.ip("link", "set", "tun0", "mtu", "1500")
    until(lambda: host.status("tun0")["state"] == "ready", QUICK_S, lambda: f"readiness: {host.status('tun0')}")
