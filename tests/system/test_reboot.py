# SPDX-License-Identifier: Apache-2.0
"""All devices gone, the database kept: starting brings everything back."""

import pytest
from lib.topology import OVERLAY, udp
from lib.waiting import until

DOCUMENTS = {
    "tun0": {"kind": "tun", "mtu": 1400, "txqueuelen": 1234, "addresses": [*OVERLAY["a"], "10.50.0.1/32"], "owner": 1234,
             "group": 4321, "labels": {"site": "berlin", "note": "größer"},
             "routes": [{"to": "10.9.0.0/16", "metric": 100}, {"to": "10.9.0.0/16", "metric": 200, "table": 77},
                        {"to": "10.10.0.0/16", "via": "192.168.3.1", "source": "10.50.0.1"},
                        {"to": "10.11.0.0/16", "type": "blackhole"},
                        {"to": "fd00:9::/48"}, {"to": "fd00:10::/48", "via": "fd00:3::1"},
                        {"to": "fd00:11::/48", "type": "unreachable"}],
             "worker": udp("10.0.0.1", "10.0.0.2")},
    "tap0": {"kind": "tap", "mac": "02:00:5e:00:53:01", "queues": 2, "addresses": ["192.168.4.1/24"], "master": None},
    "tap1": {"kind": "tap", "up": False, "addresses": ["192.168.5.1/24"]},
    "mon-0.x": {"kind": "tun", "worker": {"type": "monitor"}},
    "echo0": {"kind": "tun", "addresses": ["192.168.6.1/24"], "worker": {"type": "echo"}},
}


def desired(host):
    return [{k: v for k, v in d.items() if k != "status"} for d in host.get("/v1/devices")["items"]]


def kernel_shape(namespace):
    """The kernel's state without what numbers and random bits make of it anew."""
    links = {}
    for link in namespace.kernel()["links"]:
        addresses = sorted((a["local"], a["prefixlen"]) for a in link["addr_info"] if a["scope"] == "global")
        links[link["ifname"]] = (link["mtu"], link.get("txqlen"), "UP" in link["flags"], link.get("ifalias"), addresses,
                                 link["linkinfo"]["info_data"] if link["ifname"] in DOCUMENTS else None,
                                 link["address"] if "tap" in link["ifname"] else None)
    routes = sorted(str(sorted((k, str(v)) for k, v in r.items() if k != "flags")) for r in namespace.routes()
                    if str(r.get("protocol")) == "84")
    return links, routes


def underlay(net, namespace):
    b = net.namespaces[0]
    until(lambda: b.link("eth0") is None, 10, "an end of the cable to the namespace that is gone")
    net.veth(namespace, ["10.0.0.1/24"], b, ["10.0.0.2/24"])


@pytest.fixture
def host(net):
    net.namespace("b")
    namespace = net.namespace("a")
    underlay(net, namespace)
    host = net.host("a", namespace)
    for name, document in DOCUMENTS.items():
        host.device(name, **document)
    host.namespace.settled("tun0")
    return host


def test_everything_comes_back(net, host):
    before, shape = desired(host), kernel_shape(host.namespace)
    assert len(shape[1]) == len(DOCUMENTS["tun0"]["routes"]), shape[1]
    after = net.namespace("a2")
    underlay_gone = host.namespace
    host.reboot(after)
    assert underlay_gone not in net.namespaces
    underlay(net, after)
    host.start()
    after.settled("tun0")
    assert desired(host) == before
    until(lambda: kernel_shape(after) == shape, 10, lambda: f"the same kernel state:\n{shape}\n{kernel_shape(after)}")
    for name in DOCUMENTS:
        assert host.status(name)["state"] == "ready", host.status(name)
    assert after.ping("192.168.6.77", count=2).received == 2
    # and once more, with nothing to do: no device is made anew
    numbers = [after.ifindex(name) for name in DOCUMENTS]
    pids = [host.worker_pid(name) for name in ("tun0", "mon-0.x", "echo0")]
    host.restart()
    assert [after.ifindex(name) for name in DOCUMENTS] == numbers
    assert [host.worker_pid(name) for name in ("tun0", "mon-0.x", "echo0")] == pids


def test_comes_up_before_the_underlay_does(net, host):
    """At boot eth0 may come later than we do: the rest is there at once, and the worker as soon as it can bind."""
    after = net.namespace("a2")
    host.reboot(after)
    host.netd_start()
    host.daemon_start()
    until(lambda: host.socket.exists() and host.attempt("/healthz").startswith("200"), 20, "the API")
    until(lambda: host.status("echo0")["state"] == "ready", 20, lambda: f"echo0: {host.status('echo0')}")
    until(lambda: host.status("tun0")["reason"], 10, lambda: f"a reason why tun0 is not ready: {host.status('tun0')}")
    assert host.status("tun0")["state"] in ("failed", "degraded", "pending"), host.status("tun0")
    assert OVERLAY["a"][0] in after.addresses("tun0")
    underlay(net, after)
    until(lambda: host.status("tun0")["state"] == "ready", 30, lambda: f"tun0: {host.status('tun0')}")


def test_devices_deleted_by_hand_come_back_at_the_start(host):
    before, shape = desired(host), kernel_shape(host.namespace)
    host.kill9("tunwrightd")
    host.kill9("netd")
    for name in DOCUMENTS:
        host.namespace.ip("link", "del", name)
    host.start()
    host.namespace.settled("tun0")
    assert desired(host) == before
    until(lambda: kernel_shape(host.namespace) == shape, 10, "the same kernel state")


def test_half_of_it_changed_by_hand_is_put_right_at_the_start(host):
    shape = kernel_shape(host.namespace)
    index = host.namespace.ifindex("tun0")
    host.kill9("tunwrightd")
    ip = host.namespace.ip
    ip("link", "set", "tun0", "mtu", "1300")
    ip("address", "del", "10.50.0.1/32", "dev", "tun0")
    ip("route", "del", "10.9.0.0/16", "dev", "tun0", "metric", "100")
    ip("link", "set", "tap1", "up")
    host.daemon_start()
    host.ready()
    until(lambda: kernel_shape(host.namespace) == shape, 10,
          lambda: f"the same kernel state:\n{shape}\n{kernel_shape(host.namespace)}")
    assert host.namespace.ifindex("tun0") == index, "mended, not made anew"
