"""The service as a FastAPI application: images, clips, live pictures, watched sources."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware

from ..options import MOST_WORDS
from ..result import SCHEMA
from ..sandbox.untrusted import PictureDecoder
from ..sinks.base import NOTICE as ESTIMATES
from ..sinks.base import package_version
from . import models
from .guard import Guard
from .live import live_router
from .scoring import HEADERS, Scoring, UploadQueue, answer, answer_errors
from .server import ServiceMetrics
from .uploads import Refusal, Upload
from .watch import Watch

NOTICE = (
    f"{ESTIMATES} In the European Union the AI Act (Regulation (EU) 2024/1689) prohibits inferring "
    "emotions at work and in education since 2 February 2025 (Article 5(1)(f)); where it is "
    "allowed, the people concerned have to be told (Article 50(3), from 2 August 2026)."
)

Top = Annotated[int, Query(ge=1, le=MOST_WORDS, description="Words per face.")]


def create_app(
    scoring: Scoring,
    *,
    watch: Watch | None = None,
    metrics: ServiceMetrics | None = None,
    token: str | None = None,
    allow_origins: Sequence[str] = (),
    allow_hosts: Sequence[str] = (),
) -> FastAPI:
    """The ASGI application; the caller starts and closes its parts.

    Args:
        scoring: pipeline, limits and facts.
        watch: the sources named at the start.
        metrics: served at /metrics; None: there is no such path.
        token, allow_origins, allow_hosts: as for `Guard`.
    """
    app = FastAPI(
        title="ferstream",
        version=package_version(),
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
    answer_errors(app)
    pictures = PictureDecoder()
    app.state.closing = [pictures.close]
    app.include_router(
        live_router(scoring.pipeline, scoring.limits, allow_origins=allow_origins, decoder=pictures)
    )
    _add_health(app, scoring, watch)
    _add_uploads(app, scoring)
    _add_sources(app, watch)
    if metrics is not None:
        service_metrics = metrics

        @app.get("/metrics", include_in_schema=False)
        def read_metrics() -> Response:
            return Response(
                service_metrics.text(), 200, HEADERS, "text/plain; version=0.0.4; charset=utf-8"
            )

    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close at the end what routes have registered in `app.state.closing`."""
    async with AsyncExitStack() as closing:
        for close in app.state.closing:
            closing.callback(close)
        yield


def _add_health(app: FastAPI, scoring: Scoring, watch: Watch | None) -> None:
    @app.get("/healthz", tags=["service"], response_model=models.Health)
    async def healthz() -> Response:
        """Whether the service answers; needs no token."""
        return answer({"status": "alive"})

    @app.get(
        "/readyz",
        tags=["service"],
        response_model=models.Health,
        responses={503: _error("It cannot recognise anything now.")},
    )
    async def readyz() -> Response:
        """Whether pictures are being recognised; needs no token."""
        if not scoring.pipeline.running:
            raise Refusal(503, "not_ready", "nothing is recognised now: look at the service's log")
        if watch is not None and watch.failure:
            raise Refusal(503, "not_ready", "the sources are not watched any more")
        return answer({"status": "ready"})

    @app.get("/v1/about", tags=["service"], response_model=models.ServiceAbout)
    async def about() -> Response:
        """What the answers come from, and what the service takes."""
        facts = {"notice": NOTICE, "limits": asdict(scoring.limits), "version": package_version()}
        return answer({"schema": SCHEMA, **scoring.about, **facts})


def _add_uploads(app: FastAPI, scoring: Scoring) -> None:
    limits = scoring.limits
    queue = UploadQueue(limits)
    app.state.closing.append(queue.close)

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

        return await queue.serve(request, "image", work)

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

        return await queue.serve(request, "clip", work)


def _add_sources(app: FastAPI, watch: Watch | None) -> None:
    @app.get("/v1/sources", tags=["sources"], response_model=models.Sources)
    async def sources() -> Response:
        """The sources that were named when the service was started."""
        return answer({"sources": [] if watch is None else watch.states()})

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
        return answer(row)


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
