# SPDX-License-Identifier: Apache-2.0
"""Devices made by hand are taken over and let go under traffic, and through crashes: no packet, address or route is lost."""

import contextlib
import fcntl
import os
import random
import select
import struct
import subprocess
import threading
import time

import pytest
from lib.flow import PingFlow
from lib.waiting import until

pytestmark = pytest.mark.slow

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x1, 0x1000
TUN9 = "/v1/devices/tun9"


class Answerer:
    """Somebody else's program behind tun9: answers each ping, as the worker `echo` does."""

    def __init__(self, namespace):
        with namespace.entered():
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        with namespace.entered():
            fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", b"tun9", IFF_TUN | IFF_NO_PI))
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            if not select.select([self.fd], [], [], 0.1)[0]:
                if self.stopping:
                    return
                continue
            packet = bytearray(os.read(self.fd, 65536))
            if packet[0] >> 4 != 4 or packet[9] != 1 or packet[20] != 8:
                continue
            packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
            packet[20] = 0
            total = (packet[22] << 8 | packet[23]) + 0x800  # the type went from 8 to 0
            total = (total & 0xFFFF) + (total >> 16)
            packet[22], packet[23] = total >> 8, total & 0xFF
            os.write(self.fd, bytes(packet))

    def close(self):
        self.stopping = True
        self.thread.join(10)
        os.close(self.fd)


@pytest.fixture
def host(net):
    """tun9, made by hand, as persistent as ip(8) makes them."""
    made = net.host("a")
    ip = made.namespace.ip
    ip("tuntap", "add", "tun9", "mode", "tun")
    ip("link", "set", "tun9", "mtu", "1400", "up")
    ip("address", "add", "192.168.9.1/24", "dev", "tun9")
    ip("address", "add", "192.168.9.5/24", "dev", "tun9")
    ip("address", "add", "fd00:9::1/64", "dev", "tun9", "nodad")
    ip("route", "add", "10.9.0.0/16", "via", "192.168.9.2", "metric", "7")
    ip("route", "add", "10.8.0.0/16", "dev", "tun9", "proto", "static")
    ip("route", "add", "fd09::/32", "via", "fd00:9::2")
    ip("route", "add", "10.7.0.0/16", "dev", "tun9", "proto", "bird")
    return made


@contextlib.contextmanager
def monitored(host):
    """What `ip monitor` says meanwhile, line by line. The mtu of lo says where it begins and ends."""
    lines = []
    monitor = host.namespace.popen("ip", "-o", "monitor", "link", "address", "route", stdout=subprocess.PIPE, text=True)
    reader = threading.Thread(target=lambda: [lines.append(line) for line in monitor.stdout], daemon=True)
    reader.start()

    def say(mtu):
        host.namespace.ip("link", "set", "lo", "mtu", str(mtu))
        return any(f": lo: <LOOPBACK,UP,LOWER_UP> mtu {mtu}" in line for line in lines)

    mtus = iter(range(30000, 40000))
    try:
        until(lambda: say(next(mtus)), 10, "a word from ip monitor", 0.1)
        until(lambda: say(50000), 5, lambda: f"the beginning: {lines}")
        yield lines
        until(lambda: say(60000), 5, lambda: f"the end: {lines}")
    finally:
        monitor.kill()
        monitor.wait(10)
        reader.join(10)
        begin = max((i for i, line in enumerate(lines) if "mtu 50000" in line), default=-1)
        lines[:] = [line.strip() for line in lines[begin + 1:] if ": lo:" not in line]


def seen(host):
    """Everything of the device but its alias, what its traffic changes, and the header of its packets, which whoever attaches
    to it chooses anew."""
    link = host.namespace.link("tun9")
    if not link:
        return None
    kept = {k: v for k, v in link.items() if k in ("ifindex", "mtu", "txqlen", "linkinfo", "master")}
    kept["linkinfo"]["info_data"].pop("vnet_hdr")
    addresses = [(a["local"], a["prefixlen"], a.get("secondary")) for a in link["addr_info"] if a["scope"] == "global"]
    routes = sorted((r["dst"], r.get("gateway", ""), str(r.get("metric")), str(r.get("protocol")))
                    for r in host.namespace.routes(dev="tun9") if "fe80" not in r["dst"] and "ff00" not in r["dst"])
    return kept, "UP" in link["flags"], addresses, routes


def alias(host):
    return host.namespace.link("tun9").get("ifalias")


def test_taken_over_and_let_go_under_traffic(host):
    """Somebody else's program goes on forwarding; all that is to be seen is the alias."""
    program = Answerer(host.namespace)
    try:
        until(lambda: host.namespace.ping("192.168.9.2", count=1).received, 10, "an answer")
        before = seen(host)
        with PingFlow(host.namespace, "192.168.9.2") as flow:
            flow.running(50)
            with monitored(host) as lines:
                document = host.api("POST", f"{TUN9}/adopt").expect(201).json
            assert document["drift"] == "report" and document["status"]["state"] == "ready"
            assert document["addresses"] == ["192.168.9.1/24", "192.168.9.5/24", "fd00:9::1/64"]
            assert {r["to"] for r in document["routes"]} == {"10.9.0.0/16", "10.8.0.0/16", "fd09::/32"}
            assert lines and all(": tun9: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1400" in line for line in lines), lines
            assert seen(host) == before and alias(host) == f"tunwright:{document['status']['uuid']}"
            flow.running(50)
            # the same again is the same; a restart leaves it alone
            bare = {k: v for k, v in document.items() if k != "status"}
            assert not host.api("PUT", TUN9, bare).expect(200).changed
            host.restart()
            assert host.status("tun9")["state"] == "ready" and host.status("tun9")["deviations"] == []
            assert seen(host) == before
            with monitored(host) as lines:
                host.api("POST", f"{TUN9}/release").expect(204)
            assert lines and all(": tun9: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1400" in line for line in lines), lines
            flow.running(50)
            flow.nothing_lost()
        assert seen(host) == before and alias(host) is None
    finally:
        program.close()


