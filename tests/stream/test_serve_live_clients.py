"""Who is let in to the WebSocket, who is sent away, and how many share it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import Any

import numpy as np
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.serve.guard import SUBPROTOCOL, Limits
from ferstream.stream.serve.live import cancelled

from .serving import Served, encoded, frames, served
from .sockets import crowd, ended, go, told, until

TOKEN = "0123456789abcdef0123"


def test_pages_of_others_are_refused(recognizer: Recognizer, pictures: list[bytes]) -> None:
    options: dict[str, Any] = {"allow_origins": ["https://good.example"], "token": TOKEN}

    async def visit(service: Served) -> None:
        known = {"Authorization": f"Bearer {TOKEN}"}
        port = service.port
        for headers in (
            {**known, "Origin": "https://evil.example"},
            {**known, "Origin": "null"},
            {**known, "Origin": f"http://localhost:{port}"},
            {"Authorization": "Bearer wrong"},
            {},
            {"Origin": f"http://127.0.0.1:{port}"},
        ):
            with pytest.raises(InvalidStatus, match="403"):
                await connect(service.live, additional_headers=headers)
        offers: Any = [SUBPROTOCOL, f"bearer.{TOKEN}"]
        for headers, subprotocols in (
            (known, None),
            ({**known, "Origin": "https://good.example"}, None),
            ({**known, "Origin": f"http://127.0.0.1:{port}"}, None),
            ({"Origin": f"http://127.0.0.1:{port}"}, offers),
        ):
            async with connect(
                service.live, additional_headers=headers, subprotocols=subprotocols
            ) as socket:
                assert socket.subprotocol == (SUBPROTOCOL if subprotocols else None)
                await socket.send(pictures[0])
                assert (await told(socket))["faces"]

    with served(recognizer, **options) as service:
        go(lambda: visit(service))


def test_full_is_said_and_room_is_made(recognizer: Recognizer, pictures: list[bytes]) -> None:
    async def visit(service: Served) -> None:
        async with connect(service.live), connect(service.live):
            await until(lambda: service.pipeline.clients["latest"] == 2)
            async with connect(service.live) as third:
                messages, code = await ended(third)
                assert (messages[0]["error"]["code"], code) == ("full", 1013)
        await until(lambda: service.pipeline.clients["latest"] == 0)
        async with connect(service.live) as socket:
            await socket.send(pictures[0])
            assert (await told(socket))["faces"]

    with served(recognizer, max_visitors=2) as service:
        go(lambda: visit(service))
    with served(recognizer, Limits(live_per_address=2)) as service:
        go(lambda: visit(service))


def test_the_idle_are_sent_away_and_the_end_is_told(
    recognizer: Recognizer, pictures: list[bytes]
) -> None:
    async def idle(service: Served) -> None:
        async with connect(service.live) as socket:
            messages, code = await ended(socket)
            assert (messages[0]["error"]["code"], code) == ("idle", 1000)

    async def closing(service: Served) -> None:
        async with connect(service.live) as socket:
            await socket.send(pictures[0])
            assert (await told(socket))["faces"]
            threading.Thread(target=service.pipeline.close).start()
            messages, code = await ended(socket)
            assert (messages[-1]["error"]["code"], code) == ("closing", 1001)
        async with connect(service.live) as socket:
            messages, code = await ended(socket)
            assert (messages[0]["error"]["code"], code) == ("closing", 1013)

    with served(recognizer, Limits(idle_s=0.4)) as service:
        go(lambda: idle(service))
    with served(recognizer) as service:
        go(lambda: closing(service))


def test_a_client_that_does_not_read_slows_only_itself(
    recognizer: Recognizer, pictures: list[bytes]
) -> None:
    """It sends on and takes nothing: first it is scored no more, then it is left."""

    async def visit(service: Served) -> None:
        loop = asyncio.get_running_loop()
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", service.port))
        deaf.setblocking(False)
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        head = f"GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}"
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        await loop.sock_sendall(deaf, (head + upgrade).encode())
        await until(lambda: service.pipeline.clients["latest"] == 1)

        async def shout() -> None:
            picture = pictures[0]
            frame = b"\x82\xff" + len(picture).to_bytes(8, "big") + bytes(4) + picture
            top = b'{"top":135}'
            options = bytes([0x81, 0x80 | len(top)]) + bytes(4) + top
            await loop.sock_sendall(deaf, options)
            with contextlib.suppress(OSError):
                while True:
                    await loop.sock_sendall(deaf, frame)
                    await asyncio.sleep(0.002)

        shouting = asyncio.create_task(shout())
        async with connect(service.live) as other:
            for _ in range(10):
                await other.send(pictures[0])
                assert (await told(other))["faces"]
        await until(lambda: service.pipeline.clients["latest"] == 0)
        shouting.cancel()
        deaf.close()

    with served(recognizer, Limits(send_s=0.5, live_rate_hz=1000)) as service:
        go(lambda: visit(service))


def test_a_hundred_visitors_get_their_turn(service: Served) -> None:
    """Each has a picture that no other has, and gets answers to it alone; shares are even."""
    smile = frames()[45].pixels[90:450, 180:460]
    parts = (smile[: 300 + n % 50, : 200 + n % 80] for n in range(100))
    small = [encoded(Frame(np.ascontiguousarray(part), 0, 0, ""), ".jpg") for part in parts]
    process = psutil.Process()
    threads = process.num_threads()
    answers: list[int] = []

    async def visit() -> None:
        stop_s = time.monotonic() + 3.0

        async def one(socket: ClientConnection, number: int) -> None:
            got = 0
            while got < 2 or time.monotonic() < stop_s:
                await socket.send(small[number])
                row = await told(socket)
                assert row["size"] == [200 + number % 80, 300 + number % 50]
                assert row["frame"] == got
                got += 1
                # Its own ids, counted from 1; a busy machine may lose sight of a face.
                assert all(face["id"] <= got for face in row["faces"])
            answers.append(got)

        async with crowd(service, 100) as sockets:
            await until(lambda: service.pipeline.clients["latest"] == 100)
            await asyncio.gather(*(one(socket, n) for n, socket in enumerate(sockets)))

    go(visit)
    service.until_empty()
    assert len(answers) == 100
    assert max(answers) - min(answers) <= max(3, 0.5 * max(answers)), sorted(answers)
    assert process.num_threads() <= threads + 8, "no thread for each"


def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    """As `asyncio.wait_for` does before Python 3.12, if what it waits for is done just then."""

    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def failing() -> None:
        raise ValueError("it failed")

    async def returning() -> None:
        return

    async def run() -> list[BaseException | None]:
        tasks = [asyncio.create_task(one()) for one in (stubborn, failing, returning)]
        await asyncio.sleep(0)
        return await asyncio.wait_for(cancelled(tasks), 20)

    outcomes = asyncio.run(run())
    assert [type(one) for one in outcomes] == [asyncio.CancelledError, ValueError, type(None)]


def test_clients_that_vanish_leave_nothing(service: Served, pictures: list[bytes]) -> None:
    async def visit() -> None:
        for cut_at in (0, 1, 5):
            async with crowd(service, 10) as sockets:
                for socket in sockets:
                    for picture in pictures[:cut_at]:
                        await socket.send(picture)
                    socket.transport.abort()

    def connections() -> int:
        return len(psutil.Process().net_connections("tcp"))

    service.until_empty()
    opened = connections()
    go(visit)
    service.until_empty()
    end_s = time.monotonic() + 60
    while connections() > opened:
        assert time.monotonic() < end_s, "connections are kept open"
        time.sleep(0.02)
