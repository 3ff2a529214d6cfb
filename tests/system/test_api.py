# SPDX-License-Identifier: Apache-2.0
"""The contract, call by call, against the kernel's own word."""

import contextlib
import os
import re
import socket
import threading

import pytest
from lib.api import bare
from lib.host import USER
from lib.waiting import until

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
UUID8 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
TUN0 = "/v1/devices/tun0"


@pytest.fixture
def host(net):
    a, b = net.namespace("a"), net.namespace("b")
    net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"])
    return net.host("a", a)


# ---- devices --------------------------------------------------------------------------------------------------------

def test_document_with_every_default(host):
    created = host.api("PUT", TUN0, {"kind": "tun"}).expect(201)
    assert created.changed is True
    assert bare(created.json) == {
        "name": "tun0", "kind": "tun", "up": True, "mtu": 1500, "txqueuelen": 1000, "queues": 1, "mac": None, "owner": None,
        "group": None, "netns": None, "master": None, "labels": {}, "addresses": [], "routes": [], "worker": None,
        "drift": "repair"}
    status = created.json["status"]
    assert status["state"] == "ready" and status["reason"] is None and status["worker"] is None
    assert status["generation"] == status["observed_generation"] == 1
    assert status["mtu"] == 1500 and isinstance(status["carrier"], bool)
    assert TIME.match(status["created"]) and TIME.match(status["changed"]) and UUID8.match(status["uuid"])
    link = host.namespace.link("tun0")
    assert link["ifindex"] == status["ifindex"] and link["ifalias"] == f"tunwright:{status['uuid']}"
    assert link["mtu"] == 1500 and link["txqlen"] == 1000 and "UP" in link["flags"]
    assert link["linkinfo"]["info_kind"] == "tun" and link["linkinfo"]["info_data"]["type"] == "tun"
    assert host.get(TUN0) == created.json


def test_post_put_get_delete(host):
    created = host.api("POST", "/v1/devices", {"name": "tun0", "kind": "tun", "addresses": ["192.168.3.11/24"]}).expect(201)
    assert created.headers["location"] == TUN0 and created.changed
    assert created.headers["content-type"] == "application/json"
    assert host.namespace.addresses("tun0") == {"192.168.3.11/24"}

    document = host.get(TUN0)
    document["mtu"], document["addresses"] = 1400, ["192.168.3.12/24", "fd00:3::12/64"]
    put = host.api("PUT", TUN0, document).expect(200)  # GET, edit, PUT: the status that comes along is not minded
    assert put.changed and put.json["status"]["generation"] == 2
    assert bare(put.json) == bare(document)
    assert host.namespace.link("tun0")["mtu"] == 1400
    assert host.namespace.addresses("tun0") == {"192.168.3.12/24", "fd00:3::12/64"}

    again = host.api("PUT", TUN0, document).expect(200)
    assert again.changed is False and again.json["status"]["generation"] == 2

    deleted = host.api("DELETE", TUN0).expect(204)
    assert deleted.body == b"" and deleted.changed
    assert host.namespace.link("tun0") is None
    host.api("GET", TUN0).problem(404, "not_found")
    host.api("DELETE", TUN0).problem(404, "not_found")
    assert host.get("/v1/devices") == {"items": [], "next": None}


def test_list_is_ordered_by_name(host):
    for name in ("tun2", "tap1", "a.b-c_d"):
        host.device(name, kind="tap" if name == "tap1" else "tun")
    listed = host.get("/v1/devices")
    assert [d["name"] for d in listed["items"]] == ["a.b-c_d", "tap1", "tun2"] and listed["next"] is None
    assert listed["items"][1] == host.get("/v1/devices/tap1")


