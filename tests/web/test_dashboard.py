# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a real browser, as its users use it. After each test: nothing in the console, no violation of the policy, no
request to another host."""

import contextlib
import json
import re
import shlex
import socket
import subprocess
import threading

import pytest
from lib import accessibility, door
from lib.api import bare
from lib.browser import DESKTOP, PHONE
from lib.topology import udp
from lib.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.limit(180)]
A, B = "http://127.0.0.1:8080", "https://10.0.0.2:8443"


@pytest.fixture(scope="module")
def hosts(module_net):
    """Two hosts at one cable; a's API is on its loopback, where the browser is, b's on the cable, with TLS."""
    a, b = module_net.namespace("a"), module_net.namespace("b")
    module_net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"])
    authority = door.Authority(module_net.base / "certificates")
    return (module_net.host("a", a, listen=["127.0.0.1:8080"], log_level="info"),
            module_net.host("b", b, arguments=door.tls_options(authority, authority.server(), clients=False, addresses=("10.0.0.2:8443",)), log_level="info"))


@pytest.fixture(scope="module")
def browser(hosts, desk):
    return desk(hosts[0].namespace)


@pytest.fixture
def web(hosts, browser):
    """Nobody is signed in, and no device is there."""
    for url in (A, B):
        browser.open(f"{url}/assets/icon.svg")  # cookies are those of the site that one is on
        browser.driver.delete_all_cookies()
    browser.size(*DESKTOP)
    browser.theme("light")
    yield browser
    problems = browser.problems()
    for host in hosts:
        with contextlib.suppress(AssertionError):
            host.api("POST", "/v1/config/revert")
        host.put("/v1/config", {"devices": []})
    assert not problems, "\n".join(problems)


@pytest.fixture
def signed_in(web, hosts):
    """As admin, on host a."""
    web.sign_in(A, hosts[0].token())
    return web


def go(web, path, title):
    web.js("location.hash = arguments[0]", path)
    until(lambda: web.text("h1") == title, 10, lambda: f"the page {title}; it is {web.text('h1')}")


def both_ends(hosts, **fields):
    a, b = hosts
    a.device("tun0", kind="tun", addresses=["192.168.3.11/24", "fd00:3::11/64"], worker=udp("10.0.0.1", "10.0.0.2"), **fields)
    b.device("tun0", kind="tun", addresses=["192.168.3.1/24", "fd00:3::1/64"], worker=udp("10.0.0.2", "10.0.0.1"))


@contextlib.contextmanager
def traffic(host, *arguments, to="192.168.3.1"):
    process = host.namespace.popen("ping", "-q", "-n", *(arguments or ("-i", "0.01", "-s", "800")), to, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def number(text):
    """"1.23 MB/s" → 1230000.0"""
    match = re.match(r"([\d.]+) ?([kMG]?)", text)
    return float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]] if match else 0.0


# ---- who ------------------------------------------------------------------------------------------------------------

def test_sign_in_and_out(web, hosts):
    web.open(A)
    assert web.text("h1") == "Sign in"
    web.press("Sign in")
    web.see("Enter a token.")
    web.fill("Token", "0" * 64)
    web.press("Sign in")
    web.see("This is no token, or none any more.")
    web.fill("Token", "abc")
    web.press("Sign in")
    web.see("A token is 64 digits of 0 to 9 and a to f.")
    web.fill("Token", hosts[0].token() + "\n")  # Enter will do as well
    web.see("There is no device yet.")
    cookie = next(c for c in web.driver.get_cookies() if c["name"] == "tunwright-8080")
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert web.js("return [document.cookie, Object.keys(localStorage).length, Object.keys(sessionStorage).length]") == ["", 0, 0]
    assert hosts[0].token() not in web.driver.page_source
    web.driver.refresh()
    web.see("There is no device yet.")
    web.press("Sign out")
    assert web.text("h1") == "Sign in"
    web.driver.refresh()
    assert web.text("h1") == "Sign in"


def test_over_tls_the_cookie_is_secure(web, hosts):
    web.sign_in(B, hosts[1].token())
    assert next(c for c in web.driver.get_cookies() if c["name"] == "tunwright-8443")["secure"]
    web.see("There is no device yet.")


def test_token_that_is_deleted_ends_the_session(web, hosts):
    secret = door.make_token(hosts[0], "brief", "operator")
    web.sign_in(A, secret)
    web.see("brief")
    hosts[0].api("DELETE", "/v1/tokens/brief").expect(204)
    web.see("The token is not taken any more")
    assert web.text("h1") == "Sign in"


def test_reader_has_no_edit_controls(web, hosts):
    hosts[0].device("tun0", kind="tun")
    web.sign_in(A, door.make_token(hosts[0], "looker", "reader"))
    web.see("looker")
    web.press("tun0")
    web.see("The packet's path")
    assert not web.driver.find_elements("xpath", "//*[self::a or self::button][contains(., 'Delete') or contains(., 'Change') or contains(., 'New device')]")
    go(web, "/new", "Read only")
    go(web, "/devices/tun0/change", "Read only")


class Proxy:
    """What ssh -L does: a port on this host's loopback, and the Unix socket behind it."""

    def __init__(self, path, port):
        self.path, self.listener = str(path), socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.path)
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(source, target), daemon=True).start()

    @staticmethod
    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_through_a_proxy_before_the_unix_socket_nothing_is_changed_by_mistake(web, hosts):
    hosts[0].device("tun0", kind="tun")
    proxy = Proxy(hosts[0].socket, 9009)
    web.open("http://127.0.0.1:9009")
    web.see("Unix socket")
    web.see("tun0")
    assert "New device" not in web.page_text() and "Sign out" not in web.page_text()
    web.press("Allow changes")
    web.see("New device")
    web.press("Allow changes")
    web.not_see("New device")
    web.open(A)
    proxy.listener.close()


