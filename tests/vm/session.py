# SPDX-License-Identifier: Apache-2.0
"""tests/vm/run, from the arguments to the last line."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import debian
from machine import Machine

GUEST = "vm/guest"
# Each stage is one boot of the same disk: the second finds what the first left. Paths are below tests/.
SHORT = [["guest_units.py", "guest_gue.py", "guest_offload.py", "-m", "not slow"], ["guest_after_reboot.py"]]
FULL = [["guest_units.py", "guest_gue.py", "guest_offload.py", "guest_netem.py", "guest_kernel.py",
         "../../system/test_super_packets.py", "../../system/test_udp.py", "../../system/test_counters.py",
         # its sender hands over super-packets to a device without checksum offload: EIO in this kernel
         "--deselect=system/test_super_packets.py::test_worker_that_follows_one_with_offloads"],
        ["guest_after_reboot.py"]]
LIMIT_S = {"short": 480, "full": 1800}  # for one boot
DISK_MB = 3072
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-c", "/src/tree/tests/pytest.ini", "-o", "python_files=guest_*.py test_*.py"]


def say(text):
    print(f"tests/vm/run: {text}", flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="tests/vm/run")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("-k", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--shell", action="store_true")
    return parser.parse_args()


class Outcomes:
    """A test counts once: as failed when any of its phases was."""

    def __init__(self):
        self.all = {}

    def note(self, message):
        name, outcome = message["test"], message["outcome"]
        if outcome == "failed" or self.all.get(name) != "failed":
            self.all[name] = outcome
        took = f" ({message['seconds']:.1f} s)" if outcome != "skipped" else f": {message['text']}"
        print(f"{outcome:>8}  {name.removeprefix(GUEST + '/')}{took}", flush=True)
        if outcome == "failed":
            print(message["text"], flush=True)

    def fail(self, name, text):
        self.note({"test": name, "outcome": "failed", "seconds": 0, "text": text})

    def count(self, outcome):
        return list(self.all.values()).count(outcome)


def copy_of_tree(target):
    """What is in the working tree, and not what was built there."""
    def unwanted(directory, names):
        return [n for n in names if n in ("__pycache__", ".git") or (n == "build" and pathlib.Path(directory) == debian.TREE)]
    shutil.copytree(debian.TREE, target, symlinks=True, ignore=unwanted)


def stages(options, root, project):
    """[pytest's arguments, the tests they choose] of each stage that has any; pytest is asked in the Debian, but not emulated."""
    found = []
    for chosen in SHORT if options.short else FULL:
        given = [os.path.normpath(f"{GUEST}/{name}") if name.endswith(".py") else name for name in chosen]
        given += ["-k", options.k] if options.k else []
        said = debian.inside(root, project, "sh", "-c", 'cd /src/tree/tests && { "$@" || [ $? = 5 ]; }', "sh", *PYTEST, *given,
                             "--collect-only", "-q", timeout=120)
        tests = [line for line in said.splitlines() if "::" in line]
        if tests:
            found.append((given, tests))
    return found


def run(options, work, outcomes):
    project, root_disk, project_disk, console = (work / name for name in ("project", "root.img", "project.img", "console.log"))
    with debian.debian(say) as root:
        (project / "build").mkdir(parents=True)
        copy_of_tree(project / "tree")
        plan = stages(options, root, project)
        if options.list:
            print("\n".join(name for _, tests in plan for name in tests), flush=True)
            return
        (project / "stages.json").write_text(json.dumps([[*PYTEST, *given] for given, _ in plan]))
        started = time.monotonic()
        debian.build(root, project)
        say(f"the project is built there, in {time.monotonic() - started:.0f} s")
        started = time.monotonic()
        debian.disk(root, root_disk, DISK_MB)
        debian.disk(project, project_disk, 1024)
        kernel = work / "boot"
        shutil.copytree(root / "boot", kernel / "boot")
        say(f"its disks are made, in {time.monotonic() - started:.0f} s")
    machine = Machine(kernel, [root_disk, project_disk], console)
    if options.shell:
        machine.shell()
        return
    for stage, (_, tests) in enumerate(plan):
        begun = time.monotonic()
        for message in machine.run(stage, LIMIT_S["short" if options.short else "full"]):
            if "ended" in message:
                broken = message["ended"]
                if broken:
                    outcomes.fail(f"boot {stage + 1}", broken)
            elif message["say"] == "begun":
                say(f"boot {stage + 1}: Linux {message['kernel']} is up, after {time.monotonic() - begun:.0f} s")
            elif message["say"] == "result":
                outcomes.note(message)
        for name in tests:
            if name not in outcomes.all:
                outcomes.fail(name, "it did not come to this test")
        with open(work / "consoles.log", "ab") as file:
            file.write(console.read_bytes() if console.exists() else b"")
        say(f"boot {stage + 1} took {time.monotonic() - begun:.0f} s")
        if broken:
            return


def keep(work, everything):
    """Moves what is of use to where it stays; the rest goes with the directory."""
    wanted = [work / name for name in (("consoles.log", "root.img", "project.img") if everything else ("consoles.log",))]
    if any(path.exists() for path in wanted):
        kept = tempfile.mkdtemp(prefix="tunwright-vm-", dir="/tmp")
        for path in filter(pathlib.Path.exists, wanted):
            shutil.move(path, kept)
        say(f"kept in {kept}")


def show_console(work):
    log = work / "consoles.log"
    if log.exists():
        text = log.read_text(errors="replace").splitlines()
        print("\n".join(["the console's last lines:", *(f"  {line}" for line in text[-30:])]), flush=True)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcomes = Outcomes()
    with debian.work_directory() as work:
        try:
            run(options, work, outcomes)
        except debian.Impossible as reason:
            print(f"tests/vm/run: cannot work here: {reason}", file=sys.stderr, flush=True)
            return 77
        except (SystemExit, subprocess.TimeoutExpired, OSError) as error:
            outcomes.fail("the making of it", str(error))
        failed = outcomes.count("failed")
        if failed:
            show_console(work)
        if failed or options.keep:
            keep(work, options.keep)
    if options.list or options.shell:
        return 1 if failed else 0
    print(f"{outcomes.count('passed')} passed, {failed} failed, {outcomes.count('skipped')} skipped", flush=True)
    return 0 if outcomes.count("passed") and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
