# SPDX-License-Identifier: Apache-2.0
"""The command line: each command on a real daemon, what it prints, and how it ends."""

import fcntl
import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading

import pytest
from lib import build, door
from lib.client import (CONFLICT, DIFFERS, DONE, FAILED, NOT_FOUND, REFUSED, TIMEOUT, TROUBLE, UNREACHABLE, USAGE, complained,
                        environment, json_of, program, said, tunwright)
from lib.command import run
from lib.waiting import until


@pytest.fixture(scope="module")
def shared(module_net):
    return module_net.host("a", listen=["127.0.0.1:8080"])


@pytest.fixture
def host(shared):
    """The same daemon for all tests here, without devices."""
    if shared.get("/v1/config/confirm")["pending"]:
        shared.api("POST", "/v1/config/revert").expect(200)
    shared.put("/v1/config", {"devices": []})
    return shared


def names(host):
    return [item["name"] for item in host.get("/v1/devices")["items"]]


def document(host, name="tun0"):
    return host.get(f"/v1/devices/{name}")


# ---- a stranger -----------------------------------------------------------------------------------------------------

def readme_lines():
    """The indented lines of README.md's section, those for the first host and those for the second."""
    section = (build.TREE / "README.md").read_text().partition("## The command line\n")[2].partition("\n## ")[0]
    first, _, second = section.partition("On the second:")
    return [re.findall(r"^    ((?:tunwright|ping) .*)$", text, re.M) for text in (first, second)]


def test_a_tunnel_with_the_command_line_alone(pair):
    """A stranger types what README.md shows, line by line, and nothing else; only the hosts have other addresses here."""
    first, second = pair
    lines = readme_lines()
    assert len(lines[0]) == 1 and len(lines[1]) == 6, lines
    typed = {}
    for host, line in [(first, line) for line in lines[0]] + [(second, line) for line in lines[1]]:
        line = line.replace("10.32.0.11", "10.0.0.1").replace("10.33.0.1", "10.0.0.2")
        typed[line] = host.namespace.run("bash", "-c", line, env=environment(host)).stdout
    says = list(typed.values())
    assert says[0] == says[1] == "tun0: created\n"
    assert "3 packets transmitted, 3 received" in says[2]
    assert says[3].startswith("~ tun0\n") and "/addresses + fd00:3::1/64" in says[3] and "/routes + 10.9.0.0/16" in says[3]
    assert says[4] == "tun0: changed\n"
    assert re.search(r"^state +ready$", says[5], re.M) and re.search(r"^traffic +into tunnel +\d+ packets", says[5], re.M)
    assert re.search(r"^tun0 +tun +ready +udp( +\S+){5} +\d", says[6], re.M)

    # what was promised holds: both families, and what is behind the first host
    said(first, "set tun0 addresses+=fd00:3::11/64")
    second.namespace.settled("tun0")
    first.namespace.settled("tun0")
    assert second.namespace.ping("fd00:3::11", count=3).received == 3
    first.namespace.ip("address", "add", "10.9.0.1/32", "dev", "lo")
    assert second.namespace.ping("10.9.0.1", count=3).received == 3
    assert re.search(r"^tun0 +tun +ready +1472 +192.168.3.11/24 fd00:3::11/64 +udp 10.0.0.2:5000$", said(first, "list"), re.M)
    assert said(second, "delete tun0") == "tun0: deleted\n" and said(first, "delete tun0") == "tun0: deleted\n"
    assert first.namespace.link("tun0") is None and second.namespace.link("tun0") is None


# ---- looking --------------------------------------------------------------------------------------------------------

def test_list_and_show(host):
    assert said(host, "list") == "" and said(host, "list -o name") == ""
    for i in range(3):
        host.device(f"tun{i}", kind="tun", labels={"site": "berlin" if i else "oslo"})
    assert said(host, "list -o name") == "tun0\ntun1\ntun2\n"
    assert said(host, "list -l site=berlin -o name") == "tun1\ntun2\n"
    assert [line.split()[:3] for line in said(host, "list").splitlines()[1:]] == [[f"tun{i}", "tun", "ready"] for i in range(3)]
    # the API's own bytes, and a newline
    assert said(host, "list -o json").encode() == host.api("GET", "/v1/devices").body.rstrip(b"\n") + b"\n"
    assert json_of(host, "show tun0") == document(host)
    assert json_of(host, "show tun0 -c")["device"] == "tun0"
    assert re.search(r"^kernel +tx_packets +\d+$", said(host, "show tun0 --counters"), re.M)
    assert complained(host, "show tun9", NOT_FOUND) == ['there is no device "tun9"']
    assert complained(host, "list -l '=='", REFUSED)
    assert said(host, "show tun0 -o name") == "tun0\n"
    # a name that is none goes to the daemon encoded, as one segment of the path
    assert complained(host, ["show", "../../healthz"], NOT_FOUND)


def test_version_and_help(host):
    assert said(host, "--version").startswith("tunwright 0.")
    assert re.match(r"tunwright [\d.]+\ntunwrightd [\d.]+, API v1, at /", said(host, "version"))
    assert json_of(host, "version")["api"] == "v1"
    overview = said(host, "help")
    assert overview == said(host, "--help") and "token create NAME" in overview
    assert said(host, "help set") == said(host, "set --help") and "labels.site=berlin" in said(host, "help set")
    assert "usage: tunwright token delete" in said(host, "help token")
    for line in ("", "helpp", "help nothing", "list --colour", "show", "top -o json", "list -o xml", "completion csh", "set tun0",
                 "list --timeout 0", "list --url http://localhost:1 --socket x", "create tun0 --mtu 1 --mtu 2", "token",
                 "set tun0 mtu", "set tun0 mtu=1 mtu=2", "set tun0 mtu=1 --dry-run --confirm 5", "apply", "watch --for x", "top --once --interval x",
                 "top --once --interval 99", "top --once --interval 60001", "watch --interval 99"):
        assert complained(host, line, USAGE), line


