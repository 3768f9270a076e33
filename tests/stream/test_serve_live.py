"""Live over a real WebSocket: newest wins, nobody starves, nobody gets in who should not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.serve.guard import SUBPROTOCOL
from ferstream.stream.serve.limits import Limits

from . import hostile
from .serving import Served, encoded, frames, jpegs, served

TOKEN = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    with Recognizer() as one:
        yield one


@pytest.fixture(scope="module")
def service(recognizer: Recognizer) -> Iterator[Served]:
    limits = Limits(live_per_address=200, message_bytes=2**20)
    with served(recognizer, limits, max_visitors=120) as one:
        yield one


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return jpegs(3)


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


def test_a_row_for_each_picture(service: Served, pictures: list[bytes]) -> None:
    async def visit() -> None:
        async with connect(service.live) as socket:
            await socket.send('{"top": 4}')
            for index, picture in enumerate(pictures):
                await socket.send(picture)
                row = await told(socket)
                assert (row["schema"], row["frame"], row["dropped"]) == (2, index, 0)
                assert row["source"].startswith("visitor-")
                assert row["size"] == [640, 480]
                assert 0 < row["server_ms"] < 20_000
                (face,) = row["faces"]
                # Its own, counted from 1; a busy machine may lose sight of a face.
                assert 1 <= face["id"] <= index + 1
                assert len(face["top"]) == 4
                strengths = list(face["au"].values())
                assert len(strengths) == 12
                assert strengths == sorted(strengths, reverse=True)
                assert not any(name.startswith("_") for name in face["au"])

    go(visit)
    service.until_empty()


def test_png_and_webp_are_pictures_too(service: Served) -> None:
    async def visit() -> None:
        async with connect(service.live) as socket:
            for suffix in (".png", ".webp"):
                await socket.send(encoded(frames()[45], suffix))
                assert len((await told(socket))["faces"]) == 1

    go(visit)


def test_newest_wins_and_what_was_left_out_is_counted(
    service: Served, pictures: list[bytes]
) -> None:
    async def visit() -> None:
        async with connect(service.live) as socket:
            for picture in pictures[:30]:
                await socket.send(picture)
            rows = [await told(socket)]
            while rows[-1]["frame"] < 29:
                rows.append(await told(socket))
            indices = [row["frame"] for row in rows]
            assert indices == sorted(set(indices))
            assert len(rows) + rows[-1]["dropped"] == 30
            assert rows[-1]["dropped"] > 0

    go(visit)


def test_odd_messages_are_told_and_change_nothing(service: Served, pictures: list[bytes]) -> None:
    async def visit() -> None:
        async with connect(service.live) as socket:
            for text in (
                "",
                "[]",
                "{",
                '{"top": 0}',
                '{"top": true}',
                '{"top": "5"}',
                '{"to": 5}',
                "[" * 900,
                "x" * 5000,
            ):
                await socket.send(text)
                assert (await told(socket))["error"]["code"] == "bad_option", text
            for data in (b"", b"x", pictures[0][:500], hostile.png_header(9000, 9000)):
                await socket.send(data)
                error = (await told(socket))["error"]
                assert error["code"] == "unsupported"
                assert "\n" not in error["message"]
            await socket.send(pictures[0])
            row = await told(socket)
            assert (row["frame"], row["dropped"]) == (4, 4)
            assert len(row["faces"][0]["top"]) == 10

    go(visit)


def test_who_sends_only_rubbish_is_sent_away(service: Served) -> None:
    async def visit() -> None:
        async with connect(service.live) as socket:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(40):
                    await socket.send(b"rubbish")
                    await asyncio.sleep(0.005)
            messages, code = await ended(socket)
            assert code == 1007
            assert "in a row" in messages[-1]["error"]["message"]

    go(visit)
    service.until_empty()


def test_messages_too_large_or_too_many(recognizer: Recognizer, pictures: list[bytes]) -> None:
    limits = Limits(message_bytes=100_000, live_rate_hz=10)

    async def visit(service: Served) -> None:
        async with connect(service.live) as socket:
            await socket.send(b"\xff" * 100_001)
            _, code = await ended(socket)
            assert code == 1009
        async with connect(service.live) as socket:
            for picture in pictures[:30]:
                await socket.send(picture)
            row = await told(socket)
            while row["frame"] < 9:
                row = await told(socket)
            with pytest.raises(asyncio.TimeoutError):
                await told(socket, 0.5)
            await asyncio.sleep(0.5)
            await socket.send(pictures[0])
            row = await told(socket)
            assert row["frame"] == 30
            assert row["dropped"] >= 20, "of 30 at once 10 were looked at"

    with served(recognizer, limits) as service:
        go(lambda: visit(service))


def test_two_with_different_faces_stay_apart(service: Served) -> None:
    """One shows a straight mouth, the other a smile, at once, from one machine."""
    clip = frames()
    straight, smile = encoded(clip[5], ".jpg"), encoded(clip[45], ".jpg")

    async def visit(picture: bytes) -> list[dict[str, Any]]:
        rows = []
        async with connect(service.live) as socket:
            for _ in range(15):
                await socket.send(picture)
                rows.append(await told(socket))
        return rows

    async def both() -> None:
        one, other = await asyncio.gather(visit(straight), visit(smile))
        assert len({row["source"] for row in (*one, *other)}) == 2
        assert [rows[0]["faces"][0]["id"] for rows in (one, other)] == [1, 1]
        # Where pictures come unevenly, as on a busy machine, a still face may seem to move.
        joys = [[row["faces"][0]["basic8"]["happiness"] for row in rows] for rows in (one, other)]
        assert median(joys[0]) < median(joys[1])

    go(both)
    service.until_empty()


def test_who_comes_again_is_another(service: Served, pictures: list[bytes]) -> None:
    async def visit() -> None:
        names = []
        for _ in range(2):
            async with connect(service.live) as socket:
                await socket.send(pictures[0])
                row = await told(socket)
                names.append(row["source"])
                assert (row["frame"], row["faces"][0]["id"]) == (0, 1)
        assert len(set(names)) == 2

    go(visit)


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
            await until(lambda: service.rounds.visitors == 2)
            async with connect(service.live) as third:
                messages, code = await ended(third)
                assert (messages[0]["error"]["code"], code) == ("full", 1013)
        await until(lambda: service.rounds.visitors == 0)
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
            threading.Thread(target=service.rounds.close).start()
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
        await until(lambda: service.rounds.visitors == 1)

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
        await until(lambda: service.rounds.visitors == 0)
        shouting.cancel()
        deaf.close()

    with served(recognizer, Limits(send_s=0.5, live_rate_hz=1000)) as service:
        go(lambda: visit(service))


@contextlib.asynccontextmanager
async def crowd(service: Served, count: int) -> AsyncIterator[list[ClientConnection]]:
    """So many connections."""
    async with contextlib.AsyncExitStack() as stack:
        connecting = [connect(service.live, open_timeout=60) for _ in range(count)]
        yield list(await asyncio.gather(*(stack.enter_async_context(one) for one in connecting)))


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
            await until(lambda: service.rounds.visitors == 100)
            await asyncio.gather(*(one(socket, n) for n, socket in enumerate(sockets)))

    go(visit)
    service.until_empty()
    assert len(answers) == 100
    assert max(answers) - min(answers) <= max(3, 0.5 * max(answers)), sorted(answers)
    assert process.num_threads() <= threads + 8, "no thread for each"


def test_clients_that_vanish_leave_nothing(service: Served, pictures: list[bytes]) -> None:
    async def visit() -> None:
        for cut_at in (0, 1, 5):
            async with crowd(service, 10) as sockets:
                for socket in sockets:
                    for picture in pictures[:cut_at]:
                        await socket.send(picture)
                    socket.transport.abort()

    service.until_empty()
    opened = psutil.Process().num_fds()
    go(visit)
    service.until_empty()
    end_s = time.monotonic() + 60
    while psutil.Process().num_fds() > opened:
        assert time.monotonic() < end_s, "connections are kept open"
        time.sleep(0.02)
