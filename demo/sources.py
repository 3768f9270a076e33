"""Which cameras visitors may watch: RTSP addresses on hosts that were named, and no others.

A page that opens any address would be a way into the network that its server stands in. So a host
counts only as it was named (or by an address that a named host has right now), and whoever
connects, at first, again or after a redirect, asks `CameraHosts.reach` for the one address to
connect to: neither another lookup of a visitor's word nor a redirect leads elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from ferstream.stream.errors import SourceRedirected
from ferstream.stream.hosts import is_address

from .errors import NotAllowed

_RTSP_PORT = 554
_LONGEST = 1000

Resolve = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Target:
    """A camera that may be watched."""

    shown: str
    """Its address without user and password."""
    url: str
    """Its address with them, escaped where they are odd."""


class CameraHosts:
    """The hosts that were named: a name or address, with a port for that port only.

    Raises ValueError for what is neither.
    """

    def __init__(self, hosts: Sequence[str], resolve: Resolve | None = None) -> None:
        self._hosts = [_entry(host) for host in hosts]
        self._resolve = resolve or addresses_of

    def target(self, address: str) -> Target:
        """The camera at an address; raises `NotAllowed`, which never repeats a password."""
        if len(address) > _LONGEST or re.search(r"[\s\\\x00-\x20\x7f]", address):
            raise NotAllowed("this is no camera's address: it has spaces or is too long")
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").rstrip("."), parts.port or _RTSP_PORT
        except ValueError:
            raise NotAllowed("this is no camera's address: check host and port") from None
        if parts.scheme.lower() != "rtsp" or not host:
            raise NotAllowed("a camera's address begins with rtsp:// and names a host")
        if self._address(host, port) is None:
            raise NotAllowed(f"this page may not open cameras at {host}:{port}")
        shown = f"[{host}]" if ":" in host else host
        rest = quote(parts.path, safe="/%:=,;+!$&'()*~@-._") or "/"
        if parts.query:
            rest += "?" + quote(parts.query, safe="/%:=,;+!$&'()*~@-._?")
        place = f"{shown}:{port}"
        return Target(f"rtsp://{place}{parts.path}", f"rtsp://{_userinfo(parts)}{place}{rest}")

    def reach(self, host: str, port: int) -> tuple[str, int]:
        """Where to connect; raises `SourceRedirected` for a host that was not named."""
        ip = self._address(host.rstrip("."), port)
        if ip is None:
            raise SourceRedirected(f"{host}:{port} is no camera that this page may open")
        return ip, port

    def _address(self, host: str, port: int) -> str | None:
        """The IP address to connect to, or None where the host was not named."""
        for name, only_port in self._hosts:
            if only_port not in (None, port):
                continue
            if host.lower() == name or _same_ip(host, name):
                found = self._resolve(name)
                if found:
                    return found[0]
            elif is_address(host) and any(_same_ip(host, ip) for ip in self._resolve(name)):
                return host
        return None


def addresses_of(host: str) -> list[str]:
    """The IP addresses of a host; none where it has no name here."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _entry(host: str) -> tuple[str, int | None]:
    """Host and port of one that was named."""
    if is_address(host):
        return host.lower(), None
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or parts.path or parts.username is not None:
        raise ValueError(f"{host!r} is no host: name one as camera.local or 192.168.1.20:554")
    return name.rstrip("."), port


def _userinfo(parts: object) -> str:
    user, password = getattr(parts, "username", None), getattr(parts, "password", None)
    if user is None:
        return ""
    word = quote(unquote(user), safe="")
    return f"{word}:{quote(unquote(password), safe='')}@" if password is not None else f"{word}@"


def _same_ip(one: str, other: str) -> bool:
    return (
        is_address(one)
        and is_address(other)
        and ipaddress.ip_address(one) == ipaddress.ip_address(other)
    )
