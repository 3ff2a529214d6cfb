# SPDX-License-Identifier: Apache-2.0
"""What ten open dashboards cost the daemon. (The size of the files: tests/system/test_session.py; the first paint:
test_dashboard.py.)"""

import os
import time

import pytest
from lib.build import directory
from lib.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.limit(120)]
WATCH = "/v1/watch?topics=events,counters,progress&interval_ms=1000"  # as web/store.js has it
DASHBOARDS, DEVICES, SECONDS, MOST = 10, 200, 15, 0.03


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ten_dashboards_of_two_hundred_devices(net):
    """Less than 3 % of a core, at a counters message a second for each."""
    if not (directory("release") / "tunwrightd").exists():
        pytest.skip("there is no Release build here: tests/run makes one")
    host = net.host("a", build="release", listen=["127.0.0.1:8080"], log_level="info")
    host.put("/v1/config", {"devices": [{"name": f"tun{i}", "kind": "tun", "worker": {"type": "monitor"}} for i in range(DEVICES)]})
    url, token = f"http://127.0.0.1:8080{WATCH}", host.token()
    watchers = [host.namespace.popen("curl", "-sSN", "-H", f"Cookie: tunwright-8080={token}", url, "-o", net.base / f"watch-{i}")
                for i in range(DASHBOARDS)]
    net.processes += watchers
    streams = [net.base / f"watch-{i}" for i in range(DASHBOARDS)]
    try:
        until(lambda: all(s.exists() and s.stat().st_size > 100_000 for s in streams), 30, "counters in each stream")
        before, began = cpu_s(host.daemon.pid), time.monotonic()
        time.sleep(SECONDS)  # this is a measurement
        share = (cpu_s(host.daemon.pid) - before) / (time.monotonic() - began)
        assert all(w.poll() is None for w in watchers)
        each = streams[0].read_bytes().count(b"event: counters")
    finally:
        for watcher in watchers:
            watcher.terminate()
        for watcher in watchers:
            watcher.wait(10)
    assert each >= SECONDS - 2, f"{each} messages"
    print(f"tunwrightd: {100 * share:.2f} % of a core, {each} messages each")
    assert share < MOST, f"{100 * share:.2f} % of a core, {each} messages each"
