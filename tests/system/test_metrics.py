# SPDX-License-Identifier: Apache-2.0
"""/metrics: what promtool says of it, whether it says what the API says, and a real Prometheus that scrapes it."""

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse

import pytest
from lib.waiting import until

LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def metrics(host):
    """{(name, frozenset of labels): value as text}"""
    answer = host.api("GET", "/metrics").expect(200)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {}
    for line in answer.body.decode().splitlines():
        if line.startswith("#"):
            continue
        match = LINE.match(line)
        assert match, line
        labels = LABEL.findall(match[2] or "")
        assert not match[2] or ",".join(f'{k}="{v}"' for k, v in labels) == match[2], line
        key = (match[1], frozenset(labels))
        assert key not in found, f"twice: {line}"
        found[key] = match[3]
    return found


def value(found, name, **labels):
    return float(found[name, frozenset(labels.items())])


def busy(host):
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "echo"},
                labels={"site": "berlin", "note": 'a "quoted" \\ word'})
    host.device("tap0", kind="tap")
    assert host.namespace.ping("192.168.3.12", count=3).received == 3


def test_says_what_the_api_says(host):
    busy(host)
    host.api("GET", "/v1/nothing").expect(404)
    counters, found = host.counters("tun0"), metrics(host)
    for side in ("device_in", "device_out", "wire_in", "wire_out"):
        for unit in ("packets", "bytes"):
            assert value(found, f"tunwright_worker_{side}_{unit}_total", device="tun0") == counters["worker"][side][unit]
    for reason, count in counters["worker"]["drops"].items():
        assert value(found, "tunwright_worker_dropped_packets_total", device="tun0", reason=reason) == count
    for ours, theirs in (("receive", "rx"), ("transmit", "tx")):
        for what, key in (("packets", "packets"), ("bytes", "bytes"), ("errors", "errors"), ("drops", "dropped")):
            assert value(found, f"tunwright_device_{ours}_{what}_total", device="tun0") == counters["kernel"][f"{theirs}_{key}"]
    status = host.status("tun0")
    info = dict(device="tun0", kind="tun", uuid=status["uuid"], netns="", worker="echo")
    assert value(found, "tunwright_device_info", **info) == 1
    states = {dict(labels)["state"]: v for (name, labels), v in found.items()
              if name == "tunwright_device_state" and ("device", "tun0") in labels}
    assert states == {"pending": "0", "ready": "1", "degraded": "0", "conflict": "0", "failed": "0"}
    assert value(found, "tunwright_devices", state="ready") == 2
    assert value(found, "tunwright_worker_state", device="tun0", state="running") == 1
    assert value(found, "tunwright_device_label", device="tun0", key="site", value="berlin") == 1
    assert value(found, "tunwright_device_label", device="tun0", key="note", value='a \\"quoted\\" \\\\ word') == 1
    for name in ("netd_connected", "store_writable", "settled"):
        assert value(found, f"tunwright_{name}") == 1
    assert value(found, "tunwright_confirmation_pending") == 0
    assert value(found, "tunwright_http_requests_total", method="GET", status="4xx") == 1
    assert value(found, "process_resident_memory_bytes") > 1 << 20
    assert 5 < value(found, "process_open_fds") < 100
    again = metrics(host)
    assert value(again, "process_start_time_seconds") == value(found, "process_start_time_seconds")
    assert value(again, "tunwright_http_requests_total", method="GET", status="2xx") > \
        value(found, "tunwright_http_requests_total", method="GET", status="2xx")


def test_tells_trouble(host):
    busy(host)
    host.kill9("tun0")
    until(lambda: value(metrics(host), "tunwright_worker_restarts_total", device="tun0") == 1, 10, "a restart")
    host.kill9("netd")
    until(lambda: value(metrics(host), "tunwright_netd_connected") == 0, 10, "netd's absence")
    host.netd_start()
    until(lambda: value(metrics(host), "tunwright_netd_connected") == 1, 10, "netd")
    host.api("DELETE", "/v1/devices/tun0").expect(204)
    assert not [name for name, labels in metrics(host) if ("device", "tun0") in labels]


@pytest.mark.slow
def test_promtool(host):
    if shutil.which("promtool") is None:
        pytest.skip("not installed: prometheus (its promtool)")
    busy(host)
    done = subprocess.run(["promtool", "check", "metrics"], input=host.api("GET", "/metrics").expect(200).body,
                          capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# ---- Prometheus itself ---------------------------------------------------------------------------------------------------

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: tunwright
    authorization: {{credentials_file: {token}}}
    static_configs: [{{targets: ["127.0.0.1:8080"]}}]
"""


class Prometheus:
    def __init__(self, host, directory):
        self.host = host
        directory.mkdir()
        (directory / "token").write_text(host.token())
        (directory / "prometheus.yml").write_text(CONFIGURATION.format(token=directory / "token"))
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = host.namespace.popen(
                "prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'data'}",
                "--web.listen-address=127.0.0.1:9090", stdout=log, stderr=log)

    def query(self, expression):
        """{labels of each sample: its value}"""
        assert self.process.poll() is None, self.log.read_text()
        answer = self.host.namespace.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:9090/api/v1/query?query="
                                         + urllib.parse.quote(expression), check=False)
        with contextlib.suppress(json.JSONDecodeError):
            document = json.loads(answer.stdout)
            if document["status"] == "success":
                return [(s["metric"], s["value"][1]) for s in document["data"]["result"]]
        return []

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


@pytest.mark.slow
@pytest.mark.limit(120)
def test_prometheus(net):
    if shutil.which("prometheus") is None:
        pytest.skip("not installed: prometheus")
    host = net.host("a", listen=["127.0.0.1:8080"])
    busy(host)
    prometheus = Prometheus(host, net.base / "prometheus")
    try:
        until(lambda: [v for _, v in prometheus.query('up{job="tunwright"}')] == ["1"], 60,
              lambda: f"a scrape\n{prometheus.log.read_text()[-3000:]}")

        def agrees():
            wanted = str(host.counters("tun0")["worker"]["device_in"]["packets"])
            return [v for _, v in prometheus.query('tunwright_worker_device_in_packets_total{device="tun0"}')] == [wanted]
        until(agrees, 20, "the counter's value in Prometheus")
        host.namespace.ping("192.168.3.12", count=5)
        until(agrees, 20, "its new value")
        assert [m["state"] for m, v in prometheus.query("tunwright_device_state == 1") if m["device"] == "tun0"] == ["ready"]
        joined = prometheus.query('tunwright_device_receive_packets_total * on (device) group_left (kind) tunwright_device_info')
        assert {m["device"]: m["kind"] for m, _ in joined} == {"tun0": "tun", "tap0": "tap"}
        labels = prometheus.query('tunwright_device_label{key="note"}')
        assert [m["value"] for m, _ in labels] == ['a "quoted" \\ word']
        until(lambda: prometheus.query("rate(process_cpu_seconds_total[10s])"), 20, "a rate")
    finally:
        prometheus.close()
