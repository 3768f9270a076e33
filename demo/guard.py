"""Which paths the page has at all, and the headers of every answer.

Gradio serves far more than this page uses (uploads, a proxy, run history, an interface to its
functions): only what its front end loads to show the page is let through.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

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

    def __init__(self, app: App) -> None:
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
            said = "there is nothing of that name"
            await refuse(scope, receive, with_headers, 404, "NOT_FOUND", said)
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
