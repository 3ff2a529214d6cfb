# SPDX-License-Identifier: Apache-2.0
"""Hand-made packets."""

import ipaddress
import struct


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, target, protocol=253, payload=b"", tos=0, ttl=64, dont_fragment=True):
    """Protocol 253 is for experiments: no stack has an answer to it but ICMP's unreachable."""
    head = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(payload), 1, 0x4000 if dont_fragment else 0, ttl, protocol, 0)
    head += ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(source, target, next_header=59, payload=b"", traffic_class=0, hop_limit=64):
    """Next header 59: nothing follows."""
    head = struct.pack("!IHBB", 6 << 28 | traffic_class << 20, len(payload), next_header, hop_limit)
    return head + ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed + payload
