# SPDX-License-Identifier: Apache-2.0
"""Tunnels as the tests make them again and again."""

OVERLAY = {"a": ["192.168.3.11/24", "fd00:3::11/64"], "b": ["192.168.3.1/24", "fd00:3::1/64"]}


def udp(local, remote, port=5000):
    """A udp worker between two addresses of the underlay."""
    def endpoint(address):
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return {"type": "udp", "local": endpoint(local), "remote": endpoint(remote)}


def tunnel(a, b, underlay=("10.0.0.1", "10.0.0.2"), name="tun0", **fields):
    """A device `name` on both hosts with the overlay's addresses, and a udp worker between the two underlay addresses.
    `fields` go into both documents. Returns both documents as they are then, when the overlay is ready for packets."""
    documents = []
    for host, addresses, local, remote in ((a, OVERLAY["a"], *underlay), (b, OVERLAY["b"], *reversed(underlay))):
        fields_here = {"kind": "tun", "addresses": addresses, "worker": udp(local, remote), **fields}
        documents.append(host.device(name, **fields_here))
    for host in (a, b):
        host.namespace.settled(name)
    return documents
