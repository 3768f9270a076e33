"""Clients of the service's WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .serving import Served


def go(work: Callable[[], Awaitable[None]], limit_s: float = 120) -> None:
    asyncio.run(asyncio.wait_for(work(), limit_s))


async def told(socket: ClientConnection, limit_s: float = 60) -> dict[str, Any]:
    """The next message."""
    message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), limit_s))
    return message


async def ended(socket: ClientConnection) -> tuple[list[dict[str, Any]], int | None]:
    """What comes until the server hangs up, and its close code."""
    messages = []
    try:
        while True:
            messages.append(await told(socket))
    except ConnectionClosed:
        return messages, socket.close_code


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def crowd(service: Served, count: int) -> AsyncIterator[list[ClientConnection]]:
    """So many connections."""
    async with contextlib.AsyncExitStack() as stack:
        connecting = [connect(service.live, open_timeout=60) for _ in range(count)]
        yield list(await asyncio.gather(*(stack.enter_async_context(one) for one in connecting)))
