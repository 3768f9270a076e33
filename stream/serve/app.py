"""The service as a FastAPI application: images, clips, live pictures, watched sources."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import SourceRefused, SourceTimeout, SourceTooLarge, SourceUnreadable
from ..sandbox import PictureDecoder
from . import models
from .guard import Guard, error_json
from .limits import Limits
from .live import live_router
from .metrics import ServiceMetrics
from .rounds import RoundFailed, RoundsClosed, RoundsFull
from .scoring import Abandoned, Scoring, as_json
from .uploads import Refusal, Upload, received
from .watch import Watch

NOTICE = (
    "Estimates which words people would choose for an expression, not what a person feels. In the "
    "European Union the AI Act (Regulation (EU) 2024/1689) prohibits inferring emotions at work "
    "and in education since 2 February 2025 (Article 5(1)(f)); where it is allowed, the people "
    "concerned have to be told (Article 50(3), from 2 August 2026)."
)

# Uploads that may arrive at once, for each that may be scored: arriving costs little but time.
_ARRIVING = 4
# How often it is looked whether somebody still waits for an answer.
_LOOK_UP_S = 0.5
_RETRY_S = 2

Top = Annotated[int, Query(ge=1, le=135, description="Words per face.")]
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def create_app(
    scoring: Scoring,
    *,
    watch: Watch | None = None,
    metrics: ServiceMetrics | None = None,
    token: str | None = None,
    allow_origins: Sequence[str] = (),
    allow_hosts: Sequence[str] = (),
) -> FastAPI:
    """The application; who made its parts starts and closes them.

    Args:
        scoring: rounds, limits and facts.
        watch: the sources named at the start.
        metrics: told at /metrics; without them there is no such path.
        token, allow_origins, allow_hosts: as for `Guard`.
    """
    app = FastAPI(
        title="ferstream",
        version=_version(),
        description=NOTICE,
        docs_url=None,  # its page asks other servers for scripts
        redoc_url=None,
        lifespan=_lifespan,
        responses={
            400: _error("The request cannot be understood."),
            401: _error("A token is wanted."),
            403: _error("Pages of another origin may not ask."),
            421: _error("The service is not known under this name."),
            422: _error("The request, or the file in it, is of no use."),
        },
    )
    app.add_middleware(Guard, token=token, origins=tuple(allow_origins), hosts=tuple(allow_hosts))
    if allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.rstrip("/") for origin in allow_origins],
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    _answer_errors(app)
    pictures = PictureDecoder()
    app.state.closing = [pictures.close]
    app.include_router(
        live_router(scoring.rounds, scoring.limits, allow_origins=allow_origins, decoder=pictures)
    )
    _add_health(app, scoring, watch)
    _add_uploads(app, scoring)
    _add_sources(app, watch)
    if metrics is not None:
        told = metrics

        @app.get("/metrics", include_in_schema=False)
        def read_metrics() -> Response:
            return Response(told.text(), 200, _HEADERS, "text/plain; version=0.0.4; charset=utf-8")

    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Nothing of the application's own is to be started; routes leave what is to be ended."""
    async with AsyncExitStack() as closing:
        for close in app.state.closing:
            closing.callback(close)
        yield


def _add_health(app: FastAPI, scoring: Scoring, watch: Watch | None) -> None:
    @app.get("/healthz", tags=["service"], response_model=models.Health)
    async def healthz() -> Response:
        """Whether the service answers; needs no token."""
        return _answer({"status": "alive"})

    @app.get(
        "/readyz",
        tags=["service"],
        response_model=models.Health,
        responses={503: _error("It cannot recognise anything now.")},
    )
    async def readyz() -> Response:
        """Whether pictures are being recognised; needs no token."""
        if not scoring.rounds.running:
            raise Refusal(503, "not_ready", "nothing is recognised now: look at the service's log")
        if watch is not None and watch.failure:
            raise Refusal(503, "not_ready", "the sources are not watched any more")
        return _answer({"status": "ready"})

    @app.get("/v1/about", tags=["service"], response_model=models.ServiceAbout)
    async def about() -> Response:
        """What the answers come from, and what the service takes."""
        facts = {"notice": NOTICE, "limits": asdict(scoring.limits), "version": _version()}
        return _answer({"schema": 1, **scoring.about, **facts})


def _add_uploads(app: FastAPI, scoring: Scoring) -> None:
    limits = scoring.limits
    desk = _Desk(limits)
    app.state.closing.append(desk.close)

    @app.post(
        "/v1/image",
        tags=["score"],
        response_model=models.ImageAnswer,
        openapi_extra=_body("image/jpeg", "image/png", "image/webp"),
        responses=_UPLOAD_ERRORS
        | {200: {"content": {"application/json": {"example": models.EXAMPLE_IMAGE}}}},
    )
    async def image(request: Request, top: Top = 10) -> Response:
        """The faces of a JPEG, PNG or WebP, sent as the body or as the one file of a form."""

        def work(upload: Upload, stop: threading.Event) -> bytes:
            return scoring.image(upload, top)

        return await desk.serve(request, "image", work)

    @app.post(
        "/v1/clip",
        tags=["score"],
        response_model=models.ClipAnswer,
        openapi_extra=_body("video/mp4", "video/webm", "video/x-matroska", "video/quicktime"),
        responses=_UPLOAD_ERRORS,
    )
    async def clip(
        request: Request,
        top: Top = 10,
        rows: Annotated[bool, Query(description="Whether to give a row for each frame.")] = True,
    ) -> Response:
        """A clip's faces, summed up and frame by frame; sent as the body or in a form.

        MP4, MOV, WebM, Matroska, AVI, MPEG-TS, or an image. Nothing of it is kept.
        """

        def work(upload: Upload, stop: threading.Event) -> bytes:
            return scoring.clip(upload, top, rows, stop)

        return await desk.serve(request, "clip", work)


