# SPDX-License-Identifier: Apache-2.0
"""What our own path costs, so that a regression can be found: `tests/bench/run cost`.

  functions   those that the worker calls for each packet, alone and over warm memory (path_cost.c): nanoseconds for each
              packet and byte, and cycles and instructions where the machine counts them
  worker      CPU time of the two udp workers, the sending and the receiving one, for each packet and GB, with the kernel's
              work on their behalf, and how many packets each system call carried (where perf(1) may count those)

With --profile also where that time went: by system call and by function (perf_profile.py).
"""
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess

from lib import build
from lib.command import run

import measure
import path as paths
import perf_profile
from lab import BENCH, SETTINGS, Lab, say
from report import table

LIBRARIES = ("libworker.a", "libmodel.a", "libbase.a")
CALLS = {"read": "device_in", "sendmsg": "wire_out", "recvmsg": "wire_in", "write": "device_out"}
SENDER, RECEIVER = ("read", "sendmsg"), ("recvmsg", "write")

# name, what it is, setting, the load
LOADS = [
    ("tcp", "TCP, one stream", "default", lambda lab, s: measure.tcp(lab, paths.UDP, 1, s, [])),
    ("tcp_wire", "TCP, one stream, wire1500", "wire1500", lambda lab, s: measure.tcp(lab, paths.UDP, 1, s, [])),
    ("bulk", "UDP super-packets", "default",
     lambda lab, s: measure.udp(lab, paths.UDP, s, measure.BULK_BYTES, measure.BULK_SEGMENTS)),
    ("bulk_gro", "UDP super-packets to UDP_GRO", "default",
     lambda lab, s: measure.udp(lab, paths.UDP, s, measure.BULK_BYTES, measure.BULK_SEGMENTS, gro=True)),
    ("single_1400", "1,400-byte packets", "default", lambda lab, s: measure.udp(lab, paths.UDP, s, measure.BULK_BYTES)),
    ("single_64", "64-byte packets", "default", lambda lab, s: measure.udp(lab, paths.UDP, s, measure.FLOOD_BYTES)),
]


def functions(lab, milliseconds):
    program = lab.top / "path_cost"
    libraries = [build.directory("release") / library for library in LIBRARIES]
    run("cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", f"-I{build.TREE / 'src'}", f"-I{build.TREE / 'include'}", "-o", program,
        BENCH / "path_cost.c", *libraries, "-lcjson", "-lpthread")
    found = json.loads(run(program, milliseconds, timeout=120).stdout)
    for figures in found.values():
        figures["ns_per_packet"] = figures["ns"] / figures["packets"]
        figures["ns_per_kb"] = figures["ns"] / figures["bytes"] * 1000
    return found


@contextlib.contextmanager
def counted_calls(pid, counts):
    """Fills `counts` with how often the process made each system call: nothing where that cannot be counted."""
    if not shutil.which("perf"):
        yield
        return
    events = ",".join(f"syscalls:sys_enter_{call}" for call in CALLS)
    process = subprocess.Popen(["perf", "stat", "-x", ",", "-e", events, "-p", str(pid)], stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=10)[1]
        counts.update({match[2]: int(match[1]) for match in re.finditer(r"^(\d+),,syscalls:sys_enter_(\w+),", said, re.M)})


def side(calls, cpu_s, before, after, counts):
    """Of one worker; `calls` are those by which packets came in and went out."""
    packets, bytes_moved = (after[CALLS[calls[1]]][key] - before[CALLS[calls[1]]][key] for key in ("packets", "bytes"))
    result = {"packets": packets, "cpu_ns_per_packet": cpu_s * 1e9 / packets, "cpu_s_per_gb": cpu_s / (bytes_moved / 1e9)}
    for call in calls:
        moved = after[CALLS[call]]["packets"] - before[CALLS[call]]["packets"]
        if counts.get(call):
            result[f"packets_per_{call}"] = moved / counts[call]
    return result


