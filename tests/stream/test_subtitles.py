"""Subtitles: valid, rightly timed, in order, whole whenever the run ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.run import run
from ferstream.stream.sinks.base import NOTICE, SinkInfo
from ferstream.stream.sinks.episodes import Episode
from ferstream.stream.sinks.subtitles import SubtitleSink, _Vtt
from ferstream.stream.sources import open_source

from .fakes import face

INFO = SinkInfo(
    "clip --> <b>.mp4",
    (64, 48),
    25.0,
    about={
        "bundle": {"name": "fake", "version": "1"},
        "heads": {"emo135": {"supervision": "weakly supervised", "note": ""}},
        "purpose": "a test of {\\an8}<i>subtitles</i>\n--> and lines",
    },
)
JOYFUL, SAD = (face(label=name).emotions.label for name in ("happiness", "sadness"))


class Cue(NamedTuple):
    start_s: float
    end_s: float
    lines: list[str]


def written(
    path: Path,
    faces_at: Callable[[float], list[FaceResult]],
    seconds: float,
    info: SinkInfo = INFO,
    begin_s: float = 0.0,
    at_last: Callable[[], object] = lambda: None,
) -> str:
    """The file's text after this many seconds of frames; `at_last` is called before the end."""
    sink = SubtitleSink(path)
    sink.open(info)
    pixels = np.zeros((48, 64, 3), np.uint8)
    for index in range(round(seconds * 25)):
        time_s = begin_s + index / 25
        faces = faces_at(index / 25)
        sink.write(Frame(pixels, time_s, index, "c"), Result(index, time_s, "c", faces))
    at_last()
    sink.close()
    return path.read_text("utf-8")


def seconds_of(clock: str) -> float:
    hours, minutes, seconds = clock.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def cues(text: str, suffix: str) -> list[Cue]:
    """The cues of a file, held to the format's grammar."""
    point = re.escape("." if suffix == ".vtt" else ",")
    clock = rf"(\d{{2,}}:[0-5]\d:[0-5]\d{point}\d{{3}})"
    assert text.endswith("\n\n") or not text
    blocks = text.rstrip("\n").split("\n\n")
    if suffix == ".vtt":
        assert blocks[0].startswith("WEBVTT - ") and "\n" not in blocks[0]
        assert blocks[1].startswith("NOTE\n") and "-->" not in blocks[1]
        assert blocks[2].startswith("STYLE\n::cue") and "-->" not in blocks[2]
        blocks = blocks[3:]
    found = []
    for number, block in enumerate(filter(None, blocks), start=1):
        name, timing, *lines = block.split("\n")
        assert name == str(number) and lines
        times = re.fullmatch(f"{clock} --> {clock}", timing)
        assert times, timing
        assert not any("-->" in line for line in lines)
        found.append(Cue(seconds_of(times[1]), seconds_of(times[2]), lines))
        assert found[-1].start_s < found[-1].end_s
    assert [cue.start_s for cue in found] == sorted(cue.start_s for cue in found)
    return found


def two_faces(time_s: float) -> list[FaceResult]:
    """Face 1 is joyful for four seconds, then sad; face 2 is there from 2 to 6 s, in doubt."""
    faces = [face(1, label="happiness" if time_s < 4 else "sadness")]
    if 2 <= time_s < 6:
        other = face(2, label="neutral")
        faces.append(replace(other, emotions=replace(other.emotions, uncertain=True)))
    return faces


def test_vtt_has_cues_per_face_that_do_not_overlap(tmp_path: Path) -> None:
    text = written(tmp_path / "o.vtt", two_faces, 10)
    found = cues(text, ".vtt")
    assert NOTICE in text and "a test of" in text and "weakly supervised" in text
    assert "Bundle: fake 1" in text and "Source: clip -> <b>.mp4" in text
    first, second, third = found
    assert first.lines == [f"<v Face 1><c.joy>Face 1: {JOYFUL}</c></v>"]
    assert second.lines == ["<v Face 2><c.neutral>Face 2: uncertain (neutral?)</c></v>"]
    assert third.lines == [f"<v Face 1><c.sadness>Face 1: {SAD}</c></v>"]
    assert first.start_s == 0 and first.end_s == third.start_s
    assert first.end_s == pytest.approx(4.0, abs=0.01)
    assert (second.start_s, second.end_s) == (2.0, 6.0), "up to the end of its last frame"
    assert third.end_s == 10.0


