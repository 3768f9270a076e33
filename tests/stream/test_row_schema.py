"""Rows are what their JSON Schema says: of frames, events, windows, of bundles old and new."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferstream.engines.labels import BUILT_IN
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream import report
from ferstream.stream.emotions import EmotionReader
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.run import run
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.csv import CsvSink
from ferstream.stream.sinks.jsonl import JsonlFile
from ferstream.stream.sinks.rows import FrameRows, RowMaker, RowSink, row_schema
from ferstream.stream.sinks.spans import EventRows, WindowRows
from ferstream.stream.sinks.table import COLUMNS
from ferstream.stream.sources import open_source
from ferstream.stream.sources.base import SourceEvent, State

from .fakes import face
from .test_emotions import judged_manifest

jsonschema = pytest.importorskip("jsonschema", reason="it holds the rows to their schema")

SCHEMA = row_schema()
HELD = jsonschema.Draft202012Validator(SCHEMA)
MAKERS: dict[str, list[RowMaker]] = {
    "frames": [FrameRows(), FrameRows(135, COLUMNS)],
    "events": [EventRows()],
    "windows": [WindowRows(1.0, 1), WindowRows(1.0, 3)],
}


def problems(row: Any) -> list[str]:
    return [error.message for error in HELD.iter_errors(row)]


def judged(happy: float, face_id: int = 1) -> FaceResult:
    """A face as a bundle of machine judgements reads it."""
    basic8 = np.full((1, 8), -2.0, np.float32)
    basic8[0, :2] = (1 - happy) * 6, happy * 6
    words = np.linspace(1, -6, 135, dtype=np.float32)[None]
    (emotions,) = EmotionReader(judged_manifest()).read(
        {
            "basic8": basic8,
            "emo135": words,
            "affect": np.array([[0.8 * happy, -0.3, happy]], np.float32),
            "fg33": np.full((1, 33), -1.0, np.float32),
        }
    )
    units = tuple(f"unit{n}" if n else "_neutral" for n in range(52))
    return replace(
        face(face_id), emotions=emotions, frame_emotions=emotions, blendshape_names=units
    )


def written(path: Path, maker: RowMaker, results: Iterable[Result], live: bool) -> list[Any]:
    sink = RowSink(maker, JsonlFile(path))
    sink.open(SinkInfo("clip", (64, 48), 25.0, live=live))
    for result in results:
        sink.write(
            Frame(np.zeros((48, 64, 3), np.uint8), result.time_s, result.frame, "clip"), result
        )
    if live:
        sink.on_event(SourceEvent("clip", State.lost, 12.3, "LOST", "the camera hung up", 1))
    sink.close()
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def shown(faces: Sequence[Sequence[FaceResult]]) -> list[Result]:
    return [Result(n, n / 10, "clip", list(found)) for n, found in enumerate(faces)]


@pytest.mark.parametrize("kind", list(MAKERS))
def test_rows_of_both_kinds_of_bundles(tmp_path: Path, kind: str) -> None:
    plain = [face(1), face(2, label="neutral"), face(3, label="anger")]
    clips: tuple[list[list[FaceResult]], ...] = (
        [[]] * 3 + [plain] * 20 + [[]] * 20,
        [[judged(0.0)]] * 20 + [[judged(1.0), judged(0.5, 2), judged(0.1, 3)]] * 20,
    )
    for live, clip in enumerate(clips):
        for maker in MAKERS[kind]:
            rows = written(tmp_path / "o.jsonl", maker, shown(clip), bool(live))
            assert len(rows) > 3
            # Rows of frames are many and alike.
            for row in rows[:: 4 if kind == "frames" else 1]:
                assert problems(row) == [], row
    if kind == "events":
        update = next(row for row in rows if row.get("event") == "update")
        assert update["valence"] == 0.8 and update["before"]["expression"] == "neutral"
    if kind == "windows":
        told = [row for row in rows if row.get("readings")]
        assert -1 < told[-1]["valence"] < 1 and told[-1]["readings"] == 30


def test_rows_of_a_real_run(tmp_path: Path) -> None:
    paths = {kind: tmp_path / f"{kind}.jsonl" for kind in MAKERS}
    with Recognizer() as recognizer:
        sinks = [RowSink(MAKERS[kind][-1], JsonlFile(path)) for kind, path in paths.items()]
        about = {**report.about(recognizer), "purpose": "a test"}
        run(open_source("sample"), recognizer, sinks, about=about, seconds=None)
    for path in paths.values():
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert rows[0]["window_s"]["recording"] == [-0.5, 0.5]
        assert len(rows) > 2
        for row in (*rows[:9], *rows[9::9], rows[-1]):
            assert problems(row) == [], row
    (first,) = json.loads(paths["frames"].read_text("utf-8").splitlines()[1])["faces"]
    assert list(first["words"]) == list(load_taxonomy("emo135").labels)
    assert first["blendshapes"]["mouthSmileLeft"] > 0.3 and len(first["fg33"]) == 33


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 1},
        {"kind": "frames"},
        {"time_s": None},
        {"faces": [{}]},
        {"more": 1},
    ],
)
def test_other_rows_are_no_rows(change: dict[str, Any]) -> None:
    (row,) = FrameRows().make(Result(0, 0.0, "clip", [judged(1.0)]))
    assert problems(row) == []
    assert problems({**row, **change})


@pytest.mark.parametrize("valence", [-1.2, "much"])
def test_readings_out_of_range_are_no_readings(valence: object) -> None:
    (row,) = FrameRows().make(Result(0, 0.0, "clip", [judged(1.0)]))
    row["faces"][0]["valence"] = valence
    assert problems(row)


def test_csv_tells_the_same(tmp_path: Path) -> None:
    found = replace(judged(1.0), frame_emotions=judged(0.0).emotions)
    old = replace(face(2), blendshape_names=found.blendshape_names)
    path = tmp_path / "o.csv"
    sink = CsvSink(path, 3, columns=COLUMNS)
    sink.open(SinkInfo("clip", labels=replace(BUILT_IN, blendshapes=found.blendshape_names)))
    pixels = np.zeros((48, 64, 3), np.uint8)
    for n, faces in enumerate(([found], [], [old])):
        sink.write(Frame(pixels, n / 10, n, "clip"), Result(n, n / 10, "clip", faces))
    sink.close()
    first, absent, plain = csv.DictReader(io.StringIO(path.read_text("utf-8")))
    emotions = found.emotions
    assert float(first["valence"]) == pytest.approx(0.8)
    assert float(first["arousal"]) == pytest.approx(-0.3)
    assert (first["label"], first["frame_label"]) == (emotions.label, "neutral")
    assert float(first["frame_basic8_neutral"]) == pytest.approx(
        found.frame_emotions.neutral, abs=1e-4
    )
    assert float(first["frame_valence"]) == 0.0
    assert "blendshape__neutral" not in first and first["blendshape_unit1"] == "0.0000"
    words = {name[5:]: float(p) for name, p in first.items() if name.startswith("word_")}
    assert words == pytest.approx(dict(emotions.ranked), abs=1e-4)
    assert float(first["fg33_cheerfulness"]) == pytest.approx(
        emotions.fine["cheerfulness"], abs=1e-4
    )
    assert absent["valence"] == absent["fg33_cheerfulness"] == ""
    assert plain["valence"] == "" and float(plain["intensity"]) > 0
    chance = dict(old.emotions.ranked)
    lust = sum(chance[word] for word in ("arousal", "desire", "lust", "passion", "infatuation"))
    assert float(plain["fg33_lust"]) == pytest.approx(lust, abs=1e-3), "its words summed up"
