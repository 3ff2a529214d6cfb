# SPDX-License-Identifier: Apache-2.0
"""The demonstration with no far end: what the routing table sends to tun0 arrives at the worker, which counts and drops."""

import re

from lib.capture import PROTOCOL_ICMP, Capture
from lib.waiting import until


def test_four_pings_are_counted_logged_and_seen(net):
    # without IPv6, whose own messages would be counted as well
    host = net.host("host", net.namespace("host", ipv6=False))
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "monitor"})
    logged = host.netd.log.read_text()
    with Capture(net, host.namespace, "tun0") as capture:
        ping = host.namespace.ping("192.168.3.12", count=4, wait=0.2)
        assert (ping.sent, ping.received) == (4, 0), ping.text
        requests = capture.wait(lambda p: p.is_echo_request(), 4)
    assert [(p.source, p.target, p.protocol, len(p.ip)) for p in requests] == \
        [("192.168.3.11", "192.168.3.12", PROTOCOL_ICMP, 84)] * 4
    assert len(capture.packets()) == 4, "nothing else went through the device"

    worker = until(lambda: counted(host, 4), 5, lambda: f"four packets counted: {host.counters('tun0')}")
    assert worker["type"] == "monitor"
    assert worker["device_in"] == {"packets": 4, "bytes": 336}
    assert worker["device_out"] == worker["wire_in"] == worker["wire_out"] == {"packets": 0, "bytes": 0}
    assert worker["drops"]["not_forwarded"] == 4 and sum(worker["drops"].values()) == 4
    kernel = host.counters("tun0")["kernel"]
    assert (kernel["tx_packets"], kernel["tx_bytes"], kernel["rx_packets"]) == (4, 336, 0)

    def lines():
        return re.findall(r"^.*\b84 bytes.*$", host.netd.log.read_text()[len(logged):], re.M)
    until(lambda: len(lines()) == 4, 5, lambda: f"four lines in the log that say 84 bytes: {lines()}\n{host.tails()}")


def test_log_is_bounded_and_the_count_is_not(net):
    host = net.host("host", net.namespace("host", ipv6=False))
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "monitor", "log_rate": 5})
    logged = host.netd.log.read_text()
    ping = host.namespace.ping("192.168.3.12", count=300, wait=0.2)
    assert ping.sent == 300
    until(lambda: counted(host, 300), 5, lambda: f"300 packets counted: {host.counters('tun0')}")
    lines = re.findall(r"^.*\b84 bytes.*$", host.netd.log.read_text()[len(logged):], re.M)
    # at 5 lines a second, with a burst at the beginning, over the moment that it took
    assert 1 <= len(lines) <= 30, f"{len(lines)} lines"


def test_frames_on_a_tap_are_counted_whole(net):
    host = net.host("host", net.namespace("host", ipv6=False))
    host.device("tap0", kind="tap", addresses=["192.168.4.11/24"], worker={"type": "monitor"})
    with Capture(net, host.namespace, "tap0") as capture:
        assert host.namespace.ping("192.168.4.12", count=1, wait=0.2).received == 0
        frames = capture.wait(lambda p: p.ethertype == 0x0806, 1)
    assert all(len(p.data) == 42 for p in frames)
    # ARP asks again and again: each question is 42 bytes, its Ethernet header among them
    worker = until(lambda: counted(host, len(frames), "tap0"), 5, "the frames to be counted")
    assert worker["device_in"]["bytes"] == 42 * worker["device_in"]["packets"]


def counted(host, packets, name="tun0"):
    worker = host.counters(name)["worker"]
    return worker if worker["device_in"]["packets"] >= packets else None