def test_worker_later(host):
    """Taken over without, given one later: that is kept over restarts, and gone after the release."""
    before = seen(host)
    host.api("POST", f"{TUN9}/adopt").expect(201)
    program = Answerer(host.namespace)
    try:
        refused = host.api("PUT", f"{TUN9}/worker", {"type": "echo"}).problem(422, "kernel_refused", "/worker")
        assert refused["errno"] == "EBUSY"
    finally:
        program.close()
    host.put(f"{TUN9}/worker", {"type": "echo"})
    assert host.namespace.ping("192.168.9.2", count=3).received == 3
    pid = host.worker_pid("tun9")
    with PingFlow(host.namespace, "192.168.9.2") as flow:
        flow.running(50)
        host.restart()
        assert host.worker_pid("tun9") == pid
        # one more address disturbs nothing
        host.put(f"{TUN9}/addresses/192.168.9.7/24")
        flow.running(50)
        flow.nothing_lost()
    host.api("DELETE", f"{TUN9}/addresses/192.168.9.7/24").expect(204)
    host.api("POST", f"{TUN9}/release").expect(204)
    until(lambda: not host.worker_pids(), 5, "an end of the worker")
    assert seen(host) == before and alias(host) is None
    # nobody holds the queue any more
    Answerer(host.namespace).close()


def test_managed_down_to_what_carries_no_mark(host):
    document = host.api("POST", f"{TUN9}/adopt", {"drift": "repair"}).expect(201).json
    host.api("DELETE", f"{TUN9}/addresses/192.168.9.5/24").expect(204)
    assert "192.168.9.5/24" not in host.namespace.addresses("tun9")
    host.api("DELETE", f"{TUN9}/routes/10.8.0.0/16").expect(204)
    assert not host.namespace.routes(dst="10.8.0.0/16")
    host.put(f"{TUN9}/routes/10.9.0.0/16?metric=7", {"via": "192.168.9.3"})
    assert [r["gateway"] for r in host.namespace.routes(dst="10.9.0.0/16")] == ["192.168.9.3"]
    # what was never in the document is nobody's business of ours
    assert host.namespace.routes(dst="10.7.0.0/16")
    # and what is in it, and somebody takes away, comes back
    host.namespace.ip("route", "del", "fd09::/32", "via", "fd00:9::2")
    until(lambda: host.namespace.routes(dst="fd09::/32"), 5, "the route again")
    # a device that is deleted by us is gone, whoever made it
    host.api("DELETE", TUN9).expect(204)
    assert host.namespace.link("tun9") is None and document["status"]["uuid"]


def test_deleted_by_hand_it_comes_back_as_ours(host):
    host.api("POST", f"{TUN9}/adopt", {"drift": "repair"}).expect(201)
    host.namespace.ip("link", "del", "tun9")
    until(lambda: host.namespace.link("tun9") and host.status("tun9")["state"] == "ready", 5, lambda: host.status("tun9"))
    assert host.namespace.addresses("tun9") == {"192.168.9.1/24", "192.168.9.5/24", "fd00:9::1/64"}


def test_change_that_fails_leaves_it_foreign(host):
    """A patch that the kernel refuses: all is as it was, without our mark."""
    before = seen(host)
    refused = host.api("POST", f"{TUN9}/adopt", {"mtu": 1300, "addresses": ["192.168.9.1/24"], "routes": [
        {"to": "10.6.0.0/16", "via": "172.31.0.1"}]})
    refused.problem(422, "kernel_refused", "/routes/0")
    kept, up, addresses, routes = seen(host)
    assert alias(host) is None
    assert (kept, up, sorted(map(str, addresses))) == (before[0], before[1], sorted(map(str, before[2])))
    assert [r[:3] for r in routes] == [r[:3] for r in before[3]]
    host.api("GET", TUN9).problem(404, "not_found")


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["adopt", "release"])
def test_killed_at_any_moment(host, operation):
    """kill -9 of the daemon, or of both, in the middle: ours with our mark, or foreign without; never gone, never changed."""
    dice = random.Random(f"adoption {operation}")
    before, ended = seen(host), {True: 0, False: 0}
    for i in range(24):
        if operation == "release" and host.api("GET", TUN9).status == 404:
            host.api("POST", f"{TUN9}/adopt").expect(201)
        if operation == "adopt" and host.api("GET", TUN9).status == 200:
            host.api("POST", f"{TUN9}/release").expect(204)

        def ask():
            with contextlib.suppress(OSError):
                host.api("POST", f"{TUN9}/{operation}")
        asker = threading.Thread(target=ask)
        asker.start()
        time.sleep(dice.uniform(0, 0.04))
        host.kill9("tunwrightd")
        if i % 3 == 0:
            host.kill9("netd")
            host.netd_start()
        asker.join(30)
        host.daemon_start()
        host.ready()
        managed = host.api("GET", TUN9).status == 200
        ended[managed] += 1
        until(lambda: bool(alias(host)) == managed, 10, lambda: f"managed: {managed}, alias {alias(host)}")
        if managed:
            until(lambda: host.status("tun9")["state"] == "ready", 10, lambda: host.status("tun9"))
        assert seen(host) == before
    assert all(ended.values()), f"the kills came too early or too late: {ended}"
