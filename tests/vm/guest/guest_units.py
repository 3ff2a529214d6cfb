# SPDX-License-Identifier: Apache-2.0
"""README.md's "On a real host", on a host whose init is systemd: the units, and what they promise."""

import json
import pathlib

import pytest
from lib.command import run
from lib.flow import PingFlow
from lib.waiting import until
from real_host import DEVICES, KEPT, call, cable, config, properties, ready


@pytest.fixture(scope="module")
def here(module_net):
    """This host, installed and started as README.md says, with a cable to another host."""
    run("cmake", "--install", "/src/build", timeout=60)
    run("systemd-sysusers")
    run("systemctl", "daemon-reload")
    run("udevadm", "control", "--reload")
    run("systemctl", "enable", "--now", "tunwright-netd", "tunwrightd", timeout=60)
    ready()
    return cable(module_net)


def test_both_daemons_are_active(here):
    for unit, user in (("tunwright-netd", "root"), ("tunwrightd", "tunwright")):
        found = properties(unit, "ActiveState", "SubState", "Type", "NRestarts", "UnitFileState", "MainPID")
        assert found["ActiveState"] == "active" and found["SubState"] == "running" and found["UnitFileState"] == "enabled", found
        assert found["Type"] == "notify" and found["NRestarts"] == "0", found
        assert run("ps", "-o", "user=", "-p", found["MainPID"]).stdout.strip() == user


def test_tunnel_by_curl(here):
    for name, document in DEVICES.items():
        status, said = call("PUT", f"/v1/devices/{name}", document)
        assert status == 201 and said["status"]["state"] == "ready", said
    here.settled("tun0")
    assert here.ping("192.168.3.1", count=3).received == 3
    assert here.ping("fd00:3::1", count=3).received == 3
    assert here.ping("192.168.6.77", count=3).received == 3
    worker = call("GET", "/v1/devices/tun0/counters")[1]["worker"]
    assert worker["device_in"]["packets"] >= 6 and worker["wire_in"]["packets"] >= 6, worker
    said = run("ps", "-o", "user:32=", "-C", "tunwright-worker").stdout.split()
    assert said.count("tunwright-worker") == 2, said  # those of this host; the other one's are under a number


@pytest.mark.parametrize("unit", ["tunwrightd", "tunwright-netd"])
def test_restart_loses_nothing(here, unit):
    before = properties(unit, "MainPID")
    workers = sorted(run("pgrep", "-u", "tunwright-worker").stdout.split())
    with PingFlow(here, "192.168.3.1", rate=20) as flow:
        flow.running(20)
        run("systemctl", "restart", unit, timeout=60)
        ready()
        flow.running(20)
        flow.nothing_lost()
    assert properties(unit, "MainPID") != before
    assert sorted(run("pgrep", "-u", "tunwright-worker").stdout.split()) == workers
    assert call("GET", "/v1/devices/tun0")[1]["status"]["state"] == "ready"


def test_killed_daemon_is_started_again(here):
    with PingFlow(here, "192.168.3.1", rate=20) as flow:
        flow.running(10)
        for unit in "tunwrightd", "tunwright-netd":
            before = properties(unit, "MainPID")
            run("systemctl", "kill", "--kill-who=main", "--signal=SIGKILL", unit)
            until(lambda: properties(unit, "ActiveState", "MainPID") not in ({"ActiveState": "active", **before}, {})
                  and properties(unit, "ActiveState")["ActiveState"] == "active", 20, f"{unit} to be there again")
            ready()
        flow.running(10)
        flow.nothing_lost()


def test_stopping_both_leaves_the_tunnels(here):
    with PingFlow(here, "192.168.3.1", rate=20) as flow:
        run("systemctl", "stop", "tunwrightd", "tunwright-netd", timeout=60)
        flow.running(20)
        run("systemctl", "start", "tunwright-netd", "tunwrightd", timeout=60)
        ready()
        flow.nothing_lost()


def test_udev_marks_our_devices_and_only_them(here):
    """Also when udev is quick, and looks at a new device before it has our alias; and one that is taken over."""
    def marks(name):
        said = run("udevadm", "info", "--query=property", f"--path=/sys/class/net/{name}").stdout
        return {line for line in said.splitlines() if line.startswith(("NM_UNMANAGED", "TUNWRIGHT"))}
    made = [f"mark{i}" for i in range(5)]
    for name in made:
        assert call("PUT", f"/v1/devices/{name}", {"kind": "tun"})[0] == 201
    run("ip", "tuntap", "add", "dev", "taken0", "mode", "tap")
    run("udevadm", "settle")
    assert marks("taken0") == set()
    assert call("POST", "/v1/devices/taken0/adopt")[0] in (200, 201)
    run("udevadm", "settle")
    for name in *made, "taken0":
        assert marks(name) == {"NM_UNMANAGED=1", "TUNWRIGHT=1"}, name
        assert call("DELETE", f"/v1/devices/{name}")[0] == 204
    assert marks("cable0") == set()


def test_networkd_keeps_off(here):
    """A file that matches everything takes another device, and neither ours nor our routes, also when networkd starts again."""
    rule = pathlib.Path("/etc/systemd/network/50-everything.network")
    rule.write_text("[Match]\nName=tun* echo* other*\n\n[Network]\nLinkLocalAddressing=no\nDHCP=no\n")
    for route, more in (("10.9.0.0/16", {}), ("10.11.0.0/16", {"type": "blackhole"})):
        assert call("PUT", f"/v1/devices/tun0/routes/{route}", more)[0] in (200, 201)
    before = here.ip_json("route", "show", "protocol", "84"), here.addresses("tun0"), here.link("tun0")["flags"]
    assert {r["dst"] for r in before[0]} >= {"10.9.0.0/16", "10.11.0.0/16"}, before
    run("ip", "link", "add", "other0", "type", "dummy")
    try:
        for _ in range(2):
            run("systemctl", "restart", "systemd-networkd", timeout=60)
            until(lambda: links().get("other0") == "configured", 30, lambda: f"networkd to have other0: {links()}")
            assert links()["tun0"] == "unmanaged" and links()["echo0"] == "unmanaged", links()
            assert (here.ip_json("route", "show", "protocol", "84"), here.addresses("tun0"), here.link("tun0")["flags"]) == before
        assert call("GET", "/v1/devices/tun0")[1]["status"]["state"] == "ready"
        assert here.ping("192.168.3.1", count=3).received == 3
    finally:
        run("systemctl", "stop", "systemd-networkd.socket", "systemd-networkd", timeout=60)
        rule.unlink()
        run("ip", "link", "del", "other0")


def links():
    """What networkd says of each device."""
    said = run("networkctl", "--no-legend", "--no-pager", "list", check=False).stdout
    return {line.split()[1]: line.split()[-1] for line in said.splitlines() if len(line.split()) >= 5}


def test_remembered_for_after_the_reboot(here):
    """The second boot of this disk compares (guest_after_reboot.py)."""
    KEPT.write_text(json.dumps({"boot": pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(), "config": config()}))
    assert set(DEVICES) == {device["name"] for device in config()["devices"]}
