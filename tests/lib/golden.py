# SPDX-License-Identifier: Apache-2.0
"""Super-packets and the packets that they are cut into, put together field by field from the RFCs: what the C code is
held to, made without it. `python3 -m lib.golden` (in tests/) prints tests/unit/golden_packets.h."""

import dataclasses
import ipaddress
import struct

from lib.packet import checksum

TCP, UDP = 6, 17
FIN, PSH, ACK, ECE, CWR = 0x01, 0x08, 0x10, 0x40, 0x80
GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 = 1, 4, 5  # virtio 1.2, 5.1.6
ETHERNET = bytes.fromhex("020000000002 020000000001")


def fill(size):
    """Bytes that are easy to tell apart in a dump."""
    return bytes((7 * i + 1) & 0xFF for i in range(size))


@dataclasses.dataclass
class Vector:
    name: str
    version: int
    protocol: int
    size: int           # of each piece of payload but the last
    payload: bytes
    flags: int = ACK    # TCP's, of the super-packet
    options: bytes = b""
    sequence: int = 0x11223344
    identifier: int = 0x0100
    dont_fragment: bool = True
    tos: int = 0
    frame: bytes = b""  # what stands before IP
    merges: bool = True  # whether the pieces make the super-packet again

    def addresses(self):
        pair = ("192.168.3.11", "192.168.3.1") if self.version == 4 else ("fd00:3::11", "fd00:3::1")
        return b"".join(ipaddress.ip_address(text).packed for text in pair)

    def upper(self, payload, cut, flags, complete):
        """TCP or UDP with this piece of payload; where the checksum is not made, its field has the pseudo-header's sum."""
        if self.protocol == TCP:
            words = (20 + len(self.options)) // 4
            head = struct.pack("!HHIIBBHHH", 40000, 7000, (self.sequence + cut) & 0xFFFFFFFF, 0x55667788, words << 4, flags,
                               0x0200, 0, 0) + self.options
            field = 16
        else:
            head = struct.pack("!HHHH", 40000, 7000, 8 + len(payload), 0)
            field = 6
        length = len(head) + len(payload)
        pseudo = self.addresses() + struct.pack("!II", length, self.protocol)
        if complete:
            total = checksum(pseudo + head + payload)
            if total == 0 and self.protocol == UDP:
                total = 0xFFFF  # RFC 768
        else:
            total = ~checksum(pseudo) & 0xFFFF
        return head[:field] + struct.pack("!H", total) + head[field + 2:] + payload

    def packet(self, payload, index, cut, flags, complete):
        upper = self.upper(payload, cut, flags, complete)
        if self.version == 6:
            head = struct.pack("!IHBB", 6 << 28 | self.tos << 20 | 0xABCDE, len(upper), self.protocol, 64)
            return self.frame + head + self.addresses() + upper
        head = struct.pack("!BBHHHBBH", 0x45, self.tos, 20 + len(upper), (self.identifier + index) & 0xFFFF,
                           0x4000 if self.dont_fragment else 0, 64, self.protocol, 0) + self.addresses()
        return self.frame + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + upper

    def super_packet(self):
        return self.packet(self.payload, 0, 0, self.flags, False)

    def segments(self, complete=True):
        pieces = [self.payload[at:at + self.size] for at in range(0, len(self.payload), self.size)]
        found = []
        for index, piece in enumerate(pieces):
            flags = self.flags
            if index > 0:
                flags &= ~CWR
            if index < len(pieces) - 1:
                flags &= ~(FIN | PSH)
            found.append(self.packet(piece, index, index * self.size, flags, complete))
        return found

    def start(self):
        return len(self.frame) + (20 if self.version == 4 else 40)

    def offset(self):
        return 16 if self.protocol == TCP else 6

    def gue(self):
        """GUE's header with remote checksum offload, for these on the wire (Linux, net/ipv4/fou_core.c)."""
        return struct.pack("!BBHIHH", 2, 4 if self.version == 4 else 41, 0x0001, 1 << 31, self.start(),
                           self.start() + self.offset())

    def virtio(self):
        kind = GSO_UDP_L4 if self.protocol == UDP else GSO_TCPV4 if self.version == 4 else GSO_TCPV6
        head = 20 + len(self.options) if self.protocol == TCP else 8
        return (1, kind, self.start() + head, self.size, self.start(), self.offset())