# ---- the devices ----------------------------------------------------------------------------------------------------

def names(web):
    return web.js("return [...document.querySelectorAll('.devices tbody tr')].map((r) => r.querySelector('.name a').textContent)")


def test_filter_by_name_label_and_state(signed_in, hosts):
    web, a = signed_in, hosts[0]
    a.device("tun0", kind="tun", labels={"site": "berlin", "tier": "1"})
    a.device("tun1", kind="tun", labels={"site": "paris"})
    a.device("tap0", kind="tap", labels={"site": "berlin"}, drift="report")
    until(lambda: names(web) == ["tap0", "tun0", "tun1"], 10, lambda: f"three devices, without a reload: {names(web)}")
    web.fill("Name", "tun")
    until(lambda: names(web) == ["tun0", "tun1"], 5, lambda: str(names(web)))
    web.see("2 of 3 devices")
    web.fill("Label", "site=berlin")
    until(lambda: names(web) == ["tun0"], 5, lambda: str(names(web)))
    assert web.driver.current_url.endswith("#/devices?name=tun&label=site%3Dberlin")
    web.driver.refresh()
    until(lambda: names(web) == ["tun0"], 10, "the filter to stand in the address")
    web.js("document.activeElement.blur()")
    web.keys("/")
    assert web.js("return document.activeElement.id") == "filter-name"
    go(web, "/events", "Events")
    go(web, "/devices?state=degraded", "Devices")
    web.see("No device fits the filter.")
    a.namespace.ip("link", "set", "tap0", "mtu", 1300)
    until(lambda: names(web) == ["tap0"], 10, lambda: str(names(web)))
    a.namespace.ip("link", "set", "tap0", "mtu", a.get("/v1/devices/tap0")["mtu"])
    until(lambda: names(web) == [], 10, lambda: str(names(web)))
    web.driver.find_element("css selector", ".chip[data-state='']").click()
    until(lambda: len(names(web)) == 3, 5, lambda: str(names(web)))


def test_rates_and_sparklines_are_live(signed_in, hosts):
    web = signed_in
    both_ends(hosts)
    web.see("tun0")
    with traffic(hosts[0]):
        for column in ("out", "in"):
            until(lambda c=column: number(web.text(f".devices tbody td.{c}")) > 10000, 15, lambda: f"a rate: {web.page_text()}")
        assert number(web.text(".totals .out")) > 10000
        path = web.js("return document.querySelector('.spark .line.out').getAttribute('d')")
        until(lambda: web.js("return document.querySelector('.spark .line.out').getAttribute('d')") != path, 5, "a sparkline that moves")
    until(lambda: number(web.text(".devices tbody td.out")) < 500, 10, "an end of the traffic")


