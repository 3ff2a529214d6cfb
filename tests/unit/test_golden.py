# SPDX-License-Identifier: Apache-2.0
"""The golden packets that the unit tests have in C are those of lib/golden.py."""

import pathlib

from lib import golden


def test_header_is_what_the_generator_makes():
    path = pathlib.Path(__file__).parent / "golden_packets.h"
    assert path.read_text() == golden.c_header(), "cd tests && python3 -m lib.golden > unit/golden_packets.h"
