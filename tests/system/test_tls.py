# SPDX-License-Identifier: Apache-2.0
"""TLS and client certificates, with real curl, with what is wrong in every way, and with handshakes that never end."""

import contextlib
import os
import socket
import ssl
import time

import pytest
from lib import api, door
from lib.host import USER
from lib.waiting import until

pytestmark = pytest.mark.slow

PORT = door.TLS_PORT
URL = f"https://tunnels.example:{PORT}"


@pytest.fixture(scope="module")
def authority(module_net):
    return door.Authority(module_net.base / "certificates")


@pytest.fixture(scope="module")
def host(module_net, authority):
    a, b = module_net.namespace("a"), module_net.namespace("b")
    module_net.veth(a, ["10.0.0.1/24", "fd00:a::1/64"], b, ["10.0.0.2/24", "fd00:a::2/64"])
    host = module_net.host("a", a, arguments=door.tls_options(authority, authority.server(),
                                                              addresses=[f"0.0.0.0:{PORT}", f"[::]:{PORT}"]))
    host.other = b
    host.client = authority.client("ci")
    door.make_token(host, "ci", "operator", kind="certificate")
    return host


def curl(host, *args, certificate=None, namespace=None, address="10.0.0.1", check=True):
    """Real curl, from the other end of the cable; (exit status, HTTP status, body)."""
    more = ["--cert", certificate.file, "--key", certificate.key] if certificate else []
    done = (namespace or host.other).run(
        "curl", "-sS", "--max-time", 15, "--cacert", host.authority_file, "--resolve", f"tunnels.example:{PORT}:{address}",
        "-w", "\n%{http_code}", *more, *args, check=check)
    body, _, status = done.stdout.rpartition("\n")
    return done.returncode, int(status or 0), body


@pytest.fixture(autouse=True)
def the_authority(host, authority):
    host.authority_file = authority.file


# ---- as it should be ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("address", ["10.0.0.1", "[fd00:a::1]"])
def test_curl_with_a_certificate(host, version, address):
    _, status, body = curl(host, f"--tlsv{version}", "--tls-max", version, f"{URL}/v1/devices", certificate=host.client,
                           address=address)
    assert status == 200 and "items" in body
    _, status, body = curl(host, "-X", "PUT", "--json", '{"kind": "tun"}', f"{URL}/v1/devices/tun0", certificate=host.client,
                           address=address)
    assert status in (200, 201)
    last = host.get("/v1/audit?limit=1000")["items"][-1]
    assert last["actor"] == "certificate:ci" and last["address"].startswith(("10.0.0.2:", "[fd00:a::2]:"))
    assert curl(host, f"{URL}/v1/tokens", certificate=host.client, address=address)[1] == 403
    assert curl(host, "-X", "DELETE", f"{URL}/v1/devices/tun0", certificate=host.client, address=address)[1] == 204


def test_large_bodies_and_many_requests(host):
    devices = {"devices": [{"name": f"big{n}", "kind": "tun", "labels": {f"k{i}": "x" * 200 for i in range(60)}}
                           for n in range(20)]}
    body = host.directory / "config.json"
    body.write_text(api.json_module.dumps(devices) + " " * (5 << 20))
    body.chmod(0o644)
    code, status, text = curl(host, "-X", "PUT", "-H", "Content-Type: application/json", "--data-binary", f"@{body}",
                              f"{URL}/v1/config", certificate=host.client)
    assert (code, status) == (0, 200) and len(text) > 200000
    connection = door.tls(host, door_authority(host), host.client)
    for _ in range(50):
        connection.request("GET", "/v1/config")
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read().decode() == text
    connection.close()
    host.api("PUT", "/v1/config", {"devices": []}).expect(200)


def door_authority(host):
    class Trusted:
        file = host.authority_file
    return Trusted


def test_stream(host):
    stream = api.Stream(door.tls(host, door_authority(host), host.client), "/v1/watch?topics=events,counters&interval_ms=200")
    for _ in range(5):
        stream.next_of("counters")
    host.device("tun1", kind="tun")
    assert stream.next_of("device_created")["data"]["device"] == "tun1"
    host.api("DELETE", "/v1/devices/tun1").expect(204)
    stream.close()