def test_two_hundred_devices_are_smooth(signed_in, hosts):
    """No frame waits long while each second brings 200 devices, and the filter answers at once."""
    web, a = signed_in, hosts[0]
    a.put("/v1/config", {"devices": [{"name": f"tun{i}", "kind": "tun", "labels": {"site": f"s{i % 7}"}, "worker": {"type": "monitor"}} for i in range(200)]})
    until(lambda: len(names(web)) == 200, 30, lambda: f"200 rows: {len(names(web))}")
    until(lambda: len(web.js("return [...document.querySelectorAll('td.out')].filter((c) => c.textContent !== '–')")) >= 12, 15, "rates of those in sight")
    web.js("scrollTo(0, document.body.scrollHeight)")
    until(lambda: web.js("return [...document.querySelectorAll('td.out')].pop().textContent") != "–", 5, "rates of those that come into sight")
    web.js("scrollTo(0, 0)")
    web.js("""window.__long = []; new PerformanceObserver((list) => window.__long.push(...list.getEntries().map((e) => e.duration))).observe({type: "longtask"});
              window.__ticks = 0; new MutationObserver(() => window.__ticks++).observe(document.querySelector(".spark .line.out"), {attributes: true});""")
    a.namespace.run("sh", "-c", "ping -q -n -c 20 -i 0.2 -I tun3 192.0.2.1 >/dev/null 2>&1 || true", timeout=20)
    web.js("return new Promise((done) => setTimeout(done, 3000))")
    slow = [d for d in web.js("return window.__long") if d > 1000]  # a busy machine stretches them
    assert not slow, f"tasks of {slow} ms"
    took = web.js("""const f = document.getElementById("filter-name"), t = performance.now(); f.value = "tun19"; f.dispatchEvent(new Event("input"));
                     document.body.offsetHeight; return performance.now() - t""")
    assert took < 500 and names(web) == ["tun19", *[f"tun19{i}" for i in range(10)]], took


# ---- one device -----------------------------------------------------------------------------------------------------

def flows(web):
    """{("kernel.tx", "out"): (packets, bytes)} as the picture says them."""
    found = web.js("""return [...document.querySelectorAll(".path .flow")].map((f) =>
        [f.dataset.flow, f.classList.contains("out") ? "out" : "in", ...[...f.querySelectorAll("text")].map((t) => t.textContent)])""")
    return {(name, way): (number(packets), number(size)) for name, way, packets, size in found}


def test_path_shows_what_flows_on_each_arrow_and_is_dropped_where(signed_in, hosts):
    web, (a, b) = signed_in, hosts
    both_ends(hosts)
    web.press("tun0")
    until(lambda: len(web.all(".path .stage")) == 7, 10, "the picture")
    shown = web.js("return [...document.querySelectorAll('.path .stage .title')].map((t) => t.textContent)")
    assert shown == ["Application", "Protocol stack", "tun0", "Worker", "Socket", "Outer interface", "Peer"]
    assert "10.0.0.1:5000" in web.text(".path .socket") and "10.0.0.2" in web.text(".path .peer") and "192.168.3.11/24" in web.text(".path .stack")
    with traffic(a):
        def all_flow():
            seen = flows(web)
            return len(web.all(".path .flow")) == 12 and len(seen) == 6 and all(p > 50 and n > 20000 for p, n in seen.values())
        until(all_flow, 15, lambda: f"packets on each arrow: {flows(web)}")
        seen = flows(web)
        assert seen["wire_out", "out"][1] == pytest.approx(seen["device_in", "out"][1], rel=0.3)
        # what a stranger sends to the socket is lost there, under its reason
        with b.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(20):
                stranger.sendto(b"x" * 40, ("10.0.0.1", 5000))
        line = until(lambda: next(iter(web.all(".path [data-reason=unknown_source]")), None), 10, "a drop")
        assert "unknown_source" in line.text
        place = web.js("""const box = (s) => document.querySelector(s).getBoundingClientRect(), l = box(".path [data-reason=unknown_source]"), s = box(".path .socket rect");
                          return Math.abs(l.x + l.width / 2 - s.x - s.width / 2) < 2 && l.y > s.bottom""")
        assert place, "the drop stands below the socket"
        until(lambda: "unknown_source" in web.text(".counters") and re.search(r"unknown_source\s+20\b", web.text(".counters")), 10, lambda: web.text(".counters"))
    web.size(*PHONE)
    until(lambda: web.js("const r = [...document.querySelectorAll('.path .stage rect')].map((x) => x.getBoundingClientRect()); return r[1].top > r[0].bottom && r[0].left === r[1].left"),
          5, "the picture from top to bottom")


