# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios, tables, and the floor that ours is held to."""

import dataclasses
import os
import platform
import statistics

COLUMNS = [  # key, heading, format, whether its ratio is shown
    ("tcp1_gbit_s", "TCP 1 stream, Gbit/s", "{:.2f}", True),
    ("tcp4_gbit_s", "TCP 4 streams, Gbit/s", "{:.2f}", True),
    ("tcp1_retransmits", "retransmits", "{:.0f}", False),
    ("tcp1_cpu_s_per_gb", "tunnel CPU, s/GB", "{:.2f}", True),
    ("tcp1_busy_s_per_gb", "system busy, s/GB", "{:.2f}", True),
    ("bulk_gbit_s", "UDP bulk, Gbit/s", "{:.2f}", True),
    ("bulk_gro_gbit_s", "UDP bulk to UDP_GRO, Gbit/s", "{:.2f}", True),
    ("flood_kpps", "64-byte packets, k/s", "{:.0f}", True),
    ("flood_ping_share", "pings answered in it", "{:.0%}", False),
    ("ping_p50_us", "ping p50, µs", "{:.0f}", True),
    ("ping_p99_us", "ping p99, µs", "{:.0f}", True),
]
SHARED = [key for key, _, _, shown in COLUMNS if shown]


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"kernel": platform.release(), "cpus": os.cpu_count(), "cpu": model, "load_average": os.getloadavg()}


def medians(samples):
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


def ratios(summary):
    """Ours over the others', from the medians."""
    ours = summary["udp"]
    return {other: {key: ours[key] / values[key] for key in SHARED if values.get(key) and key in ours}
            for other, values in summary.items() if other != "udp"}


def summarise(report, samples):
    """Takes {setting: {path: [round, …]}} into the report."""
    for setting, paths in samples.items():
        summary = {name: medians(rounds) for name, rounds in paths.items() if rounds}
        report["settings"][setting] |= {"median": summary, "ratio": ratios(summary), "rounds": paths}
    report["rounds"] = max(len(rounds) for paths in samples.values() for rounds in paths.values())
    report["floor"] = floor_check(report["settings"])


# ---- the floor -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Floor:
    """`key` of ours, by `factor` of the same figure of `other`, or of a constant."""
    text: str
    setting: str
    key: str
    sense: str  # "at least" or "at most"
    factor: float
    other: str | None

    def judge(self, settings):
        """None where what it compares was not measured."""
        median = settings.get(self.setting, {}).get("median", {})
        ours, theirs = median.get("udp", {}).get(self.key), median.get(self.other, {}).get(self.key)
        if ours is None or (self.other and theirs is None):
            return None
        if self.key.endswith("retransmits"):
            theirs = max(theirs, 10)  # of none there is no order of magnitude
        limit = self.factor * (theirs if self.other else 1)
        met = ours >= limit if self.sense == "at least" else ours <= limit
        return {"text": self.text, "setting": self.setting, "key": self.key, "ours": ours, "limit": limit, "sense": self.sense,
                "times": ours / theirs if self.other and theirs else None, "met": met}


FLOORS = [
    Floor("TCP, one stream, 0.42 × kernel VXLAN", "default", "tcp1_gbit_s", "at least", 0.42, "vxlan"),
    Floor("TCP, one stream, 8 × vtun", "default", "tcp1_gbit_s", "at least", 8, "vtund"),
    Floor("TCP, one stream, 0.7 × kernel VXLAN", "wire1500", "tcp1_gbit_s", "at least", 0.7, "vxlan"),
    Floor("UDP bulk, 0.4 × bare veth", "default", "bulk_gbit_s", "at least", 0.4, "veth"),
    Floor("tunnel CPU for each GB, 0.11 × vtun's", "default", "tcp1_cpu_s_per_gb", "at most", 0.11, "vtund"),
    Floor("64-byte packets delivered, 4 × vtun", "default", "flood_kpps", "at least", 4, "vtund"),
    Floor("pings answered during the flood", "default", "flood_ping_share", "at least", 0.1, None),
    Floor("pings answered during the flood", "wire1500", "flood_ping_share", "at least", 0.1, None),
    Floor("ping p50, idle, vtun's", "default", "ping_p50_us", "at most", 1, "vtund"),
    Floor("ping p50, idle, half of wireguard-go's", "default", "ping_p50_us", "at most", 0.5, "wireguard-go"),
    Floor("retransmits, 10 × kernel VXLAN's", "default", "tcp1_retransmits", "at most", 10, "vxlan"),
    Floor("retransmits, 10 × kernel VXLAN's", "wire1500", "tcp1_retransmits", "at most", 10, "vxlan"),
]


def floor_check(settings):
    return [judged for floor in FLOORS if (judged := floor.judge(settings)) is not None]


# ---- markdown ------------------------------------------------------------------------------------------------------


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1),
            *("| " + " | ".join(row) + " |" for row in rows), ""]


def markdown(report, titles):
    lines = []
    for setting, result in report["settings"].items():
        rows = [[titles.get(name, name), *(form.format(values[key]) if key in values else "–" for key, _, form, _ in COLUMNS)]
                for name, values in result["median"].items()]
        lines += [f"**{setting}**", "", *table(["path", *(heading for _, heading, _, _ in COLUMNS)], rows)]
    rows = [[f"{titles.get(other, other)}, {setting}", *(f"{values[key]:.2f} ×" if key in values else "–" for key in SHARED)]
            for setting, result in report["settings"].items() for other, values in result["ratio"].items()]
    head = [heading.partition(",")[0] if "ping" not in heading else heading.rpartition(",")[0]
            for _, heading, _, shown in COLUMNS if shown]
    lines += ["**Tunwright `udp` as a multiple of**", "", *table(["", *head], rows)]
    rows = [[f"{f['text']}, {f['setting']}", f"{f['ours']:.3g}", f"{f['sense']} {f['limit']:.3g}",
             f"{f['times']:.2f} ×" if f["times"] is not None else "–", "yes" if f["met"] else "**no**"]
            for f in report["floor"]]
    lines += ["**The floor**", "", *table(["", "ours", "wanted", "multiple", "met"], rows)]
    return "\n".join(lines)
