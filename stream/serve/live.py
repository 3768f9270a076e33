"""Live over a WebSocket: pictures in, rows out.

The client sends each picture (JPEG, PNG or WebP) as one binary message and gets, for each one that
was scored, a JSON text message. A picture that waits is replaced by a newer one: answers may leave
frames out, `frame` says which picture (counted from 0) is meant and `dropped` how many were left
out so far. Options are JSON text messages, such as {"top": 5}.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from ..errors import PipelineClosed, PipelineFull, SourceError, SourceTimeout, StreamError
from ..frame import Frame
from ..inputs import Client
from ..options import MOST_WORDS
from ..pipeline import Pipeline
from ..result import Result
from ..sandbox.untrusted import PictureDecoder
from ..sources.image import decoding_cost
from .guard import SUBPROTOCOL, Limits, Turns, client_network, error_json, origin_allowed

PATH = "/v1/live"
MOVEMENTS = 12
"""Blendshapes of a face that are sent: the largest."""

# A client that sends so many unreadable pictures in a row is disconnected.
_MOST_UNREADABLE = 20
_MAX_ERRORS = 8
# A frame that has waited so long for its turn is replaced, if a newer picture has come.
_STALE_S = 0.5
_MAX_TEXT = 1024
_CANCEL_AGAIN_S = 0.5
# Pixels times scans from which on a picture leaves one decoder to others.
_HEAVY = 8e6

# WebSocket close codes.
_NORMAL, _GOING_AWAY, _POLICY, _INVALID_DATA, _TRY_AGAIN_LATER = 1000, 1001, 1008, 1007, 1013


def live_router(
    pipeline: Pipeline,
    limits: Limits | None = None,
    *,
    allow_origins: Sequence[str] = (),
    decoder: PictureDecoder | None = None,
) -> APIRouter:
    """The WebSocket at /v1/live, for any FastAPI application; see this module.

    Pages of another origin are refused unless it is in `allow_origins`. Pictures are decoded in
    processes of their own: those of `decoder`, or the router's.
    """
    bounds = limits or Limits()
    pictures = decoder or PictureDecoder()
    # As many threads as there are decoders: waiting for a decoder takes no thread.
    pool = ThreadPoolExecutor(pictures.workers, thread_name_prefix="decode picture")
    turns = Turns(pictures.workers, line=bounds.live_per_address)
    router = APIRouter()
    connections: Counter[str] = Counter()

    @router.websocket(PATH)
    async def live(socket: WebSocket) -> None:
        if not origin_allowed(socket.headers, allow_origins):
            await socket.close(_POLICY)
            return
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        address = client_network(socket.client)
        connections[address] += 1
        try:
            if connections[address] > bounds.live_per_address:
                raise PipelineFull("too many live connections from your address: close one")
            await _Connection(socket, pipeline, bounds, pictures, pool, turns).run()
        except (PipelineFull, PipelineClosed) as error:
            code = "full" if isinstance(error, PipelineFull) else "closing"
            await _close_with_error(socket, code, str(error), _TRY_AGAIN_LATER)
        finally:
            connections[address] -= 1
            if not connections[address]:
                del connections[address]

    return router


def live_json(result: Result, size: tuple[int, int], top: int) -> dict[str, Any]:
    """A result as the WebSocket sends it: a row (schema 2) whose faces have blendshapes and eyes.

    `size` is the picture's width and height.
    """
    row = result.to_json(top)
    for written, found in zip(row["faces"], result.faces, strict=True):
        written["blendshapes"] = strongest(found.blendshapes)
        written["eyes"] = None if found.eyes is None else found.eyes.to_json()
    return {**row, "size": list(size)}


def strongest(blendshapes: Mapping[str, float]) -> dict[str, float]:
    """The `MOVEMENTS` largest blendshapes by name, largest first."""
    values = sorted(blendshapes.items(), key=lambda pair: -pair[1])
    return {name: round(value, 3) for name, value in values[:MOVEMENTS]}


class _Disconnect(Exception):
    """Ends the connection with this error and close code."""

    def __init__(self, code: str, message: str, close: int) -> None:
        super().__init__(message)
        self.code, self.close = code, close


class _Connection:
    """One connection: a task that receives, one that decodes, one that sends."""

    def __init__(
        self,
        socket: WebSocket,
        pipeline: Pipeline,
        limits: Limits,
        decoder: PictureDecoder,
        pool: ThreadPoolExecutor,
        turns: Turns,
    ) -> None:
        self._socket, self._pipeline = socket, pipeline
        self._limits, self._decoder, self._pool = limits, decoder, pool
        self._turns = turns
        self._address = client_network(socket.client)
        self._loop = asyncio.get_running_loop()
        self._start_s = time.monotonic()
        self._top = 10
        self._index = -1
        self._dropped = 0
        self._unreadable = 0
        # Credit for messages: refilled with time, a message costs one.
        self._credit, self._credited_s = limits.live_rate_hz, self._start_s
        self._picture: tuple[int, float, bytes] | None = None
        self._picture_ready = asyncio.Event()  # a picture waits to be decoded
        self._pipeline_ready = asyncio.Event()  # the pipeline has room for the next frame
        self._pipeline_ready.set()
        self._answered = asyncio.Event()  # no answer waits to be sent
        self._answered.set()
        self._answer: tuple[Frame, Result] | None = None
        self._errors: deque[str] = deque(maxlen=_MAX_ERRORS)
        self._outgoing = asyncio.Event()  # something to be sent

    async def run(self) -> None:
        """Serve until the connection ends; raises PipelineFull, PipelineClosed."""
        ended: asyncio.Future[None] = self._loop.create_future()
        with self._pipeline.join(
            lambda frame, result: self._call_in_loop(self._queue_answer, frame, result),
            on_failure=lambda error: self._call_in_loop(self._queue_error, "failed", str(error)),
            on_taken=lambda: self._call_in_loop(self._pipeline_ready.set),
            on_end=lambda: self._call_in_loop(_resolve, ended),
        ) as client:
            tasks = [
                asyncio.create_task(self._receive()),
                asyncio.create_task(self._decode(client)),
                asyncio.create_task(self._send(client)),
            ]
            try:
                await asyncio.wait({*tasks, ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                outcomes = await cancelled(tasks)
        for outcome in outcomes:
            if isinstance(outcome, _Disconnect):
                await _close_with_error(self._socket, outcome.code, str(outcome), outcome.close)
                return
        if ended.done():
            await _close_with_error(self._socket, "closing", "the service is closing", _GOING_AWAY)
            return
        for outcome in outcomes:
            gone = (WebSocketDisconnect, asyncio.CancelledError, PipelineClosed, RuntimeError)
            if isinstance(outcome, BaseException) and not isinstance(outcome, gone):
                raise outcome

    def _call_in_loop(self, call: Callable[..., object], *arguments: object) -> None:
        """Call a function in this connection's event loop, from a thread of the pipeline."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    async def _receive(self) -> None:
        """Receive messages: a picture replaces the one that waits, text sets options."""
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), self._limits.idle_s)
            except asyncio.TimeoutError:
                raise _Disconnect(
                    "idle", f"nothing came for {self._limits.idle_s:g} s: connect again", _NORMAL
                ) from None
            if message["type"] == "websocket.disconnect":
                return
            now_s = time.monotonic()
            in_time = self._has_credit(now_s)
            data = message.get("bytes")
            if data is not None:
                self._queue_picture(data, now_s, in_time)
            elif in_time:
                self._set_options(message.get("text") or "")

    def _has_credit(self, now_s: float) -> bool:
        """Whether messages keep to the rate limit, which allows a second's worth at once."""
        rate = self._limits.live_rate_hz
        self._credit = min(self._credit + (now_s - self._credited_s) * rate, rate)
        self._credited_s = now_s
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def _queue_picture(self, data: bytes, now_s: float, in_time: bool) -> None:
        self._index += 1
        if not in_time:
            self._dropped += 1
            return
        if len(data) > self._limits.message_bytes:
            self._dropped += 1
            self._queue_error(
                "too_large", f"a picture has at most {self._limits.message_bytes} bytes"
            )
            return
        self._dropped += self._picture is not None
        self._picture = (self._index, now_s, data)
        self._picture_ready.set()

    def _set_options(self, text: str) -> None:
        """Set options from a text message; an invalid one changes nothing and is answered."""
        try:
            options = json.loads(text) if len(text) <= _MAX_TEXT else None
        except (ValueError, RecursionError):
            options = None
        if not isinstance(options, dict):
            self._queue_error("bad_option", 'options are a JSON object, such as {"top": 5}')
            return
        for name, value in options.items():
            whole = isinstance(value, int) and not isinstance(value, bool)
            if name == "top" and whole and 1 <= value <= MOST_WORDS:
                self._top = value
            else:
                self._queue_error("bad_option", f'the one option is "top", 1 to {MOST_WORDS}')

    async def _decode(self, client: Client) -> None:
        """Decode the newest picture once the pipeline takes its frame and answers are read."""
        last_s = -1.0
        while True:
            await self._picture_ready.wait()
            if not self._pipeline_ready.is_set():
                # Where many wait for their turn, a picture decoded now would be old by then.
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._pipeline_ready.wait(), _STALE_S)
            await self._answered.wait()
            if self._picture is None:
                self._picture_ready.clear()
                continue
            (index, arrived_s, data), self._picture = self._picture, None
            self._picture_ready.clear()
            try:
                heavy = decoding_cost(data) > _HEAVY
                async with self._turns.turn(self._address, heavy):
                    pixels = await self._loop.run_in_executor(
                        self._pool, self._decoder.decode, data, self._limits.live_pixels
                    )
            except SourceTimeout as error:
                raise _Disconnect("unsupported", str(error), _INVALID_DATA) from None
            except SourceError as error:
                self._count_unreadable(error)
                continue
            self._unreadable = 0
            time_s = last_s = max(arrived_s - self._start_s, last_s + 1e-4)
            self._pipeline_ready.clear()
            client.submit(Frame(pixels, time_s, index, client.name))

    def _count_unreadable(self, error: StreamError) -> None:
        self._unreadable += 1
        self._dropped += 1
        if self._unreadable >= _MOST_UNREADABLE:
            raise _Disconnect(
                "unsupported", f"{self._unreadable} pictures in a row: {error}", _INVALID_DATA
            )
        self._queue_error("unsupported", str(error))

    def _queue_answer(self, frame: Frame, result: Result) -> None:
        self._answer = (frame, result)
        self._answered.clear()
        self._outgoing.set()

    def _queue_error(self, code: str, message: str) -> None:
        """Queue an error message; of many the oldest are dropped."""
        self._errors.append(json.dumps(error_json(code, message)))
        self._outgoing.set()

    async def _send(self, client: Client) -> None:
        """Send messages; a client that reads none for `send_s` is disconnected."""
        while True:
            await self._outgoing.wait()
            self._outgoing.clear()
            texts = [self._errors.popleft() for _ in range(len(self._errors))]
            if self._answer is not None:
                (frame, result), self._answer = self._answer, None
                row = live_json(result, (frame.width_px, frame.height_px), self._top)
                row["server_ms"] = round((time.monotonic() - self._start_s - frame.time_s) * 1e3, 2)
                row["dropped"] = self._dropped + client.dropped
                texts.append(json.dumps(row, ensure_ascii=False, allow_nan=False))
            for text in texts:
                try:
                    await asyncio.wait_for(self._socket.send_text(text), self._limits.send_s)
                except asyncio.TimeoutError:
                    raise _Disconnect("slow", "answers are not taken", _POLICY) from None
            if self._answer is None:
                self._answered.set()


async def cancelled(tasks: Sequence[asyncio.Task[None]]) -> list[BaseException | None]:
    """Cancel tasks and wait for their end; what each raised, None where it returned.

    Before Python 3.12 `asyncio.wait_for` swallows a cancellation that comes in the moment in which
    what it waits for is done. A task that goes on is therefore cancelled again.
    """
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=_CANCEL_AGAIN_S)
    return await asyncio.gather(*tasks, return_exceptions=True)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _close_with_error(socket: WebSocket, code: str, message: str, close: int) -> None:
    """Send the reason and close, without waiting long for a client that does not read."""

    async def send_and_close() -> None:
        await socket.send_text(json.dumps(error_json(code, message)))
        await socket.close(close, message[:100])

    with suppress(RuntimeError, WebSocketDisconnect, asyncio.TimeoutError):
        await asyncio.wait_for(send_and_close(), 1)
