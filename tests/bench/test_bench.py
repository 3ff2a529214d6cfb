# SPDX-License-Identifier: Apache-2.0
"""The bench works: every figure is there. Whether they are good is not asked here: the machine is shared."""

import copy
import json
import os
import shutil
import subprocess
import sys

import pytest
from lib import build

sys.path.insert(0, str(build.TREE / "tests/bench"))

import measure  # noqa: E402
import perf_profile  # noqa: E402
import report as reports  # noqa: E402


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
        for path in ("veth", "vxlan", "udp", "gue"):
            for key in ("tcp1_gbit_s", "tcp4_gbit_s", "tcp1_busy_s_per_gb", "bulk_gbit_s",
                        "bulk_gro_gbit_s", "flood_kpps", "ping_p50_us", "ping_p99_us"):
                assert result["median"][path][key] > 0, (setting, path, key)
        assert result["median"]["udp"]["tcp1_cpu_s_per_gb"] > 0
        assert result["ratio"]["veth"]["tcp1_gbit_s"] > 0
        assert result["ratio"]["gue"]["tcp1_cpu_s_per_gb"] > 0
    assert {floor["key"] for floor in report["floor"]} >= {"tcp1_gbit_s", "bulk_gbit_s", "flood_ping_share", "tcp1_retransmits"}
    assert "Tunwright `udp`" in done.stdout and "**The floor**" in done.stdout


@pytest.mark.slow
@pytest.mark.limit(120)
def test_short_cost(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    missing = [tool for tool in ("iperf3", "ethtool") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    out = tmp_path / "figures.json"
    done = subprocess.run([build.TREE / "tests/bench/run", "cost", "--short", "--json", out], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text())
    for name in ("split_tcp", "merge_udp", "inspect_64", "checksum_1448_plain"):
        assert report["functions"][name]["ns_per_packet"] > 0, name
    for load, sides in report["worker"].items():
        for figures in sides.values():
            assert figures["packets"] > 0 and figures["cpu_s_per_gb"] >= 0, load
    assert "| UDP super-packets, sender |" in done.stdout


# ---- what it makes of figures --------------------------------------------------------------------------------------


@pytest.fixture
def settings():
    """Each floor is met, and just so."""
    def path(**figures):
        return {"tcp1_gbit_s": 10, "bulk_gbit_s": 20, "flood_kpps": 400, "flood_ping_share": 0.5, "ping_p50_us": 90,
                "tcp1_retransmits": 50} | figures
    median = {"veth": path(bulk_gbit_s=50), "vxlan": path(tcp1_gbit_s=14.28, tcp1_retransmits=5),
              "udp": path(tcp1_cpu_s_per_gb=1.1), "vtund": path(tcp1_gbit_s=1.25, tcp1_cpu_s_per_gb=10, flood_kpps=100),
              "wireguard-go": path(ping_p50_us=180)}
    return {"default": {"median": median}, "wire1500": {"median": copy.deepcopy(median)}}


def test_floor_met(settings):
    judged = reports.floor_check(settings)
    assert len(judged) == len(reports.FLOORS)
    assert all(floor["met"] for floor in judged), [floor for floor in judged if not floor["met"]]


@pytest.mark.parametrize("setting, key, value", [
    ("default", "tcp1_gbit_s", 5.9), ("wire1500", "tcp1_gbit_s", 9.9), ("default", "bulk_gbit_s", 19.9),
    ("default", "tcp1_cpu_s_per_gb", 1.11), ("default", "flood_kpps", 399), ("default", "flood_ping_share", 0.0),
    ("default", "ping_p50_us", 91), ("wire1500", "tcp1_retransmits", 101)])
def test_floor_missed(settings, setting, key, value):
    settings[setting]["median"]["udp"][key] = value
    assert {(floor["setting"], floor["key"]) for floor in reports.floor_check(settings) if not floor["met"]} == {(setting, key)}


def test_floor_without_peers(settings):
    for result in settings.values():
        del result["median"]["vtund"], result["median"]["wireguard-go"]
    assert {floor["key"] for floor in reports.floor_check(settings)} == {
        "tcp1_gbit_s", "bulk_gbit_s", "flood_ping_share", "tcp1_retransmits"}


def test_percentiles():
    assert measure.percentile([1, 2, 3, 4], 50) == 3
    assert measure.percentile([7], 99) == 7


@pytest.mark.parametrize("stack, where", [
    (["_copy_from_iter", "ip_make_skb", "udp_sendmsg", "__sys_sendmsg", "do_syscall_64", "udp_flush"], ("sendmsg", "copy in")),
    (["skb_gro_receive", "net_rx_action", "__dev_queue_xmit", "__sys_sendmsg"], ("sendmsg", "receiving at the far end")),
    (["vfs_write", "ksys_write"], ("write", "the rest")),
    (["finish_task_switch", "do_syscall_64"], ("kernel", "interrupts, and the ways in and out")),
    (["merge_append", "udp_from_wire", "main"], ("worker", "its own code"))])
def test_profile_places(stack, where):
    assert perf_profile.place(stack) == where


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
