"""Answers: JSON, and every failure as one line of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import (
    FrameFailed,
    PipelineClosed,
    PipelineFull,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreadable,
)
from .guard import error_json
from .scoring import Abandoned, as_json
from .uploads import Refusal

RETRY_S = 2
"""When one who was told to come again may do so."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def answer(content: dict[str, Any] | bytes) -> Response:
    """An object, or its JSON, with status 200."""
    body = content if isinstance(content, bytes) else as_json(content)
    return Response(body, 200, HEADERS, "application/json")


def answer_errors(app: FastAPI) -> None:
    """Every failure as one line of JSON."""

    @app.exception_handler(Refusal)
    async def refusal(_: Request, error: Refusal) -> Response:
        retry = {} if error.retry_s is None else {"Retry-After": str(error.retry_s)}
        return _fail(error.status, error.code, error.message, retry)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        names = {404: "not_found", 405: "method"}
        code = names.get(error.status_code, "http")
        return _fail(error.status_code, code, str(error.detail).lower(), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return _fail(422, "invalid", f"{place}: {first['msg'].lower()}")

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return _fail(400, "gone", "the sender has gone")  # for nobody to read

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        return _fail(500, "internal", "something went wrong here: it is in the service's log")

    for kind, status, code in (
        (SourceTooLarge, 413, "too_large"),
        (SourceUnreadable, 422, "unreadable"),
        (SourceTimeout, 422, "too_slow"),
        (SourceRefused, 503, "busy"),
        (PipelineFull, 503, "full"),
        (PipelineClosed, 503, "closing"),
        (FrameFailed, 500, "failed"),
        (Abandoned, 503, "closing"),
    ):
        app.add_exception_handler(kind, _handler(status, code))


def _handler(status: int, code: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    retry = {"Retry-After": str(RETRY_S)} if status == 503 else {}

    async def handle(_: Request, error: Exception) -> Response:
        return _fail(status, code, " ".join(str(error).split()) or "the service is closing", retry)

    return handle


def _fail(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = as_json(error_json(code, message))
    return Response(body, status, {**HEADERS, **(headers or {})}, "application/json")
