"""Scores uploaded images and clips within limits, and answers in JSON."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, field, replace
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
from ..frame import Frame
from ..pipeline import Pipeline
from ..report import summary_json
from ..result import SCHEMA, Result
from ..sandbox import untrusted as sandbox
from ..sinks.base import BaseSink, SinkInfo
from ..sinks.settled import SettledSink
from ..sinks.tally import TallySink
from ..sources.base import GivenFrames
from ..sources.image import picture_head
from .guard import Limits, QueueFull, Turns, client_network, error_json
from .live import live_json
from .uploads import Refusal, Upload, received

# Rows of a clip that stay in memory until all are there.
_MAX_ROWS_BYTES = 64 * 2**20


class Cancelled(Exception):
    """The client has gone: nobody waits for the answer."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores uploads. Its methods block, and may be called from several threads."""

    pipeline: Pipeline
    about: Mapping[str, Any]
    """Facts that every answer holds."""
    limits: Limits = field(default_factory=Limits)
    decoder: sandbox.PictureDecoder = field(
        default_factory=lambda: sandbox.PictureDecoder(workers=1, timeout_s=15)
    )
    """Decodes images; not shared with live pictures, which a large image would delay."""

    def image(self, upload: Upload, top: int) -> bytes:
        """The answer to a JPEG, PNG or WebP.

        Raises Refusal for what is no picture, SourceUnreadable, SourceTooLarge, PipelineFull,
        PipelineClosed, FrameFailed.
        """
        data = upload.file.read()
        try:
            picture_head(data)
        except SourceUnreadable as error:
            raise Refusal(415, "unsupported", str(error)) from None
        pixels = self.decoder.decode(data, self.limits.image_pixels)
        picture = GivenFrames(upload.name, [Frame(pixels, 0.0, 0, upload.name)])
        with self.pipeline.score(picture, counted=True) as run:
            ((frame, result),) = run
        row = live_json(result, (frame.width_px, frame.height_px), top)
        content: dict[str, Any] = {
            name: row[name] for name in ("source", "size", "faces", "left_out") if name in row
        }
        return as_json({"schema": SCHEMA, **self.about, **content})

    def clip(self, upload: Upload, top: int, rows: bool, stop: threading.Event) -> bytes:
        """The answer to a video, or to an image of any kind that is accepted.

        Raises Refusal for what is no clip, SourceUnreadable for what turns out to be damaged,
        SourceTooLarge, Cancelled once `stop` is set, SourceTimeout after `limits.score_s`, and
        what a pipeline raises.
        """
        bounds = sandbox.Limits(
            max_bytes=self.limits.upload_bytes,
            max_pixels=self.limits.clip_pixels,
            max_duration_s=self.limits.clip_duration_s,
            max_frames=self.limits.clip_frames,
        )
        begun_s = time.monotonic()
        tally, written = TallySink(), _Rows(top)
        try:
            source = sandbox.open_untrusted(upload.file, bounds, name=upload.name)
        except SourceTooLarge:
            raise
        except SourceUnreadable as error:
            raise Refusal(415, "unsupported", str(error)) from None
        with source, ExitStack() as failed:
            sink = SettledSink([tally, *([written] if rows else [])], None)
            failed.callback(sink.abandon)
            sink.open(SinkInfo(source.name, source.size, source.rate_hz))
            with self.pipeline.score(source, counted=True) as run:
                for frame, result in run:
                    if stop.is_set():
                        raise Cancelled
                    if time.monotonic() - begun_s > self.limits.score_s:
                        raise SourceTimeout(
                            f"{upload.name} is not scored within {self.limits.score_s:g} s: "
                            "the service is busy, or the clip long; send a shorter one"
                        )
                    sink.write(frame, result)
            sink.close()
            (summary,) = run.summaries()
        seen = tally.faces()
        clip = summary_json(replace(summary, faces=len(seen)), seen, top)
        head = as_json({"schema": SCHEMA, **self.about, "clip": clip})
        return head[:-1] + b',"rows":[' + b",".join(written.rows) + b"]}" if rows else head

    def close(self) -> None:
        """End the decoder."""
        self.decoder.close()


