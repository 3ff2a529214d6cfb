# SPDX-License-Identifier: Apache-2.0
"""kill -9 of each program under a ping of 200 packets a second."""

import re
import time

import pytest
from lib.comparing import same
from lib.flow import PingFlow
from lib.network import process_is_alive
from lib.topology import tunnel
from lib.waiting import until

FAR = "192.168.3.1"


@pytest.fixture
def tunnelled(net, pair):
    """Two hosts with a tunnel that works."""
    a, b = pair
    net.settled()
    tunnel(a, b, routes=[{"to": "10.9.0.0/16"}, {"to": "fd00:9::/32", "metric": 50}])
    assert a.namespace.ping(FAR, count=1).received == 1
    return a, b


def facts(host):
    """What must be the same after a restart."""
    status = host.status("tun0")
    return {"configuration": [{k: v for k, v in d.items() if k != "status"} for d in host.get("/v1/devices")["items"]],
            "ifindex": status["ifindex"], "uuid": status["uuid"], "generation": status["generation"],
            "pid": host.worker_pid("tun0"), "restarts": status["worker"]["restarts"], "kernel": host.namespace.kernel()}


def passed(host):
    return host.counters("tun0")["worker"]["device_in"]["packets"]


@pytest.mark.parametrize("which", ["tunwrightd", "netd"])
def test_killed_daemon_loses_no_packet(tunnelled, which):
    a, b = tunnelled
    before, counted = facts(a), a.counters("tun0")
    with PingFlow(a.namespace, FAR) as flow:
        for _ in range(3):
            flow.running(50)
            a.kill9(which)
            flow.running(50)  # without it
            a.daemon_start() if which == "tunwrightd" else a.netd_start()
            a.ready()
        flow.running(50)
        sent = flow.nothing_lost()
    until(lambda: a.status("tun0")["state"] == "ready", 10, lambda: f"state ready: {a.status('tun0')}")
    same(before, facts(a))
    after = a.counters("tun0")
    assert after["since"] == counted["since"]
    for side in ("device_in", "wire_out", "wire_in", "device_out"):
        assert after["worker"][side]["packets"] >= counted["worker"][side]["packets"] + sent
    assert after["kernel"]["tx_packets"] >= counted["kernel"]["tx_packets"] + sent


def test_killed_pair_loses_no_packet(tunnelled):
    """Both daemons at once, and started in the other order."""
    a, b = tunnelled
    before = facts(a)
    with PingFlow(a.namespace, FAR) as flow:
        flow.running(50)
        a.kill9("netd")
        a.kill9("tunwrightd")
        a.daemon_start()
        until(lambda: a.socket.exists() and a.attempt("/healthz").startswith("200"), 20, "the API without netd")
        assert a.get("/v1/devices")["items"][0]["name"] == "tun0", "reads go on without netd"
        refused = a.api("PUT", "/v1/devices/tun0/addresses/10.1.1.1/32")
        refused.problem(503, "netd_unavailable")
        assert refused.headers["retry-after"] == "1"
        a.netd_start()
        a.ready()
        flow.running(50)
        flow.nothing_lost()
    same(before, facts(a))


def test_orderly_restart_loses_no_packet(tunnelled):
    a, b = tunnelled
    before = facts(a)
    with PingFlow(a.namespace, FAR) as flow:
        flow.running(50)
        a.restart()
        flow.running(50)
        flow.nothing_lost()
    same(before, facts(a))


def test_killed_worker_is_back_within_a_second(tunnelled):
    a, b = tunnelled
    before = facts(a)
    since = a.counters("tun0")["since"]
    pid = before["pid"]
    with PingFlow(a.namespace, FAR) as flow:
        for _ in range(2):
            flow.running(50)
            # one that lives less than a second is held back before the next
            until(lambda: process_age(pid) > 1.1, 5, "a worker a second old")
            counted = passed(a)
            a.kill9("tun0")
            killed = time.monotonic()
            worker = until(lambda: back(a, pid), 5, lambda: f"a new worker: {a.status('tun0')}")
            assert time.monotonic() - killed < 1, "later than a second"
            pid = worker["pid"]
            assert passed(a) >= counted, "the counters go on where they were"
        flow.running(50)
        lost = flow.finish()
    # it may take with it the packets that it held, and no more: the others waited in the queue
    assert len(lost) <= 4 and not flow.refused, f"{flow}, lost {lost}"
    after = facts(a)
    assert after["restarts"] == before["restarts"] + 2
    for key in ("configuration", "ifindex", "uuid", "generation", "kernel"):
        same(before[key], after[key])
    assert a.counters("tun0")["since"] == since


