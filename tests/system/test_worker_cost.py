# SPDX-License-Identifier: Apache-2.0
"""What a worker costs that has nothing to do: no processor time at all, and little memory. With the programs as they are
shipped, for a sanitizer has threads and memory of its own."""

import pathlib
import socket
import time

import pytest
from lib.topology import tunnel
from lib.transfer import transfer
from lib.waiting import until

IDLE_S = 3
MOST_KB = 1024


@pytest.fixture
def lean(net):
    a, b = net.namespace("a", ipv6=False), net.namespace("b", ipv6=False)  # whose devices say nothing by themselves
    net.veth(a, ["10.0.0.1/24"], b, ["10.0.0.2/24"], super_packets=True)
    return net.host("a", a, build="release"), net.host("b", b, build="release")


def private_kb(pid):
    """Memory that is this process's alone: what one more worker takes."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = dict(line.split(":", 1) for line in lines[1:])
    return sum(int(sizes[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))


def tasks(pid):
    return sorted(pathlib.Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name))


def activity(pid):
    """Clock ticks of processor time, and how often its threads went to sleep."""
    ticks = switches = 0
    for task in tasks(pid):
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
        status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        switches += int(status["voluntary_ctxt_switches"])
    return ticks, switches


def sleeps(pid):
    """Nothing at all for some seconds. Before them, a second after the last news, there may be a status to send."""
    def slept():
        before = activity(pid)
        time.sleep(IDLE_S)
        return activity(pid) == before
    until(slept, 4 * IDLE_S, f"an idle worker of {activity(pid)}")


@pytest.mark.slow
@pytest.mark.parametrize(("queues", "most_kb"), [(1, MOST_KB), (4, 2 * MOST_KB)])
def test_idle_worker_sleeps_and_is_small(lean, queues, most_kb):
    a, b = lean
    tunnel(a, b, queues=queues, addresses=["192.168.3.11/24"])
    b.device("tun0", kind="tun", queues=queues, addresses=["192.168.3.1/24"],
             worker=b.get("/v1/devices/tun0")["worker"])
    pid = a.worker_pid("tun0")
    names = [(task / "comm").read_text().strip() for task in tasks(pid)]
    assert names == ["tunwright-worke", *(f"tw-tun0-{lane}" for lane in range(1, queues))]
    fresh = private_kb(pid)
    # super-packets of several flows, so that each buffer of many lanes was in use
    for port in range(7000, 7000 + 2 * queues):
        transfer(a.namespace, b.namespace, socket.AF_INET, ("192.168.3.1", port), 4 << 20)
    a.namespace.ping("192.168.3.1", count=20, size=1000)
    used = private_kb(pid)
    print(f"queues {queues}: {fresh} KiB at first, {used} KiB after traffic")
    assert fresh <= MOST_KB / 2 and used <= most_kb
    sleeps(pid)
