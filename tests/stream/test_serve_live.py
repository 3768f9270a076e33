"""Live over a real WebSocket: a row for each picture, newest wins, odd messages are told."""

from __future__ import annotations

import asyncio
import contextlib
from statistics import median
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ferstream.stream.recognize import Recognizer
from ferstream.stream.serve.guard import Limits

from . import hostile
from .serving import Served, encoded, frames, served
from .sockets import ended, go, told


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
                strengths = list(face["blendshapes"].values())
                assert len(strengths) == 12
                assert strengths == sorted(strengths, reverse=True)
                assert not any(name.startswith("_") for name in face["blendshapes"])

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
