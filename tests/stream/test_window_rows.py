"""Windows that count and average and name no one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.rows import line
from ferstream.stream.sinks.spans import WindowRows
from ferstream.stream.sources.base import SourceEvent, State

from .fakes import face

HAPPY, SAD = face(1, label="happiness"), face(2, label="sadness")


def play(maker: WindowRows, frames: list[tuple[float, list[FaceResult]]]) -> list[dict[str, Any]]:
    """The rows of frames with these times and faces, the last window too; through JSON."""
    rows = [
        row
        for index, (time_s, faces) in enumerate(frames)
        for row in maker.make(Result(index, time_s, "cam", faces))
    ]
    return [json.loads(line(row)) for row in [*rows, *maker.finish()]]


def test_counts_and_shares_per_window() -> None:
    frames = [(float(t), [HAPPY, HAPPY, SAD] if t % 2 else []) for t in range(100, 125)]
    rows = play(WindowRows(10.0), frames)
    assert [(row["from_s"], row["to_s"], row["frames"]) for row in rows] == [
        (100.0, 110.0, 10),
        (110.0, 120.0, 10),
        (120.0, 124.0, 5),
    ]
    first = rows[0]
    assert (first["frames_with_faces"], first["faces_mean"], first["faces_max"]) == (5, 1.5, 3)
    assert (first["readings"], first["at_least"]) == (15, 3)
    assert first["shares"]["happiness"] == pytest.approx((2 * 0.8 + 0.2 / 7) / 3, abs=1e-4)
    assert sum(first["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert first["families"]["joy"] == pytest.approx((2 * 0.7 + 0.06) / 3, abs=1e-4)
    assert len(first["words"]) == 10 and first["words"][0]["word"] == HAPPY.emotions.label
    assert (first["uncertain"], first["schema"], first["kind"]) == (0.0, 2, "window")


def test_nothing_names_a_person() -> None:
    (row,) = play(WindowRows(), [(0.0, [HAPPY, SAD, face(77)]), (0.1, [HAPPY])])
    assert set(row) == {
        *("schema", "kind", "source", "from_s", "to_s", "frames", "frames_with_faces"),
        *("faces_mean", "faces_max", "at_least", "readings", "shares", "families", "words"),
        *("valence", "arousal", "intensity", "uncertain"),
    }
    assert "77" not in json.dumps(row)


def test_one_persons_readings_are_not_given_away() -> None:
    """Alone in the window, or alone in all of its frames but one: only the crowd's frame counts."""
    (row,) = play(WindowRows(), [(t / 10, [SAD]) for t in range(50)])
    assert (row["frames_with_faces"], row["faces_max"], row["readings"]) == (50, 1, 0)
    for withheld in ("shares", "families", "words", "intensity", "uncertain"):
        assert row[withheld] is None
    crowd = [(5.0, [HAPPY, face(8, label="anger"), SAD])]
    (mixed,) = play(WindowRows(), [(t / 10, [SAD]) for t in range(50)] + crowd)
    (alone,) = play(WindowRows(), crowd)
    assert mixed["readings"] == 3 and mixed["shares"] == alone["shares"]


def test_ids_one_after_the_other_are_no_crowd() -> None:
    (row,) = play(WindowRows(), [(t / 10, [face(t)]) for t in range(50)])
    assert row["shares"] is None
    (row,) = play(WindowRows(at_least=1), [(t / 10, [face(t)]) for t in range(50)])
    assert row["shares"]["happiness"] == pytest.approx(0.8)


def test_a_pause_or_a_lost_camera_begins_a_window_anew() -> None:
    maker = WindowRows(10.0)
    rows = play(maker, [(0.0, []), (9.0, []), (55.5, []), (60.0, []), (65.5, [])])
    assert [(row["from_s"], row["to_s"], row["frames"]) for row in rows] == [
        (0.0, 10.0, 2),
        (55.5, 65.5, 2),
        (65.5, 65.5, 1),
    ]
    assert list(maker.make(Result(0, 100.0, "cam", []))) == []
    assert list(maker.make(Result(1, 103.0, "cam", []))) == []
    assert list(maker.on_event(SourceEvent("cam", State.stalled, 104.0))) == []
    (cut,) = maker.on_event(SourceEvent("cam", State.lost, 105.0))
    assert (cut["from_s"], cut["to_s"], cut["frames"]) == (100.0, 103.0, 2)
    assert list(maker.on_event(SourceEvent("cam", State.ended, 106.0))) == []
    assert list(maker.finish()) == []


@pytest.mark.parametrize(("window_s", "at_least"), [(0.0, 3), (-1.0, 3), (10.0, 0)])
def test_windows_that_cannot_be(window_s: float, at_least: int) -> None:
    with pytest.raises(ValueError, match="give a positive length"):
        WindowRows(window_s, at_least)
