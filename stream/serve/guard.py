"""Who may ask and how much: a bearer token, no pages from elsewhere, limits, secrets from files.

A browser sends requests to this service for any page that its user happens to open. Three checks
keep such pages out: the Origin of a request has to be the service itself or an origin that was
allowed; the Host has to be one under which the service is known, so that a name that was made to
point here (DNS rebinding) is of no use; and whoever serves beyond the own machine asks for a token.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import os
import ssl
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import StreamError
from ..sources.specs import is_known, own_names
from .turns import client_network

SUBPROTOCOL = "ferstream.v1"
"""What a WebSocket client may offer; one that has to give a token offers `bearer.TOKEN` too."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Answered without a token."""

_TOKEN_PREFIX = "bearer."
_TELL_S = 5.0
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

    Every answer has the headers that keep a browser from taking it for more than it is, where the
    application does not set them itself; over TLS browsers are told to stay with it.

    Args:
        token: what `Authorization: Bearer TOKEN` has to hold; None asks for nothing.
        origins: further origins whose pages may ask, such as https://example.org.
        hosts: further names of this service, where it is reached by one; addresses, localhost
            and the machine's own name are known.
        open_paths: paths answered without a token.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None = None,
        origins: Sequence[str] = (),
        hosts: Sequence[str] = (),
        open_paths: Iterable[str] = OPEN_PATHS,
    ) -> None:
        self._app = app
        self._token = token
        self._origins = tuple(origins)
        self._hosts = own_names(hosts)
        self._open_paths = frozenset(open_paths)
        self._refused, self._next_s = 0, 0.0

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
        elif not (scope["path"] in self._open_paths or self._is_known_token(scope, headers)):
            self._tell(scope)
            await _refuse(scope, receive, send, 401, "token", _NO_TOKEN)
        else:
            await self._app(scope, receive, send)

    def _tell(self, scope: Scope) -> None:
        """A line about who had no token that fits; of a flood of them one now and then."""
        self._refused += 1
        now_s = time.monotonic()
        if now_s >= self._next_s:
            who = client_network(scope.get("client")) or "somewhere"
            _log.warning("refused for want of the token: %d, the last from %s", self._refused, who)
            self._refused, self._next_s = 0, now_s + _TELL_S

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
    """Whether only this machine can reach an address that is bound to."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def error_json(code: str, message: str) -> dict[str, dict[str, str]]:
    """How every failure looks."""
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
    """All bounds in one place; the service's memory and time follow from them.

    Raises ValueError for a bound that is not above 0.
    """

    upload_bytes: int = 64 * 2**20
    """Body of an uploaded image or clip."""
    upload_s: float = 60.0
    """Time that an upload's bytes may take to arrive."""
    uploads: int = 4
    """Uploads received or scored at once; others are told to come again."""
    image_pixels: int = 40_000_000
    """Pixels of an uploaded image."""
    clip_pixels: int = 3840 * 2160
    """Pixels of a clip's frame."""
    clip_duration_s: float = 120.0
    """Length of a clip; longer ones are refused, not cut."""
    clip_frames: int = 8_000
    """Frames of a clip."""
    score_s: float = 240.0
    """Time from the end of an upload to its answer."""
    message_bytes: int = 2 * 2**20
    """One message over the WebSocket: one picture."""
    live_pixels: int = 1920 * 1080
    """Pixels of a live picture."""
    live_rate_hz: float = 60.0
    """Pictures a second looked at; more are dropped and counted."""
    live_per_address: int = 8
    """Live visitors of one network address."""
    idle_s: float = 60.0
    """A live visitor who sends nothing for so long is sent away."""
    send_s: float = 10.0
    """A live visitor who takes no answer for so long is sent away."""

    connections: int = 512
    """Connections at once, of all; one network address may hold as many as are still free."""
    head_s: float = 10.0
    """How long a connection may be without a request in hand, the first one's head included."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} has to be above 0, not {getattr(self, name)}")


class ServeError(StreamError, OSError):
    """The service cannot be started as asked."""


def read_secret(file: Path, what: str) -> str:
    """A small text file that only its owner can read, without the space around its text.

    `what` is what it holds, for the message. Raises `ServeError`.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(65_536)
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
            raise ServeError(f"others can read the {what} in {file}: chmod 600 {file}")
        return data.decode("utf-8").strip()
    except (OSError, UnicodeError) as error:
        if isinstance(error, ServeError):
            raise
        words = getattr(error, "strerror", None) or "it is no text"
        raise ServeError(f"cannot read the {what} in {file}: {words.lower()}") from None


def check_tls(certificate: Path | None, key: Path | None) -> None:
    """Raise `ServeError`, naming the file, where TLS cannot be spoken with these."""
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ServeError("TLS needs both: give --certificate and --key")
    for file in (certificate, key):
        try:
            file.open("rb").close()
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise ServeError(f"cannot read {file}: {words}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        why = (error.reason or str(error)).replace("_", " ").lower()
        raise ServeError(
            f"{certificate} and {key} are no certificate and its key, both in PEM ({why})"
        ) from None