def test_top_without_a_terminal(host):
    assert "there is no terminal here" in complained(host, "top", USAGE)[0]


# ---- changing -------------------------------------------------------------------------------------------------------

def test_create(host):
    host.namespace.run("ip", "link", "add", "br0", "type", "bridge")
    said(host, "create tap0 --kind tap --address 10.1.0.1/24 -a fd00::1/64 --route 10.9.0.0/16,via=10.1.0.2,metric=7 "
         "--worker monitor,log_rate=3 --label site=berlin --label tier=1 --mtu 1400 --queues 2 --txqueuelen 500 "
         "--mac 02:00:5e:10:00:01 --owner 1000 --group 1001 --drift report")
    made = document(host, "tap0")
    assert {key: made[key] for key in ("kind", "addresses", "labels", "mtu", "queues", "txqueuelen", "mac", "owner", "group",
                                       "drift", "worker", "up")} == {
        "kind": "tap", "addresses": ["10.1.0.1/24", "fd00::1/64"], "labels": {"site": "berlin", "tier": "1"}, "mtu": 1400,
        "queues": 2, "txqueuelen": 500, "mac": "02:00:5e:10:00:01", "owner": 1000, "group": 1001, "drift": "report",
        "worker": {"type": "monitor", "log_rate": 3}, "up": True}
    assert made["routes"] == [{"to": "10.9.0.0/16", "via": "10.1.0.2", "metric": 7, "table": 254, "type": "unicast",
                               "source": None}]
    said(host, "create tap1 --kind tap --down --master br0")
    assert document(host, "tap1")["up"] is False and document(host, "tap1")["master"] == "br0"
    # a number that is free; fields as set takes them
    assert said(host, "create tun%d labels.x=y txqueuelen=7 -o name") == "tun0\n"
    assert document(host)["labels"] == {"x": "y"} and document(host)["txqueuelen"] == 7
    assert json_of(host, "create tun1")["name"] == "tun1"
    assert complained(host, "create tun1", CONFLICT) == ["tun1: /name: there is a device tun1 already"]
    # all faults at once, each with its place
    faults = complained(host, "create tun2 --mtu 7 --address 10.0.0.1 colour=red", REFUSED)
    assert [fault.split(": ")[1] for fault in faults] == ["/mtu", "/addresses/0", "/colour"], faults
    plan = said(host, "create tun2 --address 10.2.0.1/24 --worker echo --dry-run")
    assert plan.startswith("+ tun2\n    kind: tun\n") and "    addresses: 10.2.0.1/24\n" in plan and "1 to create" in plan
    assert "tun2" not in names(host)
    host.namespace.run("ip", "link", "del", "br0")


def test_set(host):
    host.device("tun0", kind="tun", addresses=["10.0.0.1/24"], labels={"site": "berlin"}, worker={"type": "monitor"})
    assert said(host, "set tun0 mtu=1400 labels.old=7 labels.site=null drift=report") == "tun0: changed\n"
    assert said(host, "set tun0 mtu=1400") == "tun0: unchanged\n"
    now = document(host)
    assert now["mtu"] == 1400 and now["labels"] == {"old": "7"} and now["drift"] == "report"
    said(host, "set tun0 addresses+=10.0.0.2/24,10.0.0.3/24 addresses-=10.0.0.1/24 routes+=10.9.0.0/16,via=10.0.0.9")
    assert document(host)["addresses"] == ["10.0.0.2/24", "10.0.0.3/24"]
    assert document(host)["routes"][0]["via"] == "10.0.0.9"
    said(host, "set tun0 routes+=10.9.0.0/16,via=10.0.0.8")
    assert [route["via"] for route in document(host)["routes"]] == ["10.0.0.8"]
    # a worker that is given as a whole takes the place of the other
    said(host, "set tun0 worker.log_rate=5")
    assert document(host)["worker"] == {"type": "monitor", "log_rate": 5}
    said(host, "set tun0 worker=udp,local=127.0.0.1:5000,remote=127.0.0.2:5000")
    said(host, "set tun0 worker.remote=127.0.0.3:5000")
    assert document(host)["worker"]["remote"] == "127.0.0.3:5000"
    said(host, "set tun0 worker=none mtu=null")
    assert document(host)["worker"] is None and document(host)["mtu"] == 1500
    plan = said(host, "set tun0 queues=2 addresses-=10.0.0.2/24 -n")
    assert plan.startswith("~ tun0\n") and "    /queues: 1 -> 2\n" in plan and "    /addresses - 10.0.0.2/24\n" in plan
    assert plan.endswith("disturbs tun0 (recreate)\n")
    assert json_of(host, "set tun0 queues=2 -n")["disturbs"] == "recreate"
    assert complained(host, "set tun0 mtu=7 worker.type=x", REFUSED)[0].startswith("tun0: /mtu: 7: ")
    assert complained(host, "set tun9 mtu=1400", NOT_FOUND) == ["tun9: there is no device tun9"]
    assert complained(host, "set tun0 addresses-=1.1.1.1/32", NOT_FOUND) == ["addresses-=1.1.1.1/32: there is no such entry"]
    tag = host.api("GET", "/v1/devices/tun0").headers["etag"]
    said(host, ["set", "tun0", "mtu=1300", "--if-match", tag])
    assert "changed meanwhile" in complained(host, ["set", "tun0", "mtu=1200", "--if-match", tag], CONFLICT)[0]


