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
"""Movements of a face (blendshapes) that are told, the strongest."""

# Pictures in a row that cannot be read until the visitor is sent away.
_BAD_PICTURES = 20
_MAX_ERRORS = 8
# A frame that has waited so long for its turn is replaced, if a newer picture has come.
_STALE_S = 0.5
_MAX_TEXT = 1024
# Pixels times scans from which on a picture leaves one decoder to others.
_HEAVY = 8e6

# WebSocket close codes.
_DONE, _GOING, _POLICY, _BAD_DATA, _LATER = 1000, 1001, 1008, 1007, 1013


def live_router(
    pipeline: Pipeline,
    limits: Limits | None = None,
    *,
    allow_origins: Sequence[str] = (),
    decoder: PictureDecoder | None = None,
) -> APIRouter:
    """The WebSocket at /v1/live, for any FastAPI application; see the module's words.

    Pages of another origin are refused unless it is in `allow_origins`. Pictures are decoded in
    processes of their own: those of `decoder`, or the router's.
    """
    bounds = limits or Limits()
    pictures = decoder or PictureDecoder()
    # As many threads as there are decoders: who waits for one waits without a thread.
    pool = ThreadPoolExecutor(pictures.workers, thread_name_prefix="decode picture")
    turns = Turns(pictures.workers, line=bounds.live_per_address)
    router = APIRouter()
    here: Counter[str] = Counter()

    @router.websocket(PATH)
    async def live(socket: WebSocket) -> None:
        if not origin_allowed(socket.headers, allow_origins):
            await socket.close(_POLICY)
            return
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        address = client_network(socket.client)
        here[address] += 1
        try:
            if here[address] > bounds.live_per_address:
                raise PipelineFull("too many live connections from your address: close one")
            await _Connection(socket, pipeline, bounds, pictures, pool, turns).run()
        except (PipelineFull, PipelineClosed) as error:
            code = "full" if isinstance(error, PipelineFull) else "closing"
            await _farewell(socket, code, str(error), _LATER)
        finally:
            here[address] -= 1
            if not here[address]:
                del here[address]

    return router


def live_json(result: Result, size: tuple[int, int], top: int) -> dict[str, Any]:
    """A result as the WebSocket sends it: a row (schema 2), its faces with their movements and
    eyes."""
    row = result.to_json(top)
    for written, found in zip(row["faces"], result.faces, strict=True):
        written["blendshapes"] = strongest(found.blendshapes)
        written["eyes"] = None if found.eyes is None else found.eyes.to_json()
    return {**row, "size": list(size)}


def strongest(blendshapes: Mapping[str, float]) -> dict[str, float]:
    """The `MOVEMENTS` largest blendshapes by name, largest first."""
    values = sorted(blendshapes.items(), key=lambda pair: -pair[1])
    return {name: round(value, 3) for name, value in values[:MOVEMENTS]}


