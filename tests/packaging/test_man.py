# SPDX-License-Identifier: Apache-2.0
"""The man pages: well-formed, true to the headers, and with a worker in them that works."""

import re
import shutil
import subprocess

import pytest
from lib import build
from lib.waiting import until

PAGES = sorted((build.TREE / "packaging" / "man").glob("*.[158]"))
WORKER_PAGE = build.TREE / "packaging" / "man" / "tunwright-worker.8"
WORKER_HEADER = (build.TREE / "include" / "tunwright" / "worker.h").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lint(page):
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("program", build.PROGRAMS)
def test_names_every_flag(program):
    """Each flag that --help knows stands in the page."""
    path = build.directory("release") / program
    assert path.exists(), f"{path} is not built: run tests/run"
    shown = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=10, check=True).stdout
    page = (build.TREE / "packaging" / "man" / f"{program}.8").read_text()
    for flag in re.findall(r"^  --([a-z-]+)", shown, re.M):
        if flag not in ("help", "version"):
            assert f".It Fl -{flag}" in page, f"--{flag}"


def test_names_every_command():
    """Each command and each of its options that `tunwright help` knows stands in the page."""
    path = build.directory("release") / build.CLIENT
    assert path.exists(), f"{path} is not built: run tests/run"

    def help_of(*words):
        return subprocess.run([path, "help", *words], capture_output=True, text=True, timeout=10, check=True).stdout

    page = (build.TREE / "packaging" / "man" / "tunwright.1").read_text()
    commands = [line.split()[0] for line in help_of().split("\n\n")[1].splitlines()]
    assert len(commands) > 20
    for command in set(commands):
        assert re.search(rf"^\.It Cm {command}\b", page, re.M), command
        for flag in re.findall(r"^  (?:-., |    )--([a-z-]+)", help_of(command), re.M):
            assert re.search(rf"(Fl|,) -{flag}\b", page), f"{command} --{flag}"


def test_settings_are_flags():
    """packaging/default/tunwright sets nothing, and what it shows are variables of flags that there are."""
    text = (build.TREE / "packaging" / "default" / "tunwright").read_text()
    shown = "".join(subprocess.run([build.directory("release") / program, "--help"], capture_output=True, text=True,
                                   timeout=10, check=True).stdout for program in build.PROGRAMS[:2])
    variables = re.findall(r"^#(TUNWRIGHT_[A-Z_]+)=\S+$", text, re.M)
    assert len(variables) > 5 and not re.search(r"^[^#\n]", text, re.M), text
    for variable in variables:
        assert re.search(rf"\bor {variable}\n", shown), variable


def test_drop_reasons_are_those_of_the_header():
    page = dict((int(number), name) for number, name in re.findall(r"^(\d+):([a-z_]+):T\{$", WORKER_PAGE.read_text(), re.M))
    enum = re.search(r"enum drop_reason \{(.*?)DROP_REASON_N", WORKER_HEADER, re.S)[1]
    header = dict(enumerate(name.lower() for name in re.findall(r"\bDROP_([A-Z_]+),", enum)))
    assert page == header


def example_worker():
    """The Python program of the page's EXAMPLES, with its escapes undone."""
    text = re.search(r"^\.Sh EXAMPLES\n.*?^\.Bd [^\n]*\n(.*?)^\.Ed", WORKER_PAGE.read_text(), re.S | re.M)[1]
    return text.replace("\\e", "\\")


def test_a_worker_that_is_not_ours(net, base):
    """The page's program, started by netd in place of our own: it counts, it is configured anew without a restart, it
    outlives netd, and it stops."""
    programs = base / "page"
    programs.mkdir(mode=0o755, exist_ok=True)
    (programs / "tunwright-worker").write_text(example_worker())
    (programs / "tunwright-worker").chmod(0o755)
    host = net.host("page", worker_dir=programs)
    document = host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "monitor"})
    worker = document["status"]["worker"]
    assert worker["report"] == {"program": "drops all"}, document

    def counted():
        return host.counters("tun0")["worker"]

    before = counted()
    assert host.namespace.ping("192.168.3.12", count=4, wait=0.2).received == 0
    until(lambda: counted()["device_in"]["packets"] >= before["device_in"]["packets"] + 4, 5, counted)
    after = counted()
    assert after["device_in"]["bytes"] >= before["device_in"]["bytes"] + 4 * 84
    assert after["drops"]["not_forwarded"] == after["device_in"]["packets"]

    host.kill9("netd")
    host.netd_start()
    until(lambda: host.api("PUT", "/v1/devices/tun0/worker", {"type": "monitor", "log_rate": 3}).status == 200, 10,
          "a change by the next netd")
    assert host.status("tun0")["worker"]["pid"] == worker["pid"]
    host.api("DELETE", "/v1/devices/tun0").expect(204)
    assert host.worker_pids() == []
