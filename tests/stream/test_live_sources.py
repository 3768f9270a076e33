"""Cameras and addresses: what is not there, what goes away, what comes back."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av.error
import numpy as np
import pytest

from ferstream.stream.errors import (
    SourceDenied,
    SourceLost,
    SourceMissing,
    SourceRefused,
    SourceTimeout,
    SourceUnreadable,
)
from ferstream.stream.frame import Frame
from ferstream.stream.sources import open_live, open_source
from ferstream.stream.sources.base import PacedSource, SourceEvent
from ferstream.stream.sources.failures import address_failure, camera_failure
from ferstream.stream.sources.live import Pace
from ferstream.stream.sources.pyav import open_address
from tests import media

from .fakes import FakeSource


class FakeClock:
    """A clock that only waiting moves."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s
        self.waits_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def wait(self, duration_s: float) -> None:
        self.waits_s.append(round(duration_s, 6))
        self.now_s += duration_s


def test_a_paced_file_comes_at_its_own_pace() -> None:
    clock = FakeClock()
    paced = PacedSource(FakeSource([0.0, 0.04, 0.05, 1.0]), clock, clock.wait)
    frames = list(paced.frames())
    assert [frame.time_s for frame in frames] == pytest.approx([100, 100.04, 100.05, 101])
    assert clock.waits_s == pytest.approx([0.04, 0.01, 0.95])
    assert paced.live


def test_a_paced_file_that_is_late_does_not_wait_and_catches_up() -> None:
    clock = FakeClock()

    def stumble(index: int) -> None:
        if index == 1:
            clock.wait(0.25)

    slow = FakeSource([0.0, 0.1, 0.2, 0.3], before_each=stumble)
    frames = list(PacedSource(slow, clock, clock.wait).frames())
    assert [frame.time_s for frame in frames] == pytest.approx([100, 100.1, 100.2, 100.3])
    assert clock.waits_s == pytest.approx([0.25, 0.05])


def test_a_clip_plays_as_a_live_source() -> None:
    source = open_live("sample")
    assert isinstance(source, PacedSource)
    assert source.name == "sample"


@pytest.mark.parametrize("spec", ["/dev/video97", 97, "97"])
def test_a_camera_that_is_not_there(spec: str | int) -> None:
    with pytest.raises(SourceMissing, match="no camera at /dev/video97"):
        open_source(spec)


def test_what_cameras_say(tmp_path: Path) -> None:
    device = str(media.image(tmp_path / "video.png"))
    busy = camera_failure(device, OSError(16, "Device or resource busy"))
    denied = camera_failure(device, PermissionError(13, "Permission denied"))
    assert isinstance(busy, SourceRefused) and "is in use" in str(busy)
    assert isinstance(denied, SourceRefused) and "group video" in str(denied)
    assert "gives no picture" in str(camera_failure(device, ValueError("bad")))


@pytest.mark.parametrize(
    ("error", "waited_s", "kind", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), 0.1, SourceRefused, "port"),
        (av.error.ExitError(1, "Immediate exit"), 2.0, SourceTimeout, "within 2 s"),
        (av.error.InvalidDataError(1, "Invalid data"), 1.95, SourceTimeout, "within 2 s"),
        (av.error.InvalidDataError(1, "Invalid data"), 0.1, SourceUnreadable, "no picture"),
        (av.error.HTTPUnauthorizedError(1, "401"), 0.1, SourceDenied, "password"),
        (av.error.HTTPNotFoundError(1, "404"), 0.1, SourceMissing, "check the path"),
        (OSError(5, "Input/output error"), 0.1, SourceRefused, "cannot be reached"),
        (OSError(113, "No route to host"), 0.1, SourceRefused, "no route to host"),
        (av.error.ProtocolNotFoundError(1, "?"), 0.1, SourceUnreadable, "use rtsp or http"),
    ],
)
def test_what_addresses_say(
    error: Exception, waited_s: float, kind: type[Exception], words: str
) -> None:
    failure = address_failure("rtsp://ann:s3cret@cam/1", error, waited_s, 2.0)
    assert isinstance(failure, kind)
    assert words in str(failure)
    assert "rtsp://ann:***@cam/1" in str(failure)
    assert "s3cret" not in str(failure)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize("capture", ["pyav", "auto"])
