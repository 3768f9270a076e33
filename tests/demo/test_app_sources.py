"""Which cameras the page opens, and that the way there leads nowhere else."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from demo.errors import NotAllowed
from demo.relay import Relay
from demo.sources import CameraHosts

ADDRESSES = {
    "camera.local": ["192.0.2.7"],
    "cam6.local": ["2001:db8::7"],
    "evil.example": ["192.0.2.7"],
    "localhost": ["127.0.0.1"],
}


def hosts(*named: str) -> CameraHosts:
    return CameraHosts(named, lambda host: ADDRESSES.get(host.lower(), []))


@pytest.mark.parametrize(
    ("named", "address", "ip", "port"),
    [
        ("camera.local", "rtsp://camera.local/stream", "192.0.2.7", 554),
        ("camera.local", "rtsp://CAMERA.local.:8554/stream", "192.0.2.7", 8554),
        ("camera.local", "rtsp://192.0.2.7/stream", "192.0.2.7", 554),
        ("192.0.2.7", "rtsp://192.0.2.7/stream", "192.0.2.7", 554),
        ("camera.local:8554", "rtsp://me:secret@camera.local:8554/a?b=c", "192.0.2.7", 8554),
        ("[2001:db8::7]:554", "rtsp://[2001:DB8:0::7]/", "2001:db8::7", 554),
    ],
)
def test_named_hosts_are_reached(named: str, address: str, ip: str, port: int) -> None:
    known = {**ADDRESSES, "2001:db8::7": ["2001:db8::7"], "192.0.2.7": ["192.0.2.7"]}
    target = CameraHosts([named], lambda host: known.get(host.lower(), [])).target(address)
    assert (target.ip, target.port) == (ip, port)
    assert "secret" not in target.shown
    assert target.through(4711).startswith(("rtsp://127.0.0.1:4711/", "rtsp://me:secret@127.0.0.1"))


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://other.local/stream",
        "rtsp://evil.example/stream",  # a stranger's name for the same address may soon change
        "rtsp://192.0.2.8/",
        "rtsp://127.0.0.1/",
        "rtsp://2130706433/",
        "rtsp://0x7f.1/",
        "rtsp://camera.local@127.0.0.1/",
        "rtsp://camera.local%2f@127.0.0.1/",
        "rtsp://127.0.0.1\\@camera.local/",
        "rtsp://camera.local /stream",
        "rtsp://camera.local/\nrtsp://127.0.0.1/",
        "rtsp://camera.local:99999/",
        "rtsp:camera.local",
        "http://camera.local/",
        "https://camera.local/stream.m3u8",
        "file:///etc/passwd",
        "gst:videotestsrc",
        "/dev/video0",
        "0",
        "",
        "rtsp://camera.local/" + "a" * 2000,
    ],
)
def test_everything_else_is_refused(address: str) -> None:
    with pytest.raises(NotAllowed):
        hosts("camera.local").target(address)


def test_named_port_is_the_only_one() -> None:
    with pytest.raises(NotAllowed, match=r"camera\.local:554"):
        hosts("camera.local:8554").target("rtsp://camera.local/")


def test_refusal_names_no_password() -> None:
    with pytest.raises(NotAllowed) as refusal:
        hosts("camera.local").target("rtsp://me:secret@other.local/stream")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("path", ["/a@b/c", "/%41%2f?x=@127.0.0.1", "/#f", "//evil.example/x"])
def test_odd_paths_stay_paths(path: str) -> None:
    through = hosts("camera.local").target(f"rtsp://camera.local{path}").through(1)
    assert through.startswith("rtsp://127.0.0.1:1/") and "#" not in through


@pytest.mark.parametrize("named", ["", "a/b", "me@host", "http://x", "[::1"])
def test_what_is_no_host_is_said_at_the_start(named: str) -> None:
    with pytest.raises(ValueError, match="no host"):
        CameraHosts([named])


async def _answering(answer: bytes, parts: int = 1) -> tuple[bytes, str | None]:
    """What a client gets through a relay from a server that answers so, in so many pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        step = max(1, len(answer) // parts)
        for at in range(0, len(answer), step):
            writer.write(answer[at : at + step])
            with suppress(OSError):  # the relay may have gone
                await writer.drain()
            await asyncio.sleep(0.002)
        writer.close()
        answered.set()

    answered = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Relay("127.0.0.1", port) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"DESCRIBE rtsp://127.0.0.1/ RTSP/1.0\r\n\r\n")
        got = await asyncio.wait_for(reader.read(), 5)
        await asyncio.wait_for(answered.wait(), 5)
        await closed(writer)
        server.close()
        return got, relay.failure


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def test_relay_passes_on_what_a_camera_says() -> None:
    said = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n" + bytes(range(256)) * 500
    assert asyncio.run(_answering(said, 7)) == (said, None)


@pytest.mark.parametrize("parts", [1, 3, 60])
@pytest.mark.parametrize("status", [b"RTSP/1.0 302 Moved", b"REDIRECT rtsp://x RTSP/1.0"])
def test_relay_ends_at_a_redirect(status: bytes, parts: int) -> None:
    said = status + b"\r\nCSeq: 1\r\nLocation: rtsp://10.0.0.1/secret\r\n\r\n"
    got, failure = asyncio.run(_answering(said, parts))
    assert failure == "REDIRECTED" and b"10.0.0.1" not in got


def test_relay_says_that_nobody_answers() -> None:
    async def refused() -> str | None:
        async with Relay("127.0.0.1", 9) as relay:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            await closed(writer)
            return relay.failure

    assert asyncio.run(refused()) == "REFUSED"