def test_charts_begin_with_the_history_and_go_on(signed_in, hosts):
    web = signed_in
    both_ends(hosts)
    with traffic(hosts[0]):
        until(lambda: hosts[0].counters("tun0")["worker"]["device_in"]["packets"] > 300, 20, "some traffic")
        web.press("tun0")
        for chart in ("throughput", "packets", "drops"):
            web.one(f"#chart-{chart}")
        until(lambda: number(web.text(".chart.throughput .now").removeprefix("out ")) > 10000, 15, lambda: web.text(".chart.throughput"))
        inked = """const c = document.getElementById("chart-throughput"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
                   let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n;"""
        until(lambda: web.js(inked) > 500, 10, "a chart with something in it")
        assert "now out" in web.one("#chart-throughput").get_attribute("aria-label")
        for title in ("2 h", "24 h", "10 min"):
            web.driver.find_element("xpath", f"//label[normalize-space()='{title}']").click()
            until(lambda t=title: f"last {t}" in web.one("#chart-packets").get_attribute("aria-label"), 10, f"the last {title}")


def test_drift_and_conflict_are_shown_with_what_was_found(signed_in, hosts):
    web, a = signed_in, hosts[0]
    a.device("tun0", kind="tun", mtu=1400, drift="report", addresses=["192.168.3.11/24"])
    web.press("tun0")
    web.see("The kernel is as the document says.")
    a.namespace.ip("link", "set", "tun0", "mtu", 1200)
    web.see("/mtu")
    assert "1400" in web.text("section[aria-label='Drift and conflicts']") and "1200" in web.text("section[aria-label='Drift and conflicts'] td.bad")
    assert web.text(".head .state") == "degraded"


def test_configuration_is_what_the_api_has(signed_in, hosts):
    web, a = signed_in, hosts[0]
    a.device("tun0", kind="tun", addresses=["192.168.3.11/24"], labels={"note": "it's $HOME `x`"}, worker={"type": "echo"})
    web.press("tun0")
    web.see('"addresses"')
    assert json.loads(web.text("pre")) == bare(a.get("/v1/devices/tun0"))
    web.press("curl, Unix socket")
    typed = web.text("pre").replace("/run/tunwright/api.sock", str(a.socket))
    done = subprocess.run(["bash", "-c", f"{typed} -sS -o /dev/null -w '%{{http_code}} %header{{tunwright-changed}}'"], capture_output=True, text=True, timeout=20)
    assert done.stdout == "200 false", (typed, done)
    web.press("curl, token")
    typed = web.text("pre")
    done = a.namespace.run("bash", "-c", f"token={shlex.quote(a.token())}; {typed} -sS -o /dev/null -w '%{{http_code}} %header{{tunwright-changed}}'")
    assert done.stdout == "200 false", (typed, done)
    web.press("Copy")
    web.see("Copied")


# ---- making, changing, deleting -------------------------------------------------------------------------------------

def test_faults_stand_beside_the_fields_in_the_words_of_the_api(signed_in, hosts):
    web, a = signed_in, hosts[0]
    web.press("New device")
    wrong = {"name": "tun0", "kind": "tun", "mtu": 7, "addresses": ["192.168.3.11/24", "nonsense"], "routes": [{"to": "10.9.0.1/16"}],
             "worker": {"type": "udp", "local": "10.0.0.1", "remote": "10.0.0.2:5000"}}
    said = {e["pointer"]: e["detail"] for e in a.api("POST", "/v1/devices?dry_run=true", wrong).expect(400).json["errors"]}
    web.fill("Name", "tun0")
    web.fill("MTU", "7\t")  # leaving the field is enough
    until(lambda: web.fault_of("MTU") == said["/mtu"], 10, lambda: f"{web.fault_of('MTU')!r}, not {said['/mtu']!r}")
    assert web.field("MTU").get_attribute("aria-invalid") == "true"
    assert web.fault_of("Local address and port") == "", "nothing is said of what was not touched yet"
    web.fill("Addresses", "192.168.3.11/24\nnonsense")
    web.fill("Local address and port", "10.0.0.1")
    web.fill("Peer's address and port", "10.0.0.2:5000")
    web.press("Add a route")
    web.fill("To", "10.9.0.1/16")
    web.press("Review the change")
    web.see(f"{len(said)} fields need another value")
    assert web.fault_of("Addresses") == f"line 2: {said['/addresses/1']}"
    assert web.fault_of("Local address and port") == said["/worker/local"]
    assert web.fault_of("To") == said["/routes/0/to"]
    assert web.js("return document.activeElement") == web.field("Addresses"), "the first fault has the focus"
    web.press("MTU")  # a way to each from the summary
    assert web.js("return document.activeElement") == web.field("MTU")
    assert a.get("/v1/devices")["items"] == []
    a.device("tun0", kind="tun")
    for label, text in (("MTU", "1400"), ("Addresses", "192.168.3.11/24"), ("Local address and port", "10.0.0.1:5000"), ("To", "10.9.0.0/16")):
        web.fill(label, text)
    web.press("Review the change")
    until(lambda: "exist" in web.fault_of("Name") or "there" in web.fault_of("Name"), 10, lambda: f"that the name is taken: {web.fault_of('Name')!r}")


