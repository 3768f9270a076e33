"""Access to the page: known paths, headers, name and password.

Which paths the page has at all, and the headers of every answer.

Gradio serves far more than this page uses (uploads, a proxy, run history, an interface to its
functions): only what its front end loads to show the page is let through.

A name and a password before anything of the page, its sockets included.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ferstream.stream.serve.guard import Turns, client_network

_OURS = re.compile(r"/(page|live|v1)/|/(login|logout|healthz|readyz|version)$")
_GRADIO = re.compile(
    r"/$|/(assets|static|svelte)/|/(theme\.css|config/?|favicon\.ico|manifest\.json|robots\.txt)$"
    r"|/gradio_api/(theme\.css|startup-events|heartbeat/.+|app_id/?)$"
)

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
_CSP = b"content-security-policy"
# Gradio writes its configuration into scripts of the page itself, which are named by their hashes.
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc\s*=)[^>]*>(.*?)</script>", re.S)
_LOGIN_STYLE = re.compile(r"<style>(.*?)</style>", re.S)


def _policy_of(page: bytes) -> bytes:
    """The page's own scripts run, by what they say; none that got into it in some other way."""
    scripts = dict.fromkeys(_hash(script) for script in _INLINE_SCRIPT.findall(page))
    return _POLICY.replace("script-src 'self'", " ".join(("script-src 'self'", *scripts))).encode()


def _hash(content: bytes) -> str:
    return f"'sha256-{b64encode(sha256(content).digest()).decode()}'"