def back(host, old):
    worker = host.status("tun0")["worker"]
    return worker if worker["state"] == "running" and worker["pid"] != old else None


def process_age(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        started = int(file.read().rpartition(")")[2].split()[19]) / 100
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def test_worker_killed_while_netd_is_away_is_replaced(tunnelled):
    """Only netd can start one: the next netd finds that it is missing."""
    a, b = tunnelled
    before = facts(a)
    a.kill9("netd")
    a.kill9("tun0")
    until(lambda: not process_is_alive(before["pid"]), 5, "the worker's end")
    a.netd_start()
    a.ready()
    until(lambda: back(a, before["pid"]), 15, lambda: f"a new worker: {a.status('tun0')}\n{a.tails()}")
    until(lambda: a.namespace.ping("192.168.3.1", count=1).received == 1, 10, "a ping through the new worker")
    after = facts(a)
    for key in ("configuration", "ifindex", "uuid", "kernel"):
        same(before[key], after[key])


def test_change_disturbs_nothing_else(tunnelled):
    """A new address, route or peer never restarts a worker or drops a packet."""
    a, b = tunnelled
    before = facts(a)
    with PingFlow(a.namespace, FAR) as flow:
        flow.running(20)
        many_changes(a)
        flow.running(20)
        flow.nothing_lost()
    after = facts(a)
    assert (after["pid"], after["ifindex"], after["restarts"]) == (before["pid"], before["ifindex"], before["restarts"])


def many_changes(a):
    for number in range(1, 6):
        a.put(f"/v1/devices/tun0/addresses/10.77.0.{number}/32")
        a.put(f"/v1/devices/tun0/routes/10.78.{number}.0/24")
        a.put(f"/v1/devices/tun0/addresses/fd00:77::{number}/128")
    document = a.get("/v1/devices/tun0")
    document["labels"] = {"site": "berlin"}  # no txqueuelen: for that Linux itself takes the queue away for a moment
    a.put("/v1/devices/tun0", document)
    for number in range(1, 6):
        a.api("DELETE", f"/v1/devices/tun0/addresses/10.77.0.{number}/32").expect(204)
        a.api("DELETE", f"/v1/devices/tun0/routes/10.78.{number}.0/24").expect(204)
        a.api("DELETE", f"/v1/devices/tun0/addresses/fd00:77::{number}/128").expect(204)
    a.api("PUT", "/v1/devices/tun1", {"kind": "tun", "worker": {"type": "echo"}}).expect(201)
    a.api("DELETE", "/v1/devices/tun1").expect(204)


def test_new_peer_is_taken_by_the_same_worker(tunnelled):
    a, b = tunnelled
    before = facts(a)
    b.namespace.ip("address", "add", "10.0.0.12/24", "dev", "eth0")
    worker = {"type": "udp", "local": "10.0.0.12:5000", "remote": "10.0.0.1:5000"}
    b.put("/v1/devices/tun0/worker", worker)
    a.put("/v1/devices/tun0/worker", {"type": "udp", "local": "10.0.0.1:5000", "remote": "10.0.0.12:5000"})
    ping = a.namespace.ping("192.168.3.1", count=5)
    assert ping.received == 5, ping.text
    assert facts(a)["pid"] == before["pid"] and facts(a)["restarts"] == before["restarts"]


def test_dead_worker_is_told_in_the_log_and_the_events(tunnelled):
    a, b = tunnelled
    with_events = a.watch("?topics=events&device=tun0")
    old = a.worker_pid("tun0")
    a.kill9("tun0")
    until(lambda: back(a, old), 5, "a new worker")
    seen = with_events.next_of("worker_state")["data"]
    with_events.close()
    assert seen["device"] == "tun0" and seen["type"] == "worker_state"
    assert re.search(r"tun0.*(signal|killed|SIGKILL)|(signal|killed|SIGKILL).*tun0", a.netd.log.read_text()), a.tails()
