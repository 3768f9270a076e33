"""Cameras and addresses: what is not there, what goes away, what comes back."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av.error
import pytest

from stream.errors import (
    SourceDenied,
    SourceLost,
    SourceMissing,
    SourceRefused,
    SourceTimeout,
    SourceUnreadable,
)
from stream.sources import open_live, open_source
from stream.sources.failures import address_failure, camera_failure
from stream.sources.paced import PacedSource
from stream.sources.pyav import open_address
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
        _, kind, *rest = self.path.split("/")
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
