# SPDX-License-Identifier: Apache-2.0
"""Each case of each cmocka program (tests/unit/test_*.c) is a test here."""

import functools
import os
import pathlib
import re
import subprocess

import pytest
from lib import build

HERE = pathlib.Path(__file__).parent
MACRO = re.compile(r"^#define (\w+)\(\w+\)\s+cmocka_unit_test.*$", re.M)  # a program's own word for a case
LINE = re.compile(r"^\[\s*(RUN|OK|FAILED|ERROR|SKIPPED)\s*\] (\w+)", re.M)


def sources():
    return sorted(HERE.glob("test_*.c"))


def cases_of(text):
    words = "|".join([r"cmocka_unit_test\w*", *MACRO.findall(text)])
    return dict.fromkeys(re.findall(rf"\b(?:{words})\(\s*(\w+)", MACRO.sub("", text)))


def cases():
    return [(path.stem, case) for path in sources() for case in cases_of(path.read_text())]


@functools.cache
def result(program):
    """Runs the program, once: (exit status, what it said)."""
    path = build.directory("asan") / "unit" / program
    if not path.exists():
        pytest.fail(f"{path} is not built: run tests/run", pytrace=False)
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1",
                   "UBSAN_OPTIONS": "print_stacktrace=1"}
    try:
        done = subprocess.run([path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              env=environment, timeout=50, cwd="/tmp")
    except subprocess.TimeoutExpired as expired:
        return None, (expired.stdout or b"").decode(errors="replace") + "\n[still running after 50 s]"
    return done.returncode, done.stdout.decode(errors="replace")


@pytest.mark.parametrize("program,case", cases())
def test_case(program, case):
    status, said = result(program)
    outcomes = [(match[1], match.start(), match.end()) for match in LINE.finditer(said) if match[2] == case]
    if not outcomes:
        pytest.fail(f"{program} did not come to this case (exit status {status}):\n{said[-4000:]}", pytrace=False)
    text = said[outcomes[0][1]:outcomes[-1][2]]
    if outcomes[-1][0] == "SKIPPED":
        pytest.skip(text)
    if outcomes[-1][0] != "OK":
        # a program that dies inside a case ends with that case's RUN
        pytest.fail(text if len(outcomes) > 1 else said[outcomes[0][1]:][:8000], pytrace=False)


@pytest.mark.parametrize("program", [path.stem for path in sources()])
def test_program(program):
    """The program as a whole: its exit status, no leak at its end, and no case that is not told apart above."""
    status, said = result(program)
    if status != 0 or build.REPORT.search(said):
        pytest.fail(f"{program}: exit status {status}\n{said[-8000:]}", pytrace=False)
    run = {match[2] for match in LINE.finditer(said)}
    assert run, f"{program} has no test"
