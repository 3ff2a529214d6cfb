# SPDX-License-Identifier: Apache-2.0
"""Debian's other user-space tunnels, as paths to compare ours with: each plain where it can be, as ours is.

A row is a class: its package, its program, how both ends are started. Its processes are found by their name in the
lab's namespaces, because some of them fork.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

from lib.command import run
from lib.network import process_is_alive
from lib.waiting import until

from path import Path

MTU = 1450  # fits each of them, with what it puts before a packet, into 1500


class Peer(Path):
    package = program = note = None
    port = 0
    mtu = MTU

    def __init__(self, network, devices):
        super().__init__(self.program, f"{self.program} ({self.note})", network, devices)
        self.processes = []

    @classmethod
    def is_installed(cls):
        return shutil.which(cls.program) is not None

    def spawn(self, lab, side, *command, **environment):
        log = open(lab.top / f"{self.name}-{side}.log", "ab")
        with log:
            self.processes.append(lab.hosts_namespaces[side].popen(*command, stdout=log, stderr=log, start_new_session=True,
                                                                   env=os.environ | environment))

    def directory(self, lab, side):
        made = lab.top / f"{self.name}-{side}"
        made.mkdir(mode=0o700)
        return made

    def open(self, lab):
        for side in (1, 0):  # where it matters, the second host is the server
            self.start(lab, side)
        for side, namespace in enumerate(lab.hosts_namespaces):
            until(lambda: namespace.link(self.devices[side]) is not None, 20,
                  lambda: f"{self.name}'s device; it said: {self.said(lab)}")
        self.dress(lab)
        self.finish(lab)

    def start(self, lab, side):
        raise NotImplementedError

    def finish(self, lab):
        """When both devices are there."""

    def said(self, lab):
        return "".join((lab.top / f"{self.name}-{side}.log").read_text(errors="replace")[-2000:] for side in (0, 1))

    def pids(self, lab):
        comm = self.program[:15]
        found = []
        for pid in lab.pids():
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == comm:
                    found.append(pid)
        assert len(found) >= 2, f"{self.name}: {len(found)} processes; it said: {self.said(lab)}"
        return found

    def close(self, lab):
        with contextlib.suppress(AssertionError):
            for pid in self.pids(lab):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        problems = []
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        try:
            until(lambda: not [p for p in self.leftover(lab) if process_is_alive(p)], 5, f"an end of {self.name}")
        except AssertionError as failure:
            problems.append(str(failure))
        return problems

    def leftover(self, lab):
        try:
            return self.pids(lab)
        except AssertionError:
            return []


class Vtun(Peer):
    package, program, note = "vtun", "vtund", "plain UDP"
    port = 5001

    def start(self, lab, side):
        directory = self.directory(lab, side)
        config = directory / "vtund.conf"
        config.write_text(f"options {{ port {self.port}; timeout 60; ip /bin/ip; }}\n"
                          f"default {{ type tun; proto udp; compress no; encrypt no; keepalive no; stat no; speed 0; }}\n"
                          f"bench {{ passwd bench; device {self.devices[side]}; }}\n")
        if side == 1:
            self.spawn(lab, side, self.program, "-n", "-s", "-f", config, "-L", lab.outer[side])
            until(lambda: str(self.port) in lab.hosts_namespaces[side].run("ss", "-Hltn", f"sport = :{self.port}").stdout, 10,
                  "vtund that listens")
        else:
            self.spawn(lab, side, self.program, "-n", "-f", config, "-P", self.port, "bench", lab.outer[1 - side])


class Openvpn(Peer):
    package, program, note = "openvpn", "openvpn", "no cipher"
    port = 5002

    def start(self, lab, side):
        self.spawn(lab, side, self.program, "--dev", self.devices[side], "--dev-type", "tun", "--proto", "udp", "--local",
                   lab.outer[side], "--remote", lab.outer[1 - side], "--port", self.port, "--tun-mtu", self.mtu, "--cipher",
                   "none", "--auth", "none", "--disable-dco", "--fast-io", "--verb", 1)


class Tinc(Peer):
    package, program, note = "tinc", "tincd", "no cipher"
    port = 5003

    def start(self, lab, side):
        names = ("first", "second")
        directory = self.directory(lab, side)
        (directory / "hosts").mkdir()
        keys = lab.top / "tinc-keys"
        if not keys.exists():
            keys.mkdir(mode=0o700)
            for name in names:
                run("openssl", "genrsa", "-traditional", "-out", keys / f"{name}.priv", 2048)
                run("openssl", "rsa", "-in", keys / f"{name}.priv", "-RSAPublicKey_out", "-out", keys / f"{name}.pub")
        shutil.copy(keys / f"{names[side]}.priv", directory / "rsa_key.priv")
        for other, name in enumerate(names):
            (directory / "hosts" / name).write_text(
                f"Address = {lab.outer[other]} {self.port}\nPort = {self.port}\nSubnet = {self.addresses[other]}/32\n"
                f"Cipher = none\nDigest = none\nCompression = 0\n{(keys / f'{name}.pub').read_text()}")
        (directory / "tinc.conf").write_text(
            f"Name = {names[side]}\nDeviceType = tun\nInterface = {self.devices[side]}\nMode = router\n"
            f"AddressFamily = ipv4\nConnectTo = {names[1 - side]}\nBindToAddress = {lab.outer[side]} {self.port}\n")
        self.spawn(lab, side, self.program, "-D", "-c", directory, f"--pidfile={directory}/pid")


class Fastd(Peer):
    package, program, note = "fastd", "fastd", "null"
    port = 5004

    def start(self, lab, side):
        if side == 1:
            said = [run("fastd", "--generate-key").stdout for _ in range(2)]
            self.keys = [dict(line.lower().split(": ") for line in text.splitlines() if ": " in line) for text in said]
        directory = self.directory(lab, side)
        (directory / "fastd.conf").write_text(
            f'log level error;\nmode tun;\ninterface "{self.devices[side]}";\nmtu {self.mtu};\nmethod "null";\n'
            f'bind {lab.outer[side]}:{self.port};\nsecret "{self.keys[side]["secret"]}";\n'
            f'peer "other" {{ key "{self.keys[1 - side]["public"]}"; remote {lab.outer[1 - side]}:{self.port}; }}\n')
        self.spawn(lab, side, self.program, "-c", directory / "fastd.conf")


class WireguardGo(Peer):
    package, program, note = "wireguard-go", "wireguard-go", "its own cipher"
    port = 5005
    mtu = 1420

    def start(self, lab, side):
        self.spawn(lab, side, self.program, "-f", self.devices[side], LOG_LEVEL="error")

    def finish(self, lab):
        private = [run("wg", "genkey").stdout for _ in range(2)]
        public = [run("wg", "pubkey", stdin=key).stdout.strip() for key in private]
        for side, namespace in enumerate(lab.hosts_namespaces):
            key = self.directory(lab, side) / "key"
            key.write_text(private[side])
            control = pathlib.Path(f"/run/wireguard/{self.devices[side]}.sock")
            until(control.exists, 10, f"{control}")
            namespace.run("wg", "set", self.devices[side], "private-key", key, "listen-port", self.port, "peer",
                          public[1 - side], "allowed-ips", f"{self.addresses[1 - side]}/32", "endpoint",
                          f"{lab.outer[1 - side]}:{self.port}")


class Socat(Peer):
    package, program, note = "socat", "socat", "TUN–UDP"
    port = 5006

    def start(self, lab, side):
        self.spawn(lab, side, self.program, "-b", 65536, f"TUN,tun-name={self.devices[side]},tun-type=tun,iff-no-pi",
                   f"UDP-DATAGRAM:{lab.outer[1 - side]}:{self.port},bind={lab.outer[side]}:{self.port}")


# wireguard-go's control sockets lie in one directory for all namespaces: two names
PEERS = [Vtun("10.101.0", "vtun0"), Openvpn("10.102.0", "ovpn0"), Tinc("10.103.0", "tinc0"), Fastd("10.104.0", "fastd0"),
         WireguardGo("10.105.0", ("wga", "wgb")), Socat("10.106.0", "socat0")]
BESIDE = ("wireguard-tools", "openssl")  # what they need to be set up


def install():
    """By apt, what is not there; those that are there then."""
    missing = [peer.package for peer in PEERS if not peer.is_installed()]
    missing += [package for package, tool in zip(BESIDE, ("wg", "openssl")) if shutil.which(tool) is None]
    if missing:
        # their services find no configuration of a tunnel, and do nothing
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "-q", "update", timeout=300, env=environment)
        run("apt-get", "-q", "install", "-y", "--no-install-recommends", *missing, timeout=600, env=environment)
    return [peer for peer in PEERS if peer.is_installed()]
