"""Every output says what it is: the lines, and the metadata of videos."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from ferstream.stream.frame import Frame
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import NOTICE, SinkInfo, notice_lines
from ferstream.stream.sinks.video import VideoSink
from tests import media

INFO = SinkInfo(
    "clip.mp4",
    about={
        "bundle": {"name": "fake", "version": "2"},
        "heads": {
            "basic8": {"supervision": "trained", "note": ""},
            "emo135": {"supervision": "weakly supervised", "note": ""},
        },
        "purpose": "a test\nof two lines",
    },
)
LINES = [
    NOTICE,
    "Source: clip.mp4",
    "Bundle: fake 2",
    "How the labels were learned: basic8 trained, emo135 weakly supervised",
    "Purpose: a test of two lines",
]


def test_lines_name_source_bundle_supervision_and_purpose() -> None:
    assert notice_lines(INFO) == LINES
    assert notice_lines(SinkInfo("camera")) == [NOTICE, "Source: camera"]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_videos_carry_them(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"o.{suffix}"
    sink = VideoSink(path)
    sink.open(INFO)
    for index in range(3):
        frame = Frame(media.picture(index), index / 10, index, "clip.mp4")
        sink.write(frame, Result(index, index / 10, "clip.mp4", []))
    sink.close()
    with av.open(str(path)) as file:
        told = {name.lower(): text for name, text in file.metadata.items()}
    assert told["comment"].splitlines() == LINES
    assert told["title"] == "Expressions in clip.mp4"
