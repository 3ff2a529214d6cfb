# SPDX-License-Identifier: Apache-2.0
"""What this kernel has, and whether it complained."""

import re

import pytest
from lib.command import run


def test_wireguard_is_there(net):
    """For the tests of the wireguard worker: the kernel's own as its peer."""
    run("modprobe", "wireguard")
    namespace = net.namespace("w")
    namespace.ip("link", "add", "wg0", "type", "wireguard")
    assert "listening port" in namespace.run("wg", "show", "wg0").stdout or namespace.link("wg0")


@pytest.mark.parametrize("module", ["esp4", "xfrm_user", "vhost_net", "vxlan", "sch_netem", "fou", "fou6"])
def test_module_is_there(module):
    run("modprobe", module)


def test_nothing_bad_in_the_kernel_log():
    said = run("dmesg").stdout
    bad = [line for line in said.splitlines() if re.search(r"BUG:|WARNING:|Oops|Call Trace|segfault|general protection|hung task", line)]
    assert not bad, "\n".join(bad)