def test_plan_comes_first_then_create_change_and_delete(signed_in, hosts):
    web, a = signed_in, hosts[0]
    web.press("New device")
    web.fill("Name", "tun%d")
    web.fill("Addresses", "192.168.3.11/24")
    web.fill("Worker", "echo")
    web.fill("Labels", "site=berlin")
    web.press("Review the change")
    plan = web.text("dialog")
    assert "device_create" in plan and "address_add" in plan and "192.168.3.11/24" in plan and "No packet is lost" in plan
    assert a.get("/v1/devices")["items"] == [], "nothing was done yet"
    web.press("Back", "//dialog")
    until(lambda: not web.all("dialog"), 5, "the form again")
    web.press("Review the change")
    web.press("Create", "//dialog")
    web.see("tun0 is there.")
    until(lambda: web.text("h1") == "tun0", 5, "the page of the new device")
    made = a.get("/v1/devices/tun0")
    assert made["worker"] == {"type": "echo"} and made["labels"] == {"site": "berlin"} and made["addresses"] == ["192.168.3.11/24"]

    web.press("Change")
    web.fill("Queues", "2")
    web.press("Review the change")
    assert "The device goes and comes" in web.text("dialog") and "device_delete" in web.text("dialog")
    web.press("Back", "//dialog")
    web.fill("Queues", "1")
    web.fill("Addresses", "192.168.3.11/24\n192.168.3.12/24")
    web.press("Review the change")
    assert "No packet is lost" in web.text("dialog") and "192.168.3.12/24" in web.text("dialog")
    web.press("Apply", "//dialog")
    web.see("tun0 is changed.")
    assert a.get("/v1/devices/tun0")["addresses"] == ["192.168.3.11/24", "192.168.3.12/24"]
    assert bare(a.get("/v1/devices/tun0")) == {**bare(made), "addresses": ["192.168.3.11/24", "192.168.3.12/24"]}, "the rest is as it was"

    web.press("Change")
    web.see("Cancel")
    a.api("PATCH", "/v1/devices/tun0", {"mtu": 1400}).expect(200)  # somebody else
    web.fill("Addresses", "192.168.3.13/24")
    web.press("Review the change")
    web.see("Somebody changed the device meanwhile.")
    web.press("Cancel")

    web.press("Delete")
    assert "device_delete" in web.text("dialog")
    web.press("Delete", "//dialog")
    web.see("There is no device yet.")
    a.api("GET", "/v1/devices/tun0").expect(404)


@contextlib.contextmanager
def held_up(web, method, path="/v1/devices/tun0"):
    """What is asked next by that call is asked when this ends."""
    web.js("""const real = window.fetch, [method, path] = arguments;
              window.fetch = (url, options) => options.method !== method || url !== path ? real(url, options) :
                  new Promise((go) => { window.__release = () => { window.fetch = real; go(real(url, options)); }; });""", method, path)
    yield
    until(lambda: web.js("return Boolean(window.__release)"), 10, f"a {method}")
    web.js("window.__release(); delete window.__release")


def test_who_went_elsewhere_stays_there(signed_in, hosts):
    """While a change is under way. That it was done, or why not, is said wherever one is."""
    web, a = signed_in, hosts[0]
    a.device("tun0", kind="tun")
    go(web, "/devices/tun0/change", "Change tun0")
    web.fill("Addresses", "192.168.3.11/24")
    web.press("Review the change")
    with held_up(web, "PUT"):
        web.press("Apply", "//dialog")
        go(web, "/events", "Events")
    web.see("tun0 is changed.")
    assert web.js("return location.hash") == "#/events" and web.text("h1") == "Events"

    go(web, "/devices/tun0/change", "Change tun0")
    web.fill("Worker", "udp")
    web.fill("Local address and port", "10.0.0.1:5000")
    web.fill("Peer's address and port", "10.0.0.2:5000")
    web.press("Review the change")
    with held_up(web, "PUT"):
        web.press("Apply", "//dialog")
        go(web, "/events", "Events")
        a.device("tun1", kind="tun", worker=udp("10.0.0.1", "10.0.0.2"))
    web.see("cannot bind 10.0.0.1:5000")
    until(lambda: not web.all("dialog"), 5, "an end of the dialog")
    assert web.text("h1") == "Events"

    go(web, "/devices/tun0", "tun0")
    web.press("Delete")
    with held_up(web, "DELETE"):
        web.press("Delete", "//dialog")
        go(web, "/events", "Events")
    web.see("tun0 is deleted.")
    assert web.js("return location.hash") == "#/events"


