# SPDX-License-Identifier: Apache-2.0
"""Start-up files: applied at the start and on SIGHUP, once for each content, each as one transaction."""

import json
import os
import pathlib
import signal
import time

import pytest
from lib import api, build
from lib.waiting import until

pytestmark = pytest.mark.slow

USER_DATA = build.TREE / "packaging" / "cloud-init" / "user-data"


def device(name, **fields):
    return {"name": name, "kind": "tun", **fields}


def put(host, name, content, mode=0o644):
    """A start-up file, put there as tools do: whole or not at all."""
    host.conf_dir.mkdir(mode=0o755, exist_ok=True)
    text = content if isinstance(content, (bytes, str)) else json.dumps(content)
    temporary = host.conf_dir / f".{name}.new"
    temporary.write_bytes(text if isinstance(text, bytes) else text.encode())
    temporary.chmod(mode)
    temporary.rename(host.conf_dir / name)


def names(host):
    return [item["name"] for item in host.get("/v1/devices")["items"]]


def events(host, kind):
    return [event["detail"] for event in host.get("/v1/events?limit=1000")["items"] if event["type"] == kind]


def hang_up(host):
    os.kill(host.daemon.pid, signal.SIGHUP)


def log(host):
    return host.daemon.log.read_text(errors="replace")


@pytest.fixture
def host(net):
    """Not started yet."""
    return net.host("a", start=False)


# ---- what they do -----------------------------------------------------------------------------------------------

def test_applied_at_the_start(host):
    put(host, "10-a.json", {"devices": [device("tun1", addresses=["192.168.4.11/24"]), device("tun0", mtu=1400)]})
    put(host, "20-one.json", device("tun2"))
    put(host, "30-later.json", {"devices": [device("tun0", mtu=1300)], "absent": ["tun1", "tun7"]})
    put(host, "notes.txt", "not for the daemon")
    put(host, ".hidden.json", device("tun9"))
    host.start()
    assert host.get("/readyz")["files"] is True
    assert names(host) == ["tun0", "tun2"]
    assert host.namespace.link("tun0")["mtu"] == 1300 and host.namespace.link("tun1") is None
    applied = events(host, "file_applied")
    assert [detail.partition(":")[0] for detail in applied] == ["10-a.json", "20-one.json", "30-later.json"]
    assert events(host, "file_failed") == []
    audit = [(entry["actor"], entry["address"]) for entry in host.get("/v1/audit")["items"]]
    assert [actor for actor, _ in audit if actor.startswith("file:")] == [
        "file:10-a.json", "file:20-one.json", "file:30-later.json"], audit


def test_once_for_each_content(host):
    """What was changed by a call after a file was applied stays, until the file changes."""
    put(host, "10-a.json", device("tun0", mtu=1400))
    host.start()
    host.device("tun0", kind="tun", mtu=1200)
    audit = len(host.get("/v1/audit?limit=1000")["items"])
    host.restart()
    assert host.namespace.link("tun0")["mtu"] == 1200
    hang_up(host)
    until(lambda: log(host).count("start-up file 10-a.json: as it was applied") >= 2, 10, lambda: log(host))
    assert host.namespace.link("tun0")["mtu"] == 1200
    assert len(host.get("/v1/audit?limit=1000")["items"]) == audit
    assert len(events(host, "file_applied")) == 1

    put(host, "10-a.json", device("tun0", mtu=1401))
    host.restart()
    assert host.namespace.link("tun0")["mtu"] == 1401
    # back to what it was first: another content than the last
    put(host, "10-a.json", device("tun0", mtu=1400))
    host.restart()
    assert host.namespace.link("tun0")["mtu"] == 1400


def test_what_a_file_has_no_more_stays(host):
    put(host, "10-a.json", {"devices": [device("tun0"), device("tun1")]})
    host.start()
    put(host, "10-a.json", {"devices": [device("tun0")]})
    host.restart()
    assert names(host) == ["tun0", "tun1"]
    (host.conf_dir / "10-a.json").unlink()
    host.restart()
    assert names(host) == ["tun0", "tun1"]


def test_again_on_sighup(host):
    host.start()  # there is not even a directory
    hang_up(host)
    until(lambda: "SIGHUP" in log(host), 10, lambda: log(host))
    put(host, "10-a.json", device("tun0"))
    hang_up(host)
    until(lambda: names(host) == ["tun0"], 10, lambda: log(host))
    pid = host.daemon.pid
    for number in range(20):
        put(host, "10-a.json", device("tun0", mtu=1300 + number))
        hang_up(host)
    until(lambda: host.get("/v1/devices/tun0")["mtu"] == 1319, 10, lambda: log(host))
    assert host.daemon.pid == pid and host.daemon.alive()


