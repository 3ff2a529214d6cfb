# SPDX-License-Identifier: Apache-2.0
"""Each case of each cmocka program (tests/unit/test_*.c) is a test here."""

import concurrent.futures
import os
import pathlib
import re
import subprocess

import pytest
from lib import build

HERE = pathlib.Path(__file__).parent
AT_A_TIME = 6
FIRST = ("test_netd_failure", "test_pending", "test_attach", "test_http_server")  # which take longest
SLOW = ("test_power_cut",)  # which keeps a processor busy all the while: left to the whole run
PROGRAM_LIMIT_S = 110
pytestmark = pytest.mark.limit(120)
MACRO = re.compile(r"^#define (\w+)\(\w+\)\s+cmocka_unit_test.*$", re.M)  # a program's own word for a case
LINE = re.compile(r"^\[\s*(RUN|OK|FAILED|ERROR|SKIPPED)\s*\] (\w+)", re.M)


def sources():
    return sorted(HERE.glob("test_*.c"))


def cases_of(text):
    shared = [path.read_text() for path in HERE.glob("*.h")]
    words = "|".join([r"cmocka_unit_test\w*", *(word for source in [text, *shared] for word in MACRO.findall(source))])
    return dict.fromkeys(re.findall(rf"\b(?:{words})\(\s*(\w+)", MACRO.sub("", text)))


def cases():
    return [marked(path.stem, case) for path in sources() for case in cases_of(path.read_text())]


def marked(program, *more):
    return pytest.param(program, *more, marks=pytest.mark.slow if program in SLOW else ())


@pytest.fixture(scope="session")
def result(request):
    """result(program) is (exit status, what it said). Each program that was asked for runs once; they wait a lot, so some
    run at a time, and those that wait longest begin."""
    programs = {item.callspec.params["program"] for item in request.session.items if item.path == pathlib.Path(__file__)}
    with concurrent.futures.ThreadPoolExecutor(max_workers=AT_A_TIME) as pool:
        running = {program: pool.submit(execute, program) for program in sorted(programs, key=lambda p: (p not in FIRST, p))}
        yield lambda program: running[program].result()


def execute(program):
    path = build.directory("asan") / "unit" / program
    if not path.exists():
        return None, f"{path} is not built: run tests/run"
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1",
                   "UBSAN_OPTIONS": "print_stacktrace=1"}
    try:
        done = subprocess.run([path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              env=environment, timeout=PROGRAM_LIMIT_S, cwd="/tmp")
    except subprocess.TimeoutExpired as expired:
        return None, (expired.stdout or b"").decode(errors="replace") + f"\n[still running after {PROGRAM_LIMIT_S} s]"
    return done.returncode, done.stdout.decode(errors="replace")


@pytest.mark.parametrize("program,case", cases())
def test_case(result, program, case):
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


@pytest.mark.parametrize("program", [marked(path.stem) for path in sources()])
def test_program(result, program):
    """The program as a whole: its exit status, no leak at its end, and no case that is not told apart above."""
    status, said = result(program)
    if status != 0 or build.REPORT.search(said):
        pytest.fail(f"{program}: exit status {status}\n{said[-8000:]}", pytrace=False)
    run = {match[2] for match in LINE.finditer(said)}
    assert run, f"{program} has no test"
    assert run == set(cases_of((HERE / f"{program}.c").read_text())), "the cases that ran are those that are tests here"
