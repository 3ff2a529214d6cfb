# SPDX-License-Identifier: Apache-2.0
"""A browser beside a daemon: the test's own thread sits in the namespace where the browser does."""

import pytest
from lib import browser as browser_module


@pytest.fixture(scope="module")
def desk(module_net):
    """desk(namespace) starts a browser there; the test goes on in that namespace."""
    browser_module.need()
    opened = []

    def start(namespace):
        place = namespace.entered()
        place.__enter__()
        directory = module_net.base / f"browser-{len(opened)}"
        directory.mkdir()
        try:
            made = browser_module.Browser(directory)
        except BaseException:
            place.__exit__(None, None, None)
            raise
        opened.append((place, made))
        return made
    yield start
    for place, made in reversed(opened):
        made.close()
        place.__exit__(None, None, None)
