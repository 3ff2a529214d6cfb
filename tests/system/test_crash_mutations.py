# SPDX-License-Identifier: Apache-2.0
"""kill -9 of tunwrightd, of netd, of both, and a power cut of the host, in the midst of a mix of all mutations: afterwards
there is the state before the mutation in flight or the one after it, whole, in the API, the kernel, the audit log and the
events.

A client does one thing after the other and foresees what each makes of the configuration. TUNWRIGHT_CRASH_SECONDS makes the
campaign as long as that, TUNWRIGHT_CRASH_SEED repeats one (the kills' moments are still the machine's)."""

import copy
import datetime
import http.client
import json
import os
import random
import signal
import threading
import time

import pytest
from lib.waiting import until

pytestmark = pytest.mark.slow

PATCH = {"Content-Type": "application/merge-patch+json"}
SECONDS = float(os.environ.get("TUNWRIGHT_CRASH_SECONDS", 30))
SEED = int(os.environ.get("TUNWRIGHT_CRASH_SEED", 1))
NAMES = ("tun0", "tun1", "tap2", "tap3")
FOUND = "found9"  # made by somebody else: adopted and released
FILE = "10-site.json"
SHARED = {"to": "10.99.0.0/16", "type": "blackhole", "metric": 9, "table": 254}  # goes from device to device
KILLS = ("tunwrightd", "tunwrightd", "tunwrightd", "netd", "both", "host")
TIMEOUT_ENTRY = "revert what was not confirmed in time"


class Broken(Exception):
    """The connection was: nobody knows what became of the mutation."""


# ---- documents ------------------------------------------------------------------------------------------------------

def device(chance, name):
    """A document for that name, with parts that no other name's has."""
    i = NAMES.index(name) if name in NAMES else len(NAMES)
    routes = [{"to": f"10.{20 + i}.{k}.0/24", "metric": 5 + k, "table": 254, "type": "unicast"}
              for k in chance.sample(range(4), 2)]
    routes += [{"to": f"10.{60 + i}.{k}.0/24", "metric": 3, "table": 254, "type": chance.choice(["blackhole", "prohibit"])}
               for k in chance.sample(range(3), chance.randrange(3))]
    routes += [{"to": f"fd00:{i + 1}:{chance.randrange(1, 4)}::/48", "metric": 7, "table": 254, "type": "unicast"}]
    worker = chance.choice([None, {"type": "echo"}, {"type": "monitor"},
                            {"type": "udp", "local": f"127.0.0.1:{5100 + 16 * i}", "remote": f"127.0.0.1:{6100 + 16 * i}"}])
    return {"name": name, "kind": "tun" if name.startswith("tun") else "tap", "mtu": chance.randrange(1300, 1500),
            "txqueuelen": chance.randrange(100, 900), "queues": chance.choice([1, 1, 1, 2]), "labels": {"n": str(chance.random())},
            "addresses": sorted({f"192.168.{10 + i}.{chance.randrange(1, 9)}/24", f"172.16.{i}.{chance.randrange(1, 5)}/32"}),
            "routes": routes, "worker": worker}


def same(wanted, found):
    """Whether the document is what was foreseen, as far as it was."""
    if wanted is None or found is None:
        return wanted is found
    if set(wanted["addresses"]) != set(found["addresses"]):
        return False
    if not (routes_of(wanted) == routes_of(found)):
        return False
    if (wanted["worker"] is None) != (found["worker"] is None):
        return False
    if wanted["worker"] and any(found["worker"].get(k) != v for k, v in wanted["worker"].items()):
        return False
    return all(found[k] == v for k, v in wanted.items() if k not in ("addresses", "routes", "worker"))


def routes_of(document):
    return {(r["to"], r["metric"], r["type"]) for r in document["routes"]}


def same_config(wanted, found):
    return set(wanted) == set(found) and all(same(wanted[name], found[name]) for name in wanted)


def differences(wanted, found):
    """Only what differs, for whoever reads of a failure."""
    return {name: {k: (d.get(k), (wanted.get(name) or {}).get(k)) for k in (wanted.get(name) or d)
                   if d.get(k) != (wanted.get(name) or {}).get(k)} if (d := found.get(name)) and name in wanted else
            ("wanted" if name in wanted else "found") for name in {*wanted, *found} if not same(wanted.get(name), found.get(name))}


