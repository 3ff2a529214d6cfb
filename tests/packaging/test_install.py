# SPDX-License-Identifier: Apache-2.0
"""What `cmake --install` puts where, and whether systemd and udev would take it."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
from lib import build
from lib.command import run

EXPECTED = {
    "bin/tunwright", "sbin/tunwrightd", "libexec/tunwright/tunwright-netd", "libexec/tunwright/tunwright-worker",
    "lib/systemd/system/tunwrightd.service", "lib/systemd/system/tunwright-netd.service", "lib/sysusers.d/tunwright.conf",
    "lib/udev/rules.d/70-tunwright.rules", "lib/systemd/network/00-tunwright.network",
    "lib/systemd/networkd.conf.d/50-tunwright.conf", "share/man/man1/tunwright.1", "share/man/man8/tunwrightd.8", "share/man/man8/tunwright-netd.8",
    "share/man/man8/tunwright-worker.8", "share/man/man5/tunwright.conf.d.5", "share/doc/tunwright/default",
    "share/bash-completion/completions/tunwright", "share/fish/vendor_completions.d/tunwright.fish",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The root of an installation under its configured prefix."""
    directory = build.directory("release")
    assert (directory / "cmake_install.cmake").exists(), f"{directory} is not built: run tests/run"
    root = tmp_path_factory.mktemp("root")
    run("env", f"DESTDIR={root}", "cmake", "--install", directory)
    cache = (directory / "CMakeCache.txt").read_text()
    return root, re.search(r"^CMAKE_INSTALL_PREFIX:PATH=(.*)$", cache, re.M)[1]


def test_files(installed):
    root, prefix = installed
    tree = root / prefix.lstrip("/")
    found = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    assert EXPECTED <= found, EXPECTED - found


def test_units(installed):
    """The units name programs that were installed, and systemd understands them."""
    root, prefix = installed
    units = sorted((root / prefix.lstrip("/") / "lib/systemd/system").glob("tunwright*.service"))
    assert len(units) == 2
    for unit in units:
        text = unit.read_text()
        program = re.search(r"^ExecStart=(\S+)", text, re.M)[1]
        assert program.startswith(prefix) and (root / program.lstrip("/")).exists(), program
        # systemd looks for the programs where they will be: show it those that are there now
        unit.write_text(text.replace(f"={program}", f"={root}{program}"))
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = run("env", f"SYSTEMD_UNIT_PATH={units[0].parent}:", "systemd-analyze", "verify", "--man=no", *units, check=False)
    assert done.returncode == 0 and "tunwright" not in done.stderr, done.stderr


def test_netd_knows_its_worker_directory(installed):
    _, prefix = installed
    shown = run(build.directory("release") / "tunwright-netd", "--help").stdout
    assert f"{prefix}/libexec/tunwright" in shown, shown


BASH = """source /usr/share/bash-completion/bash_completion; _completion_loader tunwright
          COMP_WORDS=(tunwright re); COMP_CWORD=1; _tunwright; printf '%s\\n' "${COMPREPLY[@]}" """
ZSH = "fpath=($0 $fpath); autoload -Uz compinit; compinit -u -D; autoload +X _tunwright && print $_comps[tunwright]"


@pytest.mark.parametrize("shell,arguments,shown", [("bash", ["-c", BASH], "release\nrevert"), ("zsh", ["-f", "-c", ZSH], "_tunwright"),
                                                   ("fish", ["-c", "complete -C 'tunwright re'"], "release")])
def test_shells_find_their_completions(installed, tmp_path, shell, arguments, shown):
    """By themselves, once it is installed: bash and fish by the directories of data, zsh by those that it looks into."""
    if shutil.which(shell) is None or (shell == "bash" and not pathlib.Path("/usr/share/bash-completion/bash_completion").exists()):
        pytest.skip(f"{shell} is not installed, or has no completion")
    root, prefix = installed
    share = root / prefix.lstrip("/") / "share"
    if shell == "zsh":
        directories = run("zsh", "-f", "-c", "print -l $fpath").stdout.split()
        place = next((each for each in share.glob("zsh/*/") if f"{prefix}/share/zsh/{each.name}" in directories), None)
        assert place, f"zsh looks into {directories}"
        arguments = [*arguments, place]
    path = f"PATH={share.parent / 'bin'}:{os.environ['PATH']}"
    done = run("env", path, f"XDG_DATA_DIRS={share}:/usr/share", f"HOME={tmp_path}", shell, *arguments)
    assert done.stdout.startswith(shown), done.stdout + done.stderr
