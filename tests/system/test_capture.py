# SPDX-License-Identifier: Apache-2.0
"""GET /v1/devices/{name}/capture: what goes through the worker, read by tshark, with direction and drop reason."""

import http.client
import shlex
import struct
import subprocess
import threading
import time

import pytest
from lib.command import run
from lib.flow import PingFlow
from lib.topology import udp
from lib.waiting import until


@pytest.fixture
def hosts(net):
    a, b = net.namespace("a", ipv6=False), net.namespace("b", ipv6=False)
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"])
    a, b = net.host("a", a), net.host("b", b)
    a.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker=udp("10.0.0.1", "10.0.0.2"))
    b.device("tun0", kind="tun", addresses=["192.168.3.1/24"], worker=udp("10.0.0.2", "10.0.0.1"))
    return a, b


class Capture:
    """curl, into a file."""

    def __init__(self, host, query="", name="tun0"):
        self.file = host.directory / "capture.pcapng"
        self.log = open(self.file, "wb")
        self.process = subprocess.Popen(["curl", "-sSN", "--unix-socket", host.socket, "-G",
                                         f"http://localhost/v1/devices/{name}/capture",
                                         *(w for q in query.split("&") if q for w in ("--data-urlencode", q))],
                                        stdout=self.log, stderr=subprocess.PIPE)
        until(lambda: self.file.stat().st_size > 40 or self.process.poll() is not None, 5, "the file's beginning")

    def wait(self, timeout=20):
        assert self.process.wait(timeout) == 0, self.process.stderr.read()
        assert self.file.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a", self.file.read_bytes()[:1000]
        self.log.close()
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()
        return self

    def blocks(self):
        return list(blocks(self.file.read_bytes()))

    def packets(self):
        return [Packet(body) for kind, body in self.blocks() if kind == 6]

    def statistics(self):
        bodies = [body for kind, body in self.blocks() if kind == 5]
        return {code: struct.unpack("=Q", value)[0] for code, value in options(bodies[0][12:])} if bodies else None


def blocks(data):
    while len(data) >= 12:
        kind, length = struct.unpack_from("=II", data)
        if length > len(data):
            return
        assert length % 4 == 0 and struct.unpack_from("=I", data, length - 4)[0] == length
        yield kind, data[8:length - 4]
        data = data[length:]
    assert not data


