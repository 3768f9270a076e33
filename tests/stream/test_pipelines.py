"""GStreamer without a camera: pipelines of one's own, files, what is missing, what fails."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ferstream.stream.errors import (
    GstreamerMissing,
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
from ferstream.stream.sources.failures import pipeline_failure
from ferstream.stream.sources.gst import PipelineError
from ferstream.stream.sources.supervised import SupervisedSource
from tests import media

TEST = "gst:videotestsrc is-live=true"


@pytest.fixture(autouse=True)
def _gstreamer(request: pytest.FixtureRequest) -> None:
    if "anywhere" not in request.fixturenames and not gst.has_gst():
        pytest.skip(f"no GStreamer: apt-get install {gst.PACKAGES}")


@pytest.fixture
def anywhere() -> None:
    """For tests that need no GStreamer."""


def some(spec: str, count: int = 5, stall_s: float = 3.0) -> list[Frame]:
    """The first frames of a source, which is then closed."""
    source = open_source(spec, stall_s=stall_s)
    frames = []
    for frame in source.frames():
        frames.append(frame)
        if len(frames) == count:
            source.close()
    return frames


@pytest.mark.parametrize("width_px", [320, 321, 322, 323])
def test_rows_of_any_width_are_without_padding(width_px: int) -> None:
    caps = f"video/x-raw,width={width_px},height=41,framerate=60/1"
    (frame,) = some(f"{TEST} pattern=smpte75 ! {caps}", 1)
    assert frame.pixels.shape == (41, width_px, 3)
    assert frame.pixels.flags.c_contiguous
    # The bars are upright: every row of the upper part is the same, as no shifted row would be.
    assert np.ptp(frame.pixels[:20].astype(int), axis=0).max() <= 2
    assert np.ptp(frame.pixels[0].astype(int), axis=0).min() > 100


def test_pixels_are_square() -> None:
    caps = "video/x-raw,width=64,height=48,pixel-aspect-ratio=2/1"
    source = open_source(f"gst:videotestsrc num-buffers=2 ! {caps}")
    frame = next(source.frames())
    assert (frame.width_px, frame.height_px) == source.size == (128, 48)
    source.close()


def test_a_pipeline_is_a_live_source() -> None:
    source = open_live(f"{TEST} ! video/x-raw,width=64,height=48,framerate=50/1")
    assert isinstance(source, SupervisedSource)
    frames = source.frames()
    seen = [next(frames) for _ in range(10)]
    now_s = time.monotonic()
    assert (source.size, source.rate_hz) == ((64, 48), 50.0)
    assert all(later.time_s > earlier.time_s for earlier, later in pairwise(seen))
    assert now_s - 2 < seen[-1].time_s <= now_s
    source.close()
    assert list(frames) == []


def test_an_appsink_of_ones_own_is_used_as_it_is() -> None:
    own = "appsink name=sink sync=false drop=false max-buffers=1"
    caps = "video/x-raw,width=64,height=48"
    source = open_source(f"gst:videotestsrc num-buffers=7 ! {caps} ! videoconvert ! {own}")
    frames = source.frames()
    assert len([next(frames) for _ in range(7)]) == 7
    with pytest.raises(SourceLost, match=r"was lost after 7 frames \(it ended the stream\)"):
        next(frames)


def test_the_newest_frame_is_given() -> None:
    source = open_source(f"{TEST} ! video/x-raw,framerate=100/1,width=64,height=48")
    frames = source.frames()
    next(frames)
    time.sleep(1.5)
    waited = next(frames)
    assert time.monotonic() - waited.time_s < 1.0
    source.close()


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("nosuchelement", 'is not installed .*no element "nosuchelement"'),
        ("videotestsrc ! ! identity", "does not work as a pipeline"),
        ("videotestsrc foo=1", 'no property "foo"'),
        ("videotestsrc ! audioconvert", "does not work as a pipeline"),
        ("", "does not work as a pipeline"),
        ("appsink name=sink", "single element"),
        ("filesrc location=/nowhere/at.all ! decodebin", "is not there"),
        ("videotestsrc num-buffers=0", "holds no picture"),
    ],
)
def test_a_pipeline_that_does_not_work_says_why(description: str, words: str) -> None:
    before = threading.active_count()
    with pytest.raises(SourceError, match=words) as caught:
        open_source(f"gst:{description}")
    assert str(caught.value).startswith("gst:")
    assert "\n" not in str(caught.value)
    assert threading.active_count() == before


def test_a_silent_pipeline_times_out_and_hides_its_password() -> None:
    begun_s = time.monotonic()
    with pytest.raises(SourceTimeout, match=r"within 0\.3 s") as caught:
        open_source("gst:appsrc is-live=true name=user-pw=s3cret", stall_s=0.3)
    assert time.monotonic() - begun_s < 30
    assert "s3cret" not in str(caught.value)


def test_a_pipeline_that_falls_silent_is_stalled() -> None:
    caps = "video/x-raw,width=64,height=48,framerate=30/1"
    source = open_source(f"{TEST} ! {caps}", stall_s=0.5)
    frames = source.frames()
    next(frames)
    pipeline = source._pipeline._pipeline  # type: ignore[attr-defined]
    pipeline.set_state(gst.load_gst().State.PAUSED)
    with pytest.raises(SourceTimeout, match=r"gave no picture for 0\.\d s"):
        for _ in frames:
            pass


def test_a_file_by_gstreamer_is_the_file_by_pyav(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.mp4", frames=20)
    source = open_source(path, "gstreamer")
    frames = list(source.frames())
    assert [media.level(frame.pixels) for frame in frames] == list(range(20))
    assert [frame.time_s for frame in frames] == pytest.approx([k / 30 for k in range(20)])
    assert (source.live, source.size) == (False, (64, 48))
    assert source.rate_hz == pytest.approx(30, rel=0.1)
    assert media.quarters(frames[0].pixels) == "rbg."


def test_a_turned_file_by_gstreamer(tmp_path: Path) -> None:
    path = media.video(tmp_path / "r.mp4", 3, rotation_deg=90)
    (first, *_) = open_source(path, "gstreamer").frames()
    assert media.quarters(first.pixels) == "b.rg"


def test_what_gstreamer_cannot_open(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("only words\n" * 50)
    with pytest.raises(SourceUnreadable):
        open_source(path, "gstreamer")
    with pytest.raises(SourceMissing, match="no file"):
        open_source(tmp_path / "gone.mp4", "gstreamer")
    with pytest.raises(SourceMissing, match="no camera at /dev/video97"):
        open_source(97, "gstreamer")
    with pytest.raises(ValueError, match="capture vlc: one of auto, pyav, gstreamer"):
        open_source(path, "vlc")


RESOURCE = "gst-resource-error-quark"


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize(
    ("domain", "code", "debug", "kind"),
    [
        (RESOURCE, 15, "a.c(1): f ():\nUnauthorized (401)", SourceDenied),
        (RESOURCE, 9, "a.c(1): f ():\nGot error response: 403 (Forbidden) (403)", SourceDenied),
        (RESOURCE, 3, "a.c(1): f ():\nNot Found (404)", SourceMissing),
        (RESOURCE, 7, "a.c(1): f ():\nFailed to connect. (Generic error)", SourceRefused),
        (RESOURCE, 7, "a.c(1): f ():\nFailed to connect. (Timeout ...)", SourceTimeout),
        (RESOURCE, 4, "system error: Device or resource busy", SourceRefused),
        (RESOURCE, 7, "system error: Permission denied", SourceRefused),
        (RESOURCE, 9, "a.c(1): f ():\nCould not receive message. (Parse error)", SourceRefused),
        ("gst-stream-error-quark", 6, "", SourceUnreadable),
        ("gst-core-error-quark", 12, "", SourceUnreadable),
        ("gst-library-error-quark", 1, "", SourceUnreadable),
    ],
)
def test_what_gstreamer_says(domain: str, code: int, debug: str, kind: type[Exception]) -> None:
    error = PipelineError("Could not do it: rtsp://ann:s3cret@cam/1", debug, domain, code)
    failure = pipeline_failure("rtsp://ann:***@cam/1", error)
    assert type(failure) is kind
    assert str(failure).startswith("rtsp://ann:***@cam/1 ")
    assert "s3cret" not in str(failure)
    assert "a.c(1)" not in str(failure)


@pytest.mark.usefixtures("anywhere")
def test_without_gstreamer_auto_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(namespace: str = "Gst") -> None:
        raise GstreamerMissing("gi is not here: sudo apt install python3-gi")

    monkeypatch.setattr(gst, "load_gst", missing)
    monkeypatch.setattr("ferstream.stream.sources.gst.load_gst", missing)
    assert not gst.has_gst()
    with pytest.raises(SourceUnreadable, match="sudo apt install python3-gi") as caught:
        open_source("gst:rtspsrc location=rtsp://a:s3cret@cam/1")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SourceRefused, match="refuses the connection"):
        open_source("rtsp://127.0.0.1:9/1")


def test_only_the_bindings_leak_in_from_the_system() -> None:
    program = (
        "import sys; from ferstream.stream.sources.gst import load_gst;"
        "path = list(sys.path); load_gst();"
        "load_gst('GstApp'); assert sys.path == path;"
        "others = [m for m, v in sys.modules.items() if 'dist-packages' in "
        "(getattr(v, '__file__', None) or '') and m.split('.')[0] != 'gi'];"
        "assert not others, others"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