class _Leave(Exception):
    """The visit is to end with this error and close code."""

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
        self._bad = 0
        # Credit for messages: refilled with time, a message costs one.
        self._credit, self._credited_s = limits.live_rate_hz, self._start_s
        self._picture: tuple[int, float, bytes] | None = None
        self._come = asyncio.Event()  # a picture waits to be decoded
        self._taken = asyncio.Event()  # the pipeline has room for the next frame
        self._taken.set()
        self._idle = asyncio.Event()  # no answer waits to be sent
        self._idle.set()
        self._answer: tuple[Frame, Result] | None = None
        self._errors: deque[str] = deque(maxlen=_MAX_ERRORS)
        self._due = asyncio.Event()  # something to be sent

    async def run(self) -> None:
        """Serve until the connection ends; raises PipelineFull, PipelineClosed."""
        ended: asyncio.Future[None] = self._loop.create_future()
        with self._pipeline.join(
            lambda frame, result: self._soon(self._take_answer, frame, result),
            on_failure=lambda error: self._soon(self._tell, "failed", str(error)),
            on_taken=lambda: self._soon(self._taken.set),
            on_end=lambda: self._soon(_finish, ended),
        ) as client:
            tasks = [
                asyncio.create_task(self._receive()),
                asyncio.create_task(self._feed(client)),
                asyncio.create_task(self._send(client)),
            ]
            try:
                await asyncio.wait({*tasks, ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, _Leave):
                await _farewell(self._socket, outcome.code, str(outcome), outcome.close)
                return
        if ended.done():
            await _farewell(self._socket, "closing", "the service is closing", _GOING)
            return
        for outcome in outcomes:
            gone = (WebSocketDisconnect, asyncio.CancelledError, PipelineClosed, RuntimeError)
            if isinstance(outcome, BaseException) and not isinstance(outcome, gone):
                raise outcome

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        """From the pipeline's threads into this connection's."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    async def _receive(self) -> None:
        """Messages in: pictures replace the one that waits, text sets options."""
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), self._limits.idle_s)
            except asyncio.TimeoutError:
                raise _Leave(
                    "idle", f"nothing came for {self._limits.idle_s:g} s: connect again", _DONE
                ) from None
            if message["type"] == "websocket.disconnect":
                return
            now_s = time.monotonic()
            in_time = self._has_credit(now_s)
            data = message.get("bytes")
            if data is not None:
                self._take_picture(data, now_s, in_time)
            elif in_time:
                self._set_options(message.get("text") or "")

    def _has_credit(self, now_s: float) -> bool:
        """Whether messages come no faster than they may, a second's worth at once."""
        rate = self._limits.live_rate_hz
        self._credit = min(self._credit + (now_s - self._credited_s) * rate, rate)
        self._credited_s = now_s
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def _take_picture(self, data: bytes, now_s: float, in_time: bool) -> None:
        self._index += 1
        if not in_time:
            self._dropped += 1
            return
        if len(data) > self._limits.message_bytes:
            self._dropped += 1
            self._tell("too_large", f"a picture has at most {self._limits.message_bytes} bytes")
            return
        self._dropped += self._picture is not None
        self._picture = (self._index, now_s, data)
        self._come.set()

    def _set_options(self, text: str) -> None:
        """Options from a text message; an odd one changes nothing and is told."""
        try:
            options = json.loads(text) if len(text) <= _MAX_TEXT else None
        except (ValueError, RecursionError):
            options = None
        if not isinstance(options, dict):
            self._tell("bad_option", 'options are a JSON object, such as {"top": 5}')
            return
        for name, value in options.items():
            whole = isinstance(value, int) and not isinstance(value, bool)
            if name == "top" and whole and 1 <= value <= MOST_WORDS:
                self._top = value
            else:
                self._tell("bad_option", f'the one option is "top", 1 to {MOST_WORDS}')

    async def _feed(self, client: Client) -> None:
        """Decode the newest picture once its frame would be taken and answers are taken too."""
        last_s = -1.0
        while True:
            await self._come.wait()
            if not self._taken.is_set():
                # Where many wait for their turn, a frame that is old by then is decoded in vain.
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._taken.wait(), _STALE_S)
            await self._idle.wait()
            if self._picture is None:
                self._come.clear()
                continue
            (index, came_s, data), self._picture = self._picture, None
            self._come.clear()
            try:
                heavy = decoding_cost(data) > _HEAVY
                async with self._turns.turn(self._address, heavy):
                    pixels = await self._loop.run_in_executor(
                        self._pool, self._decoder.decode, data, self._limits.live_pixels
                    )
            except SourceTimeout as error:
                raise _Leave("unsupported", str(error), _BAD_DATA) from None
            except SourceError as error:
                self._count_bad(error)
                continue
            self._bad = 0
            time_s = last_s = max(came_s - self._start_s, last_s + 1e-4)
            self._taken.clear()
            client.submit(Frame(pixels, time_s, index, client.name))

    def _count_bad(self, error: StreamError) -> None:
        self._bad += 1
        self._dropped += 1
        if self._bad >= _BAD_PICTURES:
            raise _Leave("unsupported", f"{self._bad} pictures in a row: {error}", _BAD_DATA)
        self._tell("unsupported", str(error))

    def _take_answer(self, frame: Frame, result: Result) -> None:
        self._answer = (frame, result)
        self._idle.clear()
        self._due.set()

    def _tell(self, code: str, message: str) -> None:
        """Send an error; of many that wait the oldest are left out."""
        self._errors.append(json.dumps(error_json(code, message)))
        self._due.set()

    async def _send(self, client: Client) -> None:
        """Messages out; a client that takes none for long is left."""
        while True:
            await self._due.wait()
            self._due.clear()
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
                    raise _Leave("slow", "answers are not taken", _POLICY) from None
            if self._answer is None:
                self._idle.set()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _farewell(socket: WebSocket, code: str, message: str, close: int) -> None:
    """The reason as a message, then the end; a client that does not listen is not waited for."""

    async def part() -> None:
        await socket.send_text(json.dumps(error_json(code, message)))
        await socket.close(close, message[:100])

    with suppress(RuntimeError, WebSocketDisconnect, asyncio.TimeoutError):
        await asyncio.wait_for(part(), 1)
