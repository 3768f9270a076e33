"""A way from this machine to one address and port, and nowhere else.

Decoders follow a camera's redirects; through a relay they see it answer one and the connection
end.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

_CONNECT_S = 3.0
_CHUNK = 65536
# A status of 3xx, or a request that sends the client elsewhere.
_REDIRECT = re.compile(rb"RTSP/\d\.\d 3\d\d|\bREDIRECT rtsp")
_TAIL = 32


class Relay:
    """Passes TCP connections on to `ip`:`port`; to be used within one event loop."""

    def __init__(self, ip: str, port: int) -> None:
        self._ip, self._port = ip, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: str | None = None
        """What went wrong on the way to the camera last: REFUSED, TIMEOUT or REDIRECTED."""

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        # Those whose connection has just come begin, so that they can be ended.
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            await _closed(writer)
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.wait_for(
                asyncio.open_connection(self._ip, self._port), _CONNECT_S
            )
        except (asyncio.TimeoutError, OSError) as error:
            refused = isinstance(error, ConnectionRefusedError)
            self.failure = "REFUSED" if refused else "TIMEOUT"
            return
        self.failure = None
        ways = [
            asyncio.create_task(_copy(reader, back)),
            asyncio.create_task(self._watch(there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Closed before anything is waited for: the waiting may be called off.
            back.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await _closed(back)

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the camera: everything but a redirect."""
        tail = b""
        while chunk := await reader.read(_CHUNK):
            if _REDIRECT.search(tail + chunk):
                self.failure = "REDIRECTED"
                return
            tail = (tail + chunk)[-_TAIL:]
            writer.write(chunk)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()


async def _closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
