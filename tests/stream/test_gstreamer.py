"""Capture with GStreamer: pipelines, cameras, files, and what it says when it cannot."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ferstream.stream.errors import (
    SourceDenied,
    SourceError,
    SourceLost,
    SourceMissing,
    SourceRefused,
    SourceTimeout,
    SourceUnreadable,
)
from ferstream.stream.frame import Frame
from ferstream.stream.sources import gst, open_live, open_source
from ferstream.stream.sources.gstreamer import GstSource, open_gstreamer
from tests import media
from tests.rtsp_camera import Camera, free_port, require_rtsp
from tests.watch import held

pytestmark = pytest.mark.usefixtures("_gstreamer")


@pytest.fixture(scope="module")
def _gstreamer() -> None:
    if not gst.has_gst():
        pytest.skip(f"GStreamer's bindings do not load here: apt-get install {gst.PACKAGES}")


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    require_rtsp()
    with Camera(rate_hz=30, gop=10) as one:
        yield one


def first(source: GstSource, count: int) -> list[Frame]:
    """The first frames; the source is closed."""
    try:
        return list(islice(source.frames(), count))
    finally:
        source.close()


@pytest.mark.parametrize("size", [(64, 48), (322, 242), (5, 3), (639, 360)])
def test_rows_are_right_at_every_width(size: tuple[int, int]) -> None:
    width_px, height_px = size
    source = open_gstreamer(
        "gst:videotestsrc pattern=smpte num-buffers=3 "
        f"! video/x-raw,width={width_px},height={height_px},framerate=30/1"
    )
    (frame, *_) = first(source, 1)
    assert frame.pixels.shape == (height_px, width_px, 3)
    assert frame.pixels.flags.c_contiguous and frame.pixels.dtype == np.uint8
    assert source.size == size and source.rate_hz == 30
    # The bars stand upright: where rows were a few bytes off, they would lean.
    top = frame.pixels[: max(1, height_px // 2)]
    assert np.abs(top.astype(int) - top[:1].astype(int)).max() < 12


def test_colours_are_in_order() -> None:
    for pattern, colour in (("red", 0), ("green", 1), ("blue", 2)):
        (frame,) = first(open_gstreamer(f"gst:videotestsrc pattern={pattern} num-buffers=2"), 1)
        assert int(frame.pixels[5, 5].argmax()) == colour


def test_a_pipeline_with_an_end_of_its_own() -> None:
    source = open_gstreamer(
        "gst:videotestsrc is-live=true ! videoconvert ! video/x-raw,format=RGB,width=80,height=60 "
        "! appsink name=sink max-buffers=1 drop=true"
    )
    frames = first(source, 5)
    assert [frame.index for frame in frames] == list(range(5))
    assert frames[0].pixels.shape == (60, 80, 3)


def test_a_slow_reader_gets_the_newest_picture() -> None:
    source = open_gstreamer(
        "gst:videotestsrc is-live=true pattern=ball ! video/x-raw,framerate=50/1"
    )
    frames = source.frames()
    next(frames)
    time.sleep(1.5)
    woke_s = time.monotonic()
    next(frames)  # the one that was newest when the reader slept in
    assert next(frames).time_s > woke_s - 0.5
    source.close()


def test_a_pipeline_that_ends_is_lost() -> None:
    source = open_gstreamer("gst:videotestsrc num-buffers=4 ! video/x-raw,framerate=30/1")
    with pytest.raises(SourceLost, match="ended the stream"):
        list(source.frames())


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        ("gst:nosuchelement ! fakesink", SourceUnreadable, "nosuchelement"),
        ("gst:videotestsrc ! ! x", SourceUnreadable, "pipeline"),
        ("gst:", SourceUnreadable, "pipeline"),
        ("gst:videotestsrc ! fakesink", SourceUnreadable, "pipeline"),
        ("gst:filesrc location=/no/such/file ! decodebin", SourceMissing, "check the name"),
        ("gst:audiotestsrc num-buffers=5 ! decodebin", SourceError, ""),
        ("gst:rtspsrc location=rtsp://ann:s3cret@127.0.0.1:1/x ! decodebin", SourceRefused, "***"),
        ("gst:rtspsrc location=rtsp://127.0.0.1:1/x user-pw=s3cret ! decodebin", SourceRefused, ""),
    ],
)
def test_pipelines_that_do_not_work(spec: str, kind: type[SourceError], words: str) -> None:
    with pytest.raises(kind) as caught:
        list(open_gstreamer(spec, stall_s=5).frames())
    said = str(caught.value)
    assert words in said and "\n" not in said
    assert "s3cret" not in f"{said} {caught.value.__cause__} {caught.value.__context__}"


def test_a_camera(camera: Camera) -> None:
    begun_s = time.monotonic()
    source = open_gstreamer(camera.url, stall_s=30)
    assert source.live and source.name == camera.url
    frames, late = source.frames(), []
    for _ in range(12):
        frame = next(frames)
        assert camera.pictures.strangeness(frame.pixels) < 20
        assert begun_s < frame.time_s < time.monotonic()
        late.append(frame.time_s - (camera.captured_s(frame.pixels, frame.time_s) or 0))
    # The time of a frame is that of its arrival, not that of its taking.
    assert -0.005 < min(late) < 0.5
    assert source.size == (640, 480)
    source.close()


def test_the_decoder_at_work_is_told(camera: Camera) -> None:
    source = open_gstreamer(camera.url)
    frames = source.frames()
    next(frames)
    assert any("264" in decoder for decoder in source.decoders)
    source.close()


def test_auto_is_gstreamer_for_cameras_only(camera: Camera, tmp_path: Path) -> None:
    source = open_source(camera.url)
    assert isinstance(source, GstSource)
    source.close()
    file = open_source(media.video(tmp_path / "a.mp4"))
    assert not isinstance(file, GstSource)
    file.close()


def test_an_unknown_path_at_a_camera(camera: Camera) -> None:
    with pytest.raises(SourceMissing, match="check the path"):
        open_gstreamer(camera.url.replace("/film", "/nothing"), stall_s=30)


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("user", ["", "ann:wr0ng@"])
def test_a_camera_that_wants_another_password(digest: bool, user: str) -> None:
    require_rtsp()
    with Camera(user="ann", password="p@ss:w/rd", digest=digest) as camera:
        with pytest.raises(SourceDenied, match="password") as caught:
            open_gstreamer(camera.url.replace("://", f"://{user}"), stall_s=30)
        assert "wr0ng" not in str(caught.value)
        right = camera.url.replace("://", "://ann:p%40ss%3Aw%2Frd@")
        source = open_gstreamer(right, stall_s=30)
        assert "p%40ss" not in source.name and "***" in source.name
        assert first(source, 1)


def test_nobody_there() -> None:
    with pytest.raises(SourceRefused, match="check address and port"):
        open_gstreamer(f"rtsp://ann:s3cret@127.0.0.1:{free_port()}/film", stall_s=2)


def test_somebody_who_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun_s = time.monotonic()
        with pytest.raises(SourceTimeout, match="is the camera on"):
            open_gstreamer(f"rtsp://127.0.0.1:{server.getsockname()[1]}/film", stall_s=0.7)
        assert time.monotonic() - begun_s < 30


def test_somebody_who_speaks_no_rtsp() -> None:
    def answer(server: socket.socket) -> None:
        with server.accept()[0] as client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        with pytest.raises(SourceError):
            open_gstreamer(f"rtsp://127.0.0.1:{server.getsockname()[1]}/film", stall_s=1)
        thread.join()


def test_a_file(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a film.mp4", 20, (320, 240))
    by_gstreamer = open_source(path, capture="gstreamer")
    by_pyav = open_source(path, capture="pyav")
    assert isinstance(by_gstreamer, GstSource) and not by_gstreamer.live
    theirs, ours = list(by_gstreamer.frames()), list(by_pyav.frames())
    assert [media.level(frame.pixels) for frame in theirs] == list(range(20))
    assert [frame.time_s for frame in theirs] == pytest.approx([f.time_s for f in ours], abs=1e-3)


def test_a_file_held_upright(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.mp4", 3, (64, 48), rotation_deg=90)
    theirs = next(open_source(path, capture="gstreamer").frames())
    ours = next(open_source(path, capture="pyav").frames())
    assert theirs.pixels.shape == ours.pixels.shape == (64, 48, 3)
    assert media.quarters(theirs.pixels) == media.quarters(ours.pixels)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("This is no film.")
    with pytest.raises(SourceMissing, match="check the name"):
        open_source(tmp_path / "missing.mp4", capture="gstreamer")
    with pytest.raises(SourceUnreadable, match="no picture"):
        open_source(tmp_path / "text.mp4", capture="gstreamer")


def test_a_webcam_that_is_not_there() -> None:
    with pytest.raises(SourceMissing, match="no camera at /dev/video97"):
        open_source("/dev/video97", capture="gstreamer")


def test_closing_from_another_thread_ends_the_frames() -> None:
    source = open_gstreamer(
        "gst:videotestsrc is-live=true ! video/x-raw,framerate=1/99", stall_s=99
    )
    threading.Timer(0.3, source.close).start()
    begun_s = time.monotonic()
    list(source.frames())
    assert time.monotonic() - begun_s < 30


def test_openings_and_closings_leave_nothing_behind(camera: Camera) -> None:
    counts = []
    for turn in range(8):
        source = open_gstreamer(camera.url, stall_s=30)
        if turn % 2:
            next(source.frames())
        source.close()
        with pytest.raises(SourceRefused):
            open_gstreamer("rtsp://127.0.0.1:1/film", stall_s=1)
        counts.append(held())
    # A thread that ends late is counted in some turns only: the most of the first ones.
    first = counts[:3]
    assert counts[-1].threads <= max(turn.threads for turn in first) + 1, counts
    assert counts[-1].files <= max(turn.files for turn in first) + 1, counts


def test_a_pipeline_is_supervised() -> None:
    source = open_live("gst:videotestsrc is-live=true num-buffers=3 ! video/x-raw,framerate=10/1")
    frames = source.frames()
    seen = [next(frames) for _ in range(5)]
    source.close()
    assert [frame.restart for frame in seen] == [False, False, False, True, False]
    assert [frame.index for frame in seen] == [0, 1, 2, 4, 5]


def _python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60
    )


def test_nothing_else_of_the_system_becomes_importable() -> None:
    code = (
        "import importlib.util as u, sys; before = list(sys.path)\n"
        "from ferstream.stream.sources.gst import load_gst; load_gst('GstRtspServer')\n"
        "assert sys.path == before, sys.path\n"
        "names = [n for n in ('dbus', 'apt', 'cairo', 'pygtkcompat') if u.find_spec(n)]\n"
        "print(names)"
    )
    here = _python(
        "import importlib.util as u; print([n for n in "
        "('dbus', 'apt', 'cairo', 'pygtkcompat') if u.find_spec(n)])"
    )
    done = _python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == here.stdout


def test_exceptions_of_other_libraries_survive_gstreamer() -> None:
    """GStreamer brings a library that can take the place of the compiler's own unwinder."""
    done = _python(
        "import av, cv2\nfrom ferstream.stream.sources.gst import load_gst\n"
        "load_gst()\nimport mediapipe"
    )
    assert done.returncode == 0, done.stderr[-500:]


def test_without_bindings_it_says_what_to_install() -> None:
    code = (
        "import ferstream.stream.sources.gst as gst; gst._SYSTEM_FOLDERS = ()\n"
        "import sys; sys.modules['gi'] = None\n"
        "from ferstream.stream.sources import open_source\n"
        "assert not gst.has_gst()\n"
        "try:\n    open_source('gst:videotestsrc')\n"
        "except ValueError as error:\n    print(error)"
    )
    done = _python(code)
    assert "apt install" in done.stdout and "python3-gi" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1
