# SPDX-License-Identifier: Apache-2.0
"""A plugin of pytest: tells each result on ttyS1 as it comes, for tests/vm/machine.py."""

import json
import os

PORT = "/dev/ttyS1"


def say(what, **more):
    with open(PORT, "w", encoding="ascii") as port:
        port.write(f"{os.environ['TUNWRIGHT_TEST_WORD']} {json.dumps({'say': what, **more})}\n")


def result(report, outcome, text):
    say("result", test=report.nodeid, outcome=outcome, seconds=getattr(report, "duration", 0), text=text[-12000:])


def pytest_runtest_logreport(report):
    if report.failed:
        sections = "".join(f"\n--- {title}\n{text}" for title, text in report.sections)
        result(report, "failed", f"{report.longreprtext[-6000:]}{sections[-6000:]}")
    elif report.skipped:
        result(report, "skipped", report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr))
    elif report.when == "call":
        result(report, "passed", "")


def pytest_collectreport(report):
    if report.failed:
        result(report, "failed", str(report.longrepr))
