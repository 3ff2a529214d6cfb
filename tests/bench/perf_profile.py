# SPDX-License-Identifier: Apache-2.0
"""Where a process spends its time, by perf(1) on the CPU clock: each sample goes to the system call it was taken in, and
within that to a stage, by the functions on its stack. What runs in our system calls on somebody else's behalf (the far
end's receive path in a soft interrupt, the TCP above the device) shows as such."""

import collections
import contextlib
import re
import subprocess
import time

FREQUENCY_HZ = 1999
FUNCTIONS_SHOWN = 6
# system call, a function that is on its stack; and stages, the first that is there counts
STAGES = [
    ("sendmsg", "__sys_sendmsg", [
        ("receiving at the far end", "net_rx_action|process_backlog"),
        ("segmentation", "skb_segment|__udp_gso_segment"),
        ("copy in", "ip_make_skb|ip6_make_skb"),
        ("device", "dev_hard_start_xmit")]),
    ("recvmsg", "__sys_recvmsg", [
        ("copy out", "skb_copy_datagram_iter"),
        ("free", "skb_consume_udp|skb_attempt_defer_free|consume_skb")]),
    ("write", "ksys_write|ksys_writev", [
        ("the stack above the device", "netif_receive_skb|__netif_receive_skb|net_rx_action"),
        ("copy in", "skb_copy_datagram_from_iter|tun_alloc_skb|sock_alloc_send_pskb|tun_build_skb")]),
    ("read", "ksys_read|ksys_readv", [
        ("copy out", "skb_copy_datagram_iter"),
        ("free", "consume_skb|kfree_skb_reason|__kfree_skb")]),
    ("wait", "do_epoll_wait|do_sys_poll|__x64_sys_ppoll|__x64_sys_poll", [("asleep and awake again", "schedule")]),
]
IN_KERNEL = re.compile(r"do_syscall_64|entry_SYSCALL|asm_sysvec|asm_common_interrupt|el0_svc|ret_from_fork")


@contextlib.contextmanager
def recorded(pids, data):
    process = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY_HZ), "-g", "-o", data, "-p",
                                ",".join(map(str, pids))], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    time.sleep(0.3)  # perf does not say when it has begun; the load lasts longer
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(2)
        said = process.communicate(timeout=30)[1]
    assert data.exists(), f"perf record: {said}"


def place(stack):
    """(system call, stage) of a sample."""
    functions = set(stack)
    for call, mark, stages in STAGES:
        if not functions.isdisjoint(mark.split("|")):
            for stage, marks in stages:
                if not functions.isdisjoint(marks.split("|")):
                    return call, stage
            return call, "the rest"
    if any(IN_KERNEL.search(function) for function in stack):
        return "kernel", "interrupts, and the ways in and out"
    return "worker", "its own code"


def read(data):
    """{pid: {"samples", "places": [{"call", "stage", "share", "functions": {name: share}}]}}, largest first."""
    text = subprocess.run(["perf", "script", "-i", data, "-F", "pid,ip,sym"], capture_output=True, text=True, errors="replace",
                          timeout=300).stdout
    found = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()
        if len(lines) < 2:
            continue
        stack = [line.split(None, 1)[1].strip() if " " in line.strip() else "[unknown]" for line in lines[1:]]
        found[int(lines[0].split()[0].partition("/")[0])][place(stack)][stack[0]] += 1
    return {pid: tree(places) for pid, places in found.items()}


def tree(places):
    total = sum(counter.total() for counter in places.values())
    rows = [{"call": call, "stage": stage, "share": counter.total() / total,
             "functions": {name: count / total for name, count in counter.most_common(FUNCTIONS_SHOWN)}}
            for (call, stage), counter in places.items()]
    return {"samples": total, "places": sorted(rows, key=lambda row: -row["share"])}


def markdown(found):
    lines = ["| system call | stage | share | most of it |", "| --- | --- | ---: | --- |"]
    for row in found["places"]:
        if row["share"] >= 0.01:
            functions = ", ".join(f"{name} {100 * share:.1f}" for name, share in row["functions"].items() if share >= 0.003)
            lines.append(f"| {row['call']} | {row['stage']} | {100 * row['share']:.1f} % | {functions} |")
    return [*lines, ""]
