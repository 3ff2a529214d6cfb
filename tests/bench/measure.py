# SPDX-License-Identifier: Apache-2.0
"""What is measured of one path. Each function puts a load on it and returns figures, {key: number}.

Every program is the leader of a session of its own, as the tunnels are: Linux shares the CPUs out among sessions first
(sched_autogroup), and two ends in one would have to do with half of what they have on two hosts.
"""

import contextlib
import json
import os
import re
import subprocess

from lib.waiting import until

PORT = 5201
# 1,400-byte IPv4 packets, which fit into each tunnel: 20 of IP, 8 of UDP, and this
BULK_BYTES, BULK_SEGMENTS = 1372, 46
FLOOD_BYTES = 36  # 64-byte packets
PING_INTERVAL_S = 0.01


def process_cpu_seconds(pids):
    """User and system time of whole processes (proc(5): /proc/PID/stat, fields 14 and 15)."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def system_busy_seconds():
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(namespace, *command, **options):
    process = namespace.popen(*command, start_new_session=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def tcp(lab, path, streams, seconds, pids):
    with running(lab.b, "iperf3", "-s", "-1", "-B", path.remote, "-p", PORT, stdout=subprocess.DEVNULL,
                 stderr=subprocess.DEVNULL) as server:
        until(lambda: str(PORT) in lab.b.run("ss", "-Hltn", f"sport = :{PORT}").stdout, 10, "iperf3 that listens")
        cpu, busy = process_cpu_seconds(pids), system_busy_seconds()
        text = lab.a.run("iperf3", "-c", path.remote, "-p", PORT, "-t", seconds, "-P", streams, "-J",
                         timeout=seconds + 20, start_new_session=True).stdout
        cpu, busy = process_cpu_seconds(pids) - cpu, system_busy_seconds() - busy
        server.wait(5)
    end = json.loads(text)["end"]
    gigabytes = end["sum_received"]["bytes"] / 1e9
    assert gigabytes > 0, f"{path.name}: TCP carried nothing"
    result = {f"tcp{streams}_gbit_s": end["sum_received"]["bits_per_second"] / 1e9,
              f"tcp{streams}_busy_s_per_gb": busy / gigabytes,
              f"tcp{streams}_retransmits": end["sum_sent"].get("retransmits", 0)}
    if pids:
        result[f"tcp{streams}_cpu_s_per_gb"] = cpu / gigabytes
    return result


def udp(lab, path, seconds, payload_bytes, segments=1, gro=False):
    """Datagrams as fast as they are taken, `segments` a call, received one by one or with UDP_GRO: what came, in datagrams
    a second, and the share of what was sent."""
    to = [path.remote, PORT]
    with running(lab.b, lab.udp_load, "receive", *to, seconds + 0.5, payload_bytes, segments if gro else 1,
                 stdout=subprocess.PIPE, text=True) as receiver:
        receiver.stdout.readline()  # it listens
        sent = json.loads(lab.a.run(lab.udp_load, "send", *to, seconds, payload_bytes, segments, timeout=seconds + 20,
                                    start_new_session=True).stdout)
        received = json.loads(receiver.communicate(timeout=10)[0])
    assert received["received"] > 0 and received["seconds"] > 0, f"{path.name}: none of {sent['sent']} datagrams came"
    return received["received"] / received["seconds"], received["received"] / sent["sent"], received["received"]


def bulk(lab, path, seconds, pids, gro):
    cpu = process_cpu_seconds(pids)
    per_s, share, received = udp(lab, path, seconds, BULK_BYTES, BULK_SEGMENTS, gro)
    cpu = process_cpu_seconds(pids) - cpu
    key = "bulk_gro" if gro else "bulk"
    result = {f"{key}_gbit_s": per_s * BULK_BYTES * 8 / 1e9, f"{key}_lost_share": 1 - share}
    if pids:
        result[f"{key}_cpu_s_per_gb"] = cpu / (received * BULK_BYTES / 1e9)
    return result


def ping_times_us(text):
    return sorted(float(t) * 1000 for t in re.findall(r"time=([0-9.]+) ms", text))


def percentile(ordered, percent):
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def flood(lab, path, seconds):
    """Small packets, and meanwhile pings the other way. Their answers go with the flood, and share its losses."""
    count = max(1, int(seconds * 0.9 / PING_INTERVAL_S))
    with running(lab.b, "ping", "-n", "-c", count, "-i", PING_INTERVAL_S, "-W", 1, path.local, stdout=subprocess.PIPE,
                 stderr=subprocess.DEVNULL, text=True) as ping:
        per_s, share, _ = udp(lab, path, seconds, FLOOD_BYTES)
        times = ping_times_us(ping.communicate(timeout=20)[0])
    result = {"flood_kpps": per_s / 1e3, "flood_delivered_share": share, "flood_ping_share": min(1, len(times) / count)}
    # a figure for each path and round, so that medians can be made: the wait for an answer that never came
    result["flood_ping_p99_us"] = percentile(times, 99) if times else 1e6
    return result


def ping(lab, path, count):
    times = ping_times_us(lab.a.ping(path.remote, count=count, interval=0.002).text)
    assert len(times) > 1, f"{path.name}: no answer to ping"
    return {"ping_p50_us": percentile(times, 50), "ping_p99_us": percentile(times, 99), "ping_lost": count - len(times)}


def everything(lab, path, seconds, pings):
    pids = path.pids(lab)
    return {**ping(lab, path, pings), **tcp(lab, path, 1, seconds, pids), **tcp(lab, path, 4, seconds, pids),
            **bulk(lab, path, seconds, pids, gro=False), **bulk(lab, path, seconds, pids, gro=True),
            **flood(lab, path, seconds)}