def _add_sources(app: FastAPI, watch: Watch | None) -> None:
    @app.get("/v1/sources", tags=["sources"], response_model=models.Sources)
    async def sources() -> Response:
        """The sources that were named when the service was started."""
        return _answer({"sources": [] if watch is None else watch.states()})

    @app.get(
        "/v1/sources/{id}/latest",
        tags=["sources"],
        response_model=models.Latest,
        responses={404: _error("No source of that id, or no result yet.")},
    )
    async def latest(id: str, top: Top = 10) -> Response:
        """The latest result of a source."""
        try:
            if watch is None:
                raise KeyError(id)
            row = watch.latest(id, top)
        except KeyError:
            raise Refusal(404, "not_found", "no source of that id: see /v1/sources") from None
        if row is None:
            raise Refusal(404, "no_result", "no result of this source yet: see /v1/sources")
        return _answer(row)


class _Desk:
    """Takes uploads in and has them scored, each within its bounds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._arriving = 0
        self._turns = asyncio.Semaphore(limits.uploads)
        self._pool = ThreadPoolExecutor(limits.uploads, thread_name_prefix="score upload")

    def close(self) -> None:
        """Let nobody wait any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def serve(
        self, request: Request, name: str, work: Callable[[Upload, threading.Event], bytes]
    ) -> Response:
        """Receive a file, score it, answer; stops where the sender has gone."""
        if self._arriving >= _ARRIVING * self._limits.uploads:
            raise Refusal(503, "full", "too many uploads at once: try again", _RETRY_S)
        self._arriving += 1
        try:
            async with received(request, self._limits, self._limits.upload_bytes, name) as upload:
                return _answer(await self._in_turn(request, upload, work))
        finally:
            self._arriving -= 1

    async def _in_turn(
        self, request: Request, upload: Upload, work: Callable[[Upload, threading.Event], bytes]
    ) -> bytes:
        """Wait for a thread, at most as long as scoring may take."""
        try:
            await asyncio.wait_for(self._turns.acquire(), self._limits.score_s)
        except asyncio.TimeoutError:
            raise Refusal(503, "full", "too many uploads at once: try again", _RETRY_S) from None
        try:
            return await self._attended(request, upload, work)
        finally:
            self._turns.release()

    async def _attended(
        self, request: Request, upload: Upload, work: Callable[[Upload, threading.Event], bytes]
    ) -> bytes:
        """Run in a thread while somebody waits for it; the thread has ended afterwards."""
        stop = threading.Event()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, work, upload, stop)
        try:
            while not future.done():
                await asyncio.wait({future}, timeout=_LOOK_UP_S)
                if not future.done() and await request.is_disconnected():
                    stop.set()
                    raise ClientDisconnect
        finally:
            stop.set()
            # The file may be closed only when its reader is done with it.
            with suppress(Exception, asyncio.CancelledError):
                await asyncio.shield(asyncio.wait({future}))
        return future.result()


def _answer_errors(app: FastAPI) -> None:
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
        (RoundsFull, 503, "full"),
        (RoundsClosed, 503, "closing"),
        (RoundFailed, 500, "failed"),
        (Abandoned, 503, "closing"),
    ):
        app.add_exception_handler(kind, _handler(status, code))


def _handler(status: int, code: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    retry = {"Retry-After": str(_RETRY_S)} if status == 503 else {}

    async def handle(_: Request, error: Exception) -> Response:
        return _fail(status, code, " ".join(str(error).split()) or "the service is closing", retry)

    return handle


def _fail(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = as_json(error_json(code, message))
    return Response(body, status, {**_HEADERS, **(headers or {})}, "application/json")


def _answer(content: dict[str, Any] | bytes) -> Response:
    body = content if isinstance(content, bytes) else as_json(content)
    return Response(body, 200, _HEADERS, "application/json")


def _error(description: str) -> dict[str, Any]:
    return {"model": models.Error, "description": description}


def _body(*kinds: str) -> dict[str, Any]:
    """A request body that is a file, as itself or in a form."""
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": binary}, "required": ["file"]}
    content: dict[str, Any] = {kind: {"schema": binary} for kind in kinds}
    return {
        "requestBody": {
            "required": True,
            "content": {**content, "multipart/form-data": {"schema": form}},
        }
    }


_UPLOAD_ERRORS: dict[int | str, dict[str, Any]] = {
    408: _error("The file does not arrive in time."),
    413: _error("The file is too large, or asks for too much."),
    415: _error("The file is of no kind that is read."),
    503: _error("Too many ask at once: try again."),
}


def _version() -> str:
    try:
        return version("ferstream")
    except PackageNotFoundError:  # a checkout that was not installed
        return "unknown"
