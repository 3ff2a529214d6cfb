# SPDX-License-Identifier: Apache-2.0
"""Where the programs under test are, and what a sanitizer says of them."""

import os
import pathlib
import re
import shutil

TREE = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("tunwrightd", "tunwright-netd", "tunwright-worker")
CLIENT = "tunwright"  # who tests only the daemons need not have built it
REPORT = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error: |ERROR: LeakSanitizer|LeakSanitizer has encountered"
                    r"|AddressSanitizer:DEADLYSIGNAL")


def directory(name):
    """build/<name>, or what TUNWRIGHT_BUILD_<NAME> says."""
    return pathlib.Path(os.environ.get(f"TUNWRIGHT_BUILD_{name.upper()}", TREE / "build" / name))


def install(name, into):
    """Copies the programs of one build to where another user may run them: netd wants its workers owned by root."""
    for program in PROGRAMS:
        source = directory(name) / program
        if not source.exists():
            raise AssertionError(f"{source} is not built: run tests/run")
    into.mkdir(mode=0o755)
    client = [CLIENT] if (directory(name) / CLIENT).exists() else []
    for program in (*PROGRAMS, *client):
        shutil.copyfile(directory(name) / program, into / program)
        (into / program).chmod(0o755)
    return into


def sanitizer_environment(reports):
    """The variables that make sanitizers write their reports to the directory `reports`, one file a process."""
    return {"ASAN_OPTIONS": f"log_path={reports}/asan:detect_leaks=1:detect_stack_use_after_return=1:handle_abort=1"
                            ":allocator_may_return_null=1",
            "UBSAN_OPTIONS": f"log_path={reports}/ubsan:print_stacktrace=1"}


def sanitizer_reports(reports):
    """The text of all reports in the directory."""
    return [f"{path.name}:\n{path.read_text(errors='replace')}" for path in sorted(reports.iterdir())
            if path.stat().st_size]