def test_name_with_a_number_to_be_found(host):
    host.namespace.ip("tuntap", "add", "vpn1", "mode", "tun")  # somebody else's
    names = [host.api("POST", "/v1/devices", {"name": "vpn%d", "kind": "tun"}).expect(201) for _ in range(3)]
    assert [n.json["name"] for n in names] == ["vpn0", "vpn2", "vpn3"]
    assert names[1].headers["location"] == "/v1/devices/vpn2"
    host.api("PUT", "/v1/devices/vpn%25d", {"kind": "tun"}).expect(400)


def test_longest_name(host):
    name = "a23456789012345"
    assert host.device(name, kind="tun")["name"] == name
    assert host.namespace.link(name)["ifname"] == name


@pytest.mark.parametrize("kind", ["tun", "tap"])
def test_every_setting_reaches_the_kernel(host, kind):
    host.namespace.ip("link", "add", "br0", "type", "bridge")
    wanted = {"kind": kind, "mtu": 1300, "txqueuelen": 4321, "owner": 1234, "group": 4321, "up": False}
    if kind == "tap":
        wanted |= {"mac": "02:00:5e:00:53:01", "master": "br0", "queues": 3}
    document = host.device("x0", **wanted)
    assert {k: document[k] for k in wanted} == wanted
    link = host.namespace.link("x0")
    assert (link["mtu"], link["txqlen"], "UP" in link["flags"]) == (1300, 4321, False)
    data = link["linkinfo"]["info_data"]
    assert (data["type"], data["persist"], data["multi_queue"]) == (kind, True, kind == "tap")
    assert (str(data["user"]), str(data["group"])) == ("1234", "4321")
    if kind == "tap":
        assert link["master"] == "br0" and link["address"] == "02:00:5e:00:53:01"
    # each of them alone, without a new device
    index = document["status"]["ifindex"]
    changes = [{"mtu": 1280}, {"txqueuelen": 100}, {"owner": None}, {"group": None}, {"up": True}]
    if kind == "tap":
        changes += [{"mac": "02:00:5e:00:53:02"}, {"master": None}]
    for change in changes:
        wanted |= change
        document = host.device("x0", **wanted)
        assert {k: document[k] for k in wanted} == wanted and document["status"]["ifindex"] == index
    link = host.namespace.link("x0")
    assert (link["mtu"], link["txqlen"], "UP" in link["flags"]) == (1280, 100, True)
    # once set it cannot be taken away again, only given to a number that nobody has
    assert {link["linkinfo"]["info_data"].get(k, 2 ** 32 - 2) for k in ("user", "group")} == {2 ** 32 - 2}
    if kind == "tap":
        assert "master" not in link and link["address"] == "02:00:5e:00:53:02"


def test_default_mtu_leaves_room_for_the_wrapping(host):
    def mtu(kind, worker):
        document = host.device("x0", kind=kind, worker=worker)
        host.api("DELETE", "/v1/devices/x0").expect(204)
        return document["mtu"]
    v4 = {"type": "udp", "local": "10.0.0.1:5000", "remote": "10.0.0.2:5000"}
    v6 = {"type": "udp", "local": "[fd00:a::1]:5000", "remote": "[fd00:a::2]:5000"}
    assert [mtu("tun", None), mtu("tun", v4), mtu("tun", v6), mtu("tap", v4), mtu("tap", v6)] == [1500, 1472, 1452, 1458, 1438]


# ---- addresses ------------------------------------------------------------------------------------------------------

