# SPDX-License-Identifier: Apache-2.0
"""A TCP transfer with checksums: so many bytes there, and as many others back."""

import hashlib
import random
import threading

BLOCK = 1 << 20


def send(connection, seed, size):
    """Sends `size` bytes that follow from `seed`; returns their SHA-256."""
    block = random.Random(seed).randbytes(BLOCK)
    digest, at = hashlib.sha256(), 0
    while at < size:
        # each block differs from the one before: one that is lost, doubled or moved shows
        piece = (at.to_bytes(8, "big") + block[8:])[:size - at]
        connection.sendall(piece)
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def receive(connection, size):
    digest, at = hashlib.sha256(), 0
    while at < size:
        piece = connection.recv(min(BLOCK, size - at))
        if not piece:
            raise AssertionError(f"the connection ended after {at} of {size} bytes")
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def transfer(client, server, family, address, size, timeout=120):
    """`client` and `server` are namespaces; the server listens at `address` (host, port). First `size` bytes go from the
    client to the server, then as many come back. Fails unless both arrive as they were sent."""
    listener = server.socket(family, 1)
    listener.settimeout(timeout)
    listener.bind(address)
    listener.listen(1)
    served = {}

    def serve():
        try:
            connection, served["peer"] = listener.accept()
            with connection:
                connection.settimeout(timeout)
                served["got"] = receive(connection, size)
                served["sent"] = send(connection, 2, size)
                connection.recv(1)  # until the client has it all
        except Exception as error:
            served["error"] = error

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        with client.socket(family, 1) as connection:
            connection.settimeout(timeout)
            connection.connect(address)
            sent = send(connection, 1, size)
            got = receive(connection, size)
    finally:
        thread.join(timeout)
        listener.close()
    if "error" in served:
        raise served["error"]
    assert not thread.is_alive(), "the serving side did not end"
    assert (sent, got) == (served["got"], served["sent"]), "the bytes that arrived are not those that were sent"
    return served["peer"]
