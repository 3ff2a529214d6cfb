# SPDX-License-Identifier: Apache-2.0
"""The second boot of the disk on which guest_units.py ran: what was configured is there again by itself."""

import json
import pathlib

import pytest
from lib.waiting import until
from real_host import DEVICES, KEPT, cable, call, config, properties, ready


@pytest.fixture(scope="module")
def kept():
    assert KEPT.exists(), "guest_units.py did not get so far in the boot before"
    return json.loads(KEPT.read_text())


def state(name):
    return call("GET", f"/v1/devices/{name}")[1]["status"]


def test_devices_are_back_after_the_reboot(kept, module_net):
    assert pathlib.Path("/proc/sys/kernel/random/boot_id").read_text() != kept["boot"]
    until(lambda: all(properties(unit, "ActiveState")["ActiveState"] == "active" for unit in ("tunwright-netd", "tunwrightd")), 60,
          "both units to be active")
    ready()
    assert config() == kept["config"]
    assert state("echo0")["state"] == "ready" and state("tap0")["state"] == "ready"
    # the cable is not there yet, so the worker of tun0 has nothing to bind to
    assert state("tun0")["state"] != "ready" and state("tun0")["reason"], state("tun0")
    here = cable(module_net)
    until(lambda: state("tun0")["state"] == "ready", 60, lambda: f"tun0: {state('tun0')}", interval=0.5)
    assert here.ping("192.168.6.77", count=3).received == 3
    for target in "192.168.3.1", "fd00:3::1":
        until(lambda: here.ping(target, count=3).received == 3, 20, f"answers from {target}")
    for name, document in DEVICES.items():
        assert here.addresses(name) == set(document["addresses"])
        assert {r["dst"] for r in here.routes(dev=name, protocol="84")} >= {r["to"] for r in document.get("routes", [])}
