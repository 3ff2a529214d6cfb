# SPDX-License-Identifier: Apache-2.0
"""The figures of the API, each beside what it costs at the least, in the same run: `tests/bench/run api`.

  GET        requests a second of one device and of its counters over 16 connections that are kept alive, on the Unix
             socket, beside libmicrohttpd answering a constant body of the same length (http_minimal.c)
  watchers   the 99th percentile of such a GET with 1,000 clients that watch counters at 1 Hz
  devices    many devices with one address and one route each in one PUT /v1/config, beside a loop in C that makes as
             many by the same ioctls and netlink messages (bare_devices.c), in a namespace of its own; the same PUT again,
             which changes nothing; /healthz meanwhile; and a start with all of them there
"""
import concurrent.futures
import contextlib
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

from lib import build
from lib.command import run
from lib.network import Network

BENCH = build.TREE / "tests/bench"
DEVICE = {"kind": "tun", "addresses": ["192.168.3.11/24"], "routes": [{"to": "10.9.0.0/16"}], "labels": {"site": "berlin"},
          "worker": {"type": "echo"}}
PATHS = {"device": "/v1/devices/tun0", "counters": "/v1/devices/tun0/counters"}

# key, what it is, how it is shown, what it is held to
GOALS = [
    ("device_ratio", "GET of a device, × minimal", "{:.2f}", ("at least", 0.7)),
    ("counters_ratio", "GET of counters, × minimal", "{:.2f}", ("at least", 0.7)),
    ("device_per_s", "GET of a device, per s", "{:.0f}", None),
    ("counters_per_s", "GET of counters, per s", "{:.0f}", None),
    ("device_minimal_per_s", "minimal answer, per s", "{:.0f}", None),
    ("watched_p99_ms", "GET p99 with watchers, ms", "{:.2f}", ("under", 10)),
    ("config_ratio", "PUT /v1/config, × bare loop", "{:.2f}", ("at most", 1.5)),
    ("config_s", "PUT /v1/config, s", "{:.2f}", None),
    ("bare_s", "bare loop, s", "{:.2f}", None),
    ("noop_ms", "the same PUT again, ms", "{:.0f}", ("under", 100)),
    ("healthz_ms", "slowest /healthz meanwhile, ms", "{:.1f}", ("under", 50)),
    ("start_s", "start to ready, s", "{:.2f}", ("under", 5)),
]


class Lab:
    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="twbench.", dir="/tmp")
        self.top = pathlib.Path(self.directory.name)
        self.top.chmod(0o755)
        self.network = Network(self.top, {})
        self.network.installs["release"] = build.install("release", self.top / "programs")
        for name, library in (("http_load", []), ("http_minimal", ["-lmicrohttpd"]), ("bare_devices", ["-lmnl"])):
            run("cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", self.top / name, BENCH / f"{name}.c", *library)

    def host(self, name):
        return self.network.host(name, self.network.namespace(name, ipv6=False), build="release", log_level="warning")

    def load(self, address, path, connections, seconds):
        text = run(self.top / "http_load", address, path, connections, seconds, timeout=seconds + 30).stdout
        return json.loads(text)

    def close(self):
        problems = self.network.close()
        self.directory.cleanup()
        return problems


# ---- GET -----------------------------------------------------------------------------------------------------------


