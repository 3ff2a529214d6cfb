# SPDX-License-Identifier: Apache-2.0
"""What README.md and CONTRIBUTING.md point to is there."""

import re

import pytest
from lib import build

DOCUMENTS = ["README.md", "CONTRIBUTING.md"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths(name):
    """Every file that is named in backquotes, alone or with a function (`file:function`), with that function in it."""
    text = (build.TREE / name).read_text()
    stops = re.findall(r"`((?:src|include|tests|packaging|db|api)/[\w./-]+?)(?::(\w+))?`", text)
    stops += [(path, "") for path in re.findall(r"\]\(([A-Z][\w.]+)\)", text)]
    assert stops
    for path, function in stops:
        where = build.TREE / path
        assert where.exists(), path
        if function:
            assert re.search(rf"\b{function}\b", where.read_text()), f"{path}:{function}"


def test_error_codes():
    """README.md lists every code that the API can answer a request with as a whole."""
    source = (build.TREE / "src" / "base" / "err.c").read_text()
    readme = (build.TREE / "README.md").read_text()
    known = set(re.findall(r'\[ERR_[A-Z_]+\] = "([a-z_]+)"', source))
    listed = set(re.findall(r"`([a-z_]+)`", readme.partition("### Errors")[2].partition("### Who may")[0]))
    elsewhere = {"wrong_type", "unknown_field", "missing_field", "out_of_range", "invalid_value", "invalid_name",
                 "invalid_address", "host_bits_set", "duplicate", "incompatible", "limit_exceeded", "none",
                 "drifted", "contested"}  # reasons in `status`
    assert known, "the table of codes in src/base/err.c was not found"
    assert known - elsewhere - listed == set()