def test_capture_ends_with_its_client(host):
    """Which says good-bye first: that is nothing that was asked."""
    host.device("tun1", kind="tun", worker={"type": "monitor"})
    path = "/v1/devices/tun1/capture"
    capture = api.Stream(door.tls(host, door_authority(host), host.client), path)
    assert capture.status == 200
    sock = capture.connection.sock or capture.answer.fp.raw._sock
    sock.settimeout(0.2)
    with contextlib.suppress(OSError):
        sock.unwrap()
    capture.close()
    sock.close()
    until(lambda: host.api("GET", f"{path}?seconds=1").status == 200, 10, "another capture")
    host.api("DELETE", "/v1/devices/tun1").expect(204)


def test_smuggling_is_refused_here_as_well(host):
    context = ssl.create_default_context(cafile=host.authority_file)
    context.load_cert_chain(host.client.file, host.client.key)
    for lines in ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Host: b\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n",
                  "X: a\r\n b\r\n", "X : a\r\n", "X: a\nY: b\r\n"):
        with context.wrap_socket(door.socket_to(host, PORT), server_hostname="127.0.0.1") as wrapped:
            wrapped.sendall(f"GET /v1/devices HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
            assert wrapped.recv(100).startswith(b"HTTP/1.1 400"), lines


# ---- certificates that are no good ------------------------------------------------------------------------------------

def test_without_certificate(host):
    code, status, body = curl(host, f"{URL}/v1/devices")
    assert (code, status) == (0, 401) and "certificate" in body
    assert curl(host, f"{URL}/healthz")[1] == 401
    assert curl(host, "-H", f"Authorization: Bearer {host.token()}", f"{URL}/v1/devices")[1] == 401


WRONG = {
    "expired": (lambda a: a.client("ci", "expired", days=-1), "expired"),
    "self-signed": (lambda a: a.self_signed("ci", "self"), "authority"),
    "of another authority": (lambda a: door.Authority(a.directory / "other", "ca").client("ci", "other-ci"), "authority"),
    "for a server": (lambda a: a.sign("server-ci", "/CN=ci", ["extendedKeyUsage=serverAuth"]), "not for a client"),
    "for mail": (lambda a: a.sign("mail-ci", "/CN=ci", ["extendedKeyUsage=emailProtection"]), "not for a client"),
    "signed by a client": (lambda a: signed_by(a, a.client("ci", "no-authority")), None),
}


def signed_by(authority, certificate):
    """By a certificate that is good, but no authority's; both are shown."""
    class Impostor(door.Authority):
        def __init__(self):
            self.directory, self.file, self.key = authority.directory, certificate.file, certificate.key
    made = Impostor().client("ci", "impostor")
    made.file.write_text(made.file.read_text() + certificate.file.read_text())
    return made


@pytest.mark.parametrize("what", WRONG)
def test_certificate_that_is_no_good(host, authority, what):
    make, said = WRONG[what]
    connection = door.tls(host, authority, make(authority), door.new_source())
    answer = door.ask(connection, "GET", "/v1/devices", host.token())  # nor does a good token help it
    detail = answer.problem(401, "unauthenticated")["detail"]
    assert "certificate" in detail and (said is None or said in detail)
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("subject", ["/CN=nobody", "/O=ci", "/CN=CI", "/CN=ci/CN=admin", "/CN=admin/CN=ci", "/CN=admin", "/CN=ci ",
                                     "/CN=" + "x" * 64, "/CN=\u0441i", "/CN=ci.evil.example"])
def test_certificate_of_another_name(host, authority, subject):
    """It is good, but no token bears its name: "admin" is a bearer's, and two names are none."""
    certificate = authority.sign("named", subject, ["extendedKeyUsage=clientAuth"])
    connection = door.tls(host, authority, certificate, door.new_source())
    answer = door.ask(connection, "GET", "/v1/devices")
    assert "token" in answer.problem(401, "unauthenticated")["detail"]
    # but it opens the door to who has a token
    door.ask(door.tls(host, authority, certificate, door.new_source()), "GET", "/v1/tokens", host.token()).expect(200)


def test_certificate_whose_token_is_ended(host, authority):
    certificate = authority.client("prom")
    door.make_token(host, "prom", "reader", kind="certificate")
    connection = door.tls(host, authority, certificate, door.new_source())
    connection.request("GET", "/v1/devices")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read()
    stream = api.Stream(door.tls(host, authority, certificate), "/v1/watch?topics=events")
    host.api("DELETE", "/v1/tokens/prom").expect(204)
    # on the connection that is open already
    door.ask(connection, "GET", "/v1/devices").problem(401, "unauthenticated")
    stream.connection.sock.settimeout(3)
    with contextlib.suppress(ssl.SSLEOFError, api.http.client.IncompleteRead):
        while stream.answer.readline():
            pass


def test_certificate_that_expires_on_an_open_connection(host, authority):
    door.make_token(host, "brief", "reader", kind="certificate")
    certificate = authority.client("brief", "brief")
    # openssl x509 counts in days: the same request once more, with openssl ca's exact end
    until_text = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 4))
    directory = authority.directory
    (directory / "index.txt").write_text("")
    (directory / "serial").write_text("77")
    (directory / "ca.conf").write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={directory}/index.txt\nserial={directory}/serial\nnew_certs_dir={directory}\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nextendedKeyUsage=clientAuth\n")
    authority.make("ca", "-batch", "-notext", "-config", directory / "ca.conf", "-cert", authority.file, "-keyfile", authority.key,
                   "-in", directory / "brief.csr", "-out", certificate.file, "-enddate", until_text)
    connection = door.tls(host, authority, certificate, door.new_source())

    def status():
        connection.request("GET", "/v1/version")
        answer = connection.getresponse()
        answer.read()
        return answer.status
    assert status() == 200
    assert until(lambda: status() == 401, 8, "its end", interval=0.2)