def test_delete_release_adopt(host):
    host.device("tun0", kind="tun")
    host.device("tun1", kind="tun")
    assert said(host, "delete tun0 -n").startswith("- tun0\nplan: 1 to delete")
    done = tunwright(host, "delete tun0 tun9 tun1", exit=NOT_FOUND)
    assert done.stdout == "tun0: deleted\ntun1: deleted\n" and done.stderr == "tunwright: tun9: there is no device tun9\n"
    assert complained(host, "delete a b --confirm 5", USAGE)
    host.device("tun0", kind="tun", addresses=["10.7.0.1/24"])
    assert said(host, "release tun0") == "tun0: released\n"
    assert host.namespace.addresses("tun0") == {"10.7.0.1/24"} and names(host) == []
    assert complained(host, "create tun0", CONFLICT)
    assert said(host, "adopt tun0 labels.from=before -n").startswith("> tun0 is taken over\n")
    assert said(host, "adopt tun0 labels.from=before") == "tun0: adopted\n"
    assert document(host)["labels"] == {"from": "before"} and document(host)["addresses"] == ["10.7.0.1/24"]
    assert complained(host, "adopt tun8", NOT_FOUND)
    assert complained(host, "release tun8", NOT_FOUND)


def test_confirm_and_revert(host):
    host.device("tun0", kind="tun", mtu=1400)
    assert said(host, "pending") == "nothing waits to be confirmed\n"
    assert complained(host, "confirm", CONFLICT) and complained(host, "revert", CONFLICT)
    done = tunwright(host, "set tun0 mtu=1300 --confirm 60")
    assert done.stdout == "tun0: changed\n" and "`tunwright confirm`" in done.stderr
    assert re.match(r"PATCH /v1/devices/tun0 of uid:0 waits (60|59) s more, until ", said(host, "pending"))
    assert json_of(host, "pending")["pending"]["actor"] == "uid:0"
    refused = complained(host, "delete tun0", CONFLICT)
    assert "waits until" in refused[0] and "`tunwright confirm`" in refused[1]
    assert "    /mtu: 1300 -> 1400\n" in said(host, "revert -n")
    assert said(host, "revert") == "as it was before\n" and document(host)["mtu"] == 1400
    said(host, "set tun0 mtu=1300 --confirm 60")
    assert said(host, "confirm") == "confirmed\n" and document(host)["mtu"] == 1300


# ---- files ----------------------------------------------------------------------------------------------------------

def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_apply(host, tmp_path):
    host.device("old0", kind="tun")
    one = write(tmp_path / "one.json", {"name": "tun0", "kind": "tun", "addresses": ["10.0.0.1/24"]})
    done = said(host, f"apply -f {one} --dry-run")
    assert done.startswith("+ tun0\n") and done.endswith("plan: 1 to create; 3 steps\n") and names(host) == ["old0"], done
    assert said(host, f"apply -f {one}").endswith("\ntun0: created\n")
    assert said(host, f"apply -f {one}") == "plan: nothing differs\n"  # and what no file names stays
    assert names(host) == ["old0", "tun0"]
    # a list, a configuration with what is to be absent, what was exported: all from one directory
    directory = tmp_path / "all"
    directory.mkdir()
    write(directory / "10-list.json", [{"name": "tun1", "kind": "tun"}, {"name": "tun2", "kind": "tap"}])
    write(directory / "20-config.json", {"devices": [{"name": "tun3", "kind": "tun"}], "absent": ["old0", "old1"]})
    write(directory / "30-page.json", host.get("/v1/devices?selector=nothing"))
    (directory / "notes.txt").write_text("not one of them")
    out = said(host, f"apply -f {directory}")
    assert "- old0\n" in out and "plan: 3 to create, 1 to delete" in out
    assert out.endswith("tun1: created\ntun2: created\ntun3: created\nold0: deleted\n")
    assert names(host) == ["tun0", "tun1", "tun2", "tun3"]
    # standard input, and JSON: one answer a line
    answers = tunwright(host, "apply -f - -o json", stdin=json.dumps([{"name": "tun1", "kind": "tun", "mtu": 1400},
                                                                     {"name": "tun4", "kind": "tun"}])).stdout
    assert [json.loads(line)["name"] for line in answers.splitlines()] == ["tun1", "tun4"]
    assert said(host, "apply -f - -o name", stdin='{"name": "tun1", "kind": "tun", "mtu": 1300}') == "tun1\n"
    # one device can wait for its confirmation, several cannot each
    pair = json.dumps([{"name": "tun1", "kind": "tun", "mtu": 1250}, {"name": "tun2", "kind": "tap", "mtu": 1250}])
    assert "--together" in complained(host, "apply -f - --confirm 60", USAGE, stdin=pair)[0]
    assert "`tunwright confirm`" in tunwright(host, "apply -f - --confirm 60 --together", stdin=pair).stderr
    assert document(host, "tun2")["mtu"] == 1250
    said(host, "revert")
    assert document(host, "tun2")["mtu"] != 1250 and document(host, "tun1")["mtu"] == 1300