@cache
def _login_policy() -> bytes:
    """Of the page to log in, which is this program's own: no script at all, one style."""
    page = (Path(__file__).parent / "assets" / "login.html").read_text("utf-8")
    allowed = " ".join(_hash(style.encode()) for style in _LOGIN_STYLE.findall(page))
    return (
        f"default-src 'none'; style-src {allowed}; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ).encode()


_HEADERS = {
    _CSP: _POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    # `no-referrer` would make the login form's Origin `null`.
    b"referrer-policy": b"same-origin",
    b"permissions-policy": b"camera=(self), microphone=(), geolocation=()",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


class Paths:
    """Stands before an ASGI app: lets known paths through and adds the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        private = re.match(r"/(page/visits|v1)", scope["path"]) is not None

        async def with_headers(message: Message, page: bytes = b"") -> None:
            if message["type"] == "http.response.start":
                own = [(k, v) for k, v in message.get("headers", []) if k.lower() not in _HEADERS]
                policy = _login_policy() if scope["path"] == "/login" else _policy_of(page)
                own += list({**_HEADERS, _CSP: policy}.items())
                if scope.get("scheme") == "https":
                    own.append((b"strict-transport-security", b"max-age=31536000"))
                if private and not any(k.lower() == b"cache-control" for k, _ in own):
                    own.append((b"cache-control", b"no-store"))
                message = {**message, "headers": own}
            await send(message)

        if not _is_known(scope):
            message = "there is nothing of that name"
            await refuse(scope, receive, with_headers, 404, "NOT_FOUND", message)
        elif scope["path"] == "/":
            await self._front(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    async def _front(
        self, scope: Scope, receive: Receive, send: Callable[[Message, bytes], Awaitable[None]]
    ) -> None:
        """The page itself: its headers wait for all of it, as they name the scripts in it."""
        waiting: list[Message] = []

        async def whole(message: Message) -> None:
            waiting.append(message)
            if not message.get("more_body") and message["type"] == "http.response.body":
                page = b"".join(one.get("body", b"") for one in waiting)
                for one in waiting:
                    await send(one, page)

        # Packed it could not be read here.
        headers = [(k, v) for k, v in scope["headers"] if k.lower() != b"accept-encoding"]
        await self._app({**scope, "headers": headers}, receive, whole)


def _is_known(scope: Scope) -> bool:
    path = scope["path"]
    if _OURS.match(path):
        return True
    reading = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return reading and _GRADIO.match(path) is not None


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str
) -> None:
    """Answer with an error in JSON; a WebSocket is refused before it opens."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4403, "reason": message})
        return
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


COOKIE = "ferstream"
_log = logging.getLogger(__name__)
_PAGE = Path(__file__).parent / "assets" / "login.html"
_LASTS_S = 12 * 3600.0
_MOST_LOGINS = 512
_MOST_FORM_BYTES = 4096
# A wrong password costs so much time; only so many are looked at side by side, and of one address
# only so many wait: guesses of one are no delay to another.
_PENALTY_S = 0.8
_AT_ONCE = 2
_LINE = 8
_FORM_S = 10.0


class Login:
    """ASGI middleware that asks for one name and password, and then knows a cookie.

    Logins live in memory: they end with the program, after twelve hours, or at /logout.
    """

    def __init__(
        self,
        app: ASGIApp,
        user: str,
        password: str,
        clock: Callable[[], float] = time.monotonic,
        penalty_s: float = _PENALTY_S,
    ) -> None:
        self._app = app
        self._salt = secrets.token_bytes(16)
        self._wanted = self._digest(user, password)
        self._clock = clock
        self._penalty_s = penalty_s
        self._logins: dict[str, float] = {}
        self._turns: Turns | None = None  # made in the loop that uses it
        self._trying: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on those who are known; ask the others."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if scope["type"] == "http" and path == "/login":
            await (await self._login(Request(scope, receive)))(scope, receive, send)
        elif scope["type"] == "http" and path == "/logout":
            await self._logout(scope)(scope, receive, send)
        elif self._is_known(scope) or path in ("/healthz", "/readyz"):
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and path == "/" and scope["method"] == "GET":
            await RedirectResponse("login", 303)(scope, receive, send)
        else:
            await refuse(scope, receive, send, 401, "LOGIN", "log in first: reload the page")

    def _is_known(self, scope: Scope) -> bool:
        token = HTTPConnection(scope).cookies.get(COOKIE, "")
        until_s = self._logins.get(_hashed(token))
        return until_s is not None and self._clock() < until_s

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return _form()
        address = client_network(request.client)
        if self._trying[address] >= _LINE:
            return _form("Too many attempts at once; wait a moment.", "", 429)
        self._trying[address] += 1
        try:
            given = await _fields(request)
            if not await self._fits(given, address):
                _log.warning("a wrong name or password from %s", address or "somewhere")
                await asyncio.sleep(self._penalty_s)
                return _form("That name and password do not fit.", given.get("user", ""), 401)
        finally:
            self._trying -= Counter([address])
        token = self._admit()
        answer = RedirectResponse("./", 303)
        answer.set_cookie(
            COOKIE,
            token,
            max_age=int(_LASTS_S),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def _fits(self, given: dict[str, str], address: str) -> bool:
        self._turns = self._turns or Turns(_AT_ONCE, line=_LINE)
        async with self._turns.turn(address):
            digest = await asyncio.to_thread(
                self._digest, given.get("user", ""), given.get("password", "")
            )
        return hmac.compare_digest(digest, self._wanted)

    def _admit(self) -> str:
        """A new login; the oldest of too many ends."""
        now_s = self._clock()
        self._logins = {key: end for key, end in self._logins.items() if end > now_s}
        while len(self._logins) >= _MOST_LOGINS:
            del self._logins[next(iter(self._logins))]
        token = secrets.token_urlsafe(32)
        self._logins[_hashed(token)] = now_s + _LASTS_S
        return token

    def _logout(self, scope: Scope) -> Response:
        self._logins.pop(_hashed(HTTPConnection(scope).cookies.get(COOKIE, "")), None)
        answer = RedirectResponse("login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    def _digest(self, user: str, password: str) -> bytes:
        """Slow to try out, and the same time for every guess."""
        given = f"{len(user)}:{user}:{password}".encode()
        return hashlib.scrypt(given, salt=self._salt, n=2**14, r=8, p=1)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def _fields(request: Request) -> dict[str, str]:
    """The form's fields; nothing of a body that is too large."""
    body = b""
    chunks = request.stream().__aiter__()
    end_s = time.monotonic() + _FORM_S
    while True:
        try:
            chunk = await asyncio.wait_for(anext(chunks, b""), max(end_s - time.monotonic(), 0.01))
        except (TimeoutError, asyncio.TimeoutError, ClientDisconnect):
            return {}
        if not chunk:
            break
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    return {name: values[0] for name, values in fields.items()}


def _form(fault: str = "", user: str = "", status: int = 200) -> HTMLResponse:
    alert = f'<p role="alert">{escape(fault)}</p>' if fault else ""
    page = _PAGE.read_text("utf-8").replace("{fault}", alert).replace("{user}", escape(user))
    return HTMLResponse(page, status, {"Cache-Control": "no-store"})
