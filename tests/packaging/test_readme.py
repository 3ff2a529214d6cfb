# SPDX-License-Identifier: Apache-2.0
"""README.md's transcripts, word for word: each is typed into a shell on a host, and what comes back is what stands there.

A transcript is an indented block that begins with "$ ". What differs from run to run is masked on both sides (times, entity
tags, uuids, tokens, process ids, sequences); "…" in the README stands for anything within a line. What only looks may be
asked again for a while: some of it shows what the daemon has yet to notice."""

import os
import re
import select
import shutil
import signal
import subprocess
import time

import pytest
from lib import build, door

README = build.TREE / "README.md"
MARK = "=-=-= done"
PATIENCE_S = 10
MASKS = [(re.compile(pattern), text) for pattern, text in (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}(?:[-.:][0-9a-f]+)?", "UUID"),
    (r"\b[0-9a-f]{64}\b", "TOKEN"),
    (r'(?<=etag=)"[^"]+"', "ETAG"),
    (r'(?<="sequence":)\d+|(?<="remaining_s":)\d+|(?<="pid":)\d+|(?<=^id: )\d+', "N"),
    (r'(?<=after=)\d+|(?<="interval_s":)[\d.]+|(?<="tx_packets":)[\d.]+|(?<="tx_bytes":)[\d.]+', "N"),
)]


def masked(line):
    for pattern, text in MASKS:
        line = pattern.sub(text, line)
    return line.rstrip()


def transcripts(text):
    """[(command, [line of output, …]), …] of all transcripts, in their order."""
    found = []
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M):
        here = len(found)
        for line in (line[4:] for line in block.strip("\n").split("\n")):
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif len(found) == here:
                pass  # not a transcript, or not yet
            elif line.startswith("> ") and not found[-1][1]:
                found[-1] = (f"{found[-1][0]}\n{line[2:]}", [])
            elif line:
                found[-1][1].append(line)
    return found


def is_as_written(written, real):
    """Line by line; "…" takes anything, and alone on a line any number of lines."""
    pattern = ""
    for line in written:
        line = masked(line)
        pattern += r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
    return re.fullmatch(pattern, "".join(f"{masked(line)}\n" for line in real if line.strip())) is not None


def only_looks(command):
    return not re.search(r" -X |--json|-d |>|\$\(|^\w+=|^\w+\(\)|systemctl|ip ", command)


class Shell:
    """A bash in the host's namespace that is typed into."""

    def __init__(self, host, directory):
        self.host = host
        self.process = subprocess.Popen(
            host.namespace.inside("bash", "--norc", "--noprofile"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=directory, start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), "LC_ALL": "C.UTF-8"})

    def here(self, command):
        """The command with the places of this host in place of an installed one's."""
        for written, real in (("/run/tunwright", self.host.run_dir), ("/etc/tunwright/conf.d", self.host.conf_dir),
                              ("/var/lib/tunwright", self.host.state_dir),
                              ("systemctl reload tunwrightd", f"kill -HUP {self.host.daemon.pid}")):
            command = command.replace(written, str(real))
        return command

    def type(self, command):
        """The lines that the command printed."""
        self.process.stdin.write(f"{self.here(command)}\necho; echo '{MARK}'\n".encode())
        self.process.stdin.flush()
        said, deadline = b"", time.monotonic() + 20
        while f"\n{MARK}\n".encode() not in said:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert data, f"{command}\nprinted {said.decode(errors='replace')!r}, and does not end"
            said += data
        return said.decode(errors="replace").partition(f"\n{MARK}\n")[0].split("\n")

    def end(self):
        self.process.stdin.close()
        os.killpg(self.process.pid, signal.SIGKILL)  # with what it left in the background
        self.process.wait(10)


@pytest.fixture
def shell(net, tmp_path):
    authority = door.Authority(net.base / "certificates")
    server = authority.sign("server", "/CN=server", ["subjectAltName=IP:10.32.0.11", "extendedKeyUsage=serverAuth"])
    client = authority.client("prometheus")
    for name, file in ("ca.pem", authority.file), ("prometheus.pem", client.file), ("prometheus.key", client.key):
        shutil.copyfile(file, tmp_path / name)
    host = net.host("a", listen=["127.0.0.1:8080"], start=False,
                    arguments=door.tls_options(authority, server, addresses=["10.32.0.11:8443"]))
    host.conf_dir.mkdir(mode=0o755)
    host.namespace.ip("addr", "add", "10.32.0.11/32", "dev", "lo")
    host.start()
    made = Shell(host, tmp_path)
    yield made
    made.end()


@pytest.mark.limit(180)
def test_transcripts(shell):
    found = transcripts(README.read_text())
    assert len(found) > 20
    wrong = []
    for command, written in found:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            real = [line for line in shell.type(command) if line.strip()]
            if is_as_written(written, real) or not only_looks(command) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if not is_as_written(written, real):
            wrong.append("\n".join([f"$ {command}", "  stands there:", *written, "  is:", *real]))
    assert not wrong, "\n\n".join(wrong)


def test_the_judge():
    """What is compared, and what is let pass."""
    assert transcripts("x\n\n    $ a b\n    c\n    $ d \\\n    > e\n\n    f\n\ny\n\n    no\n\n    $ g\n") == [
        ("a b", ["c"]), ("d \\\ne", ["f"]), ("g", [])]
    assert is_as_written(['{"time":"2026-01-02T03:04:05.678Z","mtu":1472}'], ['{"time":"2027-01-02T03:04:05.999Z","mtu":1472}'])
    assert not is_as_written(['{"mtu":1472}'], ['{"mtu":1473}'])
    assert is_as_written(["{a…}"], ["{abc}"]) and not is_as_written(["{a…}"], ["{abc}", "d"])
    assert is_as_written(["a", "…", "d"], ["a", "b", "c", "d"]) and not is_as_written(["a", "…"], ["b"])
    assert is_as_written([], []) and not is_as_written([], ["x"])
    assert only_looks("tw /v1/devices | jq .") and not only_looks("tw /v1/devices -X POST")