def zero_sum(vector):
    """The last two bytes of the payload such that the first piece's checksum comes out as 0."""
    # the sum without them, over a packet of the same length, is what they must complete to 0xFFFF
    piece = vector.payload[:vector.size - 2] + b"\0\0"
    rest = checksum(vector.addresses() + struct.pack("!II", 8 + vector.size, UDP) +
                    struct.pack("!HHHH", 40000, 7000, 8 + vector.size, 0) + piece)
    piece = piece[:-2] + struct.pack("!H", rest)
    return dataclasses.replace(vector, payload=piece + vector.payload[vector.size:])


TIMESTAMPS = bytes.fromhex("0101080a 01020304 05060708")

VECTORS = [
    Vector("TCP in IPv4, FIN, PSH and CWR, an ID that wraps", 4, TCP, 9, fill(25), FIN | PSH | ACK | CWR, identifier=0xFFFE,
           merges=False),
    Vector("TCP in IPv4, PSH and ECE, options, fragments allowed", 4, TCP, 11, fill(33), PSH | ACK | ECE, TIMESTAMPS,
           dont_fragment=False, tos=0x2A),
    Vector("TCP in IPv6, a sequence number that wraps, a short last piece", 6, TCP, 12, fill(29), ACK, TIMESTAMPS,
           sequence=0xFFFFFFF0, tos=0xB9),
    Vector("TCP in IPv4 in a frame with a VLAN tag", 4, TCP, 8, fill(20), PSH | ACK,
           frame=ETHERNET + bytes.fromhex("8100 0007 0800")),
    Vector("UDP in IPv4, odd sizes", 4, UDP, 7, fill(21), dont_fragment=False),
    Vector("UDP in IPv6, a last one that is shorter", 6, UDP, 13, fill(30), merges=False),
    Vector("UDP in IPv6 in a frame", 6, UDP, 6, fill(12), frame=ETHERNET + bytes.fromhex("86dd")),
    zero_sum(Vector("UDP in IPv4, a sum that comes to 0", 4, UDP, 10, fill(20))),
]


def c_bytes(data):
    rows = [", ".join(f"0x{byte:02x}" for byte in data[at:at + 16]) for at in range(0, len(data), 16)]
    return "{\n        " + ",\n        ".join(rows) + "}"


def c_header():
    lines = ["/* SPDX-License-Identifier: Apache-2.0 */",
             "/* Made by tests/lib/golden.py, which says how: not from the code that it tests. */",
             "/* clang-format off */",
             "#ifndef TUNWRIGHT_TEST_GOLDEN_PACKETS_H", "#define TUNWRIGHT_TEST_GOLDEN_PACKETS_H", "",
             '#include "worker/split.h"', "",
             "static const struct golden_packet {", "    const char *name;", "    enum device_kind kind;",
             "    struct virtio_net_hdr header;",
             "    size_t length, segment, count, bytes, remote_bytes;",
             "    bool merges;       /* the segments make the super-packet again */",
             "    uint8_t whole[256];",
             "    uint8_t segments[512];",
             "    uint8_t remote[512]; /* the same behind GUE headers with remote checksum offload; none for a frame */",
             "} golden_packets[] = {"]
    for vector in VECTORS:
        whole, segments = vector.super_packet(), vector.segments()
        remote = [] if vector.frame else [vector.gue() + segment for segment in vector.segments(complete=False)]
        flags, kind, head, size, start, offset = vector.virtio()
        lines += ["    {", f'        .name = "{vector.name}",',
                  f"        .kind = {'DEVICE_TAP' if vector.frame else 'DEVICE_TUN'},",
                  f"        .header = {{.flags = {flags}, .gso_type = {kind}, .hdr_len = {head}, .gso_size = {size}, "
                  f".csum_start = {start}, .csum_offset = {offset}}},",
                  f"        .length = {len(whole)}, .segment = {len(segments[0])}, .count = {len(segments)}, "
                  f".bytes = {sum(map(len, segments))}, .remote_bytes = {sum(map(len, remote))},",
                  f"        .merges = {'true' if vector.merges else 'false'},",
                  f"        .whole = {c_bytes(whole)},",
                  f"        .segments = {c_bytes(b''.join(segments))},"]
        if remote:
            lines.append(f"        .remote = {c_bytes(b''.join(remote))},")
        lines.append("    },")
    return "\n".join([*lines, "};", "/* clang-format on */", "", "#endif", ""])


if __name__ == "__main__":
    print(c_header(), end="")
