"""What the viewer is given of a clip, and visits that end; without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ferstream.demo.errors import Busy, SessionGone
from ferstream.demo.session import Sessions
from ferstream.demo.view import MOST_MOMENTS, MomentSink
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sources.sample import SampleSource


@pytest.fixture(scope="module")
def found(recognizer: Recognizer) -> tuple[Frame, Result]:
    """A frame with a face, and what is read in it."""
    frame = next(iter(SampleSource().frames()))
    result = recognizer.process(frame)
    assert len(result.faces) == 1
    return frame, result


@pytest.mark.mediapipe
def test_long_clip_is_kept_in_coarser_steps(
    recognizer: Recognizer, found: tuple[Frame, Result]
) -> None:
    frame, result = found
    moments = MomentSink(recognizer.labels)
    moments.open(SinkInfo("clip"))
    count = 3 * MOST_MOMENTS
    for index in range(count):
        moments.write(frame, replace(result, frame=index, time_s=index / 30))
    moments.close()
    (face,) = moments.faces().values()
    assert MOST_MOMENTS / 2 < len(face["t"]) <= MOST_MOMENTS
    gaps = {round(b - a, 2) for a, b in zip(face["t"], face["t"][1:], strict=False)}
    assert len(gaps) == 1 and moments.step_s == pytest.approx(gaps.pop(), abs=0.01)
    assert len(face["bands"]) == 1
    assert face["bands"][0]["to"] == pytest.approx(count / 30, abs=0.2)


@pytest.mark.mediapipe
def test_face_away_leaves_a_gap(recognizer: Recognizer, found: tuple[Frame, Result]) -> None:
    frame, result = found
    moments = MomentSink(recognizer.labels)
    moments.open(SinkInfo("clip"))
    for index in range(240):
        there = index < 60 or index >= 180
        faces = result.faces if there else []
        moments.write(frame, replace(result, faces=faces, frame=index, time_s=index / 30))
    moments.close()
    (face,) = moments.faces().values()
    first, second = face["bands"]
    assert first["to"] == pytest.approx(2.0, abs=0.05)
    assert second["from"] == pytest.approx(6.0, abs=0.05)
    assert [t for t in face["t"] if 2.0 < t < 5.95] == []


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Iterator[Sessions]:
    found = Sessions(keep_s=1000, silent_s=100, most=2, clock=clock)
    found.start()
    yield found
    found.close()


def test_silent_visit_ends_and_its_folder_goes(sessions: Sessions, clock: Clock) -> None:
    quiet, busy = sessions.begin(), sessions.begin()
    ended: list[Path] = []
    quiet.on_end.append(lambda: ended.append(quiet.folder))
    (quiet.folder / "clip").write_text("pixels")
    clock.now_s = 99
    assert sessions.get(busy.token) is busy
    clock.now_s = 150
    sessions.sweep()
    assert ended == [quiet.folder] and not quiet.folder.exists()
    with pytest.raises(SessionGone):
        sessions.get(quiet.token)
    assert sessions.get(busy.token).folder.is_dir()


def test_no_visit_lasts_for_ever(sessions: Sessions, clock: Clock) -> None:
    visit = sessions.begin()
    for clock.now_s in range(0, 1000, 90):
        sessions.get(visit.token)
        sessions.sweep()
    clock.now_s = 1001
    sessions.sweep()
    with pytest.raises(SessionGone):
        sessions.get(visit.token)


def test_visitors_beyond_the_room_are_told(sessions: Sessions) -> None:
    first, _ = sessions.begin(), sessions.begin()
    with pytest.raises(Busy, match="try again"):
        sessions.begin()
    sessions.end(first.token)
    sessions.end(first.token)
    assert sessions.begin().token != first.token


def test_one_address_does_not_take_all_the_room(clock: Clock) -> None:
    sessions = Sessions(most=4, clock=clock)
    sessions.start()
    for _ in range(2):
        sessions.begin("192.0.2.1")
    with pytest.raises(Busy, match="from your address"):
        sessions.begin("192.0.2.1")
    assert sessions.begin("192.0.2.2").address == "192.0.2.2"
    sessions.close()


def test_close_leaves_nothing(clock: Clock) -> None:
    sessions = Sessions(clock=clock)
    sessions.start()
    root = sessions.begin().folder.parent
    assert root.stat().st_mode & 0o077 == 0
    sessions.close()
    assert not root.exists()
    with pytest.raises(Busy):
        sessions.begin()