def test_apply_refuses_before_it_does(host, tmp_path):
    good, bad = {"name": "tun0", "kind": "tun"}, {"name": "tun1", "kind": "tun", "mtu": 7}
    path = write(tmp_path / "x.json", [good, bad, {"name": "tun2", "kind": "tin"}])
    faults = complained(host, f"apply -f {path}", REFUSED)
    assert faults[0].startswith(f"tun1 ({path}): /mtu: 7: ") and faults[1].startswith(f"tun2 ({path}): /kind: ")
    assert faults[2] == "nothing was changed" and names(host) == []
    assert complained(host, f"apply --together -f {path}", REFUSED)[0].startswith("/devices/1/mtu: ") and names(host) == []
    # what cannot be known before it is tried: the gateway is nowhere
    unreachable = {"name": "tun3", "kind": "tun", "routes": [{"to": "10.9.0.0/16", "via": "10.77.0.1"}]}
    path = write(tmp_path / "y.json", [good, unreachable, {"name": "tun4", "kind": "tun"}])
    faults = complained(host, f"apply -f {path}", REFUSED)
    assert "RTM_NEWROUTE, E" in faults[0] and faults[1] == "1 of 3 changes were made, and no more", faults
    assert names(host) == ["tun0"]
    assert complained(host, f"apply --together -f {path}", REFUSED) and names(host) == ["tun0"]  # all or nothing

    for content in ("", "{", "[1]", "{}", '{"devices": 7}', '{"devices": [], "more": 1}', '{"kind": "tun"}', "[" * 40,
                    '[{"name": "a"}, {"name": "a"}]', '{"name": "a", "name": "b"}'):
        assert len(complained(host, "apply -f -", REFUSED, stdin=content)) == 1
    (tmp_path / "empty").mkdir()
    assert "there is no *.json" in complained(host, f"apply -f {tmp_path / 'empty'}", REFUSED)[0]
    assert "No such file" in complained(host, f"apply -f {tmp_path / 'none'}", TROUBLE)[0]


def test_prune(host, tmp_path):
    for name in ("tun0", "tun1", "tun2"):
        host.device(name, kind="tun")
    config = write(tmp_path / "config.json", {"devices": [{"name": "tun1", "kind": "tun", "mtu": 1400},
                                                          {"name": "tun7", "kind": "tun"}]})
    device = write(tmp_path / "device.json", {"name": "tun1", "kind": "tun"})
    assert "--prune takes files that say" in complained(host, f"apply --prune -f {device}", USAGE)[0]
    plan = said(host, f"apply --prune -f {config} -n")
    assert "- tun0\n" in plan and "- tun2\n" in plan and "    /mtu: 1500 -> 1400\n" in plan
    assert "1 to create, 1 to change, 2 to delete" in plan and names(host) == ["tun0", "tun1", "tun2"]
    assert said(host, f"apply --prune -f {config}") == plan + "done\n"
    assert names(host) == ["tun1", "tun7"]
    assert said(host, f"apply --prune -f {config}") == "plan: nothing differs\n"
    assert json_of(host, f"diff --prune -f {config}") == {"changed": False, "disturbs": "none", "steps": [], "differences": []}
    # an export that is applied changes nothing
    said(host, f"export -w {tmp_path}/saved.json")
    assert (tmp_path / "saved.json").read_bytes() == host.api("GET", "/v1/config").body.rstrip(b"\n") + b"\n"
    assert said(host, f"apply --prune -f {tmp_path}/saved.json") == "plan: nothing differs\n"
    said(host, "delete tun1 tun7")
    said(host, f"apply --prune -f {tmp_path}/saved.json --confirm 60")
    assert names(host) == ["tun1", "tun7"]
    said(host, "revert")
    assert names(host) == []


def test_diff_and_export(host, tmp_path):
    host.device("tun0", kind="tun", labels={"site": "berlin"})
    host.device("tun1", kind="tun", labels={"site": "oslo"})
    assert json_of(host, "export") == host.get("/v1/config")
    assert [d["name"] for d in json_of(host, "export tun1")["devices"]] == ["tun1"]
    assert [d["name"] for d in json_of(host, "export -l site=berlin")["devices"]] == ["tun0"]
    assert "status" not in json_of(host, "export -l site=berlin")["devices"][0]
    assert complained(host, "export tun1 tun9", NOT_FOUND) == ["there is no device tun9"]
    assert complained(host, "export -w /nowhere/x", TROUBLE)
    saved = tmp_path / "saved.json"
    said(host, f"export tun0 -w {saved}")
    assert said(host, f"diff -f {saved}") == "plan: nothing differs\n"
    said(host, "set tun0 labels.site=paris mtu=1300")
    out = tunwright(host, f"diff -f {saved}", exit=DIFFERS).stdout
    assert "    /labels/site: paris -> berlin\n" in out and "    /mtu: 1300 -> 1500\n" in out
    assert "- tun1" not in out and "- tun1\n" in tunwright(host, f"diff --prune -f {saved}", exit=DIFFERS).stdout
    assert json.loads(tunwright(host, f"diff -f {saved} -o json", exit=DIFFERS).stdout)["changed"] is True
    assert document(host)["mtu"] == 1300


# ---- watching -------------------------------------------------------------------------------------------------------

class Running:
    """A command that goes on."""

    def __init__(self, host, *args, env=None, **options):
        self.process = subprocess.Popen(host.namespace.inside(program(host), *args), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**environment(host), **(env or {})}, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()

    def line(self):
        return self.process.stdout.readline()


