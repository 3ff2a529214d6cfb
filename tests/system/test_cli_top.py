# SPDX-License-Identifier: Apache-2.0
"""tunwright top in a terminal: what it draws, its keys, its size, and that the terminal is as it was whatever ends it."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from lib.client import environment, program, said
from lib.waiting import until

TAKE, GIVE = b"\033[?1049h", b"\033[?1049l"


class Terminal:
    """A pseudo terminal with a command in it; `text` is all that was written to it."""

    def __init__(self, host, *args, rows=24, columns=100, env=None):
        self.master, slave = pty.openpty()
        self.slave = os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY)  # stays open, so that its settings can be seen
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.text = b""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *host.namespace.inside(program(host), *args)], stdin=slave, stdout=slave, stderr=slave,
            env={**environment(host), **(env or {})})
        os.close(slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds=0.0):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.text += data
            seconds = 0.0

    def frames(self):
        """What was drawn, whole frame by whole frame, with its colours but without what moves and clears."""
        self.read(0.02)
        frames = [frame.split(b"\033[J")[0] for frame in self.text.split(b"\033[H")[1:] if b"\033[J" in frame]
        return [re.sub(r"\033\[K\r*\n", "\n", frame.decode()) for frame in frames]

    def shows(self, pattern, timeout=15):
        """Waits for a frame that matches, and returns it."""
        def found():
            frames = self.frames()
            return frames[-1] if frames and re.search(pattern, bare(frames[-1]), re.M) else None
        return until(found, timeout, lambda: f"{pattern!r} in {self.frames()[-1:] or self.text}")

    def key(self, text):
        os.write(self.master, text.encode())

    def end(self, timeout=15):
        """The exit status, when it has ended by itself."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end; {self.text[-500:]!r}"
            self.read(0.05)
        self.read(0.05)
        return self.process.returncode

    def is_as_before(self):
        assert self.text.count(TAKE) == self.text.count(GIVE) > 0, self.text[-300:]
        assert self.text.rindex(b"\033[?25h") > self.text.rindex(b"\033[?25l"), "the cursor is hidden"
        assert self.text.rindex(GIVE) > self.text.rindex(TAKE)
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture(scope="module")
def host(module_net):
    made = module_net.host("a")
    for i in range(12):
        made.device(f"tun{i}", kind="tun", addresses=[f"10.{i}.0.1/24"], worker={"type": "echo"})
    return made


@pytest.fixture
def terminal(host):
    with contextlib.ExitStack() as stack:
        def make(*args, **options):
            made = Terminal(host, "top", "-i", "100", *args, **options)
            stack.callback(made.close)
            return made
        yield make


def bare(frame):
    """Without its colours."""
    return re.sub(r"\033\[\d*m", "", frame)


def rows_of(frame):
    """The lines of the table's body."""
    lines = bare(frame).split("\n")
    head = next(i for i, line in enumerate(lines) if line.startswith("NAME"))
    return [line for line in lines[head + 1:] if line]


def test_it_draws_sorts_and_ends(host, terminal):
    top = terminal("--sort", "name")
    frame = top.shows(r"^tun9 ")
    assert "12 devices, 12 ready" in frame and "by name" in frame
    assert [row.split()[0] for row in rows_of(frame)] == sorted(f"tun{i}" for i in range(12))
    with host.namespace.popen("ping", "-q", "-i", "0.02", "-w", "20", "10.7.0.9", stdout=subprocess.DEVNULL) as ping:
        top.key("r")
        # the traffic is on top, with its rate in both directions
        until(lambda: rows_of(top.shows("by rate"))[0].startswith("tun7 "), 15, lambda: top.frames()[-1])
        busy = rows_of(top.shows(r"tun7 .*[1-9]"))[0].split()
        assert busy[1:4] == ["tun", "ready", "echo"]
        ping.terminate()
        ping.wait(10)
    top.key("n")
    assert rows_of(top.shows("by name"))[0].startswith("tun0 ")
    top.key("d")
    top.shows("by drops")
    # a new device appears, and one that goes disappears
    host.device("new0", kind="tun")
    top.shows(r"^new0 .*ready")
    host.api("DELETE", "/v1/devices/new0").expect(204)
    until(lambda: "new0" not in top.frames()[-1], 10, "an end of new0")
    top.key("q")
    assert top.end() == 0 and top.is_as_before()


