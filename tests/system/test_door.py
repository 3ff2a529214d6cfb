# SPDX-License-Identifier: Apache-2.0
"""Who gets in, by which way, and how far: each operation of the contract, for each kind of client."""

import os
import re
import stat

import pytest
from lib import door
from lib.calls import OPERATIONS, TOKEN, TUN0, Call
from lib.host import USER
from lib.waiting import until

pytestmark = pytest.mark.slow

ROLES = ["nobody", "reader", "operator", "admin"]
SOON = "2099-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def host(module_net):
    namespace = module_net.namespace("a")
    authority = door.Authority(module_net.base / "certificates")
    host = module_net.host("a", namespace, listen=[f"127.0.0.1:{door.PLAIN_PORT}", f"[::1]:{door.PLAIN_PORT}"],
                           arguments=["--admin-group", door.ADMIN_GROUP,
                                      *door.tls_options(authority, authority.server())])
    host.authority = authority
    host.device("tun0", **TUN0)
    namespace.ip("tuntap", "add", "found0", "mode", "tun")
    host.api("POST", "/v1/tokens", TOKEN).expect(201)
    host.tokens = {role: door.make_token(host, f"t-{role}", role) for role in ROLES[1:]}
    host.certificates = {}
    for role in ROLES[1:]:
        door.make_token(host, f"c-{role}", role, kind="certificate")
        host.certificates[role] = authority.client(f"c-{role}")
    host.certificates["nobody"] = authority.client("c-nobody")
    return host


# ---- role × operation × way ---------------------------------------------------------------------------------------------

def may(role, operation):
    return ROLES.index(role) >= ROLES.index(operation.role)


def judge(answer, role, operation, refusal):
    """`refusal`: what somebody is told who is nobody there."""
    if may(role, operation):
        assert answer.status not in (401, 403, 429), answer
    elif role == "nobody":
        answer.problem(refusal, {401: "unauthenticated", 403: "forbidden"}[refusal])
    else:
        answer.problem(403, "forbidden")


def call_of(operation):
    """A call that would be good, and changes nothing where it is permitted."""
    call = Call(operation).dry()
    return call.with_(body={}) if operation.method == "POST" and not call.query else call


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.parametrize("role", ROLES)
def test_plain(host, operation, role):
    token = host.tokens.get(role)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = call_of(operation).with_(headers=headers).send(door.plain(host, door.new_source()))
    judge(answer, role, operation, 401)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.parametrize("role", ROLES)
def test_tls_with_certificate(host, operation, role):
    connection = door.tls(host, host.authority, host.certificates[role], door.new_source())
    judge(call_of(operation).send(connection), role, operation, 401)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.parametrize("role", ROLES)
def test_tls_with_certificate_and_token(host, operation, role):
    """The token wins: over a certificate that may less, and over one that may more."""
    token = host.tokens.get(role, "0" * 64)
    other = "admin" if role != "admin" else "reader"
    connection = door.tls(host, host.authority, host.certificates[other], door.new_source())
    answer = call_of(operation).with_(headers={"Authorization": f"Bearer {token}"}).send(connection)
    judge(answer, role, operation, 401)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_tls_without_certificate(host, operation):
    """Then nothing is answered, not even whether it lives."""
    answer = call_of(operation).with_(headers={"Authorization": f"Bearer {host.tokens['admin']}"}).send(
        door.tls(host, host.authority, source=door.new_source()))
    answer.problem(401, "unauthenticated")
    assert answer.headers["connection"] == "close"


