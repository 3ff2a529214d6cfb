# SPDX-License-Identifier: Apache-2.0
"""Two hosts, a cable, and the paths between them, all at once."""

import os
import pathlib
import re
import shutil
import sys
import tempfile

from lib import build
from lib.command import run
from lib.network import Network
from lib.waiting import until

import path as paths

BENCH = build.TREE / "tests/bench"
SETTINGS = {
    "default": None,
    "wire1500": {"tso": "off", "gso": "off", "tx-udp-segmentation": "off", "gro": "on"},
}
FEATURES = {"tso": "tcp-segmentation-offload", "gso": "generic-segmentation-offload",
            "tx-udp-segmentation": "tx-udp-segmentation", "gro": "generic-receive-offload"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def check_tools(tools):
    assert os.geteuid() == 0, "this needs root, for network namespaces"
    missing = [tool for tool in tools if shutil.which(tool) is None]
    assert not missing, (f"missing: {', '.join(missing)} "
                         "(apt install iproute2 ethtool iperf3 iputils-ping gcc libc6-dev)")


def build_release():
    directory = build.directory("release")
    if all(os.access(directory / program, os.X_OK) for program in build.PROGRAMS):
        return
    say(f"building {directory} (Release)")
    generator = ["-G", "Ninja"] if shutil.which("ninja") and not (directory / "CMakeCache.txt").exists() else []
    run("cmake", "-S", build.TREE, "-B", directory, "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_BUILD_TYPE=Release", *generator,
        timeout=120)
    run("cmake", "--build", directory, "--parallel", os.cpu_count(), "--target", *build.PROGRAMS, timeout=900)


class Lab:
    """`wanted` are the paths beside the cable; those that this build or machine does not have are left out, aloud.
    close() removes all of it."""

    outer = paths.VETH.addresses

    def __init__(self, wanted=(paths.VXLAN, paths.UDP)):
        self.wanted = wanted
        self.paths = []
        self.directory = tempfile.TemporaryDirectory(prefix="twbench.", dir="/tmp")
        self.top = pathlib.Path(self.directory.name)
        self.top.chmod(0o755)
        self.network = Network(self.top, {})

    def open(self):
        self.network.installs["release"] = build.install("release", self.top / "programs")
        self.udp_load = self.top / "udp_load"
        run("cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-o", self.udp_load, BENCH / "udp_load.c")
        # without IPv6, which would add packets of its own to what is counted
        self.a, self.b = self.hosts_namespaces = [self.network.namespace(name, ipv6=False) for name in "ab"]
        self.network.veth(self.a, [f"{self.outer[0]}/24"], self.b, [f"{self.outer[1]}/24"], super_packets=True)
        self.untouched = self.features()
        self.hosts = [self.network.host(namespace.name[-1], namespace, build="release", log_level="warning")
                      for namespace in self.hosts_namespaces]
        self.paths.append(paths.VETH)
        for path in self.wanted:
            try:
                self.paths.append(path)  # before it is opened: it is closed even where that failed half way
                path.open(self)
                # twice: some look for each other first
                until(lambda: self.a.ping(path.remote, count=3).received == 3, 20, f"an answer to ping by {path.name}")
            except AssertionError as failure:
                if path in (paths.VXLAN, paths.UDP):
                    raise
                say(f"{path.title} is left out: {failure}")
                self.paths.remove(path)
                path.close(self)

    def features(self):
        """veth's offloads, as ethtool shows them."""
        found = dict(re.findall(r"^\s*([a-z0-9-]+): (on|off)", self.a.run("ethtool", "-k", "eth0").stdout, re.M))
        return {short: found.get(name) for short, name in FEATURES.items()}

    def set_features(self, wanted):
        for namespace in self.hosts_namespaces:
            for feature, state in (wanted or self.untouched).items():
                if self.untouched[feature] is not None:  # an older kernel may not have it
                    namespace.run("ethtool", "-K", "eth0", feature, state)
        return self.features()

    def pids(self):
        return [pid for namespace in self.hosts_namespaces for pid in namespace.pids()]

    def close(self):
        problems = []
        for path in self.paths:
            problems += path.close(self)
        problems += self.network.close()
        self.directory.cleanup()
        return problems