def test_size(terminal):
    top = terminal("--sort", "name", rows=10, columns=40)
    frame = top.shows(r"^\.\.\. and \d+ more")
    lines = bare(frame).split("\n")
    assert len(lines) <= 10 and max(map(len, lines)) <= 40, lines
    assert len(rows_of(frame)) == 7  # six and "... and 6 more"
    top.resize(40, 200)
    frame = top.shows(r"DROPPED")
    assert len(rows_of(frame)) == 12 and "more" not in frame
    top.resize(1, 1)
    time.sleep(0.3)
    top.resize(24, 80)
    top.shows(r"^tun9")
    top.key("q")
    assert top.end() == 0 and top.is_as_before()


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGQUIT, 0)])
def test_signals_restore_the_terminal(terminal, number, status):
    top = terminal()
    top.shows("tun9")
    if number == signal.SIGINT:
        top.key("\x03")  # as somebody types it
    else:
        os.kill(top.process.pid, number)
    assert top.end() == status and top.is_as_before()


def test_stopped_and_continued(terminal):
    top = terminal()
    top.shows("tun9")
    assert termios.tcgetattr(top.slave) != top.before
    os.kill(top.process.pid, signal.SIGTSTP)
    until(lambda: (top.read(), GIVE in top.text)[1], 10, "the terminal given back")
    # an orphaned process group, as this one is, is not stopped by SIGTSTP: it goes on at once
    until(lambda: (top.read(), top.text.count(TAKE) == 2)[1], 10, "the terminal taken again")
    top.shows("tun9")
    top.key("q")
    assert top.end() == 0 and top.is_as_before()


def test_the_daemon_restarts(net):
    """The table stays, and goes on with the next daemon."""
    host = net.host("a")
    host.device("tun0", kind="tun", worker={"type": "echo"})
    top = Terminal(host, "top", "-i", "100")
    try:
        top.shows("tun0 .*ready")
        host.kill9("tunwrightd")
        host.daemon_start()
        host.ready()
        host.device("tun1", kind="tun")
        top.shows(r"^tun1 .*ready", timeout=20)
        top.key("q")
        assert top.end() == 0 and top.is_as_before() and b"broke" not in top.text
    finally:
        top.close()


def test_colours(host, terminal):
    assert re.search(r"\033\[32mready", terminal().shows("tun9"))
    assert not re.search(r"\033\[\d*m", terminal(env={"NO_COLOR": "1"}).shows("tun9"))
    assert not re.search(r"\033\[\d*m", terminal(env={"TERM": "dumb"}).shows("tun9"))
    assert "\033" not in said(host, "top --once") and "\033" not in said(host, "list")


def test_once(host):
    lines = said(host, "top --once --sort name -i 200").splitlines()
    assert lines[0].split()[:4] == ["NAME", "KIND", "STATE", "WORKER"] and len(lines) == 13
    assert re.fullmatch(r"tun0 +tun +ready +echo( +[\d.]+k?){5} +\d.*", lines[1])
    assert len(said(host, "top --once -l site=nowhere -i 100").splitlines()) == 1


def test_json_on_a_terminal(host):
    """The API's own bytes, but for those that would move the cursor; a capture does not go there at all."""
    host.api("PATCH", "/v1/devices/tun0", {"labels": {"evil": "a\u202eb"}}).expect(200)
    shown = Terminal(host, "show", "tun0", "-o", "json")
    refused = Terminal(host, "capture", "tun0")
    try:
        assert shown.end() == 0 and b'"evil":"a\\u202eb"' in shown.text, shown.text
        assert refused.end() == 2 and b"not for a terminal" in refused.text
    finally:
        shown.close()
        refused.close()


def test_asks_before_it_deletes(host, tmp_path):
    (tmp_path / "none.json").write_text('{"absent": ["tun11"]}')
    args = ("apply", "-f", str(tmp_path / "none.json"))
    for answer, status in (("n\n", 1), ("\x04", 1), ("y\n", 0)):
        asked = Terminal(host, *args)
        try:
            until(lambda: (asked.read(0.05), b"[y/N]" in asked.text)[1], 10, lambda: asked.text)
            asked.key(answer)
            assert asked.end() == status, asked.text
        finally:
            asked.close()
        assert host.api("GET", "/v1/devices/tun11").status == (404 if status == 0 else 200)


def test_apply_shows_how_far_it_is(net, tmp_path):
    """On a terminal, on one line, which is gone at the end: what the daemon tells of a transaction, and our own count."""
    host = net.host("a")
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"devices": [{"name": f"t{i}", "kind": "tun", "addresses": [f"10.1.{i}.1/24"]}
                                            for i in range(100)]}))
    for args, pattern in ((("--prune",), rb"\r\033\[K\d+ of [3-9]\d\d"), ((), rb"\r\033\[K\d+ of 100")):
        applied = Terminal(host, "apply", "-f", str(path), *args)
        try:
            assert applied.end() == 0 and re.search(pattern, applied.text), applied.text[-500:]
            assert not re.search(rb"of \d+[^\d\r]", applied.text), "a line was written behind it"
        finally:
            applied.close()
    assert len(said(host, "list -o name").split()) == 100
    assert " of " not in said(host, f"apply -f {path}")
