"""Kill -9 in the middle: what was written until a moment before can be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import av
import pytest

from ferstream.stream.frame import Frame
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.video import VideoSink
from tests import media

from .fakes import face

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ, SIZE = 10, (160, 120)
_WRITE = """
import os, signal, sys
from pathlib import Path
from tests.stream.test_killed import give
from ferstream.stream.outputs import Outputs
from ferstream.stream.sinks.base import SinkInfo
outputs = Outputs(to=(sys.argv[1],))
((place,),) = outputs.for_sources(["clip"])
(sink,) = outputs.sinks([place], print, live=False)
sink.open(SinkInfo("clip", (160, 120), 10))
give(sink, float(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def give(sink: VideoSink, seconds: float) -> None:
    for index in range(round(seconds * RATE_HZ)):
        time_s = index / RATE_HZ
        frame = Frame(media.picture(index, SIZE), time_s, index, "clip")
        sink.write(frame, Result(index, time_s, "clip", [face(1, (40, 40, 80, 90))]))


def killed(path: Path, seconds: float) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", _WRITE, str(path), str(seconds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return path


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv"])
def test_video(tmp_path: Path, kind: str) -> None:
    path = killed(tmp_path / f"o.{kind}", 14)
    with av.open(str(path)) as file:
        times_s = [float(frame.time or 0) for frame in file.decode(video=0)]
        assert "Estimated" in file.metadata.get("comment", file.metadata.get("COMMENT", ""))
    # The encoder looks four seconds of ten frames each ahead, and a piece has one.
    assert times_s[-1] > 14 - 4.2 - 1.2
    assert times_s == pytest.approx([index / RATE_HZ for index in range(len(times_s))], abs=1e-3)


@pytest.mark.parametrize("kind", ["eaf", "boris"])
def test_annotations(tmp_path: Path, kind: str) -> None:
    path = killed(tmp_path / f"o.{kind}", 14)
    if kind == "eaf":
        marks = ElementTree.parse(path).findall(".//ANNOTATION_VALUE")
        assert marks and any(mark.text for mark in marks)
    else:
        (observation,) = json.loads(path.read_text())["observations"].values()
        assert observation["events"]


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv"])
def test_a_clean_end_writes_it_anew(tmp_path: Path, kind: str) -> None:
    """The index at the front, the length known, nothing else left; and every frame at its time."""
    path = tmp_path / f"o.{kind}"
    sink = VideoSink(path)
    sink.open(SinkInfo("clip", SIZE, RATE_HZ))
    give(sink, 5)
    sink.close()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    data = path.read_bytes()
    if kind != "mkv":
        assert b"moof" not in data and data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as file:
        assert file.duration == pytest.approx(5e6, abs=2e5)
        times_s = [float(frame.time or 0) for frame in file.decode(video=0)]
    assert times_s == pytest.approx([index / RATE_HZ for index in range(50)], abs=1e-3)
