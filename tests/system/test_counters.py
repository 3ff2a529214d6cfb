# SPDX-License-Identifier: Apache-2.0
"""Counters are exact: the worker's, the kernel's, and up to 2^64−1 in JSON (for that see test_other_worker.py)."""

import os
import re
import signal

import pytest
from lib.topology import udp
from lib.waiting import until

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
REASONS = {"no_peer", "unknown_source", "too_big", "malformed", "unauthenticated", "replayed", "queue_full", "loop", "ecn",
           "device_down", "wire_error", "not_forwarded", "rcvbuf_full"}
KERNEL = {"rx_packets", "rx_bytes", "rx_errors", "rx_dropped", "tx_packets", "tx_bytes", "tx_errors", "tx_dropped"}


@pytest.fixture
def hosts(net):
    """A tunnel that carries nothing but what a test sends: without IPv6."""
    a, b = net.namespace("a", ipv6=False), net.namespace("b", ipv6=False)
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"])
    a, b = net.host("a", a), net.host("b", b)
    a.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker=udp("10.0.0.1", "10.0.0.2"))
    b.device("tun0", kind="tun", addresses=["192.168.3.1/24"], worker=udp("10.0.0.2", "10.0.0.1"))
    return a, b


def stats(host):
    return {k: v for k, v in host.namespace.stats("tun0").items() if k in KERNEL}


def test_form(hosts):
    counters = hosts[0].counters("tun0")
    assert set(counters) == {"device", "time", "since", "kernel", "worker"}
    assert counters["device"] == "tun0" and TIME.match(counters["time"]) and TIME.match(counters["since"])
    assert set(counters["kernel"]) == KERNEL
    assert set(counters["worker"]) == {"type", "device_in", "device_out", "wire_in", "wire_out", "drops"}
    assert set(counters["worker"]["drops"]) == REASONS
    assert counters["worker"]["type"] == "udp"


def test_each_packet_and_byte_is_counted_once(hosts):
    a, b = hosts
    expected = 0
    for size, count in ((56, 10), (0, 7), (1000, 13)):
        before = {host: host.counters("tun0") for host in hosts}
        assert a.namespace.ping("192.168.3.1", count=count, size=size).received == count
        delta = {"packets": count, "bytes": count * (28 + size)}
        for host in hosts:
            after = host.counters("tun0")
            for side in ("device_in", "wire_out", "wire_in", "device_out"):
                moved = {k: after["worker"][side][k] - before[host]["worker"][side][k] for k in delta}
                assert moved == delta, f"{side} of {host.name}"
            for way in ("rx", "tx"):
                moved = {k: after["kernel"][f"{way}_{k}"] - before[host]["kernel"][f"{way}_{k}"] for k in delta}
                assert moved == delta, f"{way} of {host.name}"
            assert after["worker"]["drops"] == before[host]["worker"]["drops"]
            assert after["since"] == before[host]["since"] and after["time"] > before[host]["time"]
        expected += count
    for host in hosts:
        assert host.counters("tun0")["kernel"] == stats(host)
        assert host.counters("tun0")["worker"]["device_in"]["packets"] == expected


def test_all_devices_at_once(hosts):
    a, _ = hosts
    a.device("tun1", kind="tun")
    listed = a.get("/v1/counters")
    assert [i["device"] for i in listed["items"]] == ["tun0", "tun1"] and listed["next"] is None
    assert listed["items"][0]["worker"] == a.counters("tun0")["worker"]
    assert listed["items"][1]["worker"] is None and set(listed["items"][1]["kernel"]) == KERNEL


def test_device_that_is_not_there(hosts):
    a, _ = hosts
    a.device("tun1", kind="tun")
    a.kill9("netd")  # so that nobody brings it back at once
    a.namespace.ip("link", "del", "tun1")
    until(lambda: a.counters("tun1")["kernel"] is None, 5, lambda: f"kernel: null; {a.counters('tun1')}")
    a.netd_start()
    a.ready()


def test_everything_sent_is_counted_somewhere(hosts):
    """No packet disappears without a reason: what went in went out or was dropped under its name."""
    a, b = hosts
    b.api("DELETE", "/v1/devices/tun0/worker").expect(204)
    a.namespace.ping("192.168.3.1", count=50, interval=0.005, wait=0.2)
    b.put("/v1/devices/tun0/worker", udp("10.0.0.2", "10.0.0.1"))
    a.namespace.ping("192.168.3.1", count=50, interval=0.005)
    worker = a.counters("tun0")["worker"]
    outward = sum(worker["drops"][r] for r in ("wire_error", "queue_full", "no_peer", "too_big", "malformed", "loop"))
    assert worker["device_in"]["packets"] == worker["wire_out"]["packets"] + outward == 100
    assert worker["device_in"]["packets"] == a.counters("tun0")["kernel"]["tx_packets"]


def test_new_worker_type_goes_on_counting_or_starts_at_a_new_time(hosts):
    a, _ = hosts
    a.namespace.ping("192.168.3.1", count=3)
    before = a.counters("tun0")
    a.put("/v1/devices/tun0/worker", {"type": "echo"})
    after = a.counters("tun0")
    assert after["worker"]["type"] == "echo"
    if after["since"] == before["since"]:
        assert after["worker"]["device_in"]["packets"] >= before["worker"]["device_in"]["packets"]
    else:
        assert after["since"] > before["since"]


def test_what_a_full_socket_loses_is_counted(hosts):
    """A worker that does not come to receiving: Linux drops at its socket, and it tells of that when it goes on."""
    a, b = hosts
    received, pid = b.counters("tun0")["worker"], b.get("/v1/devices/tun0")["status"]["worker"]["pid"]

    def lost():
        """The last column of the one UDP socket in there."""
        return int(b.namespace.run("cat", "/proc/net/udp").stdout.splitlines()[1].split()[-1])

    def flood():
        a.namespace.run("ping", "-n", "-q", "-c", 2000, "-l", 2000, "-s", 1400, "-W", 0.2, "192.168.3.1", check=False)

    assert lost() == 0
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: flood() or lost() > 0, 30, "datagrams that find no room")
    finally:
        os.kill(pid, signal.SIGCONT)
    # the first may come before it has made room
    until(lambda: a.namespace.ping("192.168.3.1", count=1, wait=0.2).received == 1, 10, "an answer")
    worker = b.counters("tun0")["worker"]
    assert worker["drops"]["rcvbuf_full"] == lost() > 0
    assert worker["wire_in"]["packets"] - received["wire_in"]["packets"] == worker["device_out"]["packets"] - received["device_out"]["packets"]
    b.put("/v1/devices/tun0/worker", {**udp("10.0.0.2", "10.0.0.1"), "header": "gue"})
    assert a.namespace.ping("192.168.3.1", count=3).received == 3
    assert b.counters("tun0")["worker"]["drops"]["rcvbuf_full"] == lost(), "what was counted before is not counted again"