def test_a_refused_address_hides_its_password(capture: str) -> None:
    with pytest.raises(SourceRefused, match="check address and port") as caught:
        open_source(f"rtsp://ann:s3cret@127.0.0.1:{free_port()}/1", capture)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_stalled_address_times_out(silent_port: int) -> None:
    with pytest.raises(SourceTimeout, match=r"does not answer within 0\.5 s"):
        open_address(f"rtsp://127.0.0.1:{silent_port}/1", open_limit_s=0.5)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        """A file; `/camera/FILE` as a stream without length that ends, `/stalled/` or stalls."""
        _, kind, *rest = self.path.partition("?")[0].split("/")
        if kind not in ("camera", "stalled"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        self.wfile.write(Path(self.directory, *rest).read_bytes())
        self.wfile.flush()
        if kind == "stalled":
            self.server.over.wait(20)  # type: ignore[attr-defined]
        return None

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A folder with a video on a web server."""
    media.video(tmp_path / "a.mp4", 10, container_options={"movflags": "faststart"})
    media.video(tmp_path / "live.ts", 60)
    (tmp_path / "page.html").write_text("<p>no video")
    handler = partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.over = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.over.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_a_video_on_a_server_is_a_file(served: str) -> None:
    source = open_source(f"{served}/a.mp4?token=abc")
    assert not source.live
    assert source.name == f"{served}/a.mp4?token=***"
    assert len(list(source.frames())) == 10


@pytest.fixture
def playlists(served: str, tmp_path: Path) -> str:
    """The server, with four seconds of HLS: vod.m3u8, and live.m3u8, which may go on."""
    media.video(
        tmp_path / "vod.m3u8",
        120,
        options={"g": "30"},
        container_options={"hls_time": "1", "hls_list_size": "0"},
    )
    text = (tmp_path / "vod.m3u8").read_text()
    (tmp_path / "live.m3u8").write_text(text.replace("#EXT-X-ENDLIST\n", ""))
    return served


def test_a_finished_playlist_is_a_file(playlists: str) -> None:
    source = open_source(f"{playlists}/vod.m3u8")
    assert not source.live
    assert source.duration_s == pytest.approx(4.0, abs=0.1)
    assert len(list(source.frames())) == 120


def test_live_segments_are_played_at_their_pace(playlists: str) -> None:
    source = open_live(f"{playlists}/live.m3u8", stall_s=0.5)
    frames = source.frames()
    begun_s = time.monotonic()
    seen = [next(frames) for _ in range(31)]
    assert 0.9 < time.monotonic() - begun_s < 20
    assert [frame.index for frame in seen] == list(range(31))
    times_s = [frame.time_s for frame in seen]
    assert np.diff(times_s) == pytest.approx(np.full(30, 1 / 30), abs=1e-3)
    frames.close()  # type: ignore[attr-defined]


def test_bursts_are_held_back_and_jumps_begin_anew() -> None:
    clock = FakeClock(100.0)
    pace = Pace(clock, clock.wait)
    assert [pace.due_s(stamp_s) for stamp_s in (7.0, 7.5, 8.0)] == [100.0, 100.5, 101.0]
    clock.now_s = 150.0
    assert [pace.due_s(stamp_s) for stamp_s in (8.5, 9.0, None)] == [150.0, 150.5, 150.5]
    assert [pace.due_s(stamp_s) for stamp_s in (5000.0, 5001.0, 3.0)] == [150.5, 151.5, 151.5]
    assert clock.waits_s == pytest.approx([0.5, 0.5, 0.5, 1.0])


def test_an_address_that_is_a_clip_ends(served: str) -> None:
    source = open_live(f"{served}/a.mp4")
    states: list[SourceEvent] = []
    source.on_event = states.append  # type: ignore[attr-defined]
    assert len(list(source.frames())) == 10
    assert [event.state.value for event in states] == ["connecting", "live", "ended"]


def test_an_address_that_goes_away_is_opened_again(served: str) -> None:
    source = open_live(f"{served}/camera/live.ts?token=s3cret", retries=1)
    states: list[SourceEvent] = []
    source.on_event = states.append  # type: ignore[attr-defined]
    frames = source.frames()
    seen: list[Frame] = []
    while sum(frame.restart for frame in seen) < 2:
        seen.append(next(frames))
    source.close()
    assert list(frames) == []
    assert all(later.index > earlier.index for earlier, later in pairwise(seen))
    assert all(later.time_s > earlier.time_s for earlier, later in pairwise(seen))
    told = [event.state.value for event in states]
    assert told == [*("connecting", "live", "lost") * 2, "connecting", "live", "ended"]
    assert "s3cret" not in f"{states} {source.name} {source.notes}"


@pytest.mark.parametrize("options", [{"stall_s": 0.0}, {"capture": "vlc"}, {"retries": -1}])
def test_what_cannot_be_asked_of_a_live_source(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"0|vlc|-1"):
        open_live("rtsp://127.0.0.1/1", **options)


def test_what_is_not_on_a_server(served: str) -> None:
    with pytest.raises(SourceMissing, match="check the path"):
        open_source(f"{served}/b.mp4")
    with pytest.raises(SourceUnreadable, match="gives no picture"):
        open_source(f"{served}/page.html")


@pytest.mark.parametrize(
    ("kind", "failure", "words"),
    [
        ("camera", SourceLost, r"was lost after \d+ frames \((input/output error|it ended .*)\)"),
        ("stalled", SourceTimeout, r"gave no picture for 0\.5 s"),
    ],
)
def test_a_network_camera_that_goes_away_or_stalls(
    served: str, kind: str, failure: type[Exception], words: str
) -> None:
    source = open_address(f"{served}/{kind}/live.ts", read_limit_s=0.5)
    assert source.live
    count = 0
    with pytest.raises(failure, match=words):
        for frame in source.frames():
            assert frame.index == count
            count += 1
    assert count > 30
