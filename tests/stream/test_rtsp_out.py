"""Annotated video over RTSP, watched by a real player; needs GStreamer's RTSP server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import av
import numpy as np
import pytest

from ferstream.stream.errors import GstreamerMissing, SinkError
from ferstream.stream.frame import Frame
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.rtsp import RtspSink
from ferstream.stream.sources.gst import load_gst
from tests import media

from .fakes import face

SIZE = (320, 240)
INFO = SinkInfo("camera", SIZE, 25.0, live=True)
PLAYER = {"rtsp_transport": "tcp", "analyzeduration": "300000", "probesize": "200000"}
Image = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@pytest.fixture(autouse=True)
def _gstreamer() -> None:
    try:
        load_gst("GstRtspServer")
    except GstreamerMissing as error:
        pytest.skip(str(error))


def give(sink: RtspSink, index: int, size: tuple[int, int] = SIZE) -> None:
    time_s = time.monotonic()
    frame = Frame(media.picture(index, size), time_s, index, "camera")
    sink.write(frame, Result(index, time_s, "camera", [face(1, (40, 40, 80, 90))]))


@contextmanager
def serving(address: str, info: SinkInfo = INFO) -> Iterator[RtspSink]:
    sink = RtspSink(address)
    sink.open(info)
    try:
        yield sink
    finally:
        sink.close()


@contextmanager
def fed(*sinks: RtspSink, size: tuple[int, int] = SIZE) -> Iterator[None]:
    """25 frames a second for each."""
    stop = threading.Event()

    def feed() -> None:
        index = 0
        while not stop.wait(0.04):
            for sink in sinks:
                give(sink, index, size)
            index += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def watching(url: str) -> Iterator[Iterator[Image]]:
    """A player's pictures."""
    with av.open(url, options=PLAYER, timeout=(10, 5)) as player:
        stream: Any = player.streams.video[0]
        assert stream.codec_context.name == "h264"
        yield (
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in player.decode(stream)
        )


def wait_until(met: Any, timeout_s: float = 10.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < end_s, "in vain"
        time.sleep(0.05)


def test_two_players_watch_what_was_drawn() -> None:
    with serving("rtsp://127.0.0.1:0/door") as sink, fed(sink):
        with watching(sink.url) as one, watching(sink.url) as other:
            levels = {media.level(picture) for picture, _ in zip(one, range(40), strict=False)}
            picture = next(other)
        assert len(levels) > 10, "the pictures move on"
        assert picture.shape == (240, 320, 3)
        box = picture[38:44, 38:60].astype(int)
        plain = media.picture(media.level(picture), SIZE)[38:44, 38:60]
        assert np.abs(box - plain).max() > 60, "the corner of the face's box"


def test_paths_share_a_server_and_ports_are_freed() -> None:
    with serving("rtsp://127.0.0.1:0/any") as other:
        port = int(other.url.split(":")[2].split("/")[0])
    before = threading.active_count()
    with (
        serving(f"rtsp://127.0.0.1:{port}/one") as one,
        serving(f"rtsp://127.0.0.1:{port}/two", SinkInfo("b", (160, 120))) as two,
    ):
        assert threading.active_count() == before + 1
        with pytest.raises(SinkError, match="two outputs at the RTSP path /one"):
            RtspSink(one.url).open(INFO)
        with fed(one, two):
            with watching(one.url) as pictures:
                assert next(pictures).shape == (240, 320, 3)
            with watching(two.url) as pictures:
                assert next(pictures).shape == (120, 160, 3)
    assert threading.active_count() == before
    with serving(f"rtsp://127.0.0.1:{port}/one") as one, fed(one), watching(one.url) as pictures:
        assert next(pictures) is not None


def test_a_source_that_stands_still_is_shown_dimmed() -> None:
    with serving("rtsp://127.0.0.1:0/door") as sink:
        with watching(sink.url) as pictures:
            assert next(pictures).max() < 40, "black before the first frame"
            for index in range(10):
                give(sink, index)
                time.sleep(0.04)
            blue = (slice(10, 30), slice(180, 220), 2)
            assert any(picture[blue].mean() > 110 for picture in pictures)
            dim = next(picture for picture in pictures if picture.max() < 80)
        assert dim[blue].mean() == pytest.approx(0.35 * (60 + 9 * 9), abs=8)


def test_nothing_is_drawn_while_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def draw(pixels: Image, result: Result, *_: object, **__: object) -> Image:
        drawn.append(result.frame)
        return pixels

    monkeypatch.setattr("ferstream.stream.sinks.rtsp.draw", draw)
    with serving("rtsp://127.0.0.1:0/door") as sink:
        give(sink, 0)
        assert not drawn
        with fed(sink), watching(sink.url) as pictures:
            next(pictures)
        assert drawn
        wait_until(lambda: not sink._channel.watched)  # type: ignore[union-attr]
        count = len(drawn)
        give(sink, 1)
        assert len(drawn) == count


def test_a_player_that_does_not_read_and_a_pipeline_that_hangs_hold_nobody_up() -> None:
    with serving("rtsp://127.0.0.1:0/door") as sink, watching(sink.url):

        def feed() -> None:
            for index in range(100):
                give(sink, index, (640, 480))

        assert sink._channel is not None
        (source,) = sink._channel._sources
        for state in ("PLAYING", "PAUSED"):
            source.get_parent().set_state(getattr(load_gst().State, state))
            thread = threading.Thread(target=feed, daemon=True)
            thread.start()
            thread.join(20)
            assert not thread.is_alive(), f"stuck, {state}"


def test_another_size_in_mid_stream_and_sizes_that_h264_cannot_have() -> None:
    with (
        serving("rtsp://127.0.0.1:0/door", SinkInfo("c", (333, 127))) as sink,
        watching(sink.url) as pictures,
    ):
        for size in ((333, 127), (64, 48)):
            with fed(sink, size=size):
                assert next(pictures).shape == (128, 332, 3)


def test_watchers_are_sent_away_at_the_end() -> None:
    sink = RtspSink("rtsp://127.0.0.1:0/door")
    sink.open(INFO)
    url = sink.url
    with watching(url) as pictures:
        next(pictures)
        sink.close()
        with pytest.raises((av.error.FFmpegError, StopIteration)):
            for _ in range(500):
                next(pictures)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0])), 2)
    sink.close()
    with pytest.raises(ValueError, match="open the sink"):
        give(sink, 0)