class _Rows(BaseSink):
    """Collects the rows of a clip in memory."""

    def __init__(self, top: int) -> None:
        self._top = top
        self.rows: list[bytes] = []
        self._bytes = 0

    def write(self, frame: Frame, result: Result) -> None:
        """Add a row. Raises SourceTooLarge."""
        self.rows.append(as_json(result.to_json(self._top)))
        self._bytes += len(self.rows[-1])
        if self._bytes > _MAX_ROWS_BYTES:
            raise SourceTooLarge(
                f"the rows of {result.source} are too many for one answer: "
                "ask with rows=false, or send a shorter clip"
            )


def as_json(content: Mapping[str, Any]) -> bytes:
    """Compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


RETRY_S = 2
"""Seconds that a refused client is asked to wait before it tries again (Retry-After)."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def answer(content: dict[str, Any] | bytes) -> Response:
    """An object, or its JSON, with status 200."""
    body = content if isinstance(content, bytes) else as_json(content)
    return Response(body, 200, HEADERS, "application/json")


def answer_errors(app: FastAPI) -> None:
    """Register handlers that answer every failure with one line of JSON."""

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
        (Cancelled, 503, "closing"),
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


# Uploads that may arrive at once, for each that may be scored: arriving costs little but time.
_ARRIVING = 4
# Interval at which the client's connection is checked.
_POLL_S = 0.5

Work = Callable[[Upload, threading.Event], bytes]
"""Makes the JSON answer to an upload; the event is set when nobody waits for it any more."""


class UploadQueue:
    """Receives uploads and scores them in threads, within limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._arriving: Counter[str] = Counter()
        self._turns = Turns(limits.uploads, line=_ARRIVING * limits.uploads)
        self._pool = ThreadPoolExecutor(limits.uploads, thread_name_prefix="score upload")

    def close(self) -> None:
        """Cancel the uploads that wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def serve(self, request: Request, name: str, work: Work) -> Response:
        """Receive a file, score it, answer; stops where the client has gone."""
        address = client_network(request.client)
        all_full = self._arriving.total() >= _ARRIVING * self._limits.uploads
        # One address gets half at most, so that a few slow clients do not keep others out.
        if all_full or self._arriving[address] >= _ARRIVING * self._limits.uploads // 2:
            raise _full()
        self._arriving[address] += 1
        try:
            async with received(request, self._limits, self._limits.upload_bytes, name) as upload:
                return answer(await self._in_turn(request, address, upload, work))
        finally:
            self._arriving -= Counter([address])

    async def _in_turn(self, request: Request, address: str, upload: Upload, work: Work) -> bytes:
        """Score an upload once a thread is free; waits `score_s` at most."""
        async with AsyncExitStack() as holding:
            turn = self._turns.turn(address)
            try:
                await asyncio.wait_for(holding.enter_async_context(turn), self._limits.score_s)
            except (asyncio.TimeoutError, QueueFull):
                raise _full() from None
            return await self._run_while_connected(request, upload, work)

    async def _run_while_connected(self, request: Request, upload: Upload, work: Work) -> bytes:
        """Run in a thread while the client is connected; the thread has ended afterwards."""
        stop = threading.Event()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, work, upload, stop)
        try:
            while not future.done():
                await asyncio.wait({future}, timeout=_POLL_S)
                if not future.done() and await request.is_disconnected():
                    stop.set()
                    raise ClientDisconnect
        finally:
            stop.set()
            # The file may be closed only when its reader is done with it.
            with suppress(Exception, asyncio.CancelledError):
                await asyncio.shield(asyncio.wait({future}))
        return future.result()


def _full() -> Refusal:
    return Refusal(503, "full", "too many uploads at once: try again", RETRY_S)
