# SPDX-License-Identifier: Apache-2.0
"""A device with several queues has as many ports: which they are, that traffic uses them, and who else wants them."""

import os
import re
import signal
import socket

import pytest
from lib.flow import PingFlow
from lib.topology import tunnel, udp
from lib.waiting import until

FAR = "192.168.3.1"
TUN0 = "/v1/devices/tun0"


def ports(host):
    """{(address, port), …} that somebody in the host's namespace has for UDP."""
    said = host.namespace.run("ss", "-Hnlu").stdout
    return {tuple(line.split()[3].rsplit(":", 1)) for line in said.splitlines()}


def inodes(host):
    """{port: inode} of the UDP sockets there: the same inode is the same socket."""
    said = host.namespace.run("ss", "-Hnlue").stdout
    return {line.split()[3].rsplit(":", 1)[1]: re.search(r"ino:(\d+)", line)[1] for line in said.splitlines()}


def patch(host, fields):
    return host.api("PATCH", TUN0, fields).expect(200).json


def exchange(a, b, port):
    """One datagram through the tunnel and one back, from a port of their own: another flow each time."""
    target = b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.bind((FAR, port))
    source = a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.connect((FAR, port))
    for _ in range(2):
        source.send(b"there %d" % port)
        data, sender = target.recvfrom(100)
        target.sendto(data, sender)
        assert source.recv(100) == b"there %d" % port
    source.close()
    target.close()


def test_each_queue_has_its_port(pair):
    a, b = pair
    tunnel(a, b, queues=4)
    wanted = {str(port) for port in range(5000, 5004)}
    assert ports(a) == {("10.0.0.1", port) for port in wanted} and ports(b) == {("10.0.0.2", port) for port in wanted}
    for port in range(7000, 7040):
        exchange(a, b, port)
    for host in a, b:
        worker = host.counters("tun0")["worker"]
        assert worker["wire_in"]["packets"] >= 80 and worker["wire_out"]["packets"] >= 80
        assert sum(worker["drops"].values()) == worker["drops"]["not_forwarded"] == 0, worker


def test_a_later_netd_has_them_all(pair):
    """Held by the worker, handed over to the next netd, and from there to the next worker."""
    a, b = pair
    tunnel(a, b, queues=3)
    before = inodes(a)
    assert set(before) == {"5000", "5001", "5002"}
    with PingFlow(a.namespace, FAR) as flow:
        flow.running(20)
        a.kill9("netd")
        flow.running(20)
        a.netd_start()
        a.ready()
        flow.running(20)
        assert inodes(a) == before
        # what it is told then goes to the sockets that are there
        patch(a, {"worker": {"offload": {"merge": False}}})
        flow.running(20)
        flow.nothing_lost()
    assert inodes(a) == before
    os.kill(a.worker_pid("tun0"), signal.SIGKILL)
    until(lambda: a.status("tun0")["state"] == "ready" and a.status("tun0")["worker"]["restarts"] == 1, 10, "another worker")
    assert inodes(a) == before
    for port in range(7100, 7110):
        exchange(a, b, port)


def test_ports_that_stay_are_the_same_sockets(pair):
    a, _ = pair
    a.device("tun0", kind="tun", queues=4, worker=udp("10.0.0.1", "10.0.0.2", 5000))
    before = inodes(a)
    patch(a, {"worker": {"local": "10.0.0.1:5002"}})
    after = inodes(a)
    assert set(after) == {"5002", "5003", "5004", "5005"}
    assert {port: after[port] for port in ("5002", "5003")} == {port: before[port] for port in ("5002", "5003")}


