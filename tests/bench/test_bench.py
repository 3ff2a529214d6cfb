# SPDX-License-Identifier: Apache-2.0
"""The bench works: every figure is there. Whether they are good is not asked here: the machine is shared."""

import json
import os
import shutil
import subprocess

import pytest
from lib import build


@pytest.mark.slow
@pytest.mark.limit(120)
def test_short(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    missing = [tool for tool in ("iperf3", "ethtool") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    out = tmp_path / "figures.json"
    done = subprocess.run([build.TREE / "tests/bench/run", "--short", "--json", out], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text())
    for setting in ("default", "wire1500"):
        result = report["settings"][setting]
        for path in ("veth", "vxlan", "udp"):
            for key in ("tcp1_gbit_s", "tcp4_gbit_s", "tcp1_busy_s_per_gb", "flood_kpps", "ping_p50_us", "ping_p99_us"):
                assert result["median"][path][key] > 0, (setting, path, key)
        assert result["median"]["udp"]["tcp1_cpu_s_per_gb"] > 0
        assert result["ratio"]["veth"]["tcp1_gbit_s"] > 0
    assert "Tunwright `udp`" in done.stdout


@pytest.mark.slow
@pytest.mark.limit(180)
def test_short_api(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    out = tmp_path / "figures.json"
    done = subprocess.run([build.TREE / "tests/bench/run", "api", "--short", "--json", out], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text())
    for key in ("device_ratio", "counters_ratio", "device_per_s", "watched_p99_ms", "config_ratio", "bare_s", "noop_ms", "healthz_ms",
                "start_s"):
        assert report[key] > 0, key
    assert report["watch_messages"] > 0
    assert "| GET of a device, × minimal |" in done.stdout
