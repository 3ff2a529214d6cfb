# SPDX-License-Identifier: Apache-2.0
"""packaging/ansible, with real Ansible: what a run changes, what it shows before, and what it says when it may not."""

import json
import os
import re
import shutil
import socket
from dataclasses import dataclass

import pytest
from lib import build, door
from lib.command import run

ANSIBLE = build.TREE / "packaging" / "ansible"
ROLE = ANSIBLE / "roles" / "tunwright"
TUN0 = {"name": "tun0", "kind": "tun", "addresses": ["192.168.3.11/24"], "worker": {"type": "monitor"}}
TUN1 = {"name": "tun1", "kind": "tun", "addresses": ["192.168.4.11/24"], "routes": [{"to": "10.9.0.0/16"}]}

pytestmark = [pytest.mark.slow, pytest.mark.limit(240)]


@pytest.fixture(autouse=True, scope="module")
def ansible():
    if shutil.which("ansible-playbook") is None:
        pytest.skip("ansible-playbook is not installed (Debian: ansible-core)")


@dataclass
class Run:
    status: int
    text: str
    changed: int
    failed: int


class Controller:
    """ansible-playbook with the role, inside a host's namespace and against that host's daemons."""

    def __init__(self, host, directory):
        self.host, self.directory = host, directory
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8",
                            "ANSIBLE_ROLES_PATH": str(ROLE.parent), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_RETRY_FILES_ENABLED": "0",
                            "ANSIBLE_LOCALHOST_WARNING": "0", "PYTHONDONTWRITEBYTECODE": "1",
                            "ANSIBLE_DEPRECATION_WARNINGS": "1", "ANSIBLE_REMOTE_TMP": str(directory / "remote"),
                            "ANSIBLE_PIPELINING": "1"}
        (directory / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  roles: [tunwright]\n")

    def __call__(self, *arguments, **variables):
        """One run; `variables` are the role's, without their prefix."""
        given = {"tunwright_socket": str(self.host.socket), "ansible_connection": "local",
                 "ansible_python_interpreter": "/usr/bin/python3"}
        given |= {f"tunwright_{name}": value for name, value in variables.items()}
        file = self.directory / "variables.json"
        file.write_text(json.dumps(given))
        done = self.host.namespace.run(
            "ansible-playbook", "-i", "localhost,", self.directory / "play.yml",
            "--extra-vars", f"@{file}", *arguments, check=False, timeout=120, env=self.environment, cwd=self.directory)
        text = done.stdout + done.stderr
        recap = re.search(r"^localhost +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=(\d+)", text, re.M)
        assert recap, text
        assert "WARNING" not in text, text
        return Run(done.returncode, text, int(recap[1]), int(recap[2]))

    def good(self, *arguments, changed, **variables):
        done = self(*arguments, **variables)
        assert done.status == 0 and done.failed == 0, done.text
        assert (done.changed > 0) == changed, done.text
        return done

    def bad(self, *arguments, **variables):
        done = self(*arguments, **variables)
        assert done.status != 0 and done.failed == 1, done.text
        return done


@pytest.fixture
def control(net, tmp_path):
    return Controller(net.host("a"), tmp_path)


def names(host):
    return [device["name"] for device in host.get("/v1/devices")["items"]]


# ---- device by device --------------------------------------------------------------------------------------------

def test_first_changes_second_does_not(control):
    host = control.host
    control.good(changed=True, devices=[TUN0, TUN1])
    assert names(host) == ["tun0", "tun1"]
    assert host.namespace.addresses("tun0") == {"192.168.3.11/24"}
    pid = host.worker_pid("tun0")
    done = control.good(changed=False, devices=[TUN0, TUN1])
    assert "changed=0" in done.text
    assert host.worker_pid("tun0") == pid
    # one field of one
    control.good(changed=True, devices=[TUN0, TUN1 | {"mtu": 1400}])
    assert host.namespace.link("tun1")["mtu"] == 1400
    assert host.worker_pid("tun0") == pid


def test_absent(control):
    host = control.host
    control.good(changed=True, devices=[TUN0, TUN1])
    control.good(changed=True, devices=[TUN1], absent=["tun0", "tun9"])
    assert names(host) == ["tun1"] and host.namespace.link("tun0") is None
    control.good(changed=False, devices=[TUN1], absent=["tun0", "tun9"])


@pytest.mark.parametrize("exclusive", [False, True], ids=["devices", "exclusive"])
def test_check_shows_the_plan_and_changes_nothing(control, exclusive):
    host = control.host
    done = control.good("--check", "--diff", changed=True, devices=[TUN0, TUN1], exclusive=exclusive)
    assert "tun0: device_create" in done.text and "tun1: route_add" in done.text and "10.9.0.0/16" in done.text, done.text
    assert names(host) == [] and host.namespace.link("tun0") is None
    control.good(changed=True, devices=[TUN0, TUN1], exclusive=exclusive)
    before, link = host.configuration(), host.namespace.link("tun1")

    done = control.good("--check", "--diff", changed=False, devices=[TUN0, TUN1], exclusive=exclusive)
    assert "device_create" not in done.text
    done = control.good("--check", "--diff", changed=True, devices=[TUN0, TUN1 | {"mtu": 1400}], exclusive=exclusive)
    assert 'tun1 is changed: {\\"mtu\\": 1400}' in done.text, done.text
    assert "tun0" not in re.sub(r"item=tun0", "", done.text), done.text
    done = control.good("--check", changed=True, devices=[TUN1], absent=["tun0"], exclusive=exclusive)
    assert "tun0: device_delete (disturbs: recreate)" in done.text and "tun0 is deleted" in done.text, done.text
    assert host.configuration() == before and host.namespace.link("tun1") == link
    assert host.worker_pid("tun0")

    # and --diff without --check shows the same and does it
    done = control.good("--diff", changed=True, devices=[TUN0, TUN1 | {"mtu": 1400}], exclusive=exclusive)
    assert 'tun1 is changed: {\\"mtu\\": 1400}' in done.text, done.text
    assert host.namespace.link("tun1")["mtu"] == 1400


@pytest.mark.parametrize("exclusive", [False, True], ids=["devices", "exclusive"])
def test_faults_are_readable(control, exclusive):
    wrong = TUN1 | {"mtu": 7, "colour": "red", "routes": [{"to": "10.9.0.1/16"}]}
    at, name = ("/devices/1", "tun1: ") if exclusive else ("", "")
    for arguments in ([], ["--check"]):
        done = control.bad(*arguments, devices=[TUN0, wrong], exclusive=exclusive)
        for fault in (f"{at}/mtu: {name}7: this must be an integer", f"{at}/colour: {name}there is no field", f"{at}/routes/0/to: "):
            assert fault in done.text, done.text
    assert "tun1" not in names(control.host)
    if exclusive:
        assert names(control.host) == []


def test_names_are_checked_first(control):
    for devices, absent in ([{"kind": "tun"}], []), ([TUN0 | {"name": "a/../b"}], []), ([TUN0, TUN0], []), ([TUN0], ["tun0"]):
        assert "needs a name" in control.bad(devices=devices, absent=absent).text
    assert names(control.host) == []


def test_arguments_are_checked(control):
    assert "tunwright_devices" in control.bad(devices="tun0").text


# ---- the whole configuration ------------------------------------------------------------------------------------

def test_exclusive(control):
    host = control.host
    host.device("tun7", kind="tun")
    control.good(changed=True, devices=[TUN0])
    assert names(host) == ["tun0", "tun7"]
    control.good(changed=True, devices=[TUN0, TUN1], exclusive=True)
    assert names(host) == ["tun0", "tun1"] and host.namespace.link("tun7") is None
    control.good(changed=False, devices=[TUN0, TUN1], exclusive=True)
    control.good(changed=True, exclusive=True)
    assert names(host) == []


def test_confirms_what_it_has_proven(control, net):
    host = control.host
    host.device("tun7", kind="tun")
    host.namespace.ip("addr", "add", "127.0.0.9/8", "dev", "lo")
    listener = host.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.9", 7000))
    listener.listen()
    proven = {"confirm_s": 60, "confirm_ping": ["127.0.0.9"], "confirm_connect": [{"host": "127.0.0.9", "port": 7000}]}
    control.good(changed=True, devices=[TUN0], absent=["tun8"], **proven)
    assert names(host) == ["tun0", "tun7"]
    assert host.get("/v1/config/confirm") == {"pending": None}
    control.good(changed=False, devices=[TUN0], **proven)
    control.good("--check", changed=True, devices=[TUN1], **proven)
    control.good(changed=True, devices=[], absent=["tun0"], **proven)
    assert names(host) == ["tun7"]


def test_takes_back_what_it_cannot_prove(control):
    host = control.host
    control.good(changed=True, devices=[TUN0])
    before = host.get("/v1/config")
    done = control(devices=[TUN0 | {"mtu": 1300}], confirm_s=60, confirm_connect=[{"host": "127.0.0.1", "port": 9}])
    assert done.status != 0 and "was taken back" in done.text and "Timeout when waiting for 127.0.0.1:9" in done.text, done.text
    assert host.get("/v1/config/confirm") == {"pending": None}
    assert host.get("/v1/config") == before and host.namespace.link("tun0")["mtu"] == 1500


# ---- the other door ---------------------------------------------------------------------------------------------

def test_by_url_with_a_token(net, tmp_path):
    """Over TCP; the token is in no output."""
    host = net.host("a", listen=["127.0.0.1:8080"])
    token = (host.state_dir / "admin.token").read_text().strip()
    control = Controller(host, tmp_path)
    by_url = {"socket": "/nonexistent", "url": "http://127.0.0.1:8080", "token": token}
    done = control.good("-vvv", changed=True, devices=[TUN0], **by_url)
    assert token not in done.text
    assert names(host) == ["tun0"]
    control.good(changed=False, devices=[TUN0], **by_url)
    done = control.bad("-vvv", devices=[TUN0 | {"mtu": 7}], **by_url)
    assert "/mtu: 7: this must be an integer" in done.text and token not in done.text


def test_by_url_with_a_certificate(net, tmp_path):
    """Over TLS, where the daemon wants to know who comes, and Ansible who answers."""
    authority = door.Authority(net.base / "certificates")
    client = authority.client("controller")
    host = net.host("a", arguments=door.tls_options(authority, authority.server()))
    door.make_token(host, "controller", "operator", kind="certificate")
    control = Controller(host, tmp_path)
    by_url = {"socket": "/nonexistent", "url": f"https://127.0.0.1:{door.TLS_PORT}", "ca_path": str(authority.file),
              "client_cert": str(client.file), "client_key": str(client.key)}
    control.good(changed=True, devices=[TUN0], **by_url)
    assert names(host) == ["tun0"]
    done = control("--check", devices=[TUN0], **by_url | {"ca_path": str(client.file)})
    assert "certificate verify failed" in done.text.lower(), done.text


def test_nobody_there(control):
    """A plan cannot be shown before the daemon is there, and that is said, not failed."""
    done = control.good("--check", changed=True, devices=[TUN0], socket="/nonexistent/api.sock")
    assert "no plan can be shown" in done.text, done.text


# ---- the rest of it ---------------------------------------------------------------------------------------------

def test_builtin_modules_only():
    used = set()
    for path in ROLE.glob("*/*.yml"):
        if path.parent.name in ("tasks", "handlers"):
            used |= set(re.findall(r"^ *([a-z_]+\.[a-z_]+\.[a-z_]+):", path.read_text(), re.M))
    assert used and all(name.startswith("ansible.builtin.") for name in used), used


def test_example_is_a_playbook(tmp_path):
    done = run("ansible-playbook", "-i", ANSIBLE / "inventory.ini", ANSIBLE / "site.yml", "--syntax-check", cwd=ANSIBLE,
               timeout=60, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"})
    assert "playbook:" in done.stdout, done


def test_documented():
    """README of the role names every variable, and the argument specification has all of them."""
    variables = re.findall(r"^(tunwright_\w+):", (ROLE / "defaults/main.yml").read_text(), re.M)
    readme, specification = ((ROLE / name).read_text() for name in ("README.md", "meta/argument_specs.yml"))
    assert variables
    for variable in variables:
        assert f"`{variable}`" in readme, variable
        assert f"      {variable}:" in specification, variable