# ---- what is no TLS, or too old ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_versions_are_refused(host, version):
    code, status, _ = curl(host, "--tls-max", version, "--ciphers", "DEFAULT@SECLEVEL=0", f"{URL}/healthz", certificate=host.client,
                           check=False)
    assert code == 35 and status == 0


@pytest.mark.parametrize("cipher", ["AES256-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-SHA", "NULL-SHA256"])
def test_weak_ciphers_are_refused(host, cipher):
    code, status, _ = curl(host, "--tls-max", "1.2", "--ciphers", f"{cipher}:@SECLEVEL=0", f"{URL}/healthz",
                           certificate=host.client, check=False)
    assert code == 35 and status == 0


def test_plain_http_and_noise_are_harmless(host):
    for data in (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 2000, b"\0" * 5000, b"\x80\x2e\x01",
                 bytes(range(256)) * 64, b"\x15\x03\x03\x00\x02\x02\x28"):
        with door.socket_to(host, PORT) as raw:
            with contextlib.suppress(ConnectionError):
                raw.sendall(data)
                while raw.recv(4096):
                    pass
    assert curl(host, f"{URL}/healthz", certificate=host.client)[1] == 200


def test_server_shows_its_own_certificate(host, authority, module_net):
    other = door.Authority(module_net.base / "strange", "ca")
    with pytest.raises(ssl.SSLCertVerificationError):
        door.tls(host, other, host.client)
    with pytest.raises(ssl.SSLCertVerificationError):
        door.tls(host, authority, host.client, name="other.example")


# ---- those who never come to an end -----------------------------------------------------------------------------------

def unfinished(host, data):
    made = door.socket_to(host, PORT)
    made.sendall(data)
    return made


def client_hello(host):
    """The first flight of a handshake that could be completed."""
    context = ssl.create_default_context(cafile=host.authority_file)
    out = ssl.MemoryBIO()
    half = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="tunnels.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    return out.read()


def test_half_open_handshakes_are_ended(host):
    hello = client_hello(host)
    began = time.monotonic()
    waiting = [unfinished(host, hello[:length]) for length in (0, 1, 5, 60, len(hello) - 1, len(hello))]
    for made in waiting:
        made.settimeout(12)
        with contextlib.suppress(ConnectionError):
            while made.recv(4096):
                pass
        made.close()
    assert 3 < time.monotonic() - began < 10  # the deadline is five seconds
    # a byte now and then wins no time
    made, began = unfinished(host, hello[:1]), time.monotonic()
    with contextlib.suppress(ConnectionError):
        for byte in hello[1:]:
            made.sendall(bytes([byte]))
            time.sleep(0.5)
            if time.monotonic() - began > 12:
                break
    assert time.monotonic() - began < 10
    made.close()


