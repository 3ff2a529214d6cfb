# SPDX-License-Identifier: Apache-2.0
"""The command line `tunwright`, as somebody types it on a host."""

import json
import os
import shlex

from lib import build
from lib.command import run

# the exit statuses of tunwright(1)
DONE, REFUSED, USAGE, UNREACHABLE, NOT_FOUND, CONFLICT, DIFFERS, TIMEOUT, FAILED, TROUBLE = range(10)


def environment(host):
    """Of somebody without settings; sanitizers report to where the host's reports are looked for."""
    return {"PATH": f"{program(host).parent}:{os.environ['PATH']}", "HOME": "/", "LC_ALL": "C.UTF-8", "TERM": "xterm",
            "TUNWRIGHT_SOCKET": str(host.socket), **build.sanitizer_environment(host.network.reports)}


def program(host, name="asan"):
    path = host.network.installs[name] / build.CLIENT
    assert path.exists(), "tunwright is not built: run tests/run"
    return path


def tunwright(host, line, *, exit=DONE, stdin=None, env=None, timeout=30, **options):
    """Types `tunwright LINE` on the host; its CompletedProcess. It must end with the status `exit`."""
    args = shlex.split(line) if isinstance(line, str) else [str(a) for a in line]
    done = run(*host.namespace.inside(program(host), *args), check=False, stdin=stdin, timeout=timeout,
               env={**environment(host), **(env or {})}, **options)
    assert done.returncode == exit, f"tunwright {line}: exit status {done.returncode}, not {exit}\n{done.stdout}{done.stderr}"
    assert exit != DONE or "Sanitizer" not in done.stderr, done.stderr
    return done


def said(host, line, **options):
    """What it wrote to standard output."""
    return tunwright(host, line, **options).stdout


def complained(host, line, exit, **options):
    """The lines that it wrote to standard error, without "tunwright: "; all of them are such."""
    lines = tunwright(host, line, exit=exit, **options).stderr.splitlines()
    assert lines and all(each.startswith("tunwright: ") for each in lines), lines
    return [each.removeprefix("tunwright: ") for each in lines]


def json_of(host, line, **options):
    return json.loads(said(host, f"{line} -o json", **options))