def test_addresses(host):
    host.device("tun0", kind="tun")
    added = host.api("PUT", f"{TUN0}/addresses/192.168.3.11/24").expect(201)
    assert added.changed and added.json["addresses"] == ["192.168.3.11/24"]
    again = host.api("PUT", f"{TUN0}/addresses/192.168.3.11/24", {}).expect(200)
    assert again.changed is False
    host.api("PUT", f"{TUN0}/addresses/fd00:3:0:0:0:0:0:11/64").expect(201)
    host.api("PUT", f"{TUN0}/addresses/192.168.3.12/24").expect(201)
    host.api("PUT", f"{TUN0}/addresses/192.168.3.11/32").expect(201)  # another one
    expected = ["192.168.3.11/24", "fd00:3::11/64", "192.168.3.12/24", "192.168.3.11/32"]
    assert host.get(f"{TUN0}/addresses") == {"items": expected, "next": None}
    assert host.namespace.addresses("tun0") == set(expected)
    # the primary goes, what was behind it stays
    deleted = host.api("DELETE", f"{TUN0}/addresses/192.168.3.11/24").expect(204)
    assert deleted.changed
    host.api("DELETE", f"{TUN0}/addresses/FD00:3::11/64").expect(204)
    assert host.namespace.addresses("tun0") == {"192.168.3.12/24", "192.168.3.11/32"}
    host.api("DELETE", f"{TUN0}/addresses/192.168.3.11/24").problem(404, "not_found")
    assert host.get(TUN0)["status"]["generation"] == 7


def test_order_of_addresses_makes_the_primary(host):
    host.device("tun0", kind="tun", addresses=["192.168.3.5/24", "192.168.3.1/24"])

    def primary():
        return [a["local"] for a in host.namespace.link("tun0")["addr_info"]
                if a["family"] == "inet" and not a.get("secondary")]
    assert primary() == ["192.168.3.5"]


# ---- routes -----------------------------------------------------------------------------------------------------------

def kernel_routes(host):
    """(to, via, metric, table, type, source) of all routes that carry our protocol number."""
    found = set()
    for r in host.namespace.routes():
        if str(r.get("protocol")) == "84":
            to = r["dst"] if "/" in r["dst"] or r["dst"] == "default" else f"{r['dst']}/{128 if ':' in r['dst'] else 32}"
            found.add((to, r.get("gateway"), r.get("metric", 0), str(r.get("table", "main")), r.get("type", "unicast"),
                       r.get("prefsrc")))
    return found


def test_routes(host):
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24", "10.50.0.1/32", "fd00:3::11/64"])
    path = f"{TUN0}/routes"
    added = host.api("PUT", f"{path}/10.9.0.0/16").expect(201)
    assert added.changed and len(added.json["routes"]) == 1
    assert added.json["routes"][0] == {"to": "10.9.0.0/16", "via": None, "metric": 0, "table": 254, "type": "unicast",
                                       "source": None}
    assert host.api("PUT", f"{path}/10.9.0.0/16").expect(200).changed is False
    # twins are told apart by metric and table
    host.api("PUT", f"{path}/10.9.0.0/16?metric=100&table=77").expect(201)
    host.api("PUT", f"{path}/10.9.0.0/16", {"metric": 200, "via": "192.168.3.1", "source": "10.50.0.1"}).expect(201)
    host.api("PUT", f"{path}/10.10.0.0/16", {"type": "blackhole"}).expect(201)
    host.api("PUT", f"{path}/fd00:9::/48", {"via": "fd00:3::1"}).expect(201)
    host.api("PUT", f"{path}/fd00:10::/48", {"type": "prohibit"}).expect(201)
    host.api("PUT", f"{path}/0.0.0.0/0").expect(201)
    expected = {("10.9.0.0/16", None, 0, "main", "unicast", None), ("10.9.0.0/16", None, 100, "77", "unicast", None),
                ("10.9.0.0/16", "192.168.3.1", 200, "main", "unicast", "10.50.0.1"),
                ("10.10.0.0/16", None, 0, "main", "blackhole", None), ("fd00:9::/48", "fd00:3::1", 1024, "main", "unicast", None),
                ("fd00:10::/48", None, 1024, "main", "prohibit", None), ("default", None, 0, "main", "unicast", None)}
    assert kernel_routes(host) == expected
    listed = host.get(path)
    assert listed["next"] is None and len(listed["items"]) == 7
    # an existing one is changed in place
    assert host.api("PUT", f"{path}/10.9.0.0/16?metric=200", {"via": "192.168.3.2"}).expect(200).changed
    host.api("DELETE", f"{path}/10.9.0.0/16").problem(400, "invalid_query")
    host.api("DELETE", f"{path}/10.9.0.0/16?metric=100&table=77").expect(204)
    host.api("DELETE", f"{path}/10.9.0.0/16?metric=0&table=254").expect(204)
    host.api("DELETE", f"{path}/10.9.0.0/16").expect(204)  # the last of them needs no telling apart
    host.api("DELETE", f"{path}/fd00:9::/48").expect(204)
    host.api("DELETE", f"{path}/0.0.0.0/0").expect(204)
    assert {r[0] for r in kernel_routes(host)} == {"10.10.0.0/16", "fd00:10::/48"}
    # those without a device go with their document all the same
    host.api("DELETE", TUN0).expect(204)
    assert kernel_routes(host) == set()


