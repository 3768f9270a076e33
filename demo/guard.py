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
        # Gradio's front end and its components' loading code are inline scripts.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
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
_LOGIN_STYLE = re.compile(r"<style>(.*?)</style>", re.S)


@cache
def _login_policy() -> bytes:
    """Of the page to log in, which is this program's own: no script at all, one style."""
    page = (Path(__file__).parent / "assets" / "login.html").read_text("utf-8")
    styles = [sha256(style.encode()).digest() for style in _LOGIN_STYLE.findall(page)]
    allowed = " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in styles)
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

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k, v) for k, v in message.get("headers", []) if k.lower() not in _HEADERS]
                own += list(_HEADERS.items())
                if scope["path"] == "/login":
                    own = [(k, v) for k, v in own if k != _CSP] + [(_CSP, _login_policy())]
                if scope.get("scheme") == "https":
                    own.append((b"strict-transport-security", b"max-age=31536000"))
                if private and not any(k.lower() == b"cache-control" for k, _ in own):
                    own.append((b"cache-control", b"no-store"))
                message = {**message, "headers": own}
            await send(message)

        if _is_known(scope):
            await self._app(scope, receive, with_headers)
        else:
            said = "there is nothing of that name"
            await refuse(scope, receive, with_headers, 404, "NOT_FOUND", said)


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
