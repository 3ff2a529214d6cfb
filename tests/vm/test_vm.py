# SPDX-License-Identifier: Apache-2.0
"""The short form of tests/vm/run: a whole Debian 12 under emulation. Its own tests are in tests/vm/guest."""

import os
import subprocess

import pytest
from lib import build

LIMIT_S = 1200  # where the Debian has to be made first, by a machine that does other things as well


@pytest.mark.slow
@pytest.mark.limit(LIMIT_S + 30)
def test_short(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root, for mounts and a chroot")
    said = tmp_path / "said"
    with open(said, "wb") as file:
        status = subprocess.run(["timeout", "--kill-after=10", str(LIMIT_S), build.TREE / "tests/vm/run", "--short"], stdin=subprocess.DEVNULL,
                                stdout=file, stderr=file, check=False).returncode
    text = said.read_text(errors="replace")
    if status == 77:
        pytest.skip(text.strip().splitlines()[-1])
    assert status == 0, text
    assert " 0 failed" in text.splitlines()[-1], text