class Minimal:
    """The yardstick, answering as many bytes as the daemon does."""

    def __init__(self, lab, name, length):
        self.socket = lab.top / f"{name}.sock"
        self.process = subprocess.Popen([lab.top / "http_minimal", self.socket, str(length)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "listening\n"

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def measure_gets(lab, host, rounds, seconds, say):
    """In turns, so that what else the machine does hits both alike; the ratio is the median of the rounds' ratios."""
    samples = []
    minimal = {name: Minimal(lab, name, len(host.api("GET", path).expect(200).body)) for name, path in PATHS.items()}
    try:
        for number in range(rounds):
            sample = {}
            for name, path in PATHS.items():
                least = lab.load(minimal[name].socket, path, 16, seconds)
                ours = lab.load(host.socket, path, 16, seconds)
                sample |= {f"{name}_per_s": ours["per_s"], f"{name}_minimal_per_s": least["per_s"],
                           f"{name}_ratio": ours["per_s"] / least["per_s"], f"{name}_p99_ms": ours["p99_us"] / 1000}
            samples.append(sample)
            say(f"round {number + 1}/{rounds} " + ", ".join(
                f"{n} {sample[f'{n}_per_s']:.0f}/s ({sample[f'{n}_ratio']:.2f} × minimal)" for n in PATHS))
    finally:
        for server in minimal.values():
            server.close()
    return {key: statistics.median(s[key] for s in samples) for key in samples[0]} | {"get_rounds": samples}


def measure_watched(lab, host, watchers, seconds, say):
    watching = subprocess.Popen([lab.top / "http_load", host.socket, "/v1/watch?topics=counters&interval_ms=1000", "--watch",
                                 str(watchers), str(seconds + 60)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert watching.stdout.readline() == "watching\n", "the watchers did not begin"
        time.sleep(1.5)  # until each has had its first message, and found its feed
        loaded = lab.load(host.socket, PATHS["device"], 16, seconds)
    finally:
        text = watching.communicate(timeout=20)[0]  # closes its stdin, which ends it
    streams = json.loads(text)
    expected = watchers * (streams["seconds"] - 1)
    assert streams["messages"] >= 0.8 * expected, f"{streams['messages']} messages, and {expected:.0f} were due"
    say(f"{watchers} watchers: p99 {loaded['p99_us'] / 1000:.2f} ms at {loaded['per_s']:.0f}/s")
    return {"watchers": watchers, "watched_p99_ms": loaded["p99_us"] / 1000, "watched_p999_ms": loaded["p999_us"] / 1000,
            "watched_per_s": loaded["per_s"], "watch_messages": streams["messages"]}


# ---- many devices --------------------------------------------------------------------------------------------------


def configuration(count):
    return {"devices": [{"name": f"b{n}", "kind": "tun", "mtu": 1400,
                         "addresses": [f"10.{128 + (n >> 8)}.{n & 255}.1/24"],
                         "routes": [{"to": f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}/32"}]} for n in range(count)]}


class Prober:
    """Asks /healthz again and again, on a connection of its own, and keeps the slowest answer."""

    def __init__(self, host):
        self.host, self.slowest, self.stop = host, 0.0, False

    def run(self):
        connection = self.host.connection()
        while not self.stop:
            started = time.monotonic()
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            self.slowest = max(self.slowest, time.monotonic() - started)
            time.sleep(0.005)
        connection.close()


def timed_put(host, body):
    """Without the tests' own client, which holds each answer to api/openapi.yaml. Seconds, and whether it changed anything."""
    connection = host.connection(timeout=300)
    with contextlib.closing(connection):
        started = time.monotonic()
        connection.request("PUT", "/v1/config", body=body, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        taken = time.monotonic() - started
        assert answer.status == 200, text[:2000]
        return taken, answer.headers["Tunwright-Changed"] == "true"


def measure_devices(lab, count, rounds, say):
    samples = []
    for number in range(rounds):
        bare = lab.network.namespace(f"bare{number}", ipv6=False)
        bare_s = json.loads(bare.run(lab.top / "bare_devices", count, timeout=120).stdout)["seconds"]
        bare.delete()
        lab.network.namespaces.remove(bare)

        host = lab.host(f"many{number}")
        document, prober = json.dumps(configuration(count)).encode(), Prober(host)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            probing = pool.submit(prober.run)
            try:
                config_s, changed = timed_put(host, document)
            finally:
                prober.stop = True
            probing.result(30)
        noop_s, changed_again = timed_put(host, document)
        assert changed and not changed_again
        problems = host.daemon.terminate() + host.netd.terminate()
        assert not problems, problems
        started = time.monotonic()
        host.start()
        start_s = time.monotonic() - started
        assert len(host.get("/v1/devices")["items"]) == count
        samples.append({"bare_s": bare_s, "config_s": config_s, "config_ratio": config_s / bare_s, "noop_ms": noop_s * 1000,
                        "healthz_ms": prober.slowest * 1000, "start_s": start_s})
        say(f"{count} devices: " + ", ".join(f"{k} {v:.3f}" for k, v in samples[-1].items()))
        problems = host.stop()
        lab.network.hosts.remove(host)
        host.namespace.delete()
        lab.network.namespaces.remove(host.namespace)
        assert not problems, problems
    return {key: statistics.median(s[key] for s in samples) for key in samples[0]} | {"devices": count, "device_rounds": samples}


# ---- the report ----------------------------------------------------------------------------------------------------


def meets(value, goal):
    return {"at least": value >= goal[1], "at most": value <= goal[1], "under": value < goal[1]}[goal[0]]


def table(report):
    lines = ["| figure | measured | held to |", "| --- | ---: | ---: |"]
    for key, title, form, goal in GOALS:
        if key in report:
            shown = f"{goal[0]} {goal[1]}{'' if meets(report[key], goal) else ': missed'}" if goal else ""
            lines.append(f"| {title} | {form.format(report[key])} | {shown} |")
    return "\n".join(lines)


def bench(arguments, say):
    report = {}
    lab = Lab()
    problems = []
    try:
        host = lab.host("api")
        host.put(PATHS["device"], DEVICE)
        report |= measure_gets(lab, host, arguments.rounds, arguments.seconds, say)
        report |= measure_watched(lab, host, arguments.watchers, arguments.seconds, say)
        report |= measure_devices(lab, arguments.devices, arguments.rounds, say)
    finally:
        problems += lab.close()
    assert not problems, f"at the end: {problems}"
    return report
