# SPDX-License-Identifier: Apache-2.0
"""After everything else of a whole run: has each operation been seen with each status that is written down for it?
(tests/conftest.py puts it last.)"""

import pytest
from lib import contract


@pytest.mark.slow
def test_every_status_of_every_operation_was_seen(request):
    ran = {item.path.parent.name for item in request.session.items}
    if request.config.option.keyword or request.config.option.markexpr or not {"unit", "system", "packaging"} <= ran:
        pytest.skip("only a whole run can tell: this is a part of one")
    seen = contract.everything_seen()
    wanted = {f"{o.id} {status}" for o in contract.contract().operations.values() for status in o.answers}
    missing = sorted(wanted - seen)
    assert not missing, "written down in api/openapi.yaml, and never seen: " + ", ".join(missing)


@pytest.mark.slow
def test_every_answer_was_as_it_is_written():
    """Those too whose test did not notice: an exception ends a thread in silence."""
    assert not contract.violations, "\n".join(contract.violations[:20])
