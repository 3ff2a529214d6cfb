# SPDX-License-Identifier: Apache-2.0
"""Linux 6.1 has no USO on TUN: the packet path goes on without it, and says so."""

import os
import socket
import struct

import pytest
from lib.counted import all_counted
from lib.waiting import until
from system.test_super_packets import Transfer, offload, two_hosts

SOL_UDP, UDP_SEGMENT = 17, 103


@pytest.mark.parametrize("cable", [pytest.param("wire", marks=pytest.mark.slow), "super-packets"])
def test_tcp_in_super_packets(net, cable):
    a, b = two_hosts(net, cable == "super-packets")
    report = offload(a)
    assert report["tso"] and not report["uso"], report
    assert report["udp_segment"] and report["udp_gro"] and report["merge"], report
    for family in "v4", "v6":
        Transfer(a, b, family, 2 << 20).check()
    sent = a.counters("tun0")["worker"]["wire_out"]["packets"]
    assert sent >= (4 << 20) / 1500
    handed_over = a.counters("tun0")["kernel"]["tx_packets"]
    # how many is a matter of time, of which an emulated machine has little
    assert handed_over < sent - 300, f"{handed_over} reads for {sent} packets: the device hands over super-packets"
    all_counted(a, b)


def test_udp_without_uso(net):
    """What a sender hands over at once comes out of the device packet by packet, and arrives so."""
    a, b = two_hosts(net, True)
    target = b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.bind(("192.168.3.1", 7100))
    source = a.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.connect(("192.168.3.1", 7100))
    source.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
    before = a.counters("tun0")
    for batch in range(20):
        pieces = [struct.pack("!HH", batch, i) + os.urandom(1196) for i in range(20)]
        source.send(b"".join(pieces))
        assert sorted(target.recv(65536) for _ in pieces) == sorted(pieces)
    after = a.counters("tun0")
    assert after["kernel"]["tx_packets"] - before["kernel"]["tx_packets"] >= 400
    assert after["worker"]["device_in"]["packets"] - before["worker"]["device_in"]["packets"] >= 400
    source.close()
    target.close()
    all_counted(a, b)
    until(lambda: sum(b.counters("tun0")["worker"]["drops"].values()) == 0, 5, "no drops")