def worker(lab, load, seconds):
    _, _, setting, put_load = load
    lab.set_features(SETTINGS[setting])
    pids = paths.UDP.pids(lab)
    counts = [{}, {}]
    with counted_calls(pids[0], counts[0]), counted_calls(pids[1], counts[1]):
        before = paths.UDP.counters(lab), [measure.process_cpu_seconds([pid]) for pid in pids]
        put_load(lab, seconds)
        after = paths.UDP.counters(lab), [measure.process_cpu_seconds([pid]) for pid in pids]
    cpu = [end - start for start, end in zip(before[1], after[1])]
    assert after[0][1]["device_out"]["packets"] > before[0][1]["device_out"]["packets"], f"{load[0]}: nothing came through"
    return {"sender": side(SENDER, cpu[0], before[0][0], after[0][0], counts[0]),
            "receiver": side(RECEIVER, cpu[1], before[0][1], after[0][1], counts[1])}


def medians(rounds):
    """Of {side: {key: number}} in each round; a figure that a round does not have is left out of it."""
    result = {}
    for which in rounds[0]:
        keys = [key for key in rounds[0][which] if all(key in r[which] for r in rounds)]
        result[which] = {key: statistics.median(r[which][key] for r in rounds) for key in keys}
    return result


def bench(arguments):
    lab = Lab([paths.UDP])
    problems = []
    try:
        lab.open()
        result = {"functions": functions(lab, 50 if arguments.short else 400)}
        samples = {load[0]: [] for load in LOADS}
        for number in range(arguments.rounds):
            for load in LOADS:
                samples[load[0]].append(worker(lab, load, arguments.seconds))
                figures = samples[load[0]][-1]
                say(f"round {number + 1}/{arguments.rounds} {load[0]:12} sender "
                    f"{figures['sender']['cpu_ns_per_packet']:6.0f} receiver {figures['receiver']['cpu_ns_per_packet']:6.0f} "
                    "ns of CPU for each packet")
        result["worker"] = {name: medians(rounds) for name, rounds in samples.items()}
        result["worker_rounds"] = samples
        if arguments.profile:
            result["profile"] = {load[0]: profile(lab, load, arguments.seconds) for load in LOADS}
    finally:
        problems += lab.close()
    assert not problems, f"at the end: {problems}"
    return result


def profile(lab, load, seconds):
    say(f"profile of {load[0]}")
    lab.set_features(SETTINGS[load[2]])
    data = lab.top / "perf.data"
    pids = paths.UDP.pids(lab)
    with perf_profile.recorded(pids, data):
        load[3](lab, seconds)
    found = perf_profile.read(data)
    os.unlink(data)
    return {which: found.get(pid) for which, pid in zip(("sender", "receiver"), pids)}


# ---- the report ----------------------------------------------------------------------------------------------------


def markdown(result):
    rows = [[name, str(f["packets"]), f"{f['ns']:.0f}", f"{f['ns_per_packet']:.1f}", f"{f['ns_per_kb']:.1f}",
             *("–" if f[key] is None else f"{f[key] / f['packets']:.0f}" for key in ("cycles", "instructions"))]
            for name, f in result["functions"].items()]
    lines = ["**The functions alone**", "",
             *table(["function", "packets", "ns", "ns a packet", "ns a kB", "cycles a packet", "instructions a packet"], rows)]
    rows = []
    for name, title, _, _ in LOADS:
        for which, f in result["worker"][name].items():
            calls = [f.get(f"packets_per_{call}") for call in (SENDER if which == "sender" else RECEIVER)]
            rows.append([f"{title}, {which}", f"{f['cpu_ns_per_packet']:.0f}", f"{f['cpu_s_per_gb']:.2f}",
                         *("–" if c is None else f"{c:.1f}" for c in calls)])
    lines += ["**The whole worker**", "", *table(["load", "CPU ns a packet", "CPU s/GB", "packets a call in", "out"], rows)]
    for name, found in result.get("profile", {}).items():
        title = next(load[1] for load in LOADS if load[0] == name)
        for which, tree in found.items():
            if tree:
                lines += [f"**{title}, {which}: where its time goes**", "", *perf_profile.markdown(tree)]
    return "\n".join(lines)