def test_show_tells_that_nobody_is_at_the_far_end(host):
    said(host, "create tun0 --address 10.8.0.1/24 --worker udp,local=127.0.0.1:5997,remote=127.0.0.1:5998")
    until(lambda: host.status("tun0")["state"] == "ready", 10, "a tun0 that is ready")
    assert "wire" not in said(host, "show tun0").partition("\ntraffic")[0]
    host.namespace.run("ping", "-c", "2", "-i", "0.2", "-W", "1", "10.8.0.2", check=False)
    until(lambda: re.search(r"^ +last error on the wire: ECONNREFUSED$", said(host, "show tun0"), re.M), 10, "the error")


@pytest.mark.slow
def test_watch_and_events(host):
    host.device("tun0", kind="tun", worker={"type": "echo"})
    until(lambda: host.status("tun0")["state"] == "ready", 10, "a tun0 that is ready")
    newest = host.get("/v1/events?limit=1")["newest"]
    with Running(host, "watch", "--count", "3", "--after", str(newest)) as watch:
        host.device("tun1", kind="tun")
        host.api("DELETE", "/v1/devices/tun1").expect(204)
        out, _ = watch.process.communicate(timeout=20)
        seen = [line.split()[1:3] for line in out.splitlines()]
        assert seen == [["tun1", "device_created"], ["tun1", "device_state"], ["tun1", "device_deleted"]]
        assert watch.process.returncode == DONE
    assert said(host, "watch --for 1") == ""
    tunwright(host, "watch --for 1 --count 5 -d tun9", exit=TIMEOUT)
    counters = json.loads(said(host, "watch --counters --count 1 -i 100 -o json"))
    assert counters["items"][0]["device"] == "tun0"
    assert re.search(r"^\S+Z  tun0 +counters +in 0 packets/s 0bit/s", said(host, "watch -c -i 100 --for 1"), re.M)
    assert len(said(host, "watch -c -i 100 --count 2").splitlines()) == 2
    out = said(host, "events -n 2")
    assert [line.split()[2] for line in out.splitlines()] == ["device_state", "device_deleted"]
    assert json_of(host, f"events --after {newest}")["items"][0]["sequence"] == newest + 1
    assert said(host, "events -d tun9") == ""
    assert complained(host, "watch -l '=='", REFUSED)


def test_watch_comes_back(net):
    """It goes on after the daemon was killed, with the event after the last that it saw."""
    host = net.host("a")
    with Running(host, "watch", "-o", "json") as watch:
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(json.loads(line) for line in watch.process.stdout), daemon=True)
        reader.start()
        mtus = itertools.count(1300)
        until(lambda: (host.device("tun0", kind="tun", mtu=next(mtus)), seen)[1], 10, "a first event", interval=0.2)
        host.kill9("tunwrightd")
        host.daemon_start()
        host.ready()
        host.device("tun1", kind="tun")
        until(lambda: any(event["device"] == "tun1" for event in seen), 20, lambda: f"the event of tun1; {seen}")
        sequences = [event["sequence"] for event in seen]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        watch.process.terminate()
        reader.join(10)
        assert "broke: trying again" in watch.process.stderr.read()


def packets_of(path):
    """What tcpdump reads in a file."""
    return run("tcpdump", "-n", "-r", path).stdout.splitlines()


def test_capture(host, tmp_path):
    host.device("tun0", kind="tun", addresses=["10.5.0.1/24"], worker={"type": "echo"})
    host.worker_pid("tun0")
    file = tmp_path / "tun0.pcapng"
    # nothing is kept of one that is refused
    assert complained(host, f"capture tun9 -w {file}", NOT_FOUND) == ['tun9: there is no device "tun9"']
    assert complained(host, f"capture tun0 --filter 'no such thing' -w {file}", REFUSED) and not file.exists()
    host.device("tun1", kind="tun", worker={"type": "echo"})  # where it does not matter if the daemon hears late of its end
    assert complained(host, "capture tun1 -w /nowhere/file --for 1", TROUBLE)
    with host.namespace.popen("ping", "-q", "-i", "0.05", "-w", "30", "10.5.0.9", stdout=subprocess.DEVNULL) as ping:
        said(host, f"capture tun0 -w {file} --count 6 --filter icmp --snaplen 60")
        assert len(packets_of(file)) == 6 and all("ICMP echo re" in line for line in packets_of(file))
        # to a pipe, whose reader ends it
        line = "tunwright capture tun0 --filter icmp --for 20 | tcpdump -n -r - -c 4; exit ${PIPESTATUS[0]}"
        read = host.namespace.run("bash", "-c", line, env=environment(host)).stdout
        assert len(read.splitlines()) == 4, read
        # Ctrl-C ends it well, and what came until then is a whole file
        file.unlink()
        with Running(host, "capture", "tun0", "-w", file) as capture:
            until(lambda: file.exists() and file.stat().st_size > 1000, 15, "a file that grows")
            assert complained(host, "capture tun0 --for 1 -w /dev/null", CONFLICT)
            capture.process.send_signal(signal.SIGINT)
            assert capture.process.wait(10) == DONE
        assert len(packets_of(file)) > 3
        ping.terminate()
        ping.wait(10)


