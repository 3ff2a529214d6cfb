# SPDX-License-Identifier: Apache-2.0
"""Each program of tests/platform proves a fact about the kernel: exit status 0. 77: it cannot be tried here."""

import pathlib
import subprocess

import pytest
from lib import build

SKIPPED = 77
SOURCES = sorted(pathlib.Path(__file__).parent.glob("*.c"))


@pytest.mark.parametrize("name", [path.stem for path in SOURCES])
def test_platform(name):
    path = build.directory("asan") / "platform" / f"platform_{name}"
    assert path.exists(), f"{path} is not built: run tests/run"
    # in a namespace of its own: what it makes there goes with it
    done = subprocess.run(["unshare", "--net", "--", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=50, text=True, errors="replace", cwd="/tmp")
    if done.returncode == SKIPPED:
        pytest.skip((done.stdout.strip().splitlines() or ["it gives no reason"])[-1])
    if done.returncode != 0 or build.REPORT.search(done.stdout):
        pytest.fail(f"exit status {done.returncode}\n{done.stdout}", pytrace=False)
