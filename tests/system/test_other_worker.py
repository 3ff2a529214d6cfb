# SPDX-License-Identifier: Apache-2.0
"""A worker is any program that speaks the contract: here one in Python (workers/other_worker.py), against ours."""

import stat

import pytest
from lib.flow import PingFlow
from lib.network import process_is_alive
from lib.topology import tunnel, udp
from lib.waiting import until

TUN0 = "/v1/devices/tun0"


@pytest.fixture
def hosts(net, other_workers):
    """`a` has the worker in Python, `b` has ours."""
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"])
    return net.host("a", a, worker_dir=other_workers), net.host("b", b)


def test_tunnel_between_theirs_and_ours(hosts):
    a, b = hosts
    tunnel(a, b)
    for target in ("192.168.3.1", "fd00:3::1"):
        ping = a.namespace.ping(target, count=5, size=1000)
        assert ping.received == 5, ping.text
    worker = a.status("tun0")["worker"]
    assert worker["state"] == "running" and worker["report"] == {"language": "python", "configured": "tun0"}
    theirs, ours = a.counters("tun0")["worker"], b.counters("tun0")["worker"]
    for side in ("device_in", "wire_out", "wire_in", "device_out"):
        assert theirs[side]["packets"] >= 10 and ours[side]["packets"] >= 10


def test_attaches_to_the_next_netd(hosts):
    a, b = hosts
    tunnel(a, b)
    pid = a.worker_pid("tun0")
    with PingFlow(a.namespace, "192.168.3.1") as flow:
        for which in ("netd", "tunwrightd", "netd"):
            flow.running(50)
            a.kill9(which)
            a.netd_start() if which == "netd" else a.daemon_start()
            a.ready()
        flow.running(50)
        flow.nothing_lost()
    assert a.worker_pid("tun0") == pid and process_is_alive(pid)
    # the new netd has it in hand: it is configured anew, and stopped
    a.put(f"{TUN0}/worker", udp("10.0.0.1", "10.0.0.2", 5001))
    assert a.worker_pid("tun0") == pid
    a.api("DELETE", f"{TUN0}/worker").expect(204)
    until(lambda: not process_is_alive(pid), 5, "the worker's end")


def test_largest_counters_are_printed_in_full(net, other_workers):
    host = net.host("a", worker_dir=other_workers)
    host.device("counts0", kind="tun", up=False, worker={"type": "monitor"})
    most = 2 ** 64 - 1
    text = host.api("GET", "/v1/devices/counts0/counters").expect(200).body.decode()
    assert str(most) in text and "e+" not in text
    for answer in (host.counters("counts0"), host.get("/v1/counters")["items"][0]):
        worker = answer["worker"]
        assert worker["device_in"] == {"packets": most, "bytes": most}
        assert worker["wire_out"] == {"packets": most, "bytes": 0}
        assert worker["wire_in"] == {"packets": 2 ** 63 + 1, "bytes": 4503599627370499}
        assert worker["device_out"] == {"packets": 10 ** 15 + 7, "bytes": 0}
        assert worker["drops"]["unknown_source"] == most
        assert all(isinstance(v, int) for v in worker["drops"].values())
    stream = host.watch("?topics=counters&interval_ms=100")
    assert stream.next()["data"]["items"][0]["worker"]["device_in"]["packets"] == most
    stream.close()


@pytest.mark.parametrize("name,said", [("refuses0", "does not like"), ("dies0", "7")])
def test_worker_that_does_not_come_up_changes_nothing(net, other_workers, name, said):
    host = net.host("a", worker_dir=other_workers)
    answer = host.api("PUT", f"/v1/devices/{name}", {"kind": "tun", "worker": {"type": "monitor"}})
    assert said in answer.problem(422, "worker_failed")["detail"]
    assert host.namespace.link(name) is None and not host.worker_pids()
    host.api("GET", f"/v1/devices/{name}").problem(404, "not_found")
    # the same for one that is there already
    host.device(name, kind="tun")
    host.api("PUT", f"/v1/devices/{name}/worker", {"type": "monitor"}).problem(422, "worker_failed")
    assert host.get(f"/v1/devices/{name}")["worker"] is None and not host.worker_pids()


@pytest.mark.slow
def test_worker_that_never_answers_is_given_up(net, other_workers):
    host = net.host("a", worker_dir=other_workers)
    host.device("tun1", kind="tun")
    host.api("PUT", "/v1/devices/silent0", {"kind": "tun", "worker": {"type": "monitor"}}).problem(422, "worker_failed")
    assert host.namespace.link("silent0") is None
    until(lambda: not host.worker_pids(), 5, "its end")


def test_refused_configuration_leaves_the_earlier_in_force(hosts):
    a, b = hosts
    tunnel(a, b)
    before, pid = a.get(TUN0), a.worker_pid("tun0")
    answer = a.api("PUT", f"{TUN0}/worker", {"type": "udp", "local": "10.0.0.1:5000", "remote": "10.0.0.2:6666"})
    answer.problem(422, "worker_failed")
    assert a.get(TUN0)["worker"] == before["worker"] and a.worker_pid("tun0") == pid
    assert a.namespace.ping("192.168.3.1", count=3).received == 3


def test_program_that_others_may_write_is_not_run(net, other_workers):
    (other_workers / "tunwright-worker").chmod(0o777)
    host = net.host("a", worker_dir=other_workers)
    answer = host.api("PUT", TUN0, {"kind": "tun", "worker": {"type": "monitor"}})
    answer.problem(422, answer.json["code"])
    assert answer.json["code"] in ("worker_failed", "kernel_refused") and not host.worker_pids()
    mode = stat.S_IMODE((other_workers / "tunwright-worker").stat().st_mode)
    assert mode == 0o777 and host.namespace.link("tun0") is None


def test_program_that_is_a_link_is_not_run(net, other_workers):
    (other_workers / "tunwright-worker").rename(other_workers / "elsewhere")
    (other_workers / "tunwright-worker").symlink_to("elsewhere")
    host = net.host("a", worker_dir=other_workers)
    answer = host.api("PUT", TUN0, {"kind": "tun", "worker": {"type": "monitor"}})
    assert answer.status == 422 and not host.worker_pids(), answer