PEERS = {"root": "admin", "the daemon's user": "admin", "admin group": "admin", "group": "operator", "member": "operator",
         "stranger": "nobody"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.parametrize("peer", PEERS)
def test_unix(host, operation, peer):
    with door.open_socket(host):
        connection = door.peers(host)[peer]()
        connection.connect()
    judge(call_of(operation).send(connection), PEERS[peer], operation, 403)


def test_socket_s_group_lets_in_and_the_admin_group_makes_more(host):
    """With the socket's own mode: the admin group alone does not reach it."""
    def connection(*groups):
        return door.UserConnection(host.socket, door.STRANGER, door.STRANGER, groups)
    door.ask(connection(USER), "GET", "/v1/tokens").problem(403, "forbidden")
    door.ask(connection(USER, door.ADMIN_GROUP), "GET", "/v1/tokens").expect(200)
    for groups in ([], [door.ADMIN_GROUP]):
        with pytest.raises(PermissionError):
            connection(*groups).connect()


def test_a_token_is_worth_nothing_on_the_unix_socket(host):
    """There the kernel says who it is, and nothing that a client says makes it more, or less."""
    with door.open_socket(host):
        stranger, group = door.peers(host)["stranger"](), door.peers(host)["group"]()
        stranger.connect(), group.connect()
    door.ask(stranger, "GET", "/v1/devices", host.tokens["admin"]).problem(403, "forbidden")
    door.ask(group, "GET", "/v1/tokens", host.tokens["admin"]).problem(403, "forbidden")
    door.ask(host.connection(), "GET", "/v1/tokens", "nonsense").expect(200)


@pytest.mark.parametrize("method,path", [("GET", "/nowhere"), ("GET", "/v1/tokens/t-admin"), ("DELETE", "/v1/config"),
                                         ("PATCH", "/v1/tokens"), ("GET", "/v1/devices/tun0/adopt"), ("OPTIONS", "/v1/devices")])
def test_what_is_not_there_is_told_to_nobody(host, method, path):
    door.ask(door.plain(host, door.new_source()), method, path).problem(401, "unauthenticated")
    door.ask(door.plain(host, door.new_source()), method, path, host.tokens["reader"]).expect(404, 405)


# ---- the socket and the files -------------------------------------------------------------------------------------------

def test_files_are_for_the_daemon_alone(host):
    mode = os.stat(host.socket)
    assert stat.S_IMODE(mode.st_mode) == 0o660 and (mode.st_uid, mode.st_gid) == (USER, USER)
    assert stat.S_IMODE(os.stat(host.run_dir / "netd.sock").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(host.state_dir).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(host.state_dir / "tunwright.db").st_mode) & 0o077 == 0
    token = os.stat(host.state_dir / "admin.token")
    assert stat.S_IMODE(token.st_mode) == 0o600 and token.st_uid == USER
    assert re.fullmatch(r"[0-9a-f]{64}\n", (host.state_dir / "admin.token").read_text())


def test_default_of_the_admin_group_need_not_exist(net):
    """There is no group tunwright-admin here, and no harm in that; one that is asked for must be there."""
    host = net.host("a")
    host.get("/v1/devices")
    other = net.host("b", arguments=["--admin-group", "no-such-group"], start=False)
    refuses(other, "no-such-group")


def test_user_must_exist(net):
    refuses(net.host("a", arguments=["--user", "no-such-user"], start=False),
            'there is no user "no-such-user" on this system: make it, or name another')


def refuses(host, text):
    host.netd_start()
    host.daemon_start()
    until(lambda: not host.daemon.alive(), 20, "tunwrightd to refuse")
    assert host.daemon.process.returncode == 1
    assert text in host.daemon.log.read_text()
    host.daemon.process = None


@pytest.mark.parametrize("address", ["10.0.0.1:8080", "0.0.0.0:8080", "[::]:8080"])
def test_plain_on_loopback_only(net, address):
    namespace = net.namespace("a")
    net.veth(namespace, ["10.0.0.1/24"], net.namespace("b"), ["10.0.0.2/24"])
    refuses(net.host("a", namespace, listen=[address], start=False), "loopback")


# ---- tokens that are none -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_both_families(host, address):
    door.ask(door.plain(host, address=address), "GET", "/v1/version", host.tokens["reader"]).expect(200)


def test_near_misses(host):
    token = host.tokens["admin"]
    for bad in ("", token[:-1], token + "0", "0" * 64, token.upper() if token.upper() != token else "x", token[::-1],
                f"{token} {token}", f"{token},{token}", "x" * 4000):
        answer = door.ask(door.plain(host, door.new_source()), "GET", "/v1/devices", bad)
        answer.problem(401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer") and answer.headers["connection"] == "close"
    for field in (f"Basic {token}", f"Bearer:{token}", f"Token {token}", token, f"Bearer\t{token}", "Bearer"):
        door.ask(door.plain(host, door.new_source()), "GET", "/v1/devices",
                 headers={"Authorization": field}).problem(401, "unauthenticated")
    door.ask(door.plain(host, door.new_source()), "GET", "/v1/devices", headers={"Authorization": f"bearer   {token}"}).expect(200)


# ---- failures are counted -----------------------------------------------------------------------------------------------

def test_failures_are_slowed_down(host):
    source, other = door.new_source(), door.new_source()
    for number in range(10):
        door.ask(door.plain(host, source), "GET", "/v1/devices", f"{number}").problem(401, "unauthenticated")
    answer = door.ask(door.plain(host, source), "GET", "/v1/devices", "11")
    answer.problem(429, "rate_limited")
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 6 and answer.headers["connection"] == "close"
    # the right token is refused as well, so that it cannot be told from the others; whether the daemon lives is told
    door.ask(door.plain(host, source), "GET", "/v1/devices", host.tokens["admin"]).problem(429, "rate_limited")
    door.ask(door.plain(host, source), "GET", "/readyz").problem(429, "rate_limited")
    door.ask(door.plain(host, source), "GET", "/healthz").expect(200)
    # nobody else is concerned
    door.ask(door.plain(host, other), "GET", "/v1/devices", host.tokens["admin"]).expect(200)
    host.get("/v1/devices")
    # one more try after the time that was told
    until(lambda: door.ask(door.plain(host, source), "GET", "/v1/devices", host.tokens["admin"]).status == 200, wait + 2,
          "an end of the refusals", interval=0.2)


def test_failures_of_a_certificate_and_on_the_unix_socket_are_slowed_down(host):
    source = door.new_source()
    for _ in range(10):
        door.ask(door.tls(host, host.authority, source=source), "GET", "/v1/devices").problem(401, "unauthenticated")
    door.ask(door.tls(host, host.authority, host.certificates["admin"], source), "GET", "/v1/devices").problem(429, "rate_limited")
    with door.open_socket(host):
        for expected in [403] * 10 + [429]:
            connection = door.UserConnection(host.socket, 65001)
            assert door.ask(connection, "GET", "/v1/devices").status == expected


# ---- pages in somebody's browser ----------------------------------------------------------------------------------------

def test_web_page_of_somebody_else_has_no_say(host):
    """What a page in the user's own browser could send: another Host, another Origin, a form."""
    token, body = host.tokens["admin"], {"kind": "tun"}
    for headers in ({"Host": "evil.example"}, {"Host": "evil.example:8080"}, {"Host": "tunnels.example"}, {"Host": "10.0.0.1"},
                    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1:8080"},
                    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        answer = door.ask(door.plain(host), "PUT", "/v1/devices/web0", token, body, headers)
        answer.problem(403, "forbidden")
        assert "access-control-allow-origin" not in answer.headers
    answer = door.ask(door.plain(host), "POST", "/v1/devices", token, raw='{"name": "web0", "kind": "tun"}',
                      headers={"Content-Type": "text/plain"})
    answer.problem(415, "unsupported_media_type")
    assert host.namespace.link("web0") is None


def test_hosts_with_tls(host):
    def status(**headers):
        return door.ask(door.tls(host, host.authority, host.certificates["reader"]), "GET", "/v1/version", headers=headers).status
    for good in ("tunnels.example", "TUNNELS.example:8443", "localhost", "127.0.0.1:8443", "10.0.0.1", "[2001:db8::1]:8443"):
        assert status(Host=good) == 200, good
        assert status(Host=good, Origin=f"https://{good}") == 200, good
        assert status(Host=good, Origin=f"http://{good}") == 403, good
    for bad in ("evil.example", "tunnels.example.evil.example", "x.tunnels.example", "server"):
        assert status(Host=bad) == 403, bad


# ---- secrets ------------------------------------------------------------------------------------------------------------

def test_secrets_come_out_nowhere(host):
    """Each is planted, used in every way that may go wrong, and looked for in everything that the daemon says or leaves."""
    secret = door.make_token(host, "canary", "admin", expires=SOON)
    canaries = [secret, *host.tokens.values(), host.token()]
    key = "".join(l for l in (host.authority.directory / "server.key").read_text().splitlines() if "-" not in l)
    answers = []
    for connection in (door.plain(host), door.tls(host, host.authority, host.certificates["admin"])):
        answers.append(door.ask(connection, "GET", "/v1/tokens", secret).expect(200))
    answers.append(door.ask(door.plain(host, door.new_source()), "GET", "/v1/devices", secret + "x").expect(401))
    answers.append(door.ask(door.plain(host, door.new_source()), "GET", "/v1/devices",
                            headers={"Authorization": f"Basic {secret}"}).expect(401))
    answers.append(door.ask(door.plain(host, door.new_source()), "GET", "/v1/devices", secret, headers={"Host": "a b"}).expect(400))
    answers.append(door.ask(door.plain(host), "POST", "/v1/tokens", secret, {"name": "canary", "role": "admin"}).expect(409))
    answers.append(door.ask(door.plain(host), "PUT", "/v1/devices/x0", secret, {"kind": secret[:8]}).expect(400))
    for path in ("/v1/tokens", "/v1/audit", "/v1/events", "/v1/config", "/v1/devices", "/metrics", "/v1/openapi.json"):
        answers.append(host.api("GET", path).expect(200))
    host.api("DELETE", "/v1/tokens/canary").expect(204)
    said = [(f"the answer to {a.request}", a.body + repr(a.headers).encode()) for a in answers]
    said += [(str(log), log.read_bytes()) for log in host.logs()]
    for file in ("cmdline", "environ"):
        said += [(f"/proc/…/{file} of {p.name}", open(f"/proc/{p.pid}/{file}", "rb").read()) for p in (host.daemon, host.netd)]
    said += [(str(file), file.read_bytes()) for file in host.state_dir.iterdir() if file.name != "admin.token"]
    for canary in canaries:
        for where, text in said:
            assert canary.encode() not in text, f"a token in {where}"
    for where, text in said:
        assert key[:32].encode() not in text and b"PRIVATE" not in text, f"the key in {where}"


def memory_of(process):
    """What may be written there, piece by piece; a sanitizer's own book-keeping is left out."""
    with open(f"/proc/{process.pid}/maps") as maps, open(f"/proc/{process.pid}/mem", "rb") as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            begin, end = (int(match[1], 16), int(match[2], 16)) if match else (0, 0)
            if 0 < end - begin < 1 << 30:
                memory.seek(begin)
                yield memory.read(end - begin)


def test_secrets_do_not_stay_in_memory(net):
    """Of the optimised build, in which a wipe of what nobody reads any more could get lost."""
    authority = door.Authority(net.base / "certificates")
    host = net.host("a", build="release", listen=[f"127.0.0.1:{door.PLAIN_PORT}"],
                    arguments=door.tls_options(authority, authority.server(), clients=False))
    secret = door.make_token(host, "canary", "admin")
    door.ask(door.plain(host), "GET", "/v1/devices", secret).expect(200)
    door.ask(door.tls(host, authority), "GET", "/v1/devices", secret).expect(200)
    door.ask(door.tls(host, authority), "POST", "/v1/tokens", secret, {"name": "second", "role": "reader"}).expect(201)
    host.device("tun0", kind="tun", labels={"control": "it-would-be-found"})
    memory = list(memory_of(host.daemon.process))
    assert any(b"it-would-be-found" in piece for piece in memory)
    key = max((authority.directory / "server.key").read_text().splitlines(), key=len)
    for what in (secret, host.token(), key):
        assert not any(what.encode() in piece for piece in memory)