def wait_until_full(pipe):
    """That is when what waits in it does not become more, while more comes."""
    looks = [0]

    def is_full():
        looks.append(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])
        return looks[-1] > 10000 and len(set(looks[-5:])) == 1
    until(is_full, 15, "a pipe that is full")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_capture_that_nobody_reads_can_be_ended(host, tmp_path, number):
    host.device("tun0", kind="tun", addresses=["10.5.0.1/24"], worker={"type": "echo"})
    host.worker_pid("tun0")

    def captures():
        return sum(log.read_text(errors="replace").count("/capture: 200") for log in host.logs())
    ping = host.namespace.popen("ping", "-q", "-f", "-s", "1400", "10.5.0.9", stdout=subprocess.DEVNULL)
    try:
        with Running(host, "capture", "tun0") as capture:
            wait_until_full(capture.process.stdout)
            capture.process.send_signal(number)
            assert capture.process.wait(10) == DONE
        fifo, before = tmp_path / "fifo", captures()
        os.mkfifo(fifo)
        with Running(host, "capture", "tun0", "-w", fifo) as capture:
            until(lambda: captures() > before, 10, "a capture that goes on")
            capture.process.send_signal(number)
            assert capture.process.wait(10) == DONE
        with Running(host, "capture", "tun0", "-w", fifo, "--count", "100") as capture:  # somebody comes to read
            assert len(packets_of(fifo)) == 100
            assert capture.process.wait(10) == DONE
    finally:
        ping.terminate()
        ping.wait(10)


def test_a_daemon_that_cannot_capture(host, tmp_path):
    answers = iter([http({"detail": "there is nothing here"}, "application/problem+json", "404 Not Found"), http({})])
    with Impostor(tmp_path / "s", lambda: [next(answers)]):
        faults = complained(host, "capture tun0 -w /dev/null", FAILED, env={"TUNWRIGHT_SOCKET": str(tmp_path / "s")})
    assert faults == ["this daemon cannot capture"]


# ---- who may, and where ---------------------------------------------------------------------------------------------

def test_tokens_and_urls(host, tmp_path):
    host.device("tun0", kind="tun", labels={"site": "berlin"})
    host.device("tun1", kind="tun")
    secret = said(host, "token create ci --role operator --selector site=berlin --expires 2099-01-01T00:00:00Z")
    assert re.fullmatch(r"[0-9a-f]{64}\n", secret)
    assert re.search(r"^ci +bearer +operator +site=berlin +\S+Z +2099-01-01T00:00:00.000Z$", said(host, "token list"), re.M)
    assert "ci" in said(host, "token list -o name").split()
    assert complained(host, "token create ci --role reader", CONFLICT)
    assert "/role" in complained(host, "token create x", REFUSED)[0]
    assert said(host, "token create cert --role reader --kind certificate") == "cert: created\n"
    url = {"TUNWRIGHT_URL": "http://127.0.0.1:8080", "TUNWRIGHT_TOKEN": secret.strip()}
    assert said(host, "list -o name", env=url) == "tun0\n"
    said(host, "set tun0 mtu=1400", env=url)
    assert complained(host, "show tun1", NOT_FOUND, env=url)
    assert complained(host, "token list", REFUSED, env=url)
    (tmp_path / "token").write_text(secret)
    assert said(host, f"list -o name --url http://127.0.0.1:8080/ --token-file {tmp_path}/token") == "tun0\n"
    # a file that is named counts more than a variable
    assert said(host, f"list -o name --token-file {tmp_path}/token", env=url | {"TUNWRIGHT_TOKEN": "0" * 64}) == "tun0\n"
    assert complained(host, "list", REFUSED, env=url | {"TUNWRIGHT_TOKEN": "0" * 64})
    assert "--token-file" in complained(host, "list", REFUSED, env={"TUNWRIGHT_URL": "http://127.0.0.1:8080"})[-1]
    # a token does not go over a network in the clear, nor in two lines of a header
    assert complained(host, "list", USAGE, env=url | {"TUNWRIGHT_URL": "http://127.0.0.1.example"})
    assert complained(host, "list", USAGE, env=url | {"TUNWRIGHT_URL": "http://10.0.0.1:8080"})
    assert complained(host, "list", USAGE, env=url | {"TUNWRIGHT_URL": "ftp://127.0.0.1"})
    assert complained(host, "list", USAGE, env=url | {"TUNWRIGHT_URL": "http://me@127.0.0.1:8080"})
    assert complained(host, "list", USAGE, env=url | {"TUNWRIGHT_TOKEN": "a\r\nX: y"})
    assert complained(host, "list --token-file /nowhere", TROUBLE, env={"TUNWRIGHT_URL": "http://127.0.0.1:8080"})
    assert said(host, "token delete ci") == "ci: deleted\n" and said(host, "token delete cert") == "cert: deleted\n"
    assert complained(host, "token delete ci", NOT_FOUND)
    assert complained(host, "list", REFUSED, env=url)


@pytest.mark.slow
def test_tls(net):
    authority = door.Authority(net.base / "certificates")
    host = net.host("a", arguments=door.tls_options(authority, authority.server()))
    client = authority.client("prom")
    host.api("POST", "/v1/tokens", {"name": "prom", "role": "operator", "kind": "certificate"}).expect(201)
    secret = said(host, "token create ci --role reader").strip()
    here = {"TUNWRIGHT_URL": f"https://127.0.0.1:{door.TLS_PORT}", "TUNWRIGHT_CA": str(authority.file)}
    shown = {"TUNWRIGHT_CERT": str(client.file), "TUNWRIGHT_KEY": str(client.key)}
    assert said(host, "create tun0", env=here | shown) == "tun0: created\n"
    assert said(host, f"list -o name --url {here['TUNWRIGHT_URL']} --ca {authority.file} --cert {client.file} "
                f"--key {client.key}") == "tun0\n"
    # the token counts more than the certificate
    assert complained(host, "delete tun0", REFUSED, env=here | shown | {"TUNWRIGHT_TOKEN": secret})
    assert said(host, "list -o name", env=here | shown | {"TUNWRIGHT_TOKEN": secret}) == "tun0\n"
    assert said(host, "watch --for 1", env=here | shown) == ""
    # whom it does not know, it does not talk to
    stranger = door.Authority(net.base / "certificates", "stranger")
    faults = complained(host, "list", UNREACHABLE, env=here | shown | {"TUNWRIGHT_CA": str(stranger.file)})
    assert "certificate" in faults[0].lower(), faults
    assert complained(host, "list", UNREACHABLE, env={**here, **shown, "TUNWRIGHT_CA": ""})
    assert complained(host, "list", UNREACHABLE, env=here | shown | {"TUNWRIGHT_URL": f"https://127.0.0.2:{door.TLS_PORT}"})