def test_srt_has_one_cue_at_a_time_with_a_line_per_face(tmp_path: Path) -> None:
    text = written(tmp_path / "o.srt", two_faces, 10)
    found = cues(text, ".srt")
    notice = "[Estimated expressions, not feelings] [a test of (/an8)(i)subtitles(/i) -) and lines]"
    joyful, sad = f"Face 1: {JOYFUL}", f"Face 1: {SAD}"
    doubt = "Face 2: uncertain (neutral?)"
    assert [cue.lines for cue in found] == [
        [notice, joyful],
        [notice, joyful, doubt],
        [joyful, doubt],
        [sad, doubt],
        [sad],
    ]
    assert [cue.start_s for cue in found][:3] == [0.0, 2.0, 2.5]
    assert all(before.end_s == after.start_s for before, after in pairwise(found))
    assert found[-1].end_s == 10.0


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_a_live_source_counts_from_its_first_frame(tmp_path: Path, suffix: str) -> None:
    info = replace(INFO, live=True)
    text = written(tmp_path / f"o{suffix}", two_faces, 10, info, begin_s=90_000.5)
    assert text == written(tmp_path / f"p{suffix}", two_faces, 10)


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_nobody_there(tmp_path: Path, suffix: str) -> None:
    found = cues(written(tmp_path / f"o{suffix}", lambda time_s: [], 5), suffix)
    assert [(cue.start_s, cue.end_s) for cue in found] == ([] if suffix == ".vtt" else [(0, 2.5)])


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_one_picture_is_shown_long_enough_to_see(tmp_path: Path, suffix: str) -> None:
    found = cues(written(tmp_path / f"o{suffix}", lambda time_s: [face()], 0.04), suffix)
    assert (found[0].start_s, found[0].end_s) == (0.0, 0.2)


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_a_killed_run_leaves_what_was_sure(tmp_path: Path, suffix: str) -> None:
    """What is on disk before the end. Long readings are cut to be there soon."""
    path, found = tmp_path / f"o{suffix}", []

    def one_face(time_s: float) -> list[FaceResult]:
        return [face(1)]

    def look() -> None:
        found.extend(cues(path.read_text("utf-8"), suffix))

    whole = cues(written(path, one_face, 50, at_last=look), suffix)
    assert found[-1].end_s == 40.0
    assert whole[: len(found)] == found
    assert whole[-1].end_s == 50.0


def coming_and_going(time_s: float) -> list[FaceResult]:
    """Five faces that come, go and change, at times that do not fit each other."""
    labels = ["happiness", "sadness", "neutral", "anger"]
    return [
        face(number, label=labels[int(time_s / (1.7 + number) + number) % 4])
        for number in range(1, 6)
        if (time_s + 3.1 * number) % (7 + number) > 2.4
    ]


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_many_faces_coming_and_going(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"o{suffix}"
    found = cues(written(path, coming_and_going, 120), suffix)
    assert len(found) > 60
    for number in range(1, 6):
        own = [cue for cue in found if any(f"Face {number}: " in line for line in cue.lines)]
        assert len(own) > 5
        assert all(before.end_s <= after.start_s for before, after in pairwise(own))
    if suffix == ".srt":
        assert all(before.end_s <= after.start_s for before, after in pairwise(found))


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_ffmpeg_reads_the_same_cues(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"o{suffix}"
    found = cues(written(path, two_faces, 10), suffix)
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux() if packet.size]
    assert len(packets) == len(found)
    for packet, cue in zip(packets, found, strict=True):
        assert packet.pts is not None and packet.duration is not None
        assert float(packet.pts * packet.time_base) == pytest.approx(cue.start_s, abs=0.002)
        assert float(packet.duration * packet.time_base) == pytest.approx(
            cue.end_s - cue.start_s, abs=0.002
        )
        assert bytes(packet).decode() == "\n".join(cue.lines)


def test_more_than_a_hundred_hours(tmp_path: Path) -> None:
    path = tmp_path / "o.vtt"
    text = written(path, lambda time_s: [face()], 1.0, begin_s=400_000.0)
    assert "111:06:40.000 --> 111:06:41.000" in text
    assert cues(text, ".vtt")


def test_words_are_no_markup() -> None:
    text, waiting = _Vtt().cues([Episode(1, 0.0, 1.0, "<b>rock & roll</b>", 0.5, False)], None)
    assert "Face 1: &lt;b&gt;rock &amp; roll&lt;/b&gt;" in text
    assert waiting == []


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"o\.txt is no name for subtitles: end it with \.vtt"):
        SubtitleSink(tmp_path / "o.txt")


def test_an_unopened_sink_says_so(tmp_path: Path) -> None:
    sink = SubtitleSink(tmp_path / "o.vtt")
    sink.close()
    with pytest.raises(ValueError, match="open the sink"):
        written_frame = Frame(np.zeros((4, 4, 3), np.uint8), 0.0, 0, "c")
        sink.write(written_frame, Result(0, 0.0, "c", []))


@pytest.mark.mediapipe
def test_a_real_face(tmp_path: Path) -> None:
    path = tmp_path / "sample.vtt"
    source = open_source("sample")
    with Recognizer() as recognizer:
        summary = run(source, recognizer, [SubtitleSink(path)])
    found = cues(path.read_text("utf-8"), ".vtt")
    assert found and found[0].lines[0].startswith("<v Face 1>")
    assert found[-1].end_s <= summary.duration_s + 0.3
