# SPDX-License-Identifier: Apache-2.0
"""Running other programs, bounded in time, with everything they said in the failure."""

import shlex
import subprocess

from lib.waiting import PATIENCE


def run(*args, check=True, timeout=30, stdin=None, **options):
    """Runs a program to its end; returns its CompletedProcess with text. Where it fails, so does the test."""
    args = [str(a) for a in args]
    timeout *= PATIENCE
    try:
        done = subprocess.run(args, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                              capture_output=True, text=True, errors="replace", timeout=timeout, **options)
    except subprocess.TimeoutExpired as expired:
        said = "".join((t or b"").decode(errors="replace") for t in (expired.stdout, expired.stderr))
        raise AssertionError(f"{shlex.join(args)}: still running after {timeout} s\n{said}") from None
    if check and done.returncode != 0:
        raise AssertionError(f"{shlex.join(args)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done