def test_an_end_right_after_the_beginning_leaves_nothing() -> None:
    before = threading.active_count()
    for _ in range(30):
        with serving("rtsp://127.0.0.1:0/door"):
            pass
    assert threading.active_count() == before


def test_it_listens_where_it_was_told_only() -> None:
    with serving("rtsp://127.0.0.1:0/door") as sink:
        port = int(sink.url.split(":")[2].split("/")[0])
        socket.create_connection(("127.0.0.1", port), 2).close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), 2)


def test_a_taken_port_and_a_strange_host_are_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=f"cannot serve RTSP at 127.0.0.1:{port}: the port is"):
            RtspSink(f"rtsp://127.0.0.1:{port}/door").open(INFO)
    with pytest.raises(SinkError, match=r"cannot serve RTSP at 192\.0\.2\.1:8554"):
        RtspSink("rtsp://192.0.2.1/door").open(INFO)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1/door", "no address to serve at"),
        ("rtsp:///door", "no address to serve at"),
        ("rtsp://127.0.0.1:99999/door", "no address"),
        ("rtsp://127.0.0.1:8554", "needs a plain name"),
        ("rtsp://127.0.0.1:8554/", "needs a plain name"),
        ("rtsp://127.0.0.1/door?a=b", "needs a plain name"),
        ("rtsp://me:secret@127.0.0.1/door", "user names are not supported"),
    ],
)
def test_addresses_that_are_none(address: str, told: str) -> None:
    with pytest.raises(SinkError, match=told) as raised:
        RtspSink(address)
    assert "secret" not in str(raised.value)


def test_who_watches_nothing_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent connections, and those that only talk, make room and are sent away in time."""
    monkeypatch.setattr("ferstream.stream.sinks.rtsp._MOST_CONNECTED", 8)
    monkeypatch.setattr("ferstream.stream.sinks.rtsp._SILENT_S", 3.0)
    with serving("rtsp://127.0.0.1:0/door") as sink, fed(sink), watching(sink.url) as first:
        next(first)
        place = ("127.0.0.1", int(sink.url.split(":")[2].split("/")[0]))
        held = [socket.create_connection(place, timeout=60) for _ in range(12)]
        for connection in held[::2]:
            with suppress(OSError):
                connection.sendall(b"OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        with watching(sink.url) as second:
            next(second)
        for connection in held:
            with suppress(OSError):
                while connection.recv(4096):
                    pass
            connection.close()
        next(first)
