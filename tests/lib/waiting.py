# SPDX-License-Identifier: Apache-2.0
"""Tests wait on conditions, never on time."""

import os
import time

PATIENCE = float(os.environ.get("TUNWRIGHT_TEST_PATIENCE", 1))  # how much longer everything may take, on an emulated machine


def until(condition, timeout, what, interval=0.02):
    """Calls `condition` until it answers something true, and returns that; fails with `what` after `timeout` seconds.

    `what` says what was waited for; a callable is called at the end, so that it can tell what was there instead."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(interval)