def options(data):
    while data:
        code, length = struct.unpack_from("=HH", data)
        if code == 0:
            return
        yield code, data[4:4 + length]
        data = data[4 + (length + 3) // 4 * 4:]


class Packet:
    def __init__(self, body):
        _, high, low, captured, self.length = struct.unpack_from("=IIIII", body)
        self.time = (high << 32 | low) / 1e9
        self.bytes = body[20:20 + captured]
        found = dict(options(body[20 + (captured + 3) // 4 * 4:]))
        self.direction = {1: "in", 2: "out"}[struct.unpack("=I", found[2])[0]]
        self.comment = found.get(1, b"").decode()


def test_both_directions_and_tshark_reads_it(hosts):
    a, _ = hosts
    command = (f"curl -sN --unix-socket {shlex.quote(str(a.socket))} 'http://localhost/v1/devices/tun0/capture?count=10' | "
               "tshark -r - -T fields -e frame.interface_name -e ip.src -e ip.dst -e icmp.type -e frame.len")
    with PingFlow(a.namespace, "192.168.3.1", rate=50):
        text = run("sh", "-c", command, timeout=60).stdout
    lines = [line.split("\t") for line in text.splitlines()]
    assert len(lines) == 10 and {line[0] for line in lines} == {"tun0"}, text
    assert {tuple(line[1:4]) for line in lines} == {("192.168.3.11", "192.168.3.1", "8"), ("192.168.3.1", "192.168.3.11", "0")}


def test_every_packet_once_with_direction_and_time(hosts):
    a, b = hosts
    capture = Capture(a, "filter=icmp")
    begun = time.time()
    assert a.namespace.ping("192.168.3.1", count=20, size=1000, interval=0.05).received == 20
    until(lambda: len(capture.packets()) >= 40, 5, "all packets")
    packets = capture.stop().packets()
    assert [p.direction for p in packets] == ["out", "in"] * 20
    assert all(p.length == len(p.bytes) == 1028 and not p.comment for p in packets)
    assert all(begun - 0.1 < p.time < time.time() + 0.1 for p in packets)
    assert [p.time for p in packets] == sorted(p.time for p in packets)
    # the next one may begin as soon as this one's client is gone
    until(lambda: a.api("GET", "/v1/devices/tun0/capture?seconds=1&count=1&filter=port 9".replace(" ", "%20")).status == 200, 10,
          "another capture")


def test_filter_snaplen_count_and_seconds(hosts):
    a, _ = hosts
    with PingFlow(a.namespace, "192.168.3.1", rate=100):
        capture = Capture(a, "filter=icmp[icmptype] == icmp-echo and src host 192.168.3.11&snaplen=40&count=7").wait()
        packets = capture.packets()
        assert len(packets) == 7 and {p.direction for p in packets} == {"out"}
        assert all(len(p.bytes) == 40 < p.length for p in packets)
        assert capture.statistics()[4] >= 7 and capture.statistics()[5] == 0
        begun = time.monotonic()
        capture = Capture(a, "filter=udp port 9&seconds=1").wait()
        assert capture.packets() == [] and 0.9 < time.monotonic() - begun < 3
        assert capture.statistics() == {4: 0, 5: 0}


def test_drop_reason(hosts):
    a, b = hosts
    capture = Capture(a)
    # to the peer's own endpoint, through the tunnel: a loop
    a.namespace.ip("route", "add", "10.0.0.2/32", "dev", "tun0", "table", "77")
    a.namespace.ip("rule", "add", "ipproto", "udp", "sport", "7777", "lookup", "77")
    with a.namespace.socket(2, 2) as sock:
        sock.bind(("0.0.0.0", 7777))
        sock.sendto(b"into itself", ("10.0.0.2", 5000))
    # from somebody who is not the peer
    with b.namespace.socket(2, 2) as sock:
        sock.sendto(b"hello", ("10.0.0.1", 5000))
    # by the peer's address, and no packet
    until(lambda: len(capture.packets()) >= 2, 5, lambda: f"two packets; {a.counters('tun0')['worker']}")
    told = {(p.direction, p.comment) for p in capture.stop().packets()}
    assert told == {("out", "dropped: loop"), ("in", "dropped: unknown_source")}
    drops = a.counters("tun0")["worker"]["drops"]
    assert drops["loop"] == drops["unknown_source"] == 1


def test_worker_is_killed_and_configured_meanwhile(hosts):
    a, b = hosts
    capture = Capture(a, "filter=icmp")
    assert a.namespace.ping("192.168.3.1", count=3).received == 3
    until(lambda: len(capture.packets()) == 6, 5, "the first packets")
    a.kill9("tun0")
    until(lambda: a.namespace.ping("192.168.3.1", count=1, timeout=5).received, 10, "the tunnel again")
    until(lambda: len(capture.packets()) > 6, 5, "packets of the next worker")
    a.api("PATCH", "/v1/devices/tun0", {"worker": udp("10.0.0.1", "10.0.0.2") | {"offload": {"tso": False, "uso": False}}}).expect(200)
    before = len(capture.packets())
    assert a.namespace.ping("192.168.3.1", count=1).received == 1
    until(lambda: len(capture.packets()) >= before + 2, 5, "packets after it was configured")
    a.api("DELETE", "/v1/devices/tun0").expect(204)
    capture.wait()
    assert capture.statistics()[5] == 0


@pytest.mark.slow
def test_daemons_die(hosts):
    a, _ = hosts
    with PingFlow(a.namespace, "192.168.3.1", rate=50) as flow:
        for daemon in ("netd", "tunwrightd"):
            capture = Capture(a)
            until(lambda: capture.packets(), 5, "packets")
            a.kill9(daemon)
            until(lambda: capture.process.poll() is not None, 10, "an end of the capture")
            capture.log.close()
            (a.netd_start if daemon == "netd" else a.daemon_start)()
            a.ready()
            again = until(lambda: a.api("GET", "/v1/devices/tun0/capture?count=2&seconds=5"), 5, "another capture")
            assert again.status == 200
        flow.finish()
    flow.nothing_lost()


@pytest.mark.slow
def test_slow_reader_holds_up_nobody(hosts):
    """It reads nothing: packets are lost to it, counted at the file's end, and the tunnel does not mind."""
    a, _ = hosts
    connection = a.connection()
    connection.request("GET", "/v1/devices/tun0/capture?seconds=4")
    answer = connection.getresponse()
    assert answer.status == 200
    sent = a.namespace.ping("192.168.3.1", count=6000, size=1400, interval=0.0005, timeout=40)
    assert sent.received == 6000
    data = answer.read()
    connection.close()
    statistics = [{c: struct.unpack("=Q", v)[0] for c, v in options(body[12:])} for kind, body in blocks(data) if kind == 5]
    count = sum(kind == 6 for kind, _ in blocks(data))
    assert statistics[0][5] > 0 and statistics[0][4] == count + statistics[0][5]


@pytest.fixture
def flood(hosts):
    process = hosts[0].namespace.popen("ping", "-q", "-f", "-s", "1400", "192.168.3.1", stdout=subprocess.DEVNULL)
    yield
    process.terminate()
    process.wait(10)


@pytest.mark.slow
def test_its_time_ends_whatever_goes_on(hosts, flood):
    """More comes all the time than is read."""
    a, _ = hosts
    connection = a.connection()
    try:
        connection.request("GET", "/v1/devices/tun0/capture?seconds=1")
        answer, begun = connection.getresponse(), time.monotonic()
        while answer.read(40000) and time.monotonic() - begun < 20:
            time.sleep(0.04)
    finally:
        connection.close()
    assert time.monotonic() - begun < 15


@pytest.mark.slow
def test_its_time_ends_whoever_reads(hosts, flood):
    """Nobody does: the worker is free for the next one, and what was there waits."""
    a, _ = hosts
    connection = a.connection()
    connection.request("GET", "/v1/devices/tun0/capture?seconds=1")
    answer = connection.getresponse()
    until(lambda: a.api("GET", "/v1/devices/tun0/capture?count=1").status == 200, 10, "another capture")
    kinds = [kind for kind, _ in blocks(answer.read())]
    connection.close()
    assert kinds[-1] == 5 and kinds.count(6) > 1000


def test_what_is_asked_wrongly(hosts):
    a, _ = hosts
    path = "/v1/devices/tun0/capture"
    for query in ("snaplen=0", "snaplen=65536", "count=0", "count=x", "seconds=0", "seconds=86401", "filter=tcp%20and",
                  "filter=host%20example.com", "filter=port%20http", "filter=host%20ab:cd", "filter=host%201.de", "filter=host%2010.0.0.", "filter=protochain%206", "filter=%22",
                  "filter=" + "x" * 2000, "filter=vlan", "colour=red"):
        a.api("GET", f"{path}?{query}").problem(400, "invalid_query")
    for name in ("host%20%5Ctcp", "host%20mod", "port%20%5Chost", "proto%20(%5Ctcp)", "host%2010.0.0.1%20or%20%5Cudp"):  # the resolver would be asked
        assert "is no word" in a.api("GET", f"{path}?filter={name}").problem(400, "invalid_query")["detail"]
    assert a.api("GET", f"{path}?seconds=1&filter=ip%20proto%20%5Ctcp").status == 200
    a.api("GET", "/v1/devices/tun9/capture").problem(404, "not_found")
    a.device("tun1", kind="tun")
    a.api("GET", "/v1/devices/tun1/capture").problem(422, "worker_failed")
    assert a.api("HEAD", path).status == 200
    first = Capture(a)
    a.api("GET", path).problem(409, "already_exists")
    first.stop()
    a.kill9("netd")
    a.api("GET", path).problem(503, "netd_unavailable")
    a.netd_start()
    a.ready()


def test_sixteen_at_most(hosts):
    """No worker hears of one too many: that somebody captures there already is not even found out."""
    a, _ = hosts
    a.put("/v1/config", {"devices": [{"name": f"mon{i}", "kind": "tun", "worker": {"type": "monitor"}} for i in range(16)]})
    running = []
    try:
        for i in range(16):
            def begin(name=f"mon{i}"):
                connection = a.connection()
                running.append(connection)
                connection.request("GET", f"/v1/devices/{name}/capture")
                return connection.getresponse().status == 200
            until(begin, 10, f"a capture of mon{i}")
        a.api("GET", "/v1/devices/mon0/capture").problem(503, "limit_exceeded")
    finally:
        for connection in running:
            connection.close()
    until(lambda: a.api("GET", "/v1/devices/mon0/capture?seconds=1").status == 200, 10, "a place")
