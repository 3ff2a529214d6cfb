# SPDX-License-Identifier: Apache-2.0
"""One boot of the emulated machine: qemu without KVM and without a network.

ttyS0 is its console, which goes into a file. ttyS1 is ours: tests/vm/guest/report.py writes one JSON document a line there, behind
a word that only this run knows, so that nothing else is taken for a result."""

import json
import os
import secrets
import select
import subprocess
import time

MEMORY_MB = 1536
STAGE_STARTS_S = 300   # from qemu's start to the first word of the tests


class Machine:
    def __init__(self, root, disks, console):
        self.kernel, self.initrd = (max((root / "boot").glob(name)) for name in ("vmlinuz-*", "initrd.img-*"))
        self.disks, self.console = disks, console

    def command(self, append, *more):
        processors = min(os.cpu_count() or 1, 4)
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(MEMORY_MB), "-smp", str(processors),
                   "-nodefaults", "-display", "none", "-nic", "none", "-no-reboot", "-device", "virtio-rng-pci",
                   "-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", f"root=/dev/vda rw console=ttyS0 panic=-1 {append}"]
        for path in self.disks:
            command += ["-drive", f"file={path},format=raw,if=virtio,cache=unsafe"]
        return [*command, *more]

    def shell(self):
        """Gives the console to whoever runs this."""
        subprocess.run(self.command("systemd.unit=rescue.target", "-serial", "stdio"), check=False)

    def run(self, stage, limit_s):
        """Boots for one stage of tests and yields what they say, until the machine is off. Says last how that came about:
        {"ended": None}, or why it was no good end."""
        word = secrets.token_hex(8)
        process = subprocess.Popen(
            self.command(f"quiet tests.stage={stage} tests.word={word}", "-serial", f"file:{self.console}", "-serial", "stdio"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        begun, finished, said = time.monotonic(), False, []
        try:
            for line in lines(process.stdout, begun, limit_s):
                if line is None:
                    yield {"ended": f"it was still running after {limit_s} s"}
                    return
                before, found, text = line.partition(word + " ")
                if not found:
                    said = [*said[-9:], line]
                    continue
                message = json.loads(text)
                finished = finished or message["say"] == "finished"
                yield message
            process.wait(30)
            yield {"ended": None if finished else "the machine went off in the middle of it" + "".join("\n  " + s for s in said)}
        finally:
            process.kill()
            process.wait()


def lines(file, begun, limit_s):
    """Lines as they come; None where the time is over, or nothing at all comes for too long at the beginning."""
    rest, came = b"", False
    while True:
        until = begun + (limit_s if came else min(limit_s, STAGE_STARTS_S))
        if not select.select([file], [], [], max(0, until - time.monotonic()))[0]:
            yield None
            return
        data = os.read(file.fileno(), 65536)
        if not data:
            return
        came = True
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
