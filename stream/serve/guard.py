"""Who may ask, and how much: a token, origins and names of the service, limits, turns by address.

A browser sends requests to this service for any page that its user happens to open. Three checks
keep such pages out. The Origin of a request has to be the service itself or an origin that was
allowed. The Host has to be a name of the service, so that a name that was made to point here (DNS
rebinding) is of no use. Whoever serves other machines asks for a token.

What is scarce is shared out among network addresses (`Turns`): a client with many or costly
requests waits behind its own.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..sources.specs import is_known, own_names

SUBPROTOCOL = "ferstream.v1"
"""Subprotocol of WebSocket clients; one with a token offers `bearer.TOKEN` as well."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Answered without a token."""

_TOKEN_PREFIX = "bearer."
_LOG_EVERY_S = 5.0
_log = logging.getLogger(__name__)
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


_HEADERS = {
    # Answers are data: a browser that is made to show one as a page runs and loads nothing.
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_HSTS = "max-age=31536000"


class Guard:
    """ASGI middleware that answers 401, 403 or 421 instead of the application.

    Every answer gets headers that keep a browser from running or embedding it, unless the
    application sets them; over TLS also the one that keeps browsers on TLS.

    Args:
        token: required as `Authorization: Bearer TOKEN`; None: no token is required.
        origins: further origins whose pages may ask, such as https://example.org.
        hosts: further names of this service, where it is reached by one; addresses, localhost
            and the machine's own name are known.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None = None,
        origins: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._token = token
        self._origins = tuple(origins)
        self._hosts = own_names(hosts)
        self._refused, self._log_next_s = 0, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _with_headers(send, scope.get("scheme") == "https")
        if not is_known(headers.get("host", ""), self._hosts):
            await _refuse(scope, receive, send, 421, "unknown_host", _UNKNOWN_HOST)
        elif not origin_allowed(headers, self._origins):
            await _refuse(scope, receive, send, 403, "origin", _FOREIGN_ORIGIN)
        elif not (scope["path"] in OPEN_PATHS or self._is_known_token(scope, headers)):
            self._log_refusal(scope)
            await _refuse(scope, receive, send, 401, "token", _NO_TOKEN)
        else:
            await self._app(scope, receive, send)

    def _log_refusal(self, scope: Scope) -> None:
        """Log requests without a valid token, once in `_LOG_EVERY_S` at most."""
        self._refused += 1
        now_s = time.monotonic()
        if now_s >= self._log_next_s:
            who = client_network(scope.get("client")) or "somewhere"
            _log.warning("refused for want of the token: %d, the last from %s", self._refused, who)
            self._refused, self._log_next_s = 0, now_s + _LOG_EVERY_S

    def _is_known_token(self, scope: Scope, headers: Headers) -> bool:
        if self._token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        offered = [given.strip()] if kind.lower() == "bearer" else []
        if scope["type"] == "websocket":
            offered += [
                name.removeprefix(_TOKEN_PREFIX)
                for name in scope.get("subprotocols", ())
                if name.startswith(_TOKEN_PREFIX)
            ]
        wanted = self._token.encode()
        return any(hmac.compare_digest(one.encode(), wanted) for one in offered)


def origin_allowed(headers: Headers, allowed: Sequence[str] = ()) -> bool:
    """Whether a request comes from a page of this service, an allowed one, or from no page.

    Programs send no Origin, browsers send it with every WebSocket and every POST.
    """
    origins = headers.getlist("origin")
    if not origins:
        return True
    if len(origins) > 1:
        return False
    try:
        here = urlsplit(f"//{headers.get('host', '')}")
        there = urlsplit(origins[0])
        port = there.port or _PORTS.get(there.scheme)
        own = here.port or _PORTS.get(there.scheme)
    except ValueError:
        return False
    if there.scheme in _PORTS and there.hostname and (there.hostname, port) == (here.hostname, own):
        return True
    return origins[0].rstrip("/") in {one.rstrip("/") for one in allowed}


def is_loopback(host: str) -> bool:
    """Whether a server at this address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def error_json(code: str, message: str) -> dict[str, dict[str, str]]:
    """The JSON body of every failure."""
    return {"error": {"code": code, "message": message}}


_UNKNOWN_HOST = "this service is not known under that name: allow it with --allow-host"
_FOREIGN_ORIGIN = "pages of another origin may not ask: allow theirs with --allow-origin"
_NO_TOKEN = "a token is wanted: send the header `Authorization: Bearer TOKEN`"


def _with_headers(send: Send, secure: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if secure:
                headers.setdefault("strict-transport-security", _HSTS)
            message = {**message, "headers": headers.raw}
        await send(message)

    return sending


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str
) -> None:
    """One JSON error; a WebSocket is refused before it is accepted, which a client sees as 403."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": message[:120]})
        return
    body = json.dumps(error_json(code, message)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers.append((b"cache-control", b"no-store"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class Limits:
    """The service's limits, from which its memory and time follow.

    Raises ValueError for a limit that is not above 0.
    """

    upload_bytes: int = 64 * 2**20
    """Size of an uploaded image or clip."""
    upload_s: float = 60.0
    """Time in which an upload must arrive, seconds."""
    uploads: int = 4
    """Uploads scored at once; more wait, and beyond that they are refused (503)."""
    image_pixels: int = 40_000_000
    """Pixels of an uploaded image."""
    clip_pixels: int = 3840 * 2160
    """Pixels of a clip's frame."""
    clip_duration_s: float = 120.0
    """Length of a clip, seconds; longer ones are refused, not cut."""
    clip_frames: int = 8_000
    """Frames of a clip."""
    score_s: float = 240.0
    """Time from the end of an upload to its answer, seconds."""
    message_bytes: int = 2 * 2**20
    """One message over the WebSocket: one picture."""
    live_pixels: int = 1920 * 1080
    """Pixels of a live picture."""
    live_rate_hz: float = 60.0
    """Pictures per second that are accepted; more are dropped and counted."""
    live_per_address: int = 8
    """Live clients of one network address."""
    idle_s: float = 60.0
    """A live client that sends nothing for so long is disconnected, seconds."""
    send_s: float = 10.0
    """A live client that reads no answer for so long is disconnected, seconds."""

    connections: int = 512
    """Connections at once; one network address may hold as many as are still free."""
    head_s: float = 10.0
    """How long a connection may be without a request in progress, seconds."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} has to be above 0, not {getattr(self, name)}")


def client_network(client: tuple[str, int] | None) -> str:
    """The network address that clients are counted by; "" where none is known.

    Of IPv6 it is the /64 network: a client with one address in it has all of them.
    """
    host = client[0] if client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


class QueueFull(Exception):
    """Too many requests of this address wait already."""


@dataclass(eq=False, slots=True)
class _Waiting:
    address: str
    heavy: bool
    granted: asyncio.Future[None] = field(default_factory=lambda: _future())


class Turns:
    """Fair turns at something scarce, shared out among network addresses; for one event loop.

    Each address has a queue of bounded length. A free turn goes to the address that holds fewest,
    and among those to the one that has used least time so far.

    Args:
        at_once: turns held at the same time.
        line: requests of one address that may wait.
    """

    def __init__(
        self,
        at_once: int,
        line: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_once, self._line = at_once, line
        self._heavy_at_once = max(at_once - 1, 1)
        self._clock = clock
        self._waiting: list[_Waiting] = []  # in the order they came
        self._held: Counter[str] = Counter()
        self._heavy = 0
        self._spent_s: dict[str, float] = {}  # of those who wait or hold

    @asynccontextmanager
    async def turn(self, address: str, heavy: bool = False) -> AsyncIterator[None]:
        """Wait for a turn and hold it for the block. Raises `QueueFull`.

        Heavy requests never hold all turns, where there are several.
        """
        if sum(one.address == address for one in self._waiting) >= self._line:
            raise QueueFull(address)
        # A new address starts with the least time of the others, else it would be first for long.
        self._spent_s.setdefault(address, min(self._spent_s.values(), default=0.0))
        one = _Waiting(address, heavy)
        self._waiting.append(one)
        try:
            self._grant()
            await one.granted
        except BaseException:
            if one in self._waiting:
                self._waiting.remove(one)
                self._forget(address)
            elif not one.granted.cancelled():  # it was granted and is not needed any more
                self._release(one, 0.0)
            raise
        begun_s = self._clock()
        try:
            yield
        finally:
            self._release(one, self._clock() - begun_s)

    def _grant(self) -> None:
        """Grant the turns that are free."""
        while self._held.total() < self._at_once:
            ready = [
                one for one in self._waiting if not one.heavy or self._heavy < self._heavy_at_once
            ]
            if not ready:
                return
            one = min(ready, key=lambda w: (self._held[w.address], self._spent_s[w.address]))
            self._waiting.remove(one)
            if one.granted.cancelled():
                self._forget(one.address)
                continue
            self._held[one.address] += 1
            self._heavy += one.heavy
            one.granted.set_result(None)

    def _release(self, one: _Waiting, took_s: float) -> None:
        self._held[one.address] -= 1
        self._heavy -= one.heavy
        self._spent_s[one.address] += took_s
        self._forget(one.address)
        self._grant()

    def _forget(self, address: str) -> None:
        if not self._held[address]:
            del self._held[address]
            if all(one.address != address for one in self._waiting):
                self._spent_s.pop(address, None)


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
