"""Names under which a service of this machine may be asked for.

A browser sends requests of any page that its user opens to whatever address that page's own name
is made to point at (DNS rebinding): the Host header then holds that name, which is none of these.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit


def own_names(more: Iterable[str] = ()) -> frozenset[str]:
    """localhost, the machine's own name, and those that were given."""
    return frozenset(("localhost", socket.gethostname().lower(), *(name.lower() for name in more)))


def is_known(host: str, names: Collection[str]) -> bool:
    """Whether a Host header is an address or one of these names, with a port or without."""
    try:
        parts = urlsplit(f"//{host}")
        plain = parts.netloc == host and "@" not in host and (parts.port or 1) > 0
    except ValueError:
        return False
    name = parts.hostname or ""
    return plain and (name in names or is_address(name))


def is_address(name: str) -> bool:
    """Whether this is an IPv4 or IPv6 address, no name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