def test_form_of_a_device_that_comes_late_is_on_its_own_page(signed_in, hosts):
    web, a = signed_in, hosts[0]
    store = 'return import("/assets/store.js").then(({state}) => '
    a.device("tun0", kind="tun")
    web.see("tun0")
    with held_up(web, "GET"):
        go(web, "/devices/tun0/change", "Change tun0")
        go(web, "/events", "Events")
        web.js(f'{store} state.devices.delete("tun0"))')
    until(lambda: web.js(f'{store} state.devices.has("tun0"))'), 10, "the device")
    assert not web.all("form") and web.text("h1") == "Events"


def test_json_and_form_are_two_views_of_one_document(signed_in, hosts):
    web, a = signed_in, hosts[0]
    a.device("tun0", kind="tun", routes=[{"to": "10.9.0.0/16", "table": 100, "metric": 5}], worker={"type": "monitor", "log_rate": 3})
    web.press("tun0")
    web.press("Change")
    web.fill("Metric", "7")
    web.press("JSON")
    document = json.loads(web.one("textarea.code").get_attribute("value"))
    assert document["routes"][0]["metric"] == 7 and document["routes"][0]["table"] == 100 and document["worker"]["log_rate"] == 3
    document["colour"] = "red"
    area = web.one("textarea.code")
    area.clear()
    area.send_keys(json.dumps(document))
    web.press("Review the change")
    web.see("/colour")
    del document["colour"]
    area.clear()
    area.send_keys(json.dumps(document))
    web.press("Review the change")
    web.press("Apply", "//dialog")
    web.see("tun0 is changed.")
    assert a.get("/v1/devices/tun0")["routes"][0]["metric"] == 7


def test_what_the_kernel_refuses_is_said(signed_in, hosts):
    web = signed_in
    web.press("New device")
    for label, text in (("Name", "tun0"), ("Worker", ""), ("Addresses", "192.168.3.11/24")):
        web.fill(label, text)
    web.press("Add a route")
    web.fill("To", "10.7.0.0/16")
    web.fill("Via", "203.0.113.1")
    web.press("Review the change")
    web.press("Create", "//dialog")
    web.see("ENETUNREACH")
    assert hosts[0].get("/v1/devices")["items"] == []


def change_with_confirmation(web, seconds, mtu):
    go(web, "/devices/tun0/change", "Change tun0")
    web.fill("MTU", str(mtu))
    web.press("Review the change")
    web.one("dialog input[type=checkbox]").click()
    box = web.one("dialog .short")
    box.clear()
    box.send_keys(str(seconds))
    web.press("Apply", "//dialog")
    # the answer leads to the device's page: not before that elsewhere
    until(lambda: web.text("h1") == "tun0", 10, lambda: f"the page of tun0; it is {web.text('h1')}")


def test_confirmation_counts_down_on_every_page_with_its_two_buttons(signed_in, hosts):
    web, a = signed_in, hosts[0]
    a.device("tun0", kind="tun", mtu=1400)
    web.see("tun0")
    change_with_confirmation(web, 60, 1300)
    for path, title in (("/devices", "Devices"), ("/events", "Events"), ("/devices/tun0", "tun0"), ("/new", "New device")):
        go(web, path, title)
        web.see("waits for its confirmation")
        assert re.fullmatch(r"1 min 00 s|[1-5]?\d s", web.text(".banner .figure")), web.text(".banner .figure")
    first = web.text(".banner .figure")
    until(lambda: web.text(".banner .figure") != first, 5, "a countdown that counts")
    web.driver.refresh()
    web.see("waits for its confirmation")
    web.press("Confirm")
    web.not_see("waits for its confirmation")
    assert a.get("/v1/devices/tun0")["mtu"] == 1300 and a.get("/v1/config/confirm")["pending"] is None

    change_with_confirmation(web, 60, 1350)
    web.press("Revert now")
    web.not_see("waits for its confirmation")
    assert a.get("/v1/devices/tun0")["mtu"] == 1300
    change_with_confirmation(web, 2, 1350)
    web.see("waits for its confirmation")
    web.not_see("waits for its confirmation")
    until(lambda: a.get("/v1/devices/tun0")["mtu"] == 1300, 10, "the change to be taken back by itself")


