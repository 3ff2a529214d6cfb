# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, and what is done inside them."""

import contextlib
import ctypes
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass

from lib.command import run
from lib.waiting import until

CLONE_NEWNET = 0x40000000
FIRST_INDEX = 1001  # of our cables: the kernel gives no such number by itself to a few devices
_libc = ctypes.CDLL(None, use_errno=True)
# fields that change by themselves
VOLATILE = {"valid_life_time", "preferred_life_time", "expires", "used", "stats", "stats64", "tentative", "cacheinfo",
            "operstate", "gc_timer", "hello_timer", "tcn_timer", "topology_change_timer"}


@dataclass
class Ping:
    sent: int
    received: int
    text: str


def without_volatile(value):
    if isinstance(value, dict):
        return {k: without_volatile(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [without_volatile(v) for v in value]
    return value


class Namespace:
    """One network namespace: a host of the test's. `name` is its name under /run/netns. Without `dad`, a tap's IPv6 addresses
    are there at once, and not after the second or two in which the kernel looks for duplicates."""

    def __init__(self, name, ipv6=True, dad=True, make=True):
        self.name = name
        self.path = f"/run/netns/{name}"
        if make:
            run("ip", "netns", "add", name)
        self.inode = os.stat(self.path).st_ino
        if not make:
            return
        if not ipv6:
            self.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
            self.sysctl("net/ipv6/conf/all/disable_ipv6", 1)
        elif not dad:
            self.sysctl("net/ipv6/conf/default/accept_dad", 0)
        self.ip("link", "set", "lo", "up")

    def __str__(self):
        return self.name

    # ---- running things in it

    def inside(self, *args):
        return ["nsenter", f"--net={self.path}", "--", *map(str, args)]

    def run(self, *args, **options):
        return run(*self.inside(*args), **options)

    def popen(self, *args, **options):
        return subprocess.Popen(self.inside(*args), stdin=subprocess.DEVNULL, **options)

    def sysctl(self, key, value):
        self.run("sh", "-c", f'echo "$1" >/proc/sys/{key}', "sh", value)

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace inside the `with`: what is opened there stays there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(there, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(there)
            try:
                yield
            finally:
                if _libc.setns(home, CLONE_NEWNET) != 0:
                    os._exit(3)  # in a foreign namespace nothing may go on
        finally:
            os.close(home)

    def socket(self, family, kind, protocol=0):
        with self.entered():
            made = socket.socket(family, kind, protocol)
        made.settimeout(10)
        return made

    # ---- ip(8)

    def ip(self, *args, **options):
        return run("ip", "-n", self.name, *args, **options)

    def ip_json(self, *args):
        said = run("ip", "-n", self.name, "-d", "-j", *args).stdout
        return [item for item in json.loads(said or "[]") if item]  # iproute2 prints {} for what it leaves out

    def link(self, name):
        """ip -d -j address of one device, or None."""
        found = [item for item in self.ip_json("address", "show") if item["ifname"] == name]
        return found[0] if found else None

    def ifindex(self, name):
        link = self.link(name)
        return link["ifindex"] if link else None

    def addresses(self, name, scope="global"):
        """{"192.168.3.11/24", …} of one device."""
        link = self.link(name) or {"addr_info": []}
        return {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if scope in (None, a["scope"])}

    def routes(self, **where):
        """All routes of both families in all tables; `where` picks: dev="tun0", protocol="84"."""
        found = self.ip_json("-4", "route", "show", "table", "all") + self.ip_json("-6", "route", "show", "table", "all")
        return [r for r in found if all(str(r.get(k)) == str(v) for k, v in where.items())]

    def kernel(self):
        """Everything that tunwright could have changed here, to compare before with after."""
        return without_volatile({"links": self.ip_json("address", "show"), "routes": self.routes(),
                                 "rules": self.ip_json("-4", "rule", "show") + self.ip_json("-6", "rule", "show")})

    def settled(self, name, timeout=10):
        """Waits until duplicate address detection has ended on a device."""
        until(lambda: not any(a.get("tentative") for a in (self.link(name) or {"addr_info": []})["addr_info"]),
              timeout, f"addresses of {name} in {self} that are no longer tentative")

    def stats(self, name):
        """The device's counters as /sys has them."""
        # sysfs shows the namespace it was mounted in, so it is mounted anew
        script = ('mount -t sysfs tunwright-test /sys && cd "/sys/class/net/$1/statistics" && '
                  'for f in *; do echo "$f $(cat "$f")"; done')
        said = self.run("unshare", "--mount", "sh", "-c", script, "sh", name).stdout
        return {key: int(value) for key, value in (line.split() for line in said.splitlines())}

    # ---- traffic

    def ping(self, target, count=3, interval=None, size=None, timeout=None, wait=1, **options):
        """Sends `count` echo requests and waits for the answers, at most `wait` seconds after the last: less than one where
        none is expected. They go all at once, or `interval` seconds apart: but then ping gives the last answer no longer than
        that."""
        args = ["ping", "-n", "-c", count, "-W", wait] + (["-l", count, "-i", 1] if interval is None else ["-i", interval])
        if size is not None:
            args += ["-s", size]
        for key, value in options.items():
            args += [f"-{key}"] if value is True else [f"-{key}", value]
        done = self.run(*args, target, check=False, timeout=timeout or 20 + 2 * count * (interval or 0))
        return ping_result(done.stdout + done.stderr)

    # ---- the end

    def pids(self):
        """Processes in this namespace. It is ours, so they are."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    if os.stat(f"/proc/{entry}/ns/net").st_ino == self.inode and process_is_alive(int(entry)):
                        found.append(int(entry))
        return [pid for pid in found if pid != os.getpid()]

    def delete(self):
        """Ends what still runs here and removes the namespace; returns the command lines of what did."""
        left = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                left.append(process_command(pid))
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.pids(), 10, f"an end of all processes in {self}")
        run("ip", "netns", "del", self.name)
        return left


def ping_result(text):
    match = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    if not match:
        raise AssertionError(f"ping: {text}")
    return Ping(int(match[1]), int(match[2]), text)


def process_is_alive(pid):
    """A zombie that nobody has collected yet does not live."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def process_uid(pid):
    """The user a process runs as, or None where it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return int(re.search(r"^Uid:\s+(\d+)", file.read(), re.M)[1])
    except OSError:
        return None


def process_command(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return f"{pid}: {file.read().replace(bytes(1), b' ').decode(errors='replace').strip()}"


class Network:
    """The namespaces, links and hosts of one test; `close` takes all of it away again."""

    serial = 0

    def __init__(self, base, installs):
        Network.serial += 1
        self.prefix = f"tw{os.getpid()}-{Network.serial}"
        self.base = base / str(Network.serial)
        self.base.mkdir(mode=0o755)
        self.reports = self.base / "san"
        self.reports.mkdir()
        self.reports.chmod(0o1777)
        self.installs = installs
        self.namespaces = []
        self.hosts = []
        self.processes = []
        self.cables = []

    def namespace(self, name, ipv6=True, dad=True):
        made = Namespace(f"{self.prefix}-{name}", ipv6=ipv6, dad=dad)
        self.namespaces.append(made)
        return made

    def host(self, name, namespace=None, **options):
        """A namespace (unless one is given) with a daemon pair in it, which is started."""
        from lib.host import Host
        made = Host(self, name, namespace or self.namespace(name), **options)
        self.hosts.append(made)
        return made

    def veth(self, a, a_addresses, b, b_addresses, a_name="eth0", b_name="eth0", super_packets=False):
        """A cable between two namespaces. Addresses are like "10.32.0.11/24". Packets cross it one by one, as on a wire, unless
        super-packets may cross whole, as veth does by itself."""
        # with an index that is the other end's as well, as it would be in new namespaces, the kernel takes an end for no
        # veth and draws its conclusions from the cable up to a second later
        index = FIRST_INDEX + len(self.cables)
        run("ip", "link", "add", "name", a_name, "index", index, "netns", a.name,
            "type", "veth", "peer", "name", b_name, "index", index + 1, "netns", b.name)
        for namespace, name, addresses in ((a, a_name, a_addresses), (b, b_name, b_addresses)):
            for address in addresses:
                flags = ["nodad"] if ipaddress.ip_interface(address).version == 6 else []
                namespace.ip("address", "add", address, "dev", name, *flags)
            # the kernel's own addresses are there at once, without duplicate detection
            if os.path.exists("/proc/sys/net/ipv6"):
                namespace.sysctl(f"net/ipv6/conf/{name}/accept_dad", 0)
            if not super_packets:
                namespace.ip("link", "set", name, "gso_max_segs", 1)
            namespace.ip("link", "set", name, "up")
        for namespace, name in ((a, a_name), (b, b_name)):
            self.cables.append((namespace, name))
            until(lambda: "LOWER_UP" in namespace.link(name)["flags"] and namespace.link(name)["qdisc"] != "noop", 5,
                  f"{name} in {namespace} to carry packets")

    def settled(self):
        """Waits until the kernel has drawn all its conclusions from the cables: before two looks at everything are compared."""
        for namespace, name in self.cables:
            until(lambda: namespace.link(name)["operstate"] == "UP", 5, f"{name} in {namespace} up")

    def close(self):
        """Stops and removes everything; returns what was found to be wrong on the way."""
        problems = []
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for host in reversed(self.hosts):
            with collected(problems):
                problems += host.stop()
        for namespace in reversed(self.namespaces):
            with collected(problems):
                problems += [f"left over in {namespace}: {command}" for command in namespace.delete()]
        from lib.build import REPORT, sanitizer_reports
        problems += sanitizer_reports(self.reports)
        for host in self.hosts:
            for log in host.logs():
                if REPORT.search(log.read_text(errors="replace")):
                    problems.append(f"a sanitizer's report in {log.name} of {host.name}")
        return problems


def sweep():
    """Removes what runs that were killed left behind: what bears the pid of a process that is no more."""
    def is_stale(name):
        match = re.match(r"tw(\d+)-", name)
        return match and not process_is_alive(int(match[1]))
    with contextlib.suppress(FileNotFoundError):
        for name in filter(is_stale, os.listdir("/run/netns")):
            Namespace(name, make=False).delete()
    for name in filter(is_stale, os.listdir("/tmp")):
        shutil.rmtree(f"/tmp/{name}", ignore_errors=True)


@contextlib.contextmanager
def collected(problems):
    try:
        yield
    except Exception as error:  # the rest of the cleaning up comes first
        problems.append(f"{type(error).__name__}: {error}")
