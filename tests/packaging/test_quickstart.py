# SPDX-License-Identifier: Apache-2.0
"""The first command of README.md, and what it must not leave behind."""

import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest
from lib import build
from lib.waiting import until

QUICKSTART = build.TREE / "packaging" / "quickstart"


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")


@pytest.mark.slow
@pytest.mark.limit(180)
def test_check(root):
    done = subprocess.run([QUICKSTART, "--check"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=170)
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout and done.stdout.endswith("all checks passed\n"), done.stdout


class Terminal:
    """The quickstart at a terminal of its own, and all it has said."""

    def __init__(self):
        self.said = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(QUICKSTART, [str(QUICKSTART)])

    def listen(self):
        """Takes what there is to read; False at the end."""
        ready, _, _ = select.select([self.fd], [], [], 0.1)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.said += data.decode(errors="replace")
        return bool(data)

    def hears(self, text):
        return text in self.said or (self.listen() or pytest.fail(self.said)) and text in self.said

    def ends(self):
        while self.listen():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.slow
@pytest.mark.limit(180)
def test_stays_until_ctrl_c(root):
    terminal = Terminal()
    try:
        until(lambda: terminal.hears("Ctrl-C ends"), 150, lambda: terminal.said)
        host = re.search(r"ip netns exec (tw\d+-host) ping 192", terminal.said)[1]
        api = re.search(r"curl -sS (--unix-socket \S+/host/api.sock \S+/v1/devices)\b", terminal.said)[1]
        devices = subprocess.run(["curl", "-sS", "--fail", *api.split()], capture_output=True, text=True, timeout=10)
        assert '"name":"tun0"' in devices.stdout.replace(" ", ""), devices
        top = re.search(r"\$ (\S+/tunwright --socket \S+ top)$", terminal.said.replace("\r", ""), re.M)[1]
        table = subprocess.run([*top.split(), "--once"], capture_output=True, text=True, timeout=10).stdout
        assert re.search(r"^tun0 +tun +ready +udp ", table, re.M), table
        # a daemon that is killed is started again, as the text says
        netd = int(re.search(r"kill -9 (\d+) +# tunwright-netd", terminal.said)[1])
        os.kill(netd, signal.SIGKILL)
        until(lambda: terminal.hears(f"ended, as process {netd}; it was started again"), 20, lambda: terminal.said)
        os.write(terminal.fd, b"\x03")
        assert terminal.ends() == 0, terminal.said
    except BaseException:
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.ends()
        raise
    assert "nothing is left of it" in terminal.said
    assert not os.path.exists(f"/run/netns/{host}")
    assert not os.path.exists(re.search(r"--unix-socket (\S+)/host/", api)[1])


def test_says_what_it_needs_without_root_and_sudo(tmp_path):
    """Whoever is not root, and has no sudo, is told so; nothing is done."""
    tools = tmp_path / "bin"
    tools.mkdir()
    tmp_path.chmod(0o755)
    for tool in ("bash", "env", "readlink", "dirname", "sed"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    script = tmp_path / "quickstart"
    # the script adds /usr/sbin, where there is no sudo either
    script.write_text(QUICKSTART.read_text())
    script.chmod(0o755)
    leave = ["setpriv", "--reuid", "64190", "--regid", "64190", "--clear-groups"] if os.geteuid() == 0 else []
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o111)
    done = subprocess.run([*leave, "/usr/bin/env", "-i", f"PATH={tools}", "/usr/bin/bash", script], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    assert done.returncode == 1 and "sudo" in done.stderr and "root" in done.stderr, done


def test_refuses_other_arguments():
    started = time.monotonic()
    done = subprocess.run([QUICKSTART, "--chek"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
    assert done.returncode != 0 and "--check" in done.stderr
    assert time.monotonic() - started < 5
