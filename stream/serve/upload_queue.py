"""Where uploads are taken in and scored, each within its bounds."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from .answers import RETRY_S, answer
from .guard import Limits
from .turns import LineFull, Turns, household
from .uploads import Refusal, Upload, received

# Uploads that may arrive at once, for each that may be scored: arriving costs little but time.
_ARRIVING = 4
# How often it is looked whether somebody still waits for an answer.
_LOOK_UP_S = 0.5

Work = Callable[[Upload, threading.Event], bytes]
"""An upload and the event that says that nobody waits any more, to the JSON of its answer."""


class UploadQueue:
    """Takes uploads in and has them scored, each within its bounds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._arriving: Counter[str] = Counter()
        self._turns = Turns(limits.uploads, line=_ARRIVING * limits.uploads)
        self._pool = ThreadPoolExecutor(limits.uploads, thread_name_prefix="score upload")

    def close(self) -> None:
        """Let nobody wait any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def serve(self, request: Request, name: str, work: Work) -> Response:
        """Receive a file, score it, answer; stops where the sender has gone."""
        address = household(request.client)
        all_full = self._arriving.total() >= _ARRIVING * self._limits.uploads
        # Half of what there is, at most: a few slow ones are not to keep others out.
        if all_full or self._arriving[address] >= _ARRIVING * self._limits.uploads // 2:
            raise _full()
        self._arriving[address] += 1
        try:
            async with received(request, self._limits, self._limits.upload_bytes, name) as upload:
                return answer(await self._in_turn(request, address, upload, work))
        finally:
            self._arriving -= Counter([address])

    async def _in_turn(self, request: Request, address: str, upload: Upload, work: Work) -> bytes:
        """Wait for a thread, at most as long as scoring may take."""
        async with AsyncExitStack() as holding:
            turn = self._turns.turn(address)
            try:
                await asyncio.wait_for(holding.enter_async_context(turn), self._limits.score_s)
            except (asyncio.TimeoutError, LineFull):
                raise _full() from None
            return await self._attended(request, upload, work)

    async def _attended(self, request: Request, upload: Upload, work: Work) -> bytes:
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


def _full() -> Refusal:
    return Refusal(503, "full", "too many uploads at once: try again", RETRY_S)