# ---- what is wrong with one -------------------------------------------------------------------------------------

def test_one_that_fails_is_told_and_holds_up_no_other(host):
    put(host, "10-bad.json", {"devices": [device("tun0"), device("tun1", mtu=7)]})
    put(host, "20-text.json", "{")
    put(host, "25-empty.json", "")
    put(host, "30-good.json", device("tun2"))
    host.start()
    assert names(host) == ["tun2"]  # nothing of the first
    assert "start-up file 10-bad.json: /devices/1/mtu: tun1: 7: this must be an integer" in log(host)
    failed = until(lambda: len(events(host, "file_failed")) == 3 and events(host, "file_failed"), 10,
                   lambda: host.get("/v1/events?limit=1000"))
    assert failed[0].startswith("10-bad.json: /devices/1/mtu: tun1: 7: ") and failed[1].startswith("20-text.json: "), failed

    # with the next pass, if need be with the next start
    put(host, "10-bad.json", {"devices": [device("tun0"), device("tun1", mtu=1400)]})
    hang_up(host)
    until(lambda: names(host) == ["tun0", "tun1", "tun2"], 10, lambda: log(host))
    host.restart()
    assert len([detail for detail in events(host, "file_failed") if detail.startswith("20-text.json")]) == 3


def test_the_kernel_refuses(host):
    """Where the kernel refuses one device, all of the file is taken back."""
    put(host, "10-a.json", {"devices": [device("tun0"), device("tun1", routes=[{"to": "10.9.0.0/16", "via": "203.0.113.1"}])]})
    host.start()
    assert names(host) == [] and host.namespace.link("tun0") is None and host.namespace.link("tun1") is None
    failed = events(host, "file_failed")
    assert len(failed) == 1 and failed[0].startswith("10-a.json: "), failed


def test_who_may_have_written_it(host):
    put(host, "10-everybody.json", device("tun0"), mode=0o646)
    put(host, "20-theirs.json", device("tun1"))
    os.chown(host.conf_dir / "20-theirs.json", 12345, 12345)
    put(host, "30-mine.json", device("tun2"))
    (host.conf_dir / "40-link.json").symlink_to(host.conf_dir / "30-mine.json")
    os.mkfifo(host.conf_dir / "50-fifo.json", 0o644)
    put(host, "60-secret.json", device("tun3"), mode=0o600)
    put(host, "70-own.json", device("tun4"), mode=0o600)
    os.chown(host.conf_dir / "70-own.json", 64180, 64180)
    (host.conf_dir / "80-dir.json").mkdir()
    host.start()
    assert names(host) == ["tun2", "tun4"]
    said = log(host)
    for line in ("10-everybody.json: everybody may write the file", "20-theirs.json: the file belongs to user 12345",
                 "40-link.json: it is a symbolic link", "50-fifo.json: it is no regular file",
                 "60-secret.json: the daemon's user 64180 may not read it", "80-dir.json: it is no regular file"):
        assert f"start-up file {line}" in said, said
    host.conf_dir.chmod(0o757)
    hang_up(host)
    until(lambda: "everybody may write the directory" in log(host), 10, lambda: log(host))


def test_too_big(host):
    put(host, "10-a.json", b" " * (32 * 1024 * 1024 + 1))
    put(host, "20-b.json", b" " * (32 * 1024 * 1024 - 100) + json.dumps(device("tun0")).encode())
    host.start()
    assert names(host) == ["tun0"]
    assert "start-up file 10-a.json: it has 33554433 bytes; at most 33554432 are taken" in log(host)


# ---- what they wait for -----------------------------------------------------------------------------------------

def test_netd_is_away_at_the_start(host):
    put(host, "10-a.json", device("tun0"))
    host.run_dir.mkdir(mode=0o755)
    os.chown(host.run_dir, 64180, 64180)
    host.daemon_start()
    until(lambda: host.socket.exists(), 10, lambda: log(host))
    ready = until(lambda: answer(host, "/readyz"), 10, lambda: log(host))
    assert ready.status == 503 and ready.json["files"] is False and ready.json["ready"] is False, ready
    hang_up(host)
    assert host.daemon.alive()
    host.netd_start()
    host.ready()
    assert names(host) == ["tun0"] and host.get("/readyz")["files"] is True
    assert events(host, "file_failed") == []


def answer(host, path):
    try:
        return host.api("GET", path)
    except OSError:
        return None