def test_routes_are_there_while_the_device_is_up(host):
    document = {"kind": "tun", "addresses": ["192.168.3.11/24", "fd00:3::11/64"],
                "routes": [{"to": "10.9.0.0/16"}, {"to": "fd00:9::/48"}]}
    host.device("tun0", **document, up=False)
    assert kernel_routes(host) == set()
    for _ in range(2):
        host.device("tun0", **document, up=True)
        assert {r[0] for r in kernel_routes(host)} == {"10.9.0.0/16", "fd00:9::/48"}
        assert host.namespace.addresses("tun0") == set(document["addresses"])
        host.device("tun0", **document, up=False)
        assert kernel_routes(host) == set()


# ---- workers ----------------------------------------------------------------------------------------------------------

def test_worker_attach_swap_detach(host):
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"])
    host.api("GET", f"{TUN0}/worker").problem(404, "not_found")
    put = host.api("PUT", f"{TUN0}/worker", {"type": "echo"}).expect(201)
    assert put.changed and put.json["worker"] == {"type": "echo"}
    assert host.get(f"{TUN0}/worker") == {"type": "echo"}
    worker = host.status("tun0")["worker"]
    assert worker["state"] == "running" and worker["restarts"] == 0 and TIME.match(worker["started"])
    assert set(worker) == {"state", "pid", "restarts", "started", "detail", "report"}
    assert host.namespace.ping("192.168.3.12", count=1).received == 1
    assert host.api("PUT", f"{TUN0}/worker", {"type": "echo"}).expect(200).changed is False
    assert host.worker_pid("tun0") == worker["pid"]

    assert host.api("PUT", f"{TUN0}/worker", {"type": "monitor"}).expect(200).changed
    assert host.get(f"{TUN0}/worker")["type"] == "monitor"
    assert host.namespace.ping("192.168.3.12", count=1, wait=0.2).received == 0

    pid = host.worker_pid("tun0")
    assert host.api("DELETE", f"{TUN0}/worker").expect(204).changed
    assert host.status("tun0")["worker"] is None and host.get(TUN0)["worker"] is None
    until(lambda: pid not in host.worker_pids(), 5, "the worker's end")
    assert host.counters("tun0")["worker"] is None
    host.api("DELETE", f"{TUN0}/worker").problem(404, "not_found")
    # and again, on the same device
    host.api("PUT", f"{TUN0}/worker", {"type": "echo"}).expect(201)
    assert host.namespace.ping("192.168.3.12", count=1).received == 1
    host.api("DELETE", TUN0).expect(204)
    until(lambda: not host.worker_pids(), 5, "the worker's end")


