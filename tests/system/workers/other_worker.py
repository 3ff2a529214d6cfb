#!/usr/bin/python3 -I
# SPDX-License-Identifier: Apache-2.0
"""A worker that is not ours, written against include/tunwright/worker.h: bare packets in UDP, one thread, counters.

It has a few habits for the tests, told by the device's name: `counts…` begins with the largest numbers there are,
`refuses…` answers `failed` to its configuration, `silent…` never answers, `dies…` exits on it."""

import json
import mmap
import os
import select
import socket
import struct
import sys

CONTROL, LISTEN = 3, 4
PAGE_SIZE, SLOT_AT = 8192, 256
DEVICE_IN, WIRE_OUT, WIRE_IN, DEVICE_OUT, DROPS = 0, 16, 32, 48, 64
UNKNOWN_SOURCE, QUEUE_FULL = 1, 6
HEADER = bytes(10)  # before each packet of a queue: a virtio_net_hdr, of zeros for whoever wants no offloads


class Worker:
    def __init__(self):
        self.control = socket.socket(fileno=CONTROL)
        self.listener = socket.socket(fileno=LISTEN)
        self.attached = True
        self.packet = b""
        self.fds = []
        self.page = self.queue = self.wire = self.remote = None

    def run(self):
        while True:
            control = self.control if self.attached else None
            wait = [self.listener] + [x for x in (control, self.queue, self.wire) if x is not None]
            for ready in select.select(wait, [], [])[0]:
                if ready is self.listener:
                    self.attach()
                elif ready is self.control:
                    self.command()
                elif ready == self.queue:
                    self.outward()
                elif ready is self.wire:
                    self.inward()

    def attach(self):
        """A later netd: its connection takes the place of the one that was."""
        new, _ = self.listener.accept()
        os.dup2(new.fileno(), CONTROL)
        new.close()
        self.attached = True

    def command(self):
        data, fds, _, _ = socket.recv_fds(self.control, 65536 + 256, 40)
        if not data:
            self.attached = False  # netd is gone: go on
            return
        head, _, body = data.partition(b"\n")
        words = head.decode().split(" ")
        if words[0] == "stop":
            sys.exit(0)
        elif words[0] == "attach":
            socket.send_fds(self.control, [b"attached\n" + self.packet], self.fds)
        elif words[0] == "configure":
            self.configure(data, dict(w.split("=", 1) for w in words[1:] if "=" in w), json.loads(body), fds)

    def configure(self, packet, words, document, fds):
        name = document["device"]["name"]
        if name.startswith("refuses") or document["worker"].get("remote", "").endswith(":6666"):
            for fd in fds:
                os.close(fd)
            self.say("failed", {"detail": "this worker\x07 does not like its\nconfiguration"})
            return
        if name.startswith("silent"):
            return
        if name.startswith("dies"):
            sys.exit(7)
        for fd in self.fds:
            os.close(fd)
        self.packet, self.fds = packet, fds
        self.page = mmap.mmap(fds[0], PAGE_SIZE)
        self.queue = fds[1]
        self.wire = None
        if int(words["sockets"]):
            self.wire = socket.socket(fileno=os.dup(fds[1 + int(words["queues"])]))
            self.wire.setblocking(False)
            host, _, port = document["worker"]["remote"].rpartition(":")
            self.remote = (host.strip("[]"), int(port))
        if name.startswith("counts"):
            for at in (DEVICE_IN, DEVICE_IN + 8, WIRE_OUT, DROPS + 8 * UNKNOWN_SOURCE):
                struct.pack_into("=Q", self.page, SLOT_AT + at, 2 ** 64 - 1)
            struct.pack_into("=Q", self.page, SLOT_AT + WIRE_IN, 2 ** 63 + 1)
            struct.pack_into("=Q", self.page, SLOT_AT + WIRE_IN + 8, 4503599627370499)
            struct.pack_into("=Q", self.page, SLOT_AT + DEVICE_OUT, 10 ** 15)
            # a second slot, to be added up
            struct.pack_into("=Q", self.page, SLOT_AT + 256 + DEVICE_OUT, 7)
        self.say("ready", {"language": "python", "configured": name})

    def say(self, verb, status):
        self.control.send(verb.encode() + b"\n" + json.dumps(status).encode())

    def count(self, at, amount=1):
        value = struct.unpack_from("=Q", self.page, SLOT_AT + at)[0]
        struct.pack_into("=Q", self.page, SLOT_AT + at, value + amount)

    def outward(self):
        try:
            packet = os.read(self.queue, 65546)[len(HEADER):]
        except OSError:
            return
        self.count(DEVICE_IN)
        self.count(DEVICE_IN + 8, len(packet))
        try:
            self.wire.sendto(packet, self.remote)
        except OSError:
            self.count(DROPS + 8 * QUEUE_FULL)
            return
        self.count(WIRE_OUT)
        self.count(WIRE_OUT + 8, len(packet))

    def inward(self):
        try:
            packet, source = self.wire.recvfrom(65536)
        except OSError:
            return
        self.count(WIRE_IN)
        self.count(WIRE_IN + 8, len(packet))
        if source[:2] != self.remote:
            self.count(DROPS + 8 * UNKNOWN_SOURCE)
            return
        try:
            os.write(self.queue, HEADER + packet)
        except OSError:
            self.count(DROPS + 8 * QUEUE_FULL)
            return
        self.count(DEVICE_OUT)
        self.count(DEVICE_OUT + 8, len(packet))


Worker().run()
