# SPDX-License-Identifier: Apache-2.0
"""The emulated machine itself as a host: its API by curl, its units, and a cable to another host."""

import json
import pathlib

from lib.command import run
from lib.network import Namespace
from lib.topology import OVERLAY, udp
from lib.waiting import until

KEPT = pathlib.Path("/var/lib/tests-before-the-reboot.json")
DEVICES = {
    "tun0": {"kind": "tun", "addresses": OVERLAY["a"], "routes": [{"to": "10.12.0.0/16"}] , "labels": {"site": "berlin"},
             "worker": udp("10.0.0.1", "10.0.0.2")},
    "echo0": {"kind": "tun", "addresses": ["192.168.6.1/24"], "worker": {"type": "echo"}},
    "tap0": {"kind": "tap", "mtu": 1400, "addresses": ["192.168.7.1/24"]},
}


def call(method, path, body=None):
    """(status, document) of one call of the API, made as README.md makes it."""
    given = [] if body is None else ["--json", json.dumps(body)]
    said = run("curl", "-sS", "--max-time", 60, "--unix-socket", "/run/tunwright/api.sock", "-X", method, "-w", "\n%{http_code}", *given,
               f"http://localhost{path}", check=False).stdout
    text, _, status = said.rpartition("\n")
    return int(status or 0), json.loads(text) if text.startswith("{") else text


def config():
    """What is desired, of all devices."""
    return call("GET", "/v1/config")[1]


def ready():
    until(lambda: call("GET", "/readyz")[0] == 200, 30, lambda: f"readiness: {call('GET', '/readyz')}", interval=0.5)


def properties(unit, *names):
    said = run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout
    return dict(line.split("=", 1) for line in said.splitlines())


def cable(net):
    """A cable from here, cable0, to another host with the far end of tun0. Returns the namespace that is this machine's."""
    run("ip", "netns", "attach", "here", 1)
    here = Namespace("here", make=False)
    far = net.namespace("b")
    net.veth(here, ["10.0.0.1/24"], far, ["10.0.0.2/24"], a_name="cable0")
    other = net.host("b", far)
    other.device("tun0", kind="tun", addresses=OVERLAY["b"], worker=udp("10.0.0.2", "10.0.0.1"))
    far.settled("tun0")
    return here
