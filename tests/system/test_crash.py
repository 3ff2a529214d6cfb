# SPDX-License-Identifier: Apache-2.0
"""kill -9 of tunwrightd, or of netd, in the midst of changes: the old state or the new one, whole; never a mixture, and never
less than what was acknowledged."""

import http.client
import random
import threading
import time

import pytest
from lib.topology import udp
from lib.waiting import until

TUN0 = "/v1/devices/tun0"
STATES = [
    {"name": "tun0", "kind": "tun", "mtu": 1400, "txqueuelen": 500, "addresses": ["192.168.3.11/24", "fd00:3::11/64"],
     "routes": [{"to": "10.8.0.0/16"}, {"to": "fd00:8::/48"}], "labels": {"state": "A"},
     "worker": udp("10.0.0.1", "10.0.0.2", 5000)},
    {"name": "tun0", "kind": "tun", "mtu": 1300, "txqueuelen": 700, "addresses": ["192.168.5.11/24", "10.66.0.1/32"],
     "routes": [{"to": "10.9.0.0/16", "metric": 7}, {"to": "fd00:9::/48"}], "labels": {"state": "B"},
     "worker": udp("10.0.0.1", "10.0.0.2", 5001)},
]


def kernel_facts(host, name="tun0"):
    link = host.namespace.link(name)
    routes = {r["dst"] for r in host.namespace.routes() if str(r.get("protocol")) == "84"}
    return link and (link["mtu"], link["txqlen"], frozenset(host.namespace.addresses(name)), frozenset(routes))


def expected_facts(document):
    return document and (document["mtu"], document["txqueuelen"], frozenset(document["addresses"]),
                         frozenset(r["to"] for r in document["routes"]))


class Changes:
    """Changes one after the other in a thread, until the connection breaks; `acknowledged` is the last that was answered,
    `asked` the one under way."""

    def __init__(self, host, steps):
        self.host, self.steps = host, steps
        self.acknowledged = self.asked = None
        self.error = None
        self.done = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while True:
                for method, document in self.steps:
                    self.asked = document
                    answer = self.host.api(method, TUN0, document)
                    if answer.status == 503 or answer.status == 404 and method == "DELETE":
                        continue  # netd is away: nothing changed
                    answer.expect(200, 201, 204)
                    self.acknowledged = document
                    self.done += 1
        except (OSError, http.client.HTTPException):
            pass
        except Exception as error:
            self.error = error

    def join(self):
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.error:
            raise self.error


def check_whole(host, changes):
    """What is there is what was acknowledged last or asked for last, in the API and in the kernel."""
    answer = host.api("GET", TUN0).expect(200, 404)
    now = None if answer.status == 404 else answer.json
    allowed = [changes.acknowledged, changes.asked]

    def same(state):
        if state is None or now is None:
            return state is now
        return now["labels"] == state["labels"] and now["mtu"] == state["mtu"] and \
            state["worker"].items() <= now["worker"].items() and now["addresses"] == state["addresses"] and [r["to"] for r in now["routes"]] == [r["to"] for r in state["routes"]]

    state = [s for s in allowed if same(s)]
    assert state, f"neither of {allowed}: {now}"
    until(lambda: kernel_facts(host) == expected_facts(state[0]), 10,
          lambda: f"{expected_facts(state[0])} in the kernel; there is {kernel_facts(host)}; {host.attempt(TUN0)}")
    if state[0]:
        until(lambda: host.status("tun0")["state"] == "ready", 10, lambda: f"state ready: {host.status('tun0')}")
        assert host.worker_pids() == [host.worker_pid("tun0")], "one worker, and no orphan"
    else:
        until(lambda: not host.worker_pids(), 10, "no worker without its device")


@pytest.fixture
def host(net):
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"])
    return net.host("a", a)


STEPS = {"replace": [("PUT", STATES[0]), ("PUT", STATES[1])], "create and delete": [("PUT", STATES[0]), ("DELETE", None)]}


@pytest.mark.parametrize("which", ["tunwrightd", "netd"])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("rounds", [3, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.limit(300)
def test_killed_in_the_midst_of_changes(host, steps, which, rounds):
    chance = random.Random(rounds)
    for _ in range(rounds):
        changes = Changes(host, STEPS[steps])
        until(lambda: changes.done >= 1 or changes.error, 20, "a first change")
        time.sleep(chance.uniform(0, 0.2))  # a moment at random: not a wait for anything
        host.kill9(which)
        if which == "netd":
            host.netd_start()
            host.ready()
            host.kill9("tunwrightd")  # ends the thread
        changes.join()
        host.daemon_start()
        host.ready()
        check_whole(host, changes)


def test_route_without_a_device_is_taken_back_after_a_crash(net, other_workers):
    """A blackhole belongs to no device, so its device's end does not take it along, and nothing in the kernel says whose it
    is: the daemon has to know what it was about when it was killed."""
    host = net.host("a", worker_dir=other_workers)
    host.device("silent0", kind="tun")
    for path in ("/v1/devices/silent0", "/v1/devices/silent1"):
        change = threading.Thread(target=broken_off, args=(host, path), daemon=True)
        change.start()
        # its worker never answers: the change stands still behind the route
        until(lambda: host.namespace.routes(dst="10.18.0.0/16"), 10, "the blackhole")
        host.kill9("tunwrightd")
        change.join(10)
        host.daemon_start()
        host.ready()
        until(lambda: not host.worker_pids(), 10, "no worker of a change that was never acknowledged")
        until(lambda: not host.namespace.routes(dst="10.18.0.0/16"), 10, "no route of a change that was never acknowledged")
        assert [d["name"] for d in host.get("/v1/devices")["items"]] == ["silent0"]
        assert host.get("/v1/devices/silent0")["routes"] == [] and host.namespace.link("silent1") is None


def broken_off(host, path):
    try:
        host.api("PUT", path, {"kind": "tun", "routes": [{"to": "10.18.0.0/16", "type": "blackhole"}],
                               "worker": {"type": "monitor"}})
    except (OSError, http.client.HTTPException):
        pass
