# SPDX-License-Identifier: Apache-2.0
"""Whether a worker's counters account for every packet."""

from lib.waiting import until


def lost(worker):
    """Packets read from the device that neither went out nor were dropped for a reason, and the same of the wire's."""
    drops = sum(count for reason, count in worker["drops"].items() if reason != "rcvbuf_full")  # which was never received
    return (worker["device_in"]["packets"] + worker["wire_in"]["packets"] - worker["wire_out"]["packets"]
            - worker["device_out"]["packets"] - drops)


def all_counted(a, b):
    """No packet vanished on either host since its `lost` was noted: waits for those under way."""
    until(lambda: all(lost(host.counters("tun0")["worker"]) == host.lost for host in (a, b)), 5,
          lambda: f"equal counters: {[host.counters('tun0') for host in (a, b)]}")
