# SPDX-License-Identifier: Apache-2.0
"""The tests' own tools: a decoder that sees nothing would let everything pass."""

import os
import pathlib
import signal
import socket

import pytest
from lib.capture import Capture
from lib.network import Network
from lib.transfer import transfer
from lib.waiting import until


def test_namespaces_ping_and_capture(net):
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"])
    with Capture(net, a, "eth0", "icmp") as capture:
        ping = a.ping("10.0.0.2", count=3)
        assert (ping.sent, ping.received) == (3, 3), ping.text
        requests = capture.wait(lambda p: p.is_echo_request(), 3)
        replies = capture.wait(lambda p: p.is_echo_reply(), 3)
    assert {(p.source, p.target, len(p.ip)) for p in requests} == {("10.0.0.1", "10.0.0.2", 84)}
    assert {(p.source, p.target) for p in replies} == {("10.0.0.2", "10.0.0.1")}
    assert a.ping("10.0.0.3", count=1, wait=0.2).received == 0
    assert a.stats("eth0")["tx_packets"] >= 3
    assert a.addresses("eth0") == {"10.0.0.1/24"}
    assert transfer(a, b, socket.AF_INET, ("10.0.0.2", 4000), 3_000_001)[0] == "10.0.0.1"


def test_kernel_dump_is_stable_and_sees_changes(net):
    a = net.namespace("a")
    a.ip("link", "add", "x0", "type", "veth", "peer", "name", "x1")
    before = a.kernel()
    assert a.kernel() == before
    a.ip("address", "add", "10.9.9.9/32", "dev", "x0")
    assert a.kernel() != before


@pytest.mark.parametrize("which", ["netd", "tunwrightd", "worker"])
def test_report_of_a_sanitizer_is_a_failure(base, installs, which):
    """Of each program, under whatever user it runs."""
    network = Network(base, installs)
    try:
        host = network.host("a")
        host.device("tun0", kind="tun", worker={"type": "echo"})
        pid = {"netd": host.netd.pid, "tunwrightd": host.daemon.pid, "worker": host.worker_pid("tun0")}[which]
        os.kill(pid, signal.SIGABRT)  # handled by the sanitizer as a fault
        until(lambda: any(path.stat().st_size for path in network.reports.iterdir()), 20, "a report")
    finally:
        problems = network.close()
    assert [p for p in problems if p.startswith("asan.") and "AddressSanitizer" in p], problems
    assert not [p for p in problems if p.startswith("left over")], problems


def test_leftover_process_is_a_failure(base, installs):
    network = Network(base, installs)
    namespace = network.namespace("a")
    sleeping = namespace.popen("sleep", "1000")
    until(lambda: namespace.pids() == [sleeping.pid] and
          pathlib.Path(f"/proc/{sleeping.pid}/cmdline").read_bytes().startswith(b"sleep"), 10, "the process inside")
    problems = network.close()
    assert len(problems) == 1 and problems[0].endswith(" sleep 1000"), problems
    assert sleeping.wait(10) == -signal.SIGKILL
    assert not os.path.exists(namespace.path)
