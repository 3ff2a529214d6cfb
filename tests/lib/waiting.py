# SPDX-License-Identifier: Apache-2.0
"""Tests wait on conditions, never on time."""

import os
import time

PATIENCE = float(os.environ.get("TUNWRIGHT_TEST_PATIENCE", 1))  # how much longer everything may take, on an emulated machine

FIRST_PAUSE_S = 0.002


def until(condition, timeout, what, interval=0.02):
    """Calls `condition` until it answers something true, and returns that; fails with `what` after `timeout` seconds. It asks
    often at first, since most is soon true, and every `interval` seconds later.

    `what` says what was waited for; a callable is called at the end, so that it can tell what was there instead."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    pause = min(FIRST_PAUSE_S, interval)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, interval)
