# SPDX-License-Identifier: Apache-2.0
"""A ping that goes on until it is told to stop, and knows each packet that did not come back."""

import os
import select
import socket
import struct
import threading
import time

from lib.packet import checksum

ICMP_ECHO_REQUEST = 8


class PingFlow:
    """Echo requests over IPv4 at `rate` a second, from the `with`'s beginning; `finish` says which were lost."""

    def __init__(self, namespace, target, rate=200):
        self.target, self.rate = target, rate
        self.socket = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.setblocking(False)
        self.socket.connect((target, 0))
        self.identifier = os.urandom(2)
        self.sent, self.refused = 0, []
        self.received = {}  # sequence: how often
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(10)
        self.socket.close()

    def _run(self):
        begun = time.monotonic()
        while not self.stopping.is_set():
            wait = begun + self.sent / self.rate - time.monotonic()
            if wait <= 0:
                self._send()
            self._receive(max(0, min(wait, 0.05)))
        # those under way get a second more, unless all have come
        end = time.monotonic() + 1
        while time.monotonic() < end and len(self.received) < self.sent:
            self._receive(0.02)

    def _send(self):
        body = self.identifier + struct.pack("!HQ", self.sent & 0xFFFF, self.sent) + bytes(48)
        head = struct.pack("!BBH", ICMP_ECHO_REQUEST, 0, checksum(struct.pack("!BBH", ICMP_ECHO_REQUEST, 0, 0) + body))
        try:
            self.socket.send(head + body)
        except OSError as error:
            self.refused.append((self.sent, error))
        self.sent += 1

    def _receive(self, timeout):
        if not select.select([self.socket], [], [], timeout)[0]:
            return
        try:
            data = self.socket.recv(65536)[20:]
        except OSError as error:
            self.refused.append((self.sent, error))
            return
        if data[0] == 0 and data[4:6] == self.identifier:
            sequence = struct.unpack("!Q", data[8:16])[0]
            self.received[sequence] = self.received.get(sequence, 0) + 1

    def running(self, packets):
        """Waits until so many more came back."""
        from lib.waiting import until
        wanted = len(self.received) + packets
        until(lambda: len(self.received) >= wanted, 10 + packets / self.rate,
              lambda: f"{packets} more echo replies from {self.target}; {self}")

    def finish(self):
        """Stops sending, waits for the last answers; returns the sequence numbers of the lost ones."""
        self.stopping.set()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return [n for n in range(self.sent) if n not in self.received]

    def nothing_lost(self):
        """finish, and fails if there was any loss or any double."""
        lost = self.finish()
        doubles = [n for n, times in self.received.items() if times > 1]
        assert not lost and not doubles and not self.refused, f"{self}; lost {lost[:20]}, doubled {doubles[:20]}"
        return self.sent

    def __str__(self):
        return f"{self.sent} sent, {len(self.received)} received, refused {self.refused[:3]}"