def test_stops_while_it_waits(host):
    put(host, "10-a.json", device("tun0"))
    host.run_dir.mkdir(mode=0o755)
    os.chown(host.run_dir, 64180, 64180)
    host.daemon_start()
    until(lambda: answer(host, "/healthz"), 10, lambda: log(host))
    started = time.monotonic()
    assert host.daemon.terminate() == []
    assert time.monotonic() - started < 5


def test_waits_for_a_confirmation(host):
    host.start()
    for answer_of_ours, path in ("confirm", "/v1/config/confirm"), ("revert", "/v1/config/revert"):
        host.api("PUT", "/v1/devices/tun5?confirm_s=600", {"kind": "tun", "labels": {"try": answer_of_ours}}).expect(200, 201)
        put(host, "10-a.json", device("tun0", labels={"after": answer_of_ours}))
        hang_up(host)
        until(lambda: "10-a.json waits until an earlier change is confirmed" in log(host), 10, lambda: log(host))
        assert (host.api("GET", "/v1/devices/tun0").expect(200, 404).json.get("labels") or {}).get("after") != answer_of_ours
        host.api("POST", path).expect(200)
        until(lambda: host.api("GET", "/v1/devices/tun0").json.get("labels") == {"after": answer_of_ours}, 10,
              lambda: log(host))
    assert events(host, "file_failed") == []


def test_a_confirmation_over_a_restart_holds_up_no_readiness(host):
    put(host, "05-known.json", device("tun3"))
    host.start()
    host.api("PUT", "/v1/devices/tun5?confirm_s=600", {"kind": "tun"}).expect(201)
    put(host, "10-a.json", device("tun0"))
    host.restart()
    assert host.get("/readyz")["files"] is True and names(host) == ["tun3", "tun5"]
    assert "05-known.json waits" not in log(host)  # it would change nothing
    until(lambda: "10-a.json waits" in log(host), 10, lambda: log(host))
    host.api("POST", "/v1/config/confirm").expect(200)
    until(lambda: names(host) == ["tun0", "tun3", "tun5"], 10, lambda: log(host))


def test_killed_at_any_time(host):
    """Each start takes up what is not applied: whole files, in their order."""
    for number in range(12):
        put(host, f"{number:02}.json", {"devices": [device(f"a{number}"), device(f"b{number}")]})
    host.netd_start()
    for delay_ms in (30, 60, 90, 120):
        host.daemon_start()
        until(lambda: answer(host, "/healthz"), 10, lambda: log(host))
        time.sleep(delay_ms / 1000)  # a place in the work, not a condition
        host.kill9("tunwrightd")
    host.daemon_start()
    host.ready()
    assert sorted(names(host)) == sorted(f"{letter}{number}" for letter in "ab" for number in range(12))
    applied = [detail.partition(":")[0] for detail in events(host, "file_applied")]
    assert applied == [f"{number:02}.json" for number in range(12)]


# ---- provisioning -----------------------------------------------------------------------------------------------

def test_cloud_init(net):
    """packaging/cloud-init/user-data: what it writes is there before the first start, and enough."""
    yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")
    text = USER_DATA.read_text()
    assert text.startswith("#cloud-config\n")
    files = {entry["path"]: entry for entry in yaml.safe_load(text)["write_files"]}
    host = net.host("a", net.namespace("a"), listen=["127.0.0.1:8080"], start=False)
    host.namespace.ip("addr", "add", "10.32.0.11/32", "dev", "lo")
    host.state_dir.mkdir(mode=0o700)
    os.chown(host.state_dir, 64180, 64180)
    places = {"/etc/tunwright/conf.d": host.conf_dir, "/var/lib/tunwright": host.state_dir}
    for path, entry in files.items():
        there = places.get(str(pathlib.Path(path).parent))
        if there is None:
            assert path == "/etc/default/tunwright" and "TUNWRIGHT_LISTEN=127.0.0.1:8080\n" in entry["content"]
            continue
        there.mkdir(mode=0o755, exist_ok=True)
        file = there / pathlib.Path(path).name
        file.write_text(entry["content"])
        file.chmod(int(entry["permissions"], 8))
        if entry.get("owner", "").startswith("tunwright:"):
            os.chown(file, 64180, 64180)
    host.start()
    assert names(host) == ["tun0"] and host.status("tun0")["state"] == "ready"
    assert host.namespace.addresses("tun0") == {"192.168.3.11/24"}
    # whoever ordered the machine has the token
    token = files["/var/lib/tunwright/admin.token"]["content"].strip()
    with host.namespace.entered():
        connection = api.http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
        assert api.request(connection, "GET", "/v1/devices", headers={"Authorization": f"Bearer {token}"}).status == 200
