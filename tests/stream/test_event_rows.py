"""Events of faces that come, change and go, once each and at the right time."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.rows import BaseRowWriter, RowSink, line
from ferstream.stream.sinks.spans import EventRows
from ferstream.stream.sources.base import SourceEvent, State

from .fakes import face
from .receivers import ROW_INFO, give_rows

RATE_HZ = 20
JOY = face(label="happiness").emotions.label
SADNESS = face(label="sadness").emotions.label


def play(maker: EventRows, script: list[tuple[float, list[FaceResult]]]) -> list[dict[str, Any]]:
    """Give each list of faces for so many seconds from 100 s on; the rows, through JSON."""
    rows: list[Any] = []
    frame = 0
    for seconds, faces in script:
        for _ in range(round(seconds * RATE_HZ)):
            rows += maker.make(Result(frame, 100 + frame / RATE_HZ, "cam", faces))
            frame += 1
    return [json.loads(line(row)) for row in rows]


def brief(rows: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(row["event"], row["face"], row["label"]) for row in rows]


def test_a_face_comes_changes_and_goes() -> None:
    happy, sad = face(5, label="happiness"), face(5, label="sadness")
    rows = play(EventRows(), [(1.0, []), (3.0, [happy]), (3.0, [sad]), (3.0, [])])
    assert brief(rows) == [("new", 5, JOY), ("update", 5, SADNESS), ("end", 5, SADNESS)]
    new, update, end = rows
    assert {row["kind"] for row in rows} == {"event"} and {row["source"] for row in rows} == {"cam"}
    assert (new["time_s"], new["start_s"], new["duration_s"]) == (101.0, 101.0, 0.0)
    assert len(new["top"]) == 3 and new["top"][0]["word"] == JOY
    assert update["start_s"] == end["start_s"] == 101.0
    assert update["since_s"] == end["since_s"] == pytest.approx(104.0, abs=0.05)
    assert update["time_s"] == pytest.approx(update["since_s"] + 0.5, abs=0.2)
    assert update["before"] == {
        "expression": "happiness",
        "label": JOY,
        "uncertain": False,
        "start_s": 101.0,
        "duration_s": pytest.approx(update["since_s"] - 101.0, abs=1e-3),
    }
    assert (new["family"], update["family"]) == ("joy", "sadness")
    assert end["duration_s"] == pytest.approx(6.0, abs=0.1)
    assert end["time_s"] == pytest.approx(107 + 1.5, abs=0.1)


def test_what_lasts_too_short_to_be_read_is_no_event() -> None:
    flicker = [(0.15, [face(1, label="sadness")]), (0.15, [face(1, label="happiness")])] * 15
    rows = play(EventRows(), [(2.0, [face(1)]), *flicker, (2.0, [face(1)])])
    assert brief(rows) == [("new", 1, JOY)]


def test_updates_of_a_face_keep_their_distance() -> None:
    script = [(1.3, [face(1, label=label)]) for label in ("happiness", "sadness", "anger") * 6]
    rows = play(EventRows(), script)
    times_s = [row["time_s"] for row in rows]
    assert len(rows) > 6
    assert min(b - a for a, b in pairwise(times_s)) >= 0.5 - 1e-6
    for before, after in pairwise(rows[1:]):
        assert after["before"]["label"] == before["label"]
        assert after["before"]["start_s"] == before["since_s"]


def test_words_that_take_turns_are_no_event() -> None:
    """A smile is held; which of its words fits best changes from frame to frame."""
    smile = face(1)
    first, second, *others = smile.emotions.ranked
    swapped = ((second[0], first[1]), (first[0], second[1]), *others)
    other = replace(smile, emotions=replace(smile.emotions, ranked=swapped, label=second[0]))
    maker = EventRows()
    assert [row["event"] for row in play(maker, [(0.2, [smile]), (0.5, [other])] * 6)] == ["new"]
    (end,) = maker.finish()
    assert (end["event"], end["label"]) == ("end", second[0]), "the word that fitted it best"


def test_at_a_slow_rate_each_picture_is_told() -> None:
    maker = EventRows()
    told: list[Any] = []
    for n in range(4):
        shown = face(1, label="sadness" if n % 2 else "happiness")
        told += maker.make(Result(n, float(n), "clip", [shown]))
    told += maker.finish()
    assert brief(told) == [
        ("new", 1, JOY),
        *(("update", 1, label) for label in (SADNESS, JOY, SADNESS)),
        ("end", 1, SADNESS),
    ]
    assert [row["before"]["duration_s"] for row in told[1:-1]] == [1.0] * 3


def test_doubt_is_an_event_too() -> None:
    sure = face(1)
    unsure = replace(sure, emotions=replace(sure.emotions, uncertain=True))
    rows = play(EventRows(), [(2.0, [sure]), (3.0, [unsure])])
    assert [(row["event"], row["uncertain"]) for row in rows] == [("new", False), ("update", True)]


def test_several_faces_are_kept_apart() -> None:
    both = [face(1), face(2, label="sadness")]
    rows = play(EventRows(), [(2.0, both[:1]), (3.0, both), (3.0, both[1:])])
    assert brief(rows) == [("new", 1, JOY), ("new", 2, SADNESS), ("end", 1, JOY)]


def test_a_lost_camera_ends_every_face_at_once_and_later_faces_are_new() -> None:
    maker = EventRows()
    play(maker, [(1.0, [face(1), face(2)])])
    assert list(maker.on_event(SourceEvent("cam", State.stalled, 104.0))) == []
    ends = list(maker.on_event(SourceEvent("cam", State.lost, 105.0, "LOST")))
    assert [(row["event"], row["face"], row["time_s"]) for row in ends] == [
        ("end", 1, 100.95),
        ("end", 2, 100.95),
    ]
    assert {row["duration_s"] for row in ends} == {0.95}
    assert list(maker.on_event(SourceEvent("cam", State.ended, 106.0))) == []
    rows = list(maker.make(Result(99, 120.0, "cam", [face(3)])))
    assert [(row["event"], row["face"], row["start_s"]) for row in rows] == [("new", 3, 120.0)]


def test_the_end_of_the_run_ends_what_is_in_view() -> None:
    written: list[Any] = []

    class Kept(BaseRowWriter):
        def open(self, header: Any) -> None:
            written.append(header)

        def write(self, row: Any) -> None:
            written.append(row)

        def close(self) -> None:
            written.append("closed")

    sink = RowSink(EventRows(top=1), Kept())
    sink.open(ROW_INFO)
    give_rows(sink, [0.0, 0.1], [face(8)])
    sink.close()
    assert [row if row == "closed" else row["kind"] for row in written] == [
        *("header", "event", "event", "closed")
    ]
    assert brief(written[1:3]) == [("new", 8, JOY), ("end", 8, JOY)]
    assert len(written[1]["top"]) == 1