def test_nobody_there(host, tmp_path):
    for env, words in (({"TUNWRIGHT_SOCKET": str(tmp_path / "none")}, "No such file or directory"),
                       ({"TUNWRIGHT_URL": "http://127.0.0.1:9"}, "cannot reach the daemon at http://127.0.0.1:9")):
        for line in ("list", "watch", "top", "apply -f -", "token create x --role reader", "version"):
            done = tunwright(host, line, exit=UNREACHABLE, env=env, stdin='{"name": "tun0"}')
            assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    # somebody who is not in the group
    me = host.network.base / "stranger"
    shutil.copyfile(program(host), me)
    me.chmod(0o755)
    done = run(*host.namespace.inside("setpriv", "--reuid", door.STRANGER, "--regid", door.STRANGER, "--clear-groups", me, "list"),
               check=False, env=environment(host) | {"ASAN_OPTIONS": "", "UBSAN_OPTIONS": ""})
    assert done.returncode in (UNREACHABLE, REFUSED) and done.stderr.startswith("tunwright: "), done


# ---- completion -----------------------------------------------------------------------------------------------------

def completes(host, shell_line):
    """What bash offers for a line that is typed so far."""
    script = ('source <(tunwright completion bash)\n'
              'COMP_WORDS=($1); [[ $1 == *" " ]] && COMP_WORDS+=("")\n'
              'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tunwright; printf "%s\\n" "${COMPREPLY[@]}"\n')
    return host.namespace.run("bash", "-c", script, "bash", shell_line, env=environment(host)).stdout.split()


def test_completion_of_bash(host):
    host.device("tun0", kind="tun")
    host.device("tun1", kind="tun")
    assert {"list", "token", "apply"} <= set(completes(host, "tunwright "))
    assert completes(host, "tunwright re") == ["release", "revert"]
    assert completes(host, "tunwright token ") == ["list", "create", "delete"]
    assert set(completes(host, "tunwright show tu")) == {"tun0", "tun1"}
    assert completes(host, "tunwright delete tun0 tun1") == ["tun1"]
    assert completes(host, "tunwright set tun0 mt") == ["mtu="]
    assert completes(host, "tunwright create x --kind ") == ["tun", "tap"]
    assert completes(host, "tunwright token delete a") == ["admin"]
    assert "--prune" in completes(host, "tunwright apply --")
    assert completes(host, "tunwright -o j") == ["json"]
    assert completes(host, "tunwright show --c") == ["--counters", "--ca", "--cert"]


