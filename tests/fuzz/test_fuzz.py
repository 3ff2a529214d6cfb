# SPDX-License-Identifier: Apache-2.0
"""Each fuzz target (tests/fuzz/fuzz_*.c) replays its corpus, tests/fuzz/corpus/<name>, and then looks for ten seconds."""

import pathlib
import subprocess

import pytest
from lib import build

HERE = pathlib.Path(__file__).parent
TARGETS = [path.stem for path in sorted(HERE.glob("fuzz_*.c"))]
FUZZ_S = 10


def corpus(target):
    for name in (target, target.removeprefix("fuzz_")):
        if (HERE / "corpus" / name).is_dir():
            return HERE / "corpus" / name
    pytest.fail(f"{target} has no corpus in {HERE / 'corpus'}", pytrace=False)


def execute(command, timeout):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=timeout, text=True, errors="replace", cwd="/tmp")
    if done.returncode != 0:
        pytest.fail(f"exit status {done.returncode}\n{done.stdout[-8000:]}", pytrace=False)


@pytest.mark.parametrize("target", TARGETS)
def test_replay(target):
    program = build.directory("asan") / "fuzz" / target
    assert program.exists(), f"{program} is not built: run tests/run"
    execute([program, corpus(target)], 50)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_fuzz(target, tmp_path):
    program = build.directory("fuzz") / "fuzz" / target
    if not program.exists():
        pytest.skip(f"{program} is not built: tests/run without --quick does")
    (tmp_path / "found").mkdir()
    # what it finds worth keeping goes to a directory of its own; a crash prints its input
    execute([program, f"-max_total_time={FUZZ_S}", "-timeout=5", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1",
             f"-artifact_prefix={tmp_path}/", tmp_path / "found", corpus(target)], FUZZ_S + 40)