# ---- what happens ---------------------------------------------------------------------------------------------------

def test_events_are_live_and_can_be_filtered(signed_in, hosts):
    web, a = signed_in, hosts[0]
    a.device("tun0", kind="tun")
    go(web, "/events", "Events")
    web.see("tun0")
    a.device("tap5", kind="tap")
    web.see("tap5")
    rows = web.js("return [...document.querySelectorAll('.events tbody time')].map((t) => t.dateTime)")
    assert rows == sorted(rows, reverse=True), "the newest first"
    web.fill("Filter", "tap5")
    until(lambda: web.js("return [...document.querySelectorAll('.events tbody tr')].every((r) => r.textContent.includes('tap5'))"), 5, "only that device")
    assert web.driver.current_url.endswith("#/events?q=tap5")
    # a page that is open for days does not keep all of them
    web.js("""return import("/assets/store.js").then(({state, tell}) => {
        const last = state.events[0];
        state.events = Array.from({length: 3000}, (_, n) => ({...last, sequence: last.sequence + 3000 - n, device: "tun0", detail: "again"}));
        tell("events");
    })""")
    web.fill("Filter", "nothing like it")
    web.see("No event fits the filter.")
    web.fill("Filter", "again")
    web.see("2000 of the 2000 that were read")


def test_address_that_was_mistyped_and_page_that_does_not_come(signed_in, hosts):
    web, driver = signed_in, signed_in.driver
    go(web, "/events", "Events")
    go(web, "/%E0%A4%A", "Devices")
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/form.js"]})
    web.press("New device")
    web.see("This page could not be loaded.")
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    web.js("location.hash = '/devices'")
    web.press("New device")
    until(lambda: web.text("h1") == "New device", 10, "the form")


def test_progress_of_a_long_change_is_shown(signed_in, hosts):
    web, a = signed_in, hosts[0]
    web.js("""window.__progress = []; const box = [...document.querySelectorAll(".banner")].pop();
              new MutationObserver(() => window.__progress.push(box.innerText)).observe(box, {subtree: true, childList: true, characterData: true, attributes: true});""")
    a.put("/v1/config", {"devices": [{"name": f"tun{i}", "kind": "tun", "addresses": [f"10.{i}.0.1/24"], "worker": {"type": "monitor"}} for i in range(120)]})
    until(lambda: any("done" in t for t in web.js("return window.__progress")), 10, "an end of the progress")
    assert any(re.search(r"PUT /v1/config: \d+ of \d+ steps", t) for t in web.js("return window.__progress")), web.js("return window.__progress")


def test_connection_that_is_lost_is_said_and_comes_back(signed_in, hosts):
    web, a = signed_in, hosts[0]
    a.device("tun0", kind="tun")
    web.see("tun0")
    web.see("Live")
    assert not a.daemon.terminate()
    web.see("The connection to the daemon is lost.")
    web.see("tun0")  # what was known is still there
    a.daemon_start()
    a.ready()
    web.press("Try now") if "Try now" in web.page_text() else None
    web.not_see("The connection to the daemon is lost.")
    a.device("tun1", kind="tun")
    web.see("tun1")


# ---- a stranger -----------------------------------------------------------------------------------------------------

def test_a_stranger_makes_a_working_tunnel_with_the_dashboard_alone(web, hosts):
    ends = ((A, hosts[0], "192.168.3.11/24", "10.0.0.1:5000", "10.0.0.2:5000"), (B, hosts[1], "192.168.3.1/24", "10.0.0.2:5000", "10.0.0.1:5000"))
    for url, host, address, local, remote in ends:
        web.sign_in(url, host.token())
        web.press("Make the first one")
        web.fill("Name", "tun0")
        web.fill("Addresses", address)
        web.fill("Local address and port", local)
        web.fill("Peer's address and port", remote)
        web.press("Review the change")
        web.press("Create", "//dialog")
        web.see("tun0 is there.")
        until(lambda: web.text(".head .state") == "ready", 10, "ready")
    assert hosts[0].namespace.ping("192.168.3.1", count=5, interval=0.2).received == 5
    until(lambda: "Packets" in web.page_text() and any(p > 0 for p, _ in flows(web).values()), 10, lambda: f"the ping in the picture: {flows(web)}")


# ---- for everybody --------------------------------------------------------------------------------------------------