def test_ports_that_another_has(pair):
    """Refused, whether a worker of ours has one of them or somebody else; the message says which."""
    a, _ = pair
    a.device("tun0", kind="tun", queues=4, worker=udp("10.0.0.1", "10.0.0.2", 5000))
    before = inodes(a)
    for first in (4997, 5001, 5003):
        problem = a.api("PUT", "/v1/devices/tun1", {"kind": "tun", "queues": 4, "worker": udp("10.0.0.1", "10.0.0.2", first)}) \
            .problem(409, "address_in_use", "/worker/local")
        assert f"10.0.0.1:{max(first, 5000)}" in problem["detail"], problem
    foreign = a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    foreign.bind(("10.0.0.1", 5012))
    problem = a.api("PATCH", TUN0, {"worker": {"local": "10.0.0.1:5010"}}).problem(409, "address_in_use", "/worker/local")
    assert "10.0.0.1:5012" in problem["detail"], problem
    foreign.close()
    assert inodes(a) == before
    a.device("tun1", kind="tun", queues=4, worker=udp("10.0.0.1", "10.0.0.2", 5004))
    assert len(inodes(a)) == 8


def test_workers_that_change_ports_in_one_transaction(pair):
    """Each wants some of what the other has."""
    a, _ = pair
    document = [{"name": f"tun{i}", "kind": "tun", "queues": 4, "worker": udp("10.0.0.1", "10.0.0.2", 5000 + 4 * i)} for i in range(2)]
    a.put("/v1/config", {"devices": document})
    assert set(inodes(a)) == {str(port) for port in range(5000, 5008)}
    document[0]["worker"], document[1]["worker"] = udp("10.0.0.1", "10.0.0.2", 5006), udp("10.0.0.1", "10.0.0.2", 5002)
    a.put("/v1/config", {"devices": document})
    assert set(inodes(a)) == {str(port) for port in range(5002, 5010)}


def test_every_address_and_one_of_them(pair):
    """0.0.0.0 has the ports of them all: another's, or the worker's own, which has to let go first. [::] has none of IPv4."""
    a, _ = pair

    def put(*workers):
        a.put("/v1/config", {"devices": [{"name": f"tun{i}", "kind": "tun", "queues": 2, "worker": worker} for i, worker in enumerate(workers)]})
    put(udp("0.0.0.0", "10.0.0.2", 5000))
    for local, remote in (("10.0.0.1", "10.0.0.2"), ("0.0.0.0", "10.0.0.2")):
        put(udp(local, remote, 5000))
        assert ports(a) == {(local, "5000"), (local, "5001")}
    a.api("PUT", "/v1/devices/tun1", {"kind": "tun", "worker": udp("10.0.0.1", "10.0.0.2", 5001)}).problem(409, "address_in_use", "/worker/local")
    put(udp("10.0.0.1", "10.0.0.2", 5002), udp("10.0.0.1", "10.0.0.2", 5000))
    put(udp("10.0.0.1", "10.0.0.2", 5004), udp("0.0.0.0", "10.0.0.2", 5002))
    assert ports(a) == {("10.0.0.1", "5004"), ("10.0.0.1", "5005"), ("0.0.0.0", "5002"), ("0.0.0.0", "5003")}
    put(udp("::", "fd00::2", 5002), udp("0.0.0.0", "10.0.0.2", 5002))
    assert ports(a) == {("[::]", "5002"), ("[::]", "5003"), ("0.0.0.0", "5002"), ("0.0.0.0", "5003")}


@pytest.mark.parametrize("local,remote,pointer,code", [
    ("10.0.0.1:65534", "10.0.0.2:5000", "/worker/local", "out_of_range"),
    ("10.0.0.1:5000", "10.0.0.2:65535", "/worker/remote", "out_of_range"),
    ("10.0.0.1:5000", "10.0.0.1:5002", "/worker/remote", "incompatible")])
def test_ports_that_cannot_be(pair, local, remote, pointer, code):
    a, _ = pair
    worker = {"type": "udp", "local": local, "remote": remote}
    a.api("PUT", TUN0, {"kind": "tun", "queues": 3, "worker": worker}).problem(400, "validation_failed", pointer, code)
    # the worker by itself is judged with the queues that the device has
    a.device("tun0", kind="tun", queues=3)
    a.api("PUT", f"{TUN0}/worker", worker).problem(400, "validation_failed", pointer, code)
    a.put(f"{TUN0}/worker", {"type": "udp", "local": "10.0.0.1:65533", "remote": "10.0.0.2:65533"})
    a.api("PATCH", TUN0, {"queues": 4}).problem(400, "validation_failed", "/worker/local", "out_of_range")
