# SPDX-License-Identifier: Apache-2.0
"""The first command of the README, as a stranger runs it: it verifies itself, and removes what it made."""

import os
import subprocess

import pytest
from lib import build
from lib.command import run


def present():
    """What it could leave behind: namespaces, and directories of its own."""
    named = {line.split()[0] for line in run("ip", "netns", "list").stdout.splitlines() if line}
    return {name for name in named if not name.startswith("tw")}


@pytest.mark.slow
@pytest.mark.limit(600)
def test_quickstart_check():
    before = present()
    done = subprocess.run([build.TREE / "packaging" / "quickstart", "--check"], stdout=subprocess.PIPE, cwd="/",
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=580, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-8000:]
    assert "all checks passed" in done.stdout and "curl" in done.stdout
    assert present() <= before, "namespaces that it left behind"


def test_quickstart_help_says_how():
    done = run(build.TREE / "packaging" / "quickstart", "--help", cwd="/")
    assert "--check" in done.stdout
    assert os.access(build.TREE / "packaging" / "quickstart", os.X_OK)