def stand(hosts):
    """Something of everything to be looked at."""
    a = hosts[0]
    both_ends(hosts, labels={"site": "berlin", "tier": "1"}, routes=[{"to": "10.9.0.0/16"}, {"to": "fd00:9::/48"}])
    a.device("tun1", kind="tun", addresses=["192.168.4.1/24"], worker={"type": "monitor"}, labels={"site": "paris"}, mtu=1400, drift="report")
    a.device("lab-tap0", kind="tap", worker={"type": "echo"}, labels={"purpose": "lab"})
    a.device("tun7", kind="tun", labels={"site": "berlin"}, addresses=["fd00:7::1/64"])
    a.namespace.ip("link", "set", "tun1", "mtu", 1200)
    until(lambda: a.status("tun1")["state"] == "degraded", 10, "drift")
    a.namespace.run("sh", "-c", "ping -q -n -c 3 -i 0.2 192.168.4.2 >/dev/null 2>&1 || true")


def pages(web):
    """Each page of the dashboard, shown one after the other: its name."""
    for name, path, title in (("devices", "/devices", "Devices"), ("device", "/devices/tun0", "tun0"), ("drift", "/devices/tun1", "tun1"), ("events", "/events", "Events"),
                              ("new", "/new", "New device"), ("change", "/devices/tun0/change", "Change tun0")):
        go(web, path, title)
        if name == "device":
            until(lambda: any(p > 0 for p, _ in flows(web).values()), 10, "traffic in the picture")
        yield name
        if name == "change":
            web.fill("MTU", "7\t")
            until(lambda: web.fault_of("MTU"), 10, "a fault")
            yield "fault"
            web.fill("MTU", "1300\t")
            until(lambda: not web.fault_of("MTU"), 10, "no fault")
            web.press("Review the change")
            web.see("No packet is lost") if "No packet" in web.text("dialog") else None
            yield "plan"
            web.press("Back", "//dialog")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_can_be_read_and_is_pictured(web, hosts, theme, size):
    """Names, contrast, structure on each page; and a picture of it, for a person to look at."""
    label, wrong = f"{theme}-{size[0]}", []
    web.theme(theme)
    web.size(*size)
    web.open(A)
    web.one(".signin")
    wrong += [f"sign-in: {f}" for f in accessibility.faults(web)]
    web.shot(f"sign-in-{label}")
    stand(hosts)
    web.sign_in(A, hosts[0].token())
    with traffic(hosts[0]), traffic(hosts[1], "-i", "0.02", "-s", "300", to="192.168.3.11"):
        web.js("return new Promise((done) => setTimeout(done, 12000))")  # for the charts to have something in them
        for page in pages(web):
            wrong += [f"{page}: {f}" for f in accessibility.faults(web)]
            web.shot(f"{page}-{label}")
        hosts[0].api("PATCH", "/v1/devices/tun7?confirm_s=90", {"mtu": 1400}).expect(200)
        go(web, "/devices", "Devices")
        web.see("waits for its confirmation")
        wrong += [f"pending: {f}" for f in accessibility.faults(web)]
        web.shot(f"pending-{label}")
        hosts[0].api("POST", "/v1/config/confirm").expect(200)
    assert not wrong, "\n".join(wrong)


def test_every_page_goes_by_keyboard(web, hosts):
    wrong = []
    web.open(A)
    web.one(".signin")
    wrong += [f"sign-in: {f}" for f in accessibility.faults_of_focus(web)]
    stand(hosts)
    web.sign_in(A, hosts[0].token())
    with traffic(hosts[0]):
        for page in pages(web):
            if page != "plan":
                wrong += [f"{page}: {f}" for f in accessibility.faults_of_focus(web)]
    assert not wrong, "\n".join(wrong)


def test_theme_switch_is_kept(signed_in):
    web = signed_in
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = web.js(ground)
    web.press("Dark theme")
    dark = web.js(ground)
    assert dark != light
    web.driver.refresh()
    web.see("Devices")
    assert web.js(ground) == dark
    web.press("Light theme")
    assert web.js(ground) == light and web.js("return Object.keys(localStorage).length") == 0


# ---- how quick ------------------------------------------------------------------------------------------------------

def test_first_paint_is_within_a_second(signed_in, hosts):
    web = signed_in
    for i in range(3):
        hosts[0].device(f"tun{i}", kind="tun")
    paints = []
    for _ in range(3):
        web.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        web.driver.refresh()
        web.see("tun2")
        paints.append(until(lambda: web.js("return (performance.getEntriesByName('first-contentful-paint')[0] || {}).startTime"), 5, "a paint"))
    assert sorted(paints)[1] < 1000, paints