# ---- the client -----------------------------------------------------------------------------------------------------

class State:
    """All that the mutations are about."""

    def __init__(self):
        self.config, self.tokens = {}, {"admin"}
        self.before = None  # the configuration that a pending change goes back to
        self.outside = {"name": FOUND, "kind": "tap", "mtu": 1400, "addresses": ["192.168.9.1/24"], "routes": [], "worker": None}

    def copy(self):
        return copy.deepcopy(self)


class Client:
    """Mutations one after the other in a thread, until the connection breaks or `stop` is set. `state` is after the last that
    was acknowledged; `flying` the state after the one in flight, with its audit entry; `audit` what was acknowledged."""

    def __init__(self, host, chance, state):
        self.host, self.chance, self.state = host, chance, state
        self.flying = self.flying_entry = None
        self.flying_file = None
        self.audit, self.done, self.refused, self.last = [], 0, 0, ""
        self.timed_out = False
        self.error = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.stop.is_set():
                if self.state.before is not None:
                    self.decide()
                else:
                    self.chance.choices(*zip(*((getattr(self, name), weight) for name, weight in MUTATIONS.items())))[0]()
        except Broken:
            pass
        except Exception as error:
            self.error = error

    def join(self):
        self.thread.join(60)
        assert not self.thread.is_alive(), f"stuck in {self.last}"
        if self.error:
            raise self.error

    def api(self, method, path, body=None, headers=None):
        try:
            return self.host.api(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise Broken from error

    def change(self, after, method, path, body=None, headers=None, confirm=True):
        """One mutation that leads to `after`."""
        confirm_s = confirm and self.chance.random() < 0.2 and self.chance.choice([1, 2, 60])
        if confirm_s:
            after.before = copy.deepcopy(self.state.config)
        self.last = f"{method} {path} {json.dumps(body) if body else ''} confirm_s={confirm_s}"
        self.flying_entry = f"{method} {path.partition('?')[0]}"
        self.flying = after
        answer = self.api(method, f"{path}?confirm_s={confirm_s}" if confirm_s else path, body, headers)
        if answer.status == 503:
            self.refused += 1
            self.flying = None
            time.sleep(0.01)  # netd is away: not a wait for anything
            return
        answer.expect(200, 201, 204)
        if answer.changed:
            self.audit.append(self.flying_entry)
        else:
            after.before = None
        self.state, self.flying = after, None
        self.done += 1

    # ---- one device

    def put(self):
        after = self.state.copy()
        document = device(self.chance, self.chance.choice(NAMES))
        if not any(SHARED in d["routes"] for n, d in after.config.items() if n != document["name"]) and self.chance.random() < .3:
            document["routes"].append(SHARED)
        after.config[document["name"]] = document
        self.change(after, "PUT", f"/v1/devices/{document['name']}", document)

    def pick(self, which=NAMES):
        there = sorted(set(which) & set(self.state.config))
        return self.chance.choice(there) if there else None

    def patch(self):
        name, after = self.pick((*NAMES, FOUND)), self.state.copy()
        if name:
            patch = {"mtu": self.chance.randrange(1300, 1500), "labels": {"n": str(self.chance.random())}}
            after.config[name] |= patch
            self.change(after, "PATCH", f"/v1/devices/{name}", patch, PATCH)

    def delete(self):
        name, after = self.pick(), self.state.copy()
        if name:
            del after.config[name]
            self.change(after, "DELETE", f"/v1/devices/{name}")

    def address(self):
        name, after = self.pick((*NAMES, FOUND)), self.state.copy()
        if not name:
            return
        address = f"172.17.{self.chance.randrange(3)}.{(*NAMES, FOUND).index(name) + 1}/32"
        if address in after.config[name]["addresses"]:
            after.config[name]["addresses"].remove(address)
            self.change(after, "DELETE", f"/v1/devices/{name}/addresses/{address}")
        else:
            after.config[name]["addresses"].append(address)
            self.change(after, "PUT", f"/v1/devices/{name}/addresses/{address}", {})

    def route(self):
        name, after = self.pick(), self.state.copy()
        if not name:
            return
        to = f"10.{40 + NAMES.index(name)}.{self.chance.randrange(3)}.0/24"
        kind = self.chance.choice(["unicast", "blackhole", "unreachable"])
        there = [r for r in after.config[name]["routes"] if r["to"] == to]
        if there:
            after.config[name]["routes"].remove(there[0])
            self.change(after, "DELETE", f"/v1/devices/{name}/routes/{to}?metric={there[0]['metric']}", confirm=False)
        else:
            after.config[name]["routes"].append({"to": to, "metric": 11, "table": 254, "type": kind})
            self.change(after, "PUT", f"/v1/devices/{name}/routes/{to}", {"metric": 11, "type": kind})

    def worker(self):
        name, after = self.pick(), self.state.copy()
        if name:
            after.config[name]["worker"] = device(self.chance, name)["worker"]
            if after.config[name]["worker"]:
                self.change(after, "PUT", f"/v1/devices/{name}/worker", after.config[name]["worker"])
            elif self.state.config[name]["worker"]:
                self.change(after, "DELETE", f"/v1/devices/{name}/worker")

    def adopt(self):
        after = self.state.copy()
        if FOUND in self.state.config:
            after.outside = after.config.pop(FOUND) | {"worker": None}
            after.outside.pop("labels", None)
            self.change(after, "POST", f"/v1/devices/{FOUND}/release")
        else:
            after.config[FOUND] = copy.deepcopy(after.outside)
            self.change(after, "POST", f"/v1/devices/{FOUND}/adopt")

    # ---- all at once

    def config(self):
        after = self.state.copy()
        for name in NAMES:
            if self.chance.random() < 0.4:
                after.config.pop(name, None)
            elif self.chance.random() < 0.7:
                after.config[name] = device(self.chance, name)
            elif name in after.config:
                after.config[name]["routes"] = [r for r in after.config[name]["routes"] if r != SHARED]
        with_shared = sorted(set(after.config) & set(NAMES))
        if with_shared:
            after.config[self.chance.choice(with_shared)]["routes"].append(dict(SHARED))
        answer = self.api("GET", "/v1/config").expect(200)  # what a client does that leaves others' fields alone
        body = {d["name"]: d for d in answer.json["devices"]}
        body = {name: body.get(name, {}) | document for name, document in after.config.items()}
        for name, document in after.config.items():
            if name in NAMES and document["worker"] != self.state.config.get(name, {}).get("worker"):
                body[name]["worker"] = document["worker"]
        self.change(after, "PUT", "/v1/config", {"devices": list(body.values())})

    def decide(self):
        """What is pending is confirmed, reverted, or left to its deadline."""
        what = self.chance.choice(["confirm", "revert", "wait"])
        after = self.state.copy()
        after.before = None
        if what == "confirm" or what == "revert":
            if what == "revert":
                go_back(after, self.state.before)
            self.flying, self.flying_entry, self.last = after, f"POST /v1/config/{what}", what
            answer = self.api("POST", f"/v1/config/{what}")
            if answer.status == 409:  # too late
                self.flying = None
                what = "wait"
            elif answer.status == 503:
                self.flying, self.refused = None, self.refused + 1
                time.sleep(0.01)
            else:
                answer.expect(200)
                self.audit.append(self.flying_entry)
                self.state, self.flying = after, None
                self.done += 1
        if what == "wait":
            self.last = "waiting for the deadline"
            pending = self.api("GET", "/v1/config/confirm").expect(200).json["pending"]
            if pending is None:
                self.state = expired(self.state)
                self.audit.append(TIMEOUT_ENTRY)
            elif pending["remaining_s"] > 5:
                self.chance.random()  # that is too long: the next turn decides again
            else:
                self.stop.wait(0.1)

    # ---- tokens and files

    def token(self):
        after = self.state.copy()
        name = f"ci{self.chance.randrange(3)}"
        if name in after.tokens:
            after.tokens.remove(name)
            self.change(after, "DELETE", f"/v1/tokens/{name}", confirm=False)
        else:
            after.tokens.add(name)
            self.change(after, "POST", "/v1/tokens", {"name": name, "role": "reader", "kind": "bearer", "selector": None,
                                                      "expires": None}, confirm=False)

    def file(self):
        after = self.state.copy()
        document = device(self.chance, "tunfile")
        document["labels"]["file"] = str(self.done)
        after.config["tunfile"] = document
        self.last, self.flying_entry, self.flying_file = "a start-up file", "start-up file", document
        self.flying = after
        write_file(self.host, document)
        try:
            os.kill(self.host.daemon.pid, signal.SIGHUP)
        except (ProcessLookupError, TypeError) as error:
            raise Broken from error
        limit = time.monotonic() + 20
        while not self.stop.is_set() and time.monotonic() < limit:
            found = self.api("GET", "/v1/devices/tunfile")
            if found.status == 200 and same(document, found.json):
                self.audit.append("start-up file")
                self.state, self.flying, self.flying_file = after, None, None
                self.done += 1
                return
            time.sleep(0.01)
        if not self.stop.is_set():
            raise AssertionError(f"the start-up file is not applied: {found}")
        raise Broken  # netd is away: it is still to come


MUTATIONS = {"put": 4, "patch": 2, "delete": 2, "address": 2, "route": 2, "worker": 2, "adopt": 3, "config": 6, "token": 2,
             "file": 1}


def go_back(state, before):
    state.config = copy.deepcopy(before)


def expired(state):
    after = state.copy()
    go_back(after, state.before)
    after.before = None
    return after


def write_file(host, document):
    host.conf_dir.mkdir(exist_ok=True)
    made = host.conf_dir / ".new"
    made.write_text(json.dumps(document))
    made.rename(host.conf_dir / FILE)


# ---- what is there --------------------------------------------------------------------------------------------------

def foreign_make(namespace, outside):
    ip = namespace.ip
    ip("tuntap", "add", "alien0", "mode", "tun")
    ip("link", "set", "alien0", "mtu", "1234", "up")
    ip("address", "add", "192.168.77.1/24", "dev", "alien0")
    ip("route", "add", "10.77.0.0/16", "dev", "alien0")
    ip("route", "add", "blackhole", "10.78.0.0/16")
    if outside:
        found_make(namespace, outside)


def found_make(namespace, outside):
    ip = namespace.ip
    ip("tuntap", "add", FOUND, "mode", "tap")
    ip("link", "set", FOUND, "mtu", str(outside["mtu"]), "up")
    for address in outside["addresses"]:
        ip("address", "add", address, "dev", FOUND)


def config_of(host):
    return {d["name"]: d for d in host.get("/v1/config")["devices"]}


def kernel_fault(host, config):
    """What is wrong in the kernel, or None."""
    namespace = host.namespace
    links = {link["ifname"]: link for link in namespace.ip_json("-details", "address", "show")}
    ours = {name for name, link in links.items() if link.get("ifalias", "").startswith("tunwright:")}
    if ours != set(config):
        return f"ours in the kernel: {ours}, in the configuration: {set(config)}"
    unattached = set()
    for name, document in config.items():
        link = links[name]
        addresses = {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}
        if (link["mtu"], link["txqlen"]) != (document["mtu"], document["txqueuelen"]):
            return f"{name} has {link['mtu']}, {link['txqlen']}"
        if addresses != set(document["addresses"]):
            return f"{name} has the addresses {addresses}"
        routes = {(r["dst"], r["metric"]) for r in namespace.routes(dev=name, protocol="84") if r.get("type", "unicast") == "unicast"}
        if routes != {(r["to"], r["metric"]) for r in document["routes"] if r["type"] == "unicast"}:
            return f"{name} has the routes {routes}"
        unattached |= {(r["to"], r["metric"], r["type"]) for r in document["routes"] if r["type"] != "unicast"}
    there = {(r["dst"], r["metric"], r["type"]) for r in namespace.routes(protocol="84") if r.get("type", "unicast") != "unicast"}
    if there != unattached:
        return f"routes without a device: {there}, wanted: {unattached}"
    status = {d["name"]: d["status"] for d in host.get("/v1/devices")["items"]}
    if any(s["state"] != "ready" for s in status.values()):
        return f"not ready: {[(n, s['state'], s['reason']) for n, s in status.items() if s['state'] != 'ready']}"
    pids = {s["worker"]["pid"] for s in status.values() if s["worker"]}
    if set(host.worker_pids()) != pids or len(pids) != sum(d["worker"] is not None for d in config.values()):
        return f"workers {host.worker_pids()}, in status {pids}"
    return None


def foreign_fault(namespace, config, found=True):
    alien = namespace.link("alien0")
    if not alien or alien["mtu"] != 1234 or "ifalias" in alien or namespace.addresses("alien0") != {"192.168.77.1/24"}:
        return f"alien0 is {alien}"
    if not namespace.routes(dst="10.77.0.0/16", dev="alien0") or not namespace.routes(dst="10.78.0.0/16"):
        return "foreign routes are gone"
    if found and FOUND not in config and not namespace.link(FOUND):
        return f"{FOUND} is gone"
    return None


class Record:
    """The audit log and the events as they were seen: what was there stays, and what is new follows without a gap."""

    def __init__(self, host):
        self.host = host
        self.audit_after = 0
        self.events = {}
        self.audit_new()

    def audit_new(self):
        items = []
        while True:
            page = self.host.get(f"/v1/audit?after={self.audit_after}&limit=500")["items"]
            if not page:
                return [item["operation"] for item in items]
            for item in page:
                assert item["sequence"] == self.audit_after + 1, f"audit {item['sequence']} after {self.audit_after}"
                self.audit_after += 1
            items += page

    def events_check(self):
        after, seen = max(self.events, default=1) - 1, 0
        alive = {}
        while True:
            page = self.host.get(f"/v1/events?after={after}&limit=1000")["items"]
            for event in page:
                assert event["sequence"] == after + 1, f"event {event['sequence']} after {after}"
                after += 1
                assert self.events.setdefault(after, event) == event, f"{event} was {self.events[after]}"
            seen += len(page)
            if not page:
                break
        for sequence in sorted(self.events):
            event = self.events[sequence]
            if event["type"] == "device_created":
                assert not alive.get(event["device"]), f"created twice: {event}"
                alive[event["device"]] = True
            elif event["type"] == "device_deleted":
                assert alive.get(event["device"]), f"deleted, and was not there: {event}"
                alive[event["device"]] = False
        return {name for name, there in alive.items() if there}


# ---- the campaign ---------------------------------------------------------------------------------------------------

class Campaign:
    def __init__(self, net, seed):
        self.net, self.chance = net, random.Random(seed)
        self.host = net.host("a", start=False, log_level="info")
        self.state = State()
        foreign_make(self.host.namespace, self.state.outside)
        self.host.conf_dir.mkdir()
        self.host.start()
        self.record = Record(self.host)
        self.kills = dict.fromkeys(KILLS, 0)
        self.figures = {"mutations": 0, "refused": 0, "flying": 0, "flying_new": 0, "pending": 0}

    def round(self):
        host, which = self.host, self.chance.choice(KILLS)
        client = Client(host, random.Random(self.chance.random()), self.state)
        try:
            until(lambda: client.done >= 1 or client.error, 30, lambda: f"a first change; {client.last}")
            time.sleep(self.chance.uniform(0, 0.4))  # a moment at random: not a wait for anything
            self.kill(which, client)
            client.join()
            self.kills[which] += 1
            self.check(client, which)
        except AssertionError as error:
            raise AssertionError(f"after a kill of {which} in round {sum(self.kills.values())}, in {client.last}: "
                                 f"{error}") from error
        finally:
            client.stop.set()

    def kill(self, which, client):
        host = self.host
        if which == "netd":
            host.kill9("netd")
            time.sleep(self.chance.uniform(0, 0.3))
            host.netd_start()
            host.ready()
            client.stop.set()
            return
        if which == "host":
            number = sum(self.kills.values())
            host.reboot(self.net.namespace(f"r{number}"))
            client.join()
            foreign_make(host.namespace, None)
            host.start()
            return
        if which == "both":
            order = ["netd", "tunwrightd"]
            self.chance.shuffle(order)
            for one in order:
                host.kill9(one)
                time.sleep(self.chance.choice([0, 0, 0.02]))
            client.join()
            host.start()
            return
        host.kill9("tunwrightd")
        client.join()
        host.daemon_start()
        host.ready()

    def check(self, client, which):
        host, figures = self.host, self.figures
        old, new = client.state, client.flying
        figures["mutations"] += client.done
        figures["refused"] += client.refused
        figures["flying"] += new is not None
        if client.flying_file is not None:  # it is applied at the start, or when somebody asks again
            if which == "netd":
                os.kill(host.daemon.pid, signal.SIGHUP)
            until(lambda: same_config(new.config, config_of(host)), 15,
                  lambda: f"the start-up file, applied: {config_of(host)}")
        # while one is pending nothing else is under way; when its time comes the old configuration returns
        state, entries = self.resolve(old, new, client)
        found_there = FOUND in state.config or which != "host"
        if which == "host" and FOUND not in state.config:
            if not host.namespace.link(FOUND):  # it may have been made for us, and let go
                found_make(host.namespace, state.outside)
            found_there = True
        until(lambda: kernel_fault(host, config_of(host)) is None, 20,
              lambda: f"a kernel as configured: {kernel_fault(host, config_of(host))}\n{config_of(host)}")
        assert same_config(state.config, config_of(host)), f"{state.config}, and there is {config_of(host)}"
        fault = foreign_fault(host.namespace, state.config, found_there)
        assert fault is None, fault
        tokens = {t["name"] for t in host.get("/v1/tokens")["items"]}
        assert tokens == state.tokens, f"tokens {tokens}, wanted {state.tokens}"
        audit = self.record.audit_new()
        assert audit == entries, f"audit {audit}\nwanted {entries}"
        alive = self.record.events_check()
        assert alive == set(state.config), f"by the events there are {alive}, in the configuration {set(state.config)}"
        self.state = state

    def resolve(self, old, new, client):
        """Which of the two it is, once nothing is pending any more; and the audit entries that it has."""
        host, entries = self.host, list(client.audit)
        answer = host.get("/v1/config/confirm")["pending"]
        found, tokens = config_of(host), {t["name"] for t in host.get("/v1/tokens")["items"]}
        possible = [(old, entries)]
        if new is not None:
            possible.append((new, [*entries, client.flying_entry]))
        possible += [(expired(s), [*e, TIMEOUT_ENTRY]) for s, e in list(possible) if s.before is not None]
        audit = [e["operation"] for e in host.get(f"/v1/audit?after={self.record.audit_after}&limit=1000")["items"]]
        # the deadline may pass between these looks: then look again
        again = host.get("/v1/config/confirm")["pending"]
        if (answer is None) != (again is None):
            return self.resolve(old, new, client)
        fitting = [(s, e) for s, e in possible if same_config(s.config, found) and s.tokens == tokens and
                   (s.before is not None) == (answer is not None)]
        exact = [(s, e) for s, e in fitting if e == audit]
        assert fitting, f"neither before nor after; tokens {tokens}, pending {answer}, audit {audit}\n" + "\n".join(
            f"not {differences(s.config, found)}, tokens {s.tokens}, pending {s.before is not None}, audit {e}" for s, e in possible)
        state, entries = (exact or fitting)[0]
        self.figures["flying_new"] += new is not None and state is new
        if answer is None:
            return state, entries
        self.figures["pending"] += 1
        if answer["remaining_s"] > 3:
            host.api("POST", "/v1/config/revert").expect(200)
            entries = [*entries, "POST /v1/config/revert"]
        else:
            until(lambda: host.get("/v1/config/confirm")["pending"] is None, 10, "the deadline of what was not confirmed")
            entries = [*entries, TIMEOUT_ENTRY]
        return expired(state), entries


@pytest.mark.limit(int(SECONDS) + 90)
def test_killed_at_any_moment(net):
    begun = time.monotonic()
    seed = SEED
    print(f"seed {seed}")
    campaign = Campaign(net, seed)
    try:
        while time.monotonic() < begun + SECONDS:
            campaign.round()
    finally:
        print(f"{datetime.timedelta(seconds=int(time.monotonic() - begun))}: kills {campaign.kills}, {campaign.figures}")
