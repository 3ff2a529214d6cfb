# SPDX-License-Identifier: Apache-2.0
"""Captures by tcpdump, and just enough of a decoder to look into them."""

import ipaddress
import signal
import struct
import subprocess

from lib.waiting import until

LINK_ETHERNET, LINK_RAW = 1, 101
ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6 = 1, 6, 17, 58
ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST = 0, 8
ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY = 128, 129


class Capture:
    """tcpdump on a device of a namespace, from the `with`'s beginning (it listens by then) to its end."""

    def __init__(self, network, namespace, device, expression=""):
        network.captures = getattr(network, "captures", 0) + 1
        self.path = network.base / f"{network.captures}.pcap"
        self.log = network.base / f"{network.captures}.tcpdump"
        self.network, self.namespace, self.device, self.expression = network, namespace, device, expression
        self.process = None

    def __enter__(self):
        with open(self.log, "wb") as log:
            # in immediate mode each packet has a slot of the snapshot's length: with small ones, many fit
            self.process = self.namespace.popen("tcpdump", "-Z", "root", "-n", "-U", "--immediate-mode", "-s", "4096", "-B",
                                                "16384", "-i", self.device,
                                                "-w", self.path, *([self.expression] if self.expression else []),
                                                stdout=log, stderr=subprocess.STDOUT)
        self.network.processes.append(self.process)
        until(lambda: "listening on" in self.log.read_text(errors="replace") or self.process.poll() is not None, 10,
              "tcpdump to listen")
        assert self.process.poll() is None, self.log.read_text(errors="replace")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)

    def packets(self):
        return [Packet(link, data) for link, data in pcap_read(self.path)]

    def wait(self, wanted, count, timeout=5):
        """Waits until `count` packets of which `wanted` is true are there, and returns these."""
        def enough():
            found = [p for p in self.packets() if wanted(p)]
            return found if len(found) >= count else None
        return until(enough, timeout, lambda: f"{count} such packets on {self.device}; there are:\n" +
                     "\n".join(map(str, self.packets())))


def pcap_read(path):
    """(link type, bytes) of each complete packet in a file that may still be growing."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) < 24:
        return []
    magic = data[:4]
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}[magic]
    link = struct.unpack(order + "I", data[20:24])[0] & 0xFFFF
    found, at = [], 24
    while at + 16 <= len(data):
        length = struct.unpack(order + "I", data[at + 8:at + 12])[0]
        if at + 16 + length > len(data):
            break
        found.append((link, data[at + 16:at + 16 + length]))
        at += 16 + length
    return found


class Packet:
    """A decoded packet: `ethertype`, `source`, `target`, `protocol`, `sport`, `dport`, `payload`; None where there is none.
    `ip` is the IP packet itself."""

    def __init__(self, link, data):
        self.data = data
        self.ip = self.source = self.target = self.protocol = self.sport = self.dport = self.version = None
        self.ethertype = self.mac_source = self.mac_target = None
        self.payload = b""
        if link == LINK_ETHERNET:
            if len(data) < 14:
                return
            self.mac_target, self.mac_source = data[:6], data[6:12]
            self.ethertype = struct.unpack("!H", data[12:14])[0]
            data = data[14:]
            if self.ethertype not in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
                self.payload = data
                return
        if data and data[0] >> 4 == 4 and len(data) >= 20:
            length = struct.unpack("!H", data[2:4])[0]
            self.version, self.ip, self.protocol = 4, data[:length], data[9]
            self.source, self.target = (str(ipaddress.ip_address(data[at:at + 4])) for at in (12, 16))
            self.tos, self.ttl = data[1], data[8]
            self._transport(self.ip[(data[0] & 15) * 4:])
        elif data and data[0] >> 4 == 6 and len(data) >= 40:
            length = 40 + struct.unpack("!H", data[4:6])[0]
            self.version, self.ip, self.protocol = 6, data[:length], data[6]
            self.source, self.target = (str(ipaddress.ip_address(data[at:at + 16])) for at in (8, 24))
            self.tos, self.ttl = struct.unpack("!H", data[:2])[0] >> 4 & 0xFF, data[7]
            self._transport(self.ip[40:])
        else:
            self.payload = data

    def _transport(self, data):
        self.payload = data
        if self.protocol == PROTOCOL_UDP and len(data) >= 8:
            self.sport, self.dport = struct.unpack("!HH", data[:4])
            self.payload = data[8:]
        elif self.protocol == PROTOCOL_TCP and len(data) >= 20:
            self.sport, self.dport = struct.unpack("!HH", data[:4])
            self.payload = data[(data[12] >> 4) * 4:]

    def inner(self, link=LINK_RAW):
        """What a UDP datagram of a tunnel carries."""
        return Packet(link, self.payload)

    def is_echo_request(self):
        return bool(self.payload) and (self.protocol, self.payload[0]) in (
            (PROTOCOL_ICMP, ICMP_ECHO_REQUEST), (PROTOCOL_ICMPV6, ICMPV6_ECHO_REQUEST))

    def is_echo_reply(self):
        return bool(self.payload) and (self.protocol, self.payload[0]) in (
            (PROTOCOL_ICMP, ICMP_ECHO_REPLY), (PROTOCOL_ICMPV6, ICMPV6_ECHO_REPLY))

    def __str__(self):
        ether = f"ether {self.ethertype:#06x} " if self.ethertype is not None else ""
        if self.ip is None:
            return f"{ether}{self.data[:48].hex()}"
        return (f"{ether}{self.source}:{self.sport} > {self.target}:{self.dport} protocol {self.protocol}, "
                f"{len(self.ip)} bytes, payload {self.payload[:16].hex()}")
