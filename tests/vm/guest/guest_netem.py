# SPDX-License-Identifier: Apache-2.0
"""A path that loses, doubles, delays and reorders what is sent over it: netem, on a router between the two hosts.

    a ── 10.1.0.0/24 ── r ── 10.2.0.0/24 ── b        r's two devices send the tunnel's datagrams, and no others, through netem

Datagrams cross the router one by one, so what netem says it dropped is what the far worker did not get."""

import json
import re
import socket

import pytest
from lib.counted import lost
from lib.topology import OVERLAY, udp
from lib.transfer import transfer
from lib.waiting import until

PATHS = {
    "loss": "loss 2%",
    "duplication": "duplicate 5%",
    "reordering": "delay 20ms reorder 25% 50%",
    "delay": "delay 40ms 15ms",
    "all": "delay 20ms 10ms loss 2% duplicate 2% reorder 10% 50%",
}
PORT = 5000


class Path:
    def __init__(self, net, netem):
        self.a, self.r, self.b = (net.namespace(name) for name in "arb")
        net.veth(self.a, ["10.1.0.1/24"], self.r, ["10.1.0.254/24"], b_name="toa")
        net.veth(self.b, ["10.2.0.1/24"], self.r, ["10.2.0.254/24"], b_name="tob")
        self.r.sysctl("net/ipv4/ip_forward", 1)
        for namespace, to in ((self.a, "10.2.0.0/24"), (self.b, "10.1.0.0/24")):
            via = "10.1.0.254" if namespace is self.a else "10.2.0.254"
            namespace.ip("route", "add", to, "via", via)
        for device in "toa", "tob":
            self.r.run("ethtool", "-K", device, "gro", "off")
            self.r.run("tc", "qdisc", "add", "dev", device, "root", "handle", "1:", "prio", "bands", 2, "priomap", *[0] * 16)
            self.r.run("tc", "filter", "add", "dev", device, "parent", "1:", "protocol", "ip", "prio", 1, "flower", "ip_proto", "udp",
                       "dst_port", PORT, "classid", "1:2")
            self.r.run("tc", "qdisc", "add", "dev", device, "parent", "1:2", "handle", "2:", "netem", *netem.split(), "limit", 20000)
        self.hosts = [net.host("a", self.a), net.host("b", self.b)]
        for host, side, ends in zip(self.hosts, "ab", (("10.1.0.1", "10.2.0.1"), ("10.2.0.1", "10.1.0.1"))):
            host.device("tun0", kind="tun", addresses=OVERLAY[side], worker=udp(*ends, port=PORT))
        for host in self.hosts:
            host.namespace.settled("tun0")

    def netem(self, device):
        """{"packets", "drops", "qlen"} of what r sends through a device."""
        said = json.loads(self.r.run("tc", "-s", "-j", "qdisc", "show", "dev", device).stdout)
        return next(q for q in said if q["kind"] == "netem")

    def worker(self, index):
        return self.hosts[index].counters("tun0")["worker"]

    def refused(self, index):
        """Datagrams that came to the host and found its socket's buffer full."""
        said = self.hosts[index].namespace.run("nstat", "-asz", "UdpRcvbufErrors", "UdpInCsumErrors", "UdpNoPorts").stdout
        return sum(int(value) for _, value in re.findall(r"^(Udp\w+)\s+(\d+)", said, re.M))

    def account(self):
        """For each direction what is missing: 0 when every packet is accounted for."""
        missing = [lost(self.worker(index)) for index in (0, 1)]
        for receiver, device in ((1, "tob"), (0, "toa")):
            path, got = self.netem(device), self.worker(receiver)["wire_in"]["packets"]
            missing += [path["qlen"], path["packets"] - got - self.refused(receiver)]
        return missing


@pytest.mark.parametrize("name", PATHS)
def test_tcp_through_the_tunnel(net, name):
    path = Path(net, PATHS[name])
    for family, address in ((socket.AF_INET, "192.168.3.1"), (socket.AF_INET6, "fd00:3::1")):
        transfer(path.a, path.b, family, (address, 7000), 1 << 20)
    until(lambda: not any(path.account()), 10, lambda: f"every packet accounted for: {path.account()}; "
          f"{[path.netem(d) for d in ('toa', 'tob')]}; {[path.worker(i) for i in (0, 1)]}")
    to_b, sent = path.netem("tob"), path.worker(0)["wire_out"]["packets"]
    if name == "loss":
        assert to_b["drops"] > 0 and sent == to_b["packets"] + to_b["drops"], (sent, to_b)
    elif name == "duplication":
        assert to_b["packets"] > sent, (sent, to_b)
    elif name != "all":
        assert to_b["drops"] == 0 and sent == to_b["packets"], (sent, to_b)
    for index in 0, 1:
        assert not any(path.worker(index)["drops"].values()), path.worker(index)