def test_worker_has_no_privilege(host):
    host.device("tun0", kind="tun", worker={"type": "udp", "local": "10.0.0.1:5000", "remote": "10.0.0.2:5000"})
    with open(f"/proc/{host.worker_pid('tun0')}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert status["Uid"].split() == ["64181"] * 4 and status["Gid"].split() == ["64181"] * 4
    assert status["Groups"].split() in ([], ["64181"])
    assert {status[c].strip("0") for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
    assert status["NoNewPrivs"] == "1"


def test_worker_inherits_nothing_else(host):
    host.device("tun0", kind="tun", worker={"type": "udp", "local": "10.0.0.1:5000", "remote": "10.0.0.2:5000"})
    pid = host.worker_pid("tun0")
    fds = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert fds[0] == fds[1] == "/dev/null"
    assert len([t for t in fds.values() if t == "/dev/net/tun"]) == 1
    assert not [t for t in fds.values() if t.endswith((".db", ".token"))]
    with open(f"/proc/{pid}/environ", "rb") as file:
        names = {v.split(b"=")[0] for v in file.read().split(b"\0") if v}
    assert names <= {b"PATH", b"ASAN_OPTIONS", b"UBSAN_OPTIONS"}


def test_daemon_has_no_capability(host):
    with open(f"/proc/{host.daemon.pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert status["Uid"].split() == [str(USER)] * 4
    assert {status[c].strip("0") for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}


# ---- watch --------------------------------------------------------------------------------------------------------------

def test_watch_tells_events(host):
    stream = host.watch("?topics=events")
    assert stream.status == 200 and stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"
    host.device("tun0", kind="tun")
    created = stream.next_of("device_created")
    assert created["data"]["device"] == "tun0" and created["data"]["type"] == "device_created"
    assert set(created["data"]) == {"sequence", "time", "type", "device", "detail"}
    assert int(created["id"]) == created["data"]["sequence"] and TIME.match(created["data"]["time"])
    host.put(f"{TUN0}/addresses/192.168.3.11/24")
    changed = stream.next_of("device_changed")
    host.put(f"{TUN0}/worker", {"type": "echo"})
    worker = stream.next_of("worker_state")
    host.api("DELETE", TUN0).expect(204)
    deleted = stream.next_of("device_deleted")
    numbers = [int(m["id"]) for m in (created, changed, worker, deleted)]
    assert numbers == sorted(set(numbers))
    stream.close()


def test_watch_tells_counters_at_its_interval(host):
    host.device("tun0", kind="tun", addresses=["192.168.3.11/24"], worker={"type": "echo"})
    host.device("tun1", kind="tun")
    stream = host.watch("?topics=counters&interval_ms=100&device=tun0")
    first = stream.next()
    assert first["event"] == "counters" and [i["device"] for i in first["data"]["items"]] == ["tun0"]
    host.namespace.ping("192.168.3.12", count=3)
    wanted = host.counters("tun0")["worker"]["device_out"]["packets"]
    assert wanted >= 3
    for _ in range(50):
        seen = stream.next()["data"]["items"][0]
        if seen["worker"]["device_out"]["packets"] >= wanted:
            break
    else:
        raise AssertionError(f"the stream's counters do not move: {seen}")
    stream.close()
    both = host.watch("?interval_ms=100")
    assert [i["device"] for i in both.next_of("counters")["data"]["items"]] == ["tun0", "tun1"]
    host.device("tun2", kind="tun")
    both.next_of("device_created")
    both.close()


@pytest.mark.parametrize("query", ["topics=weather", "interval_ms=99", "interval_ms=60001", "interval_ms=x", "colour=red"])
def test_watch_refuses(host, query):
    host.api("GET", f"/v1/watch?{query}").problem(400, "invalid_query")


def test_many_watchers_and_their_going_away(host):
    streams = [host.watch("?topics=counters&interval_ms=100") for _ in range(50)]
    host.device("tun0", kind="tun")
    for stream in streams:
        stream.next()
    for stream in streams[::2]:
        stream.close()
    assert host.api("GET", "/healthz").status == 200
    for stream in streams[1::2]:
        assert stream.next()["event"] == "counters"
    problems = host.daemon.terminate()  # with the others still open
    assert not problems, problems
    for stream in streams[1::2]:
        stream.close()
    host.daemon_start()
    host.ready()


# ---- daemon -------------------------------------------------------------------------------------------------------------

def test_version_health_readiness(host):
    assert host.get("/v1/version") == {"name": "tunwright", "version": "0.1.0", "api": "v1"}
    assert host.get("/healthz") == {"status": "ok"}
    assert host.get("/readyz") == {"ready": True, "netd": True, "store": True, "settled": True, "files": True}
    host.kill9("netd")
    until(lambda: host.api("GET", "/readyz").status == 503, 5, "not ready without netd")
    assert host.api("GET", "/readyz").json["netd"] is False
    assert host.get("/healthz") == {"status": "ok"}
    host.netd_start()
    host.ready()


def test_head_is_get_without_a_body(host):
    host.device("tun0", kind="tun")
    for path in ("/v1/devices", TUN0, "/v1/version", "/healthz"):
        get, head = host.api("GET", path), host.api("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))
    assert host.api("HEAD", "/v1/devices/none0").status == 404
    # of a stream, too: and the connection is good for another request
    with contextlib.closing(host.connection()) as connection:
        for method, path in (("HEAD", "/v1/watch"), ("GET", "/healthz")):
            connection.request(method, path)
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()


def test_query_where_none_is_taken(host):
    host.device("tun0", kind="tun")
    for path in ("/v1/devices?colour=red", f"{TUN0}?x=1"):
        host.api("GET", path).problem(400, "invalid_query")


def test_connection_is_kept_alive(host):
    connection = host.connection()
    for number in range(20):
        connection.request("PUT", f"/v1/devices/tun{number % 3}", body='{"kind": "tun"}', headers={"Content-Type":
                                                                                                   "application/json"})
        answer = connection.getresponse()
        assert answer.status in (200, 201), answer.read()
        answer.read()
    connection.close()


def test_parallel_changes_are_all_done(host):
    host.device("tun0", kind="tun")
    answers = []

    def change(number):
        answers.append(host.api("PUT", f"{TUN0}/addresses/10.7.{number}.1/32").status)

    threads = [threading.Thread(target=change, args=(n,)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [201] * 30
    assert host.namespace.addresses("tun0") == {f"10.7.{n}.1/32" for n in range(30)}
    assert host.get(TUN0)["status"]["generation"] == 31


# ---- the program ------------------------------------------------------------------------------------------------------

def test_sd_notify_when_ready(net):
    namespace = net.namespace("a")
    host = net.host("a", namespace, start=False)
    messages = {}
    for program in (host.netd, host.daemon):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = host.directory / f"{program.name}.notify"
        sock.bind(str(path))
        path.chmod(0o777)
        sock.settimeout(20)
        program.environment = {**program.environment, "NOTIFY_SOCKET": str(path)}
        program.start()
        messages[program.name] = sock.recv(4096).decode()
        sock.close()
    assert all("READY=1" in m.split("\n") for m in messages.values()), messages
    host.ready()


def test_daemon_before_netd(net):
    """They may be started in any order."""
    host = net.host("a", start=False)
    host.run_dir.mkdir()
    os.chown(host.run_dir, USER, USER)
    host.daemon_start()
    until(lambda: host.socket.exists() and host.attempt("/healthz").startswith("200"), 20, "the API")
    host.api("PUT", TUN0, {"kind": "tun"}).problem(503, "netd_unavailable")
    host.netd_start()
    host.ready()
    host.api("PUT", TUN0, {"kind": "tun"}).expect(201)


def test_second_daemon_on_the_same_directories_refuses(net):
    host = net.host("a")
    for program in (host.netd, host.daemon):
        second = type(program)(program.name, program.namespace, program.command, program.environment,
                               host.directory / f"second-{program.name}.log")
        second.start()
        until(lambda: not second.alive(), 20, f"a second {program.name} to refuse")
        assert second.process.returncode != 0, second.log.read_text()
    assert host.api("GET", "/readyz").status == 200
