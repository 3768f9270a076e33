"""Outputs of a recording whose end tells who was who: all of them tell the same ids."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.eyes import Blink, Eyes
from ferstream.stream.faces.detect import FaceDetector, FaceMesh
from ferstream.stream.faces.sight import SeenTogether, Track
from ferstream.stream.faces.track import FaceTracker
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.settled import SettledSink, Spool
from ferstream.stream.sinks.table import COLUMNS, requested
from ferstream.stream.sources.sample import SampleSource

from .fakes import FakeSource, ListSink
from .fakes import face as fake_face
from .footage import Picture, back_behind_a_hand


@pytest.fixture(scope="module")
def portrait() -> Picture:
    return np.ascontiguousarray(next(SampleSource().frames()).pixels[::2, ::2])


def test_every_output_tells_the_ids_that_the_whole_clip_shows(
    tmp_path: Path,
) -> None:
    clip, count = back_behind_a_hand(tmp_path / "clip.mp4")
    names = [f"o.{kind}" for kind in ("jsonl", "csv", "vtt", "srt", "eaf", "boris", "mp4")]
    to = [part for name in names for part in ("--to", str(tmp_path / name))]
    command = [sys.executable, "-m", "ferstream", "score", str(clip), *to, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    (told,) = json.loads(done.stdout)["clips"]
    assert told["faces_seen"] == 1
    assert [face["id"] for face in told["faces"]] == [1]
    lines = (tmp_path / "o.jsonl").read_text("utf-8").splitlines()[1:]
    rows = [json.loads(line) for line in lines]
    assert [row["frame"] for row in rows] == list(range(count))
    assert {face["id"] for row in rows for face in row["faces"]} == {1}
    assert sum(len(row["faces"]) for row in rows) >= 17, "covered she is seen too"
    with (tmp_path / "o.csv").open(newline="", encoding="utf-8") as file:
        assert {row["face_id"] for row in csv.DictReader(file)} <= {"1", "-1"}
    for name in ("o.vtt", "o.srt", "o.eaf", "o.boris"):
        text = (tmp_path / name).read_text("utf-8")
        assert set(re.findall(r"Face (\d+)", text)) == {"1"}, name
    with av.open(str(tmp_path / "o.mp4")) as container:
        pictures = [p.to_ndarray(format="rgb24") for p in container.decode(video=0)]
    assert len(pictures) == count
    empty = pictures[12][:240, :320].mean()
    assert abs(empty - 110) < 25, "the pictures that waited are those of their frames"


def test_results_come_back_from_the_disk_as_they_were(portrait: Picture) -> None:
    with Recognizer() as recognizer:
        frames = [Frame(portrait, n / 10, n, "x") for n in range(3)]
        results = [recognizer.process(frame) for frame in frames]
    (first,) = results[0].faces
    blinked = replace(first, eyes=Eyes(0.75, 0.5, 0.04, Blink(0.125, 0.25), (3.0, -4.0)))
    results[0] = replace(results[0], faces=[blinked])
    results.append(Result(3, 0.3, "x", [], left_out=2))
    spool = Spool()
    for result in results:
        spool.put(frames[0], result)
    back = [waiting.result for waiting in spool]
    assert [one.to_json(135) for one in back] == [one.to_json(135) for one in results]
    for one, other in zip(back[:3], results[:3], strict=True):
        (found,), (expected,) = one.faces, other.faces
        assert requested(found, COLUMNS) == requested(expected, COLUMNS)
        assert np.array_equal(found.face.landmarks_xy, expected.face.landmarks_xy)
        assert found.among == expected.among
    spool.close()


def results(ids: list[list[int]], joined: dict[int, int]) -> list[Result]:
    told = [Result(n, n / 10, "fake", [fake_face(i) for i in row]) for n, row in enumerate(ids)]
    told[-1] = Result(told[-1].frame, told[-1].time_s, "fake", told[-1].faces, joined=joined)
    return told


def through(sink: SettledSink, told: list[Result]) -> None:
    sink.open(SinkInfo("fake"))
    for frame, result in zip(FakeSource(range(len(told))).frames(), told, strict=True):
        sink.write(frame, result)


def test_only_what_may_change_waits() -> None:
    kept = ListSink()
    sink = SettledSink([kept], None)
    through(sink, results([[1], [1, 2], [2], [], [1], [3], [1]], {3: 2}))
    assert [result.frame for result in kept.rows] == [0, 1, 2, 3, 4], "2 came beside 1"
    sink.close()
    ids = [[found.face.id for found in result.faces] for result in kept.rows]
    assert ids == [[1], [1, 2], [2], [], [1], [2], [1]]
    assert kept.closed == 1


def test_pictures_that_waited_are_read_again() -> None:
    class Numbered(FakeSource):
        def frames(self):  # type: ignore[no-untyped-def]
            for frame in super().frames():
                pixels = np.full((48, 64, 3), frame.index, np.uint8)
                yield Frame(pixels, frame.time_s, frame.index, frame.source)

    class Pictures(ListSink):
        def write(self, frame: Frame, result: Result) -> None:
            super().write(frame, result)
            assert frame.index == result.frame
            shown.append(int(frame.pixels[0, 0, 0]))

    shown: list[int] = []
    again = [Numbered(range(4)), Numbered(range(2))]
    told = results([[1], [], [2], [2]], {2: 1})
    sink = SettledSink([Pictures()], lambda: again[0])
    through(sink, told)
    sink.close()
    assert shown == [0, 0, 2, 3], "the first two were told at once, here from black ones"
    assert again[0].closed == 1
    sink = SettledSink([kept := ListSink()], lambda: again[1])
    through(sink, told)
    with pytest.raises(SinkError, match="fake has changed while it was scored"):
        sink.close()
    assert kept.closed == 1


def test_who_was_seen_beside_somebody_is_somebody_else(
    portrait: Picture, networks: tuple[FaceDetector, FaceMesh]
) -> None:
    """However alike: twins have two ids, and who is one with one of them is not the other."""

    def track(identity: int, x: float) -> Track:
        tracker = FaceTracker(None, *networks)
        shown = np.ascontiguousarray(np.roll(portrait, round(x), axis=1))
        tracker.update(Frame(shown, 0.0, 0, "x"))
        (one,) = tracker._tracks
        one.id = identity
        return one

    left, right, later = track(1, -60), track(2, 60), track(3, -60)
    together = SeenTogether()
    assert together.one_person([left, right, later]) == {2: 1, 3: 1}
    together.seen([left, right])
    together.seen([right, later])
    assert together.one_person([left, right, later]) == {3: 1}
    together.seen([left, later])
    assert together.one_person([left, right, later]) == {3: 1}, "one face seen as two"
    together.join(3, 4)
    assert together.one_person([left, right, track(4, -60)]) == {4: 1}
