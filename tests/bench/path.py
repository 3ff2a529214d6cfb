# SPDX-License-Identifier: Apache-2.0
"""A way between the two hosts of the lab: the bare cable, a tunnel of the kernel's, one of ours. peer.py has the others."""


class Path:
    """`devices` are its names at the first and the second host, and `addresses` what they have there. The second
    of each is also the host that is measured towards."""

    mtu = None  # None: as it comes

    def __init__(self, name, title, network, devices):
        self.name, self.title = name, title  # its key in the JSON, its row in the table
        self.addresses = (f"{network}.11", f"{network}.1")
        self.devices = devices if isinstance(devices, tuple) else (devices, devices)

    @property
    def local(self):
        return self.addresses[0]

    @property
    def remote(self):
        return self.addresses[1]

    def open(self, lab):
        """Makes it; it carries packets when both hosts answer pings over it."""

    def pids(self, lab):
        """The processes that are the tunnel, at both hosts: none where it is the kernel."""
        return []

    def close(self, lab):
        """Ends what network namespaces do not take with them; returns what was wrong."""
        return []

    def dress(self, lab):
        """Addresses, MTU and "up" for devices that are there."""
        for namespace, device, address in zip(lab.hosts_namespaces, self.devices, self.addresses):
            namespace.ip("address", "replace", f"{address}/24", "dev", device)
            if self.mtu:
                namespace.ip("link", "set", device, "mtu", self.mtu)
            namespace.ip("link", "set", device, "up")


class Veth(Path):
    """The cable below all of them. The lab has laid it."""


class Vxlan(Path):
    def open(self, lab):
        for side, namespace in enumerate(lab.hosts_namespaces):
            namespace.ip("link", "add", self.devices[side], "type", "vxlan", "id", 84, "dstport", 4789, "local",
                         lab.outer[side], "remote", lab.outer[1 - side], "dev", "eth0")
        self.dress(lab)


class Tunwright(Path):
    """Our udp worker. `worker`: what its document has beside the two endpoints."""

    def __init__(self, name, title, network, device, port, **worker):
        super().__init__(name, title, network, device)
        self.port, self.worker = port, worker

    def document(self, lab, side):
        return {"kind": "tun", "addresses": [f"{self.addresses[side]}/24"],
                "worker": {"type": "udp", "local": f"{lab.outer[side]}:{self.port}",
                           "remote": f"{lab.outer[1 - side]}:{self.port}", **self.worker}}

    def open(self, lab):
        for side, host in enumerate(lab.hosts):
            host.put(f"/v1/devices/{self.devices[side]}", self.document(lab, side))

    def pids(self, lab):
        return [host.get(f"/v1/devices/{device}")["status"]["worker"]["pid"] for host, device in zip(lab.hosts, self.devices)]

    def counters(self, lab):
        return [host.get(f"/v1/devices/{device}/counters")["worker"] for host, device in zip(lab.hosts, self.devices)]


VETH = Veth("veth", "bare veth", "10.32.0", "eth0")
VXLAN = Vxlan("vxlan", "kernel VXLAN", "10.98.0", "vx0")
UDP = Tunwright("udp", "Tunwright `udp`", "192.168.3", "tun0", 5000)
GUE = Tunwright("gue", "Tunwright `udp`, GUE", "192.168.4", "tun1", 5100, header="gue")
OURS = [UDP, GUE]