def needs(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


def test_completion_of_zsh(host):
    """The function that chooses; what zsh does with its choice is zsh's."""
    needs("zsh")
    host.device("tun0", kind="tun")
    script = "compdef() { }; source <(tunwright completion zsh); _tunwright_choose $=1; print -r -- $offered, $flags"
    for line, expected in (("", "list show create"), ("show", "tun0, --counters"), ("token", "list create delete,"),
                           ("create x --kind", "tun tap,"), ("apply -f", "@file,"), ("set tun0", "up= mtu= ")):
        shown = host.namespace.run("zsh", "-f", "-c", script, "zsh", line, env=environment(host)).stdout
        assert " ".join(shown.split()).startswith(expected.strip()), (line, shown)


def test_completion_of_fish(host):
    needs("fish")
    host.device("tun0", kind="tun")
    for line, expected in (("re", ["release", "revert"]), ("show ", ["tun0"]), ("token ", ["create", "delete", "list"]),
                           ("token delete ", ["admin"]), ("create x --kind ", ["tap", "tun"]), ("set tun0 mt", ["mtu="]),
                           ("apply --pr", ["--prune"]), ("help sh", ["show"])):
        script = f"tunwright completion fish | source; complete -C 'tunwright {line}'"
        shown = host.namespace.run("fish", "-c", script, env={**environment(host), "HOME": str(host.directory)}).stdout
        assert [each.split("\t")[0] for each in shown.splitlines()] == expected, (line, shown)


# ---- a daemon that is none ------------------------------------------------------------------------------------------

class Impostor:
    """Answers the first request with what it is told to, on a Unix socket."""

    def __init__(self, path, answer):
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    connection.recv(65536)
                    for piece in self.answer() if callable(self.answer) else [self.answer]:
                        connection.sendall(piece)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


def http(body, kind="application/json", status="200 OK", fields=b""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n".encode() +
            fields + b"\r\n" + body)


def endless(head, piece, most=400):
    def pieces():
        yield head
        for _ in range(most):
            yield piece
    return pieces


ESCAPE = "\u001b[2J\u009b31m\u202e\r"


@pytest.mark.parametrize("answer, line, exit", [
    (http(b"<html>", "text/html"), "list", TROUBLE),
    (http(b"{"), "list", TROUBLE),
    (http(b"[" * 5000), "list", TROUBLE),
    (http([]), "list", DONE),
    (http({"items": {"a": [1]}}), "list", DONE),
    (http({"items": [7, None, [], {"name": 7, "status": [], "labels": {"a": {"b": {}}}, "addresses": [{}, 1]}]}), "list", DONE),
    (http(7), "show tun0", DONE),
    (http({"kernel": 7, "worker": {"drops": []}}), "show tun0 -c", DONE),
    (http({"newest": -1e308, "items": "x"}), "events", DONE),
    (http({"next": 7}), "token list", DONE),
    (http({"pending": {"operation": 7}}), "pending", DONE),
    (http({"devices": 7}), "export tun0", NOT_FOUND),
    (http(b"no", "text/plain", "500 No"), "list", FAILED),
    (http({"detail": 7, "errors": [1, {"pointer": []}]}, "application/problem+json", "400 No"), "list", REFUSED),
    (http(b"", "text/html", "302 Found", b"Location: http://127.0.0.1:1/\r\n"), "list", TROUBLE),
    (b"SSH-2.0-OpenSSH\r\n", "list", TROUBLE),
    (b"", "list", UNREACHABLE),
    (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}", "list", UNREACHABLE),
    (endless(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 1000 + b"\r\n"), "list", TROUBLE),
    (endless(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" " * (1 << 20)), "list", TROUBLE),
    (endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", b"data: " + b"a" * (1 << 20)), "watch", TROUBLE),
    (http(b"event: x\ndata: {\n\n", "text/event-stream"), "watch --count 1", DONE),
    (http(b'event: counters\ndata: {"items":[7,{"rates":{"kernel":[]},"device":{}}]}\n\n', "text/event-stream"),
     "watch --count 1", DONE),
])
def test_impostors(host, tmp_path, answer, line, exit):
    """Whatever answers, the command ends soon, with a status that says so, in bounded memory."""
    with Impostor(tmp_path / "s", answer):
        tunwright(host, line, exit=exit, env={"TUNWRIGHT_SOCKET": str(tmp_path / "s")})


@pytest.mark.parametrize("line, body", [
    ("list", {"items": [{"name": ESCAPE, "kind": ESCAPE, "labels": {ESCAPE: ESCAPE}, "addresses": [ESCAPE],
                         "worker": {"type": ESCAPE, "remote": ESCAPE}, "status": {"state": ESCAPE}}]}),
    ("list -o name", {"items": [{"name": ESCAPE}]}),
    ("show tun0", {"name": ESCAPE, "labels": {ESCAPE: ESCAPE}, "status": {"state": ESCAPE, "reason": {"detail": ESCAPE}}}),
    ("events", {"items": [{"detail": ESCAPE, "type": ESCAPE, "device": ESCAPE, "time": ESCAPE}]}),
    ("create tun0", {"name": ESCAPE, "status": {"state": ESCAPE}}),
    ("set tun0 mtu=1 -n", {"differences": [{"device": ESCAPE, "action": "created", "patch": {ESCAPE: ESCAPE}}],
                           "steps": [{"device": ESCAPE, "disturbs": "flap"}]}),
    ("version", {"version": ESCAPE}),
    ("pending", {"pending": {"operation": ESCAPE, "actor": ESCAPE}}),
    ("token list", {"items": [{"name": ESCAPE, "selector": ESCAPE}]}),
])
def test_nothing_moves_the_cursor(host, tmp_path, line, body):
    """Names, labels and details are data: escape sequences come out as text, also where nobody asked for a terminal."""
    with Impostor(tmp_path / "s", http(json.dumps(body, ensure_ascii=False).replace("\x1b", "\\u001b").replace("\r", "\\r")
                                       .encode())):
        out = said(host, line, env={"TUNWRIGHT_SOCKET": str(tmp_path / "s")})
    assert "\\u001b[2J\\u009b31m\\u202e\\u000d" in out and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out), repr(out)


def test_faults_are_plain_too(host, tmp_path):
    body = json.dumps({"detail": ESCAPE, "errors": [{"pointer": ESCAPE, "detail": ESCAPE}] * 100})
    with Impostor(tmp_path / "s", http(body.encode(), "application/problem+json", "404 No")):
        faults = complained(host, "list", NOT_FOUND, env={"TUNWRIGHT_SOCKET": str(tmp_path / "s")})
    assert len(faults) == 32 and set(faults) == {"\\u001b[2J\\u009b31m\\u202e\\u000d: \\u001b[2J\\u009b31m\\u202e\\u000d"}


def test_timeout(host, tmp_path):
    def silence():
        yield b"HTTP/1.1 200 OK\r\n"
        threading.Event().wait(1.5)
    with Impostor(tmp_path / "s", silence):
        assert "in time" in complained(host, "list --timeout 1", TIMEOUT, env={"TUNWRIGHT_SOCKET": str(tmp_path / "s")})[0]


def test_no_token_in_the_open(host):
    """A secret is neither on a command line nor in a message."""
    env = {"TUNWRIGHT_URL": "http://127.0.0.1:8080", "TUNWRIGHT_TOKEN": "5e" * 32}
    with Running(host, "watch", env=env) as watch:
        assert b"5e5e" not in open(f"/proc/{watch.process.pid}/cmdline", "rb").read()
        _, faults = watch.process.communicate(timeout=20)
        assert watch.process.returncode == REFUSED and "5e5e" not in faults