def test_500_half_open_handshakes_leave_the_unix_socket_alone(host):
    hello = client_hello(host)
    with contextlib.ExitStack() as stack:
        for number in range(500):
            stack.enter_context(unfinished(host, hello if number % 2 else hello[:number % len(hello)]))
        times = []
        for _ in range(40):
            began = time.monotonic()
            host.api("GET", "/healthz").expect(200)
            times.append(time.monotonic() - began)
        assert sorted(times)[20] < 0.05, times
        # and who comes by TLS and can, still may
        assert curl(host, f"{URL}/healthz", certificate=host.client)[1] == 200
    assert curl(host, f"{URL}/healthz", certificate=host.client)[1] == 200


# ---- options ----------------------------------------------------------------------------------------------------------

def test_without_client_ca_a_token_is_enough(net):
    authority = door.Authority(net.base / "certificates")
    host = net.host("a", arguments=door.tls_options(authority, authority.server(), clients=False))
    door.make_token(host, "ci", "reader", kind="certificate")
    assert door.ask(door.tls(host, authority), "GET", "/healthz").status == 200
    assert door.ask(door.tls(host, authority), "GET", "/v1/devices", host.token()).status == 200
    # nobody asked for a certificate, so none says anything
    door.ask(door.tls(host, authority, authority.client("ci")), "GET", "/v1/devices").problem(401, "unauthenticated")


def refused(net, authority, arguments, said, prepare=None):
    host = net.host("a", arguments=arguments, start=False)
    host.netd_start()
    host.daemon_start()
    until(lambda: not host.daemon.alive(), 20, "tunwrightd to refuse")
    log = host.daemon.log.read_text()
    assert host.daemon.process.returncode == 1 and said in log, log
    host.daemon.process = None


@pytest.mark.parametrize("what,said", [
    ("no key", "--tls-key"), ("key for all to read", "chmod 600"), ("key of the group", "chmod 600"), ("key of a stranger", "chmod 600"),
    ("key of another certificate", "cannot be used"), ("no such file", "cannot read"), ("noise", "cannot be used"),
    ("empty", "not a file"), ("a directory", "not a file"), ("CA is noise", "no certificate")])
def test_files_that_are_no_good(net, what, said):
    authority = door.Authority(net.base / "certificates")
    server = authority.server()
    if what == "key for all to read":
        server.key.chmod(0o604)
    elif what == "key of the group":
        server.key.chmod(0o640)
    elif what == "key of a stranger":
        os.chown(server.key, door.STRANGER, door.STRANGER)
    elif what == "key of another certificate":
        server.key = authority.client("x").key
    elif what == "no such file":
        server.file = net.base / "nothing.pem"
    elif what == "noise":
        server.file.write_text("-----BEGIN CERTIFICATE-----\nnoise\n-----END CERTIFICATE-----\n")
    elif what == "empty":
        server.file.write_text("")
    elif what == "a directory":
        server.file = net.base
    elif what == "CA is noise":
        authority.file.write_text("noise")
    arguments = door.tls_options(authority, server)
    if what == "no key":
        place = arguments.index("--tls-key")
        del arguments[place:place + 2]
    refused(net, authority, arguments, said)


def test_key_of_root_is_read_before_root_is_left(net):
    authority = door.Authority(net.base / "certificates")
    server = authority.server()
    os.chown(server.key, 0, 0)
    link = net.base / "link.pem"
    link.symlink_to(server.key)  # as tools that renew certificates put them
    server.key = link
    host = net.host("a", arguments=door.tls_options(authority, server, clients=False))
    assert door.ask(door.tls(host, authority), "GET", "/v1/version", host.token()).status == 200
    status = dict(line.split(":", 1) for line in open(f"/proc/{host.daemon.pid}/status").read().splitlines())
    assert status["Uid"].split() == [str(USER)] * 4
    os.chown(server.key.resolve(), USER, USER)
    host.restart()
    assert door.ask(door.tls(host, authority), "GET", "/v1/version", host.token()).status == 200
