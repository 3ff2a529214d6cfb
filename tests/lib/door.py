# SPDX-License-Identifier: Apache-2.0
"""Ways to the API's door: as another user on its Unix socket, from another address, with TLS; and certificates for it."""

import contextlib
import itertools
import os
import socket
import ssl

from lib import api
from lib.command import run
from lib.host import USER

PLAIN_PORT, TLS_PORT = 8080, 8443
STRANGER = 64199
ADMIN_GROUP = 64198
_sources = itertools.count(2)


def new_source():
    """A loopback address that nobody has failed from yet: failures are counted for each."""
    number = next(_sources)
    return f"127.{1 + number // 65000}.{number // 250 % 250}.{1 + number % 250}"


# ---- the Unix socket ------------------------------------------------------------------------------------------------

class UserConnection(api.UnixConnection):
    """To the Unix socket, as somebody else: who connects is who the daemon sees, whatever becomes of it later."""

    def __init__(self, path, uid, gid=None, groups=()):
        super().__init__(path)
        self.uid, self.gid, self.groups = uid, uid if gid is None else gid, list(groups)

    def connect(self):
        before = os.getgroups()
        os.setgroups(self.groups)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            super().connect()
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(before)


# ---- TCP ------------------------------------------------------------------------------------------------------------

def socket_to(host, port, source=None, address="127.0.0.1"):
    made = host.namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    if source:
        made.bind((source, 0))
    made.connect((address, port))
    return made


def plain(host, source=None, address="127.0.0.1", port=PLAIN_PORT):
    connection = api.http.client.HTTPConnection(address, port, timeout=20)
    connection.sock = socket_to(host, port, source, address)
    return connection


def tls(host, authority, certificate=None, source=None, address="127.0.0.1", port=TLS_PORT, name="127.0.0.1", version=None):
    """`certificate`: what the client shows, from an Authority. `name`: what it expects the server to be."""
    context = ssl.create_default_context(cafile=authority.file)
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(certificate.file, certificate.key)
    connection = api.http.client.HTTPSConnection(name, port, timeout=20, context=context)
    connection.sock = context.wrap_socket(socket_to(host, port, source, address), server_hostname=name)
    return connection


def ask(connection, method, path, token=None, body=None, headers=None, raw=None):
    headers = dict(headers or {})
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return api.request(connection, method, path, body, headers, raw)


# ---- certificates ---------------------------------------------------------------------------------------------------

class Certificate:
    def __init__(self, directory, name):
        self.file, self.key = directory / f"{name}.pem", directory / f"{name}.key"


class Authority:
    """Makes certificates with openssl(1), and signs them; `days` may be negative."""

    def __init__(self, directory, name="ca"):
        directory.mkdir(mode=0o755, exist_ok=True)
        self.directory, self.name = directory, name
        self.file, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        self.make("req", "-x509", "-nodes", "-keyout", self.key, "-out", self.file, "-days", 30, "-subj", f"/CN={name}",
                  "-addext", "basicConstraints=critical,CA:TRUE", *self.new_key())

    @staticmethod
    def new_key():
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]

    @staticmethod
    def make(*args):
        run("openssl", *args)

    def sign(self, file, subject, extensions=(), days=10):
        made, request = Certificate(self.directory, file), self.directory / f"{file}.csr"
        (self.directory / f"{file}.ext").write_text("\n".join(extensions))
        self.make("req", "-nodes", "-keyout", made.key, "-out", request, "-subj", subject, *self.new_key())
        made.key.chmod(0o600)
        self.make("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", "-out", made.file,
                  "-days", days, "-extfile", self.directory / f"{file}.ext")
        return made

    def server(self, file="server"):
        return self.sign(file, "/CN=server", ["subjectAltName=DNS:tunnels.example,IP:127.0.0.1,IP:10.0.0.1",
                                              "extendedKeyUsage=serverAuth"])

    def client(self, name, file=None, **options):
        return self.sign(file or name, f"/CN={name}", ["extendedKeyUsage=clientAuth"], **options)

    def self_signed(self, name, file):
        made = Certificate(self.directory, file)
        self.make("req", "-x509", "-nodes", "-keyout", made.key, "-out", made.file, "-days", 10, "-subj", f"/CN={name}",
                  "-addext", "extendedKeyUsage=clientAuth", *self.new_key())
        return made


def tls_options(authority, server, clients=True, addresses=(f"127.0.0.1:{TLS_PORT}",), hosts=("tunnels.example",)):
    """The daemon's arguments. `clients`: they need a certificate of the authority."""
    arguments = ["--tls-certificate", server.file, "--tls-key", server.key]
    if clients:
        arguments += ["--tls-client-ca", authority.file]
    for address in addresses:
        arguments += ["--listen-tls", address]
    for name in hosts:
        arguments += ["--host", name]
    return arguments


# ---- tokens ---------------------------------------------------------------------------------------------------------

def make_token(host, name, role, **fields):
    """Makes one as root, and returns its secret, or None for a certificate's."""
    return host.api("POST", "/v1/tokens", {"name": name, "role": role, **fields}).expect(201).json.get("token")


@contextlib.contextmanager
def open_socket(host):
    """For this test anybody may connect: the peer's credentials decide, not the file's mode alone."""
    os.chmod(host.socket, 0o666)
    yield
    os.chmod(host.socket, 0o660)


def peers(host):
    """A way for each kind of peer of the Unix socket."""
    return {"root": lambda: UserConnection(host.socket, 0), "the daemon's user": lambda: UserConnection(host.socket, USER),
            "admin group": lambda: UserConnection(host.socket, STRANGER, STRANGER, [ADMIN_GROUP]),
            "group": lambda: UserConnection(host.socket, STRANGER, USER), "member": lambda: UserConnection(
                host.socket, STRANGER, STRANGER, [STRANGER + 1, USER]), "stranger": lambda: UserConnection(
                host.socket, next(_sources) + 70000)}
