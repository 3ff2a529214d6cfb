# SPDX-License-Identifier: Apache-2.0
"""Requests drawn at random from the contract, good and bad ones in turn, against one daemon: whatever it is asked, it answers
as it is written down, and never with a 5xx.

TUNWRIGHT_RANDOM_S=600 tries for ten minutes, each time something else."""

import contextlib
import os
import random
import time
import warnings

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, configuration, settings
from lib import calls
from lib.host import tail

pytestmark = pytest.mark.slow

SECONDS = int(os.environ.get("TUNWRIGHT_RANDOM_S", "0"))


class Enough(KeyboardInterrupt):
    """The time is over: this is what hypothesis lets through."""


@pytest.fixture
def host(net):
    configuration.set_hypothesis_home_dir(str(net.base / "hypothesis"))  # nothing is written into the tree
    host = net.host("a")
    host.device("tun0", **calls.TUN0)
    host.namespace.ip("tuntap", "add", "found0", "mode", "tun")
    host.api("POST", "/v1/tokens", calls.TOKEN).expect(201)
    return host


@pytest.mark.limit(SECONDS + 120)
def test_requests_at_random(host):
    from lib import strategies
    until, sent, statuses = time.monotonic() + (SECONDS or 25), 0, {}

    @hypothesis.seed(random.randrange(1 << 32) if SECONDS else 1)
    @settings(max_examples=10 ** 9 if SECONDS else 1500, deadline=None, database=None, phases=[Phase.generate], print_blob=False,
              suppress_health_check=list(HealthCheck), report_multiple_bugs=False)
    @hypothesis.given(strategies.calls())
    def ask(call):
        nonlocal sent
        if time.monotonic() > until:
            raise Enough
        try:
            answer = call.send(host.connection())
        except Exception as error:
            raise AssertionError(f"{call}: {error}\n{tail(host.daemon.log)}") from error
        assert answer.status < 500, f"{call}\n{answer}\n{tail(host.daemon.log)}"
        sent += 1
        statuses[answer.status] = statuses.get(answer.status, 0) + 1

    with warnings.catch_warnings(), contextlib.suppress(Enough):
        warnings.simplefilter("ignore")
        ask()
    assert host.api("GET", "/healthz").status == 200
    print(f"{sent} requests: {dict(sorted(statuses.items()))}")
    assert sent > 200 and {200, 400, 404} <= set(statuses), statuses
