# SPDX-License-Identifier: Apache-2.0
"""GET /v1/devices/{name}/history: what was counted shows in its steps and nowhere else; what nobody observed is null."""

import datetime
import os
import time

import pytest
from lib import door
from lib.calls import tcp
from lib.flow import PingFlow
from lib.topology import udp
from lib.waiting import until

PAIRS = ("device_in", "device_out", "wire_in", "wire_out")
KEPT = {1: 600, 10: 720, 60: 1440}


@pytest.fixture
def hosts(net):
    """A tunnel that carries nothing but what a test sends: without IPv6."""
    a, b = net.namespace("a", ipv6=False), net.namespace("b", ipv6=False)
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"])
    a, b = net.host("a", a), net.host("b", b)
    a.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker=udp("10.0.0.1", "10.0.0.2"))
    b.device("tun0", kind="tun", addresses=["192.168.3.1/24"], worker=udp("10.0.0.2", "10.0.0.1"))
    return a, b


def history(host, query="", name="tun0"):
    return host.get(f"/v1/devices/{name}/history{query}")


def observed(series):
    return [v for v in series if v is not None]


def began(host):
    """Both of its sides are observed."""
    until(lambda: observed(history(host, "?limit=1")["series"]["worker.drops"]), 10, "a history")


def at(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def totals(counters):
    """The counters as the history sums them up."""
    kernel, worker = counters["kernel"], counters["worker"]
    flat = {f"kernel.{k}": kernel[k] for k in ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")}
    flat["kernel.dropped"] = kernel["rx_dropped"] + kernel["tx_dropped"]
    for side in PAIRS:
        flat |= {f"worker.{side}.{k}": worker[side][k] for k in ("packets", "bytes")}
    return flat | {"worker.drops": sum(worker["drops"].values())}


def sums(shown):
    return {name: sum(observed(series)) for name, series in shown["series"].items()}


def gaps(series):
    """The lengths of the runs of null, but for the one before the first reading."""
    runs, length, seen = [], 0, False
    for value in series:
        if value is None:
            length += seen
        else:
            runs += [length] if length else []
            length, seen = 0, True
    return runs + ([length] if length else [])


@pytest.mark.slow
def test_sums_are_the_counters(hosts):
    a, b = hosts
    for host in hosts:
        began(host)
    before = {host: (totals(host.counters("tun0")), sums(history(host))) for host in hosts}
    expected = 0
    for size, count in ((56, 20), (1000, 13)):
        assert a.namespace.ping("192.168.3.1", count=count, size=size, interval=0.05).received == count
        expected += count
    for host in hosts:
        counted, recorded = before[host]
        after = totals(host.counters("tun0"))
        moved = {k: after[k] - counted[k] for k in after}
        assert moved["worker.wire_out.packets"] == moved["kernel.tx_packets"] == expected
        until(lambda: {k: v - recorded[k] for k, v in sums(history(host)).items()} == moved, 5,
              lambda: f"{moved} in the steps; {sums(history(host))} after {recorded}")
        shown = history(host)
        assert not any(gaps(series) for series in shown["series"].values())
    # each step has what was sent in it
    steady = history(a)["series"]["kernel.tx_packets"]
    assert max(observed(steady)) <= 21, steady[-10:]


def test_form(hosts):
    a, _ = hosts
    a.device("tun1", kind="tun")
    began(a)
    for step, kept in KEPT.items():
        shown = history(a, f"?step_s={step}")
        assert set(shown) == {"device", "step_s", "start", "end", "series"}
        assert shown["device"] == "tun0" and shown["step_s"] == step
        assert set(shown["series"]) == set(totals(a.counters("tun0")))
        assert {len(series) for series in shown["series"].values()} == {kept}
        assert at(shown["end"]) - at(shown["start"]) == pytest.approx(kept * step, abs=0.002)
        assert -0.1 < time.time() - at(shown["end"]) < step + 3
    assert history(a)["step_s"] == 1
    few = history(a, "?limit=7&step_s=10")
    assert {len(series) for series in few["series"].values()} == {7}
    assert len(history(a, "?limit=1440")["series"]["worker.drops"]) == 600

    until(lambda: observed(history(a, "?limit=2", "tun1")["series"]["kernel.rx_bytes"]), 5, "a history of tun1")
    assert not any(observed(series) for name, series in history(a, "", "tun1")["series"].items() if name.startswith("worker"))


@pytest.mark.slow
def test_restart_and_kill_are_gaps_and_nothing_else(hosts):
    """Packets flow all the while: what was counted while the daemon was down shows nowhere, not even in one step."""
    a, _ = hosts
    with PingFlow(a.namespace, "192.168.3.1", rate=100) as flow:
        began(a)
        until(lambda: len(observed(history(a)["series"]["kernel.tx_packets"])) >= 3, 10, "some steps")
        kept = history(a)

        def away(end):
            end()
            down = time.monotonic()
            until(lambda: time.monotonic() - down > 2.2, 5, "a while without it")  # steps pass by
            a.daemon_start()
            a.ready()
            was = len(observed(history(a)["series"]["kernel.tx_packets"]))
            until(lambda: len(observed(history(a)["series"]["kernel.tx_packets"])) >= was + 2, 10, "it goes on")
        away(lambda: a.kill9("tunwrightd"))
        away(lambda: a.daemon.terminate())
        flow.finish()
        shown = history(a)
    for name in ("kernel.tx_packets", "worker.device_in.packets", "worker.wire_out.packets", "worker.drops"):
        series = shown["series"][name]
        assert len(gaps(series)) == 2 and all(2 <= gap <= 8 for gap in gaps(series)), (name, gaps(series))
    packets = shown["series"]["kernel.tx_packets"]
    assert max(observed(packets)) < 200, packets  # 100 a second, and no more in one step
    # what there was before is as it was
    old = observed(kept["series"]["kernel.tx_packets"])
    assert observed(packets)[:len(old)] == old
    directory = a.run_dir / "history"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [f.name for f in directory.iterdir()] == [a.status("tun0")["uuid"] + ".history"]


@pytest.mark.slow
def test_worker_and_device_that_begin_anew(hosts):
    a, _ = hosts
    began(a)
    a.kill9("tun0")  # its counters go on
    a.worker_pid("tun0")
    until(lambda: len(observed(history(a)["series"]["worker.drops"])) >= 4, 10, "it goes on")
    assert not gaps(history(a)["series"]["worker.drops"])
    a.api("DELETE", "/v1/devices/tun0/worker").expect(204)
    until(lambda: history(a, "?limit=1")["series"]["worker.drops"] == [None], 5, "no worker")
    assert history(a, "?limit=1")["series"]["kernel.rx_bytes"] == [0]
    old = list((a.run_dir / "history").iterdir())
    a.api("DELETE", "/v1/devices/tun0").expect(204)
    a.device("tun0", kind="tun")
    assert not observed(history(a)["series"]["kernel.rx_bytes"]), "another device's history"
    until(lambda: not old[0].exists(), 5, "the file of a device that is gone to go")


@pytest.mark.slow
def test_file_that_is_spoilt_or_left_behind(hosts):
    a, _ = hosts
    began(a)
    path = a.run_dir / "history" / (a.status("tun0")["uuid"] + ".history")
    assert path.stat().st_size == 78 * 4096 and path.stat().st_mode & 0o777 == 0o600
    stray = path.with_name("01234567-89ab-cdef-0123-456789abcdef.history")
    a.kill9("tunwrightd")
    with open(path, "r+b") as file:
        file.truncate(5000)
    stray.write_bytes(b"")
    os.chown(stray, path.stat().st_uid, -1)
    a.daemon_start()
    a.ready()
    began(a)
    assert path.stat().st_size == 78 * 4096
    assert len(observed(history(a)["series"]["kernel.rx_bytes"])) < 10
    assert not stray.exists()


def test_what_is_asked_wrongly(hosts):
    a, _ = hosts
    path = "/v1/devices/tun0/history"
    for query in ("step_s=2", "step_s=", "step_s=1s", "step_s=-1", "limit=0", "limit=1441", "limit=x", "limit=", "since=1"):
        a.api("GET", f"{path}?{query}").problem(400, "invalid_query")
    a.api("GET", "/v1/devices/tun9/history").problem(404, "not_found")
    assert a.api("POST", path, {}).problem(405, "method_not_allowed")


def test_token_with_selector(net):
    a = net.host("a", net.namespace("a"), listen=["127.0.0.1:8080"])
    a.device("tun0", kind="tun", labels={"site": "berlin"})
    a.device("tun1", kind="tun")
    token = door.make_token(a, "ci", "reader", selector="site=berlin")
    ask = lambda name: door.ask(tcp(a), "GET", f"/v1/devices/{name}/history", token)
    assert ask("tun0").expect(200).json["device"] == "tun0"
    ask("tun1").problem(404, "not_found")
