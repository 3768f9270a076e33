"""The same clip tells the same story in every output."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ferstream.demo.view import MomentSink
from ferstream.stream.recognize import Recognizer
from ferstream.stream.run import run
from ferstream.stream.sinks.base import Sink
from ferstream.stream.sinks.boris import BorisSink
from ferstream.stream.sinks.csv import CsvSink
from ferstream.stream.sinks.elan import EafSink
from ferstream.stream.sinks.jsonl import JsonlFile
from ferstream.stream.sinks.rows import RowSink
from ferstream.stream.sinks.spans import EventRows
from ferstream.stream.sinks.subtitles import SubtitleSink
from ferstream.stream.sinks.tally import FaceSummary, TallySink

from .fakes import jsonl_sink
from .test_around import Shown

RATE_HZ = 25.0
SMILE_S = (2.0, 2.9)
STEP_S = 1 / RATE_HZ

Story = list[tuple[str, float, float]]
"""Label, start and end of each stretch of one face."""


class Told:
    """What the outputs say of a man who is neutral, smiles broadly for 0.9 s, and is neutral."""

    def __init__(self, clips_dir: Path, folder: Path) -> None:
        times_s = [n / RATE_HZ for n in range(round(5 * RATE_HZ))]
        smiling = [SMILE_S[0] <= t + 1e-6 < SMILE_S[1] for t in times_s]
        source = Shown(clips_dir, times_s, smiling)
        source.rate_hz = RATE_HZ
        self.folder = folder
        tally = TallySink()
        with Recognizer() as recognizer:
            moments = MomentSink(recognizer.labels)
            sinks: list[Sink] = [
                jsonl_sink(folder / "o.jsonl"),
                CsvSink(folder / "o.csv"),
                RowSink(EventRows(), JsonlFile(folder / "events.jsonl")),
                SubtitleSink(folder / "o.vtt"),
                SubtitleSink(folder / "o.srt"),
                EafSink(folder / "o.eaf"),
                BorisSink(folder / "o.boris"),
                moments,
                tally,
            ]
            run(source, recognizer, sinks)
        (self.summary,) = tally.faces()
        (self.page,) = moments.faces().values()

    @property
    def face(self) -> FaceSummary:
        return self.summary

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        lines = (self.folder / name).read_text("utf-8").splitlines()
        return (json.loads(line) for line in lines[1:])

    def stretches(self) -> dict[str, Story]:
        """The story of each output that tells of stretches."""
        (*updates, end) = [row for row in self.rows("events.jsonl") if row["event"] != "new"]
        events = [
            (b["label"], b["start_s"], b["start_s"] + b["duration_s"])
            for b in (row["before"] for row in updates)
        ]
        last_s = end["start_s"] + end["duration_s"] + STEP_S
        return {
            "events": [*events, (end["label"], end["since_s"], last_s)],
            "vtt": cues((self.folder / "o.vtt").read_text("utf-8")),
            "srt": joined(cues((self.folder / "o.srt").read_text("utf-8"))),
            "elan": elan(self.folder / "o.eaf"),
            "boris": boris(self.folder / "o.boris"),
            "page": [(band["label"], band["from"], band["to"]) for band in self.page["bands"]],
        }


def cues(text: str) -> Story:
    found = []
    for block in text.split("\n\n"):
        times = re.search(r"([\d:.,]+) --> ([\d:.,]+)", block)
        label = re.search(r"Face 1: (\w+)", block)
        if times and label:
            found.append((label[1], seconds(times[1]), seconds(times[2])))
    return found


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def joined(story: Story) -> Story:
    """Cues one after the other that say the same, as one; SRT cuts them for its notice."""
    runs = [list(run) for _, run in groupby(story, key=lambda part: part[0])]
    return [(run[0][0], run[0][1], run[-1][2]) for run in runs]


def elan(path: Path) -> Story:
    root = ElementTree.parse(path).getroot()
    slots = {e.get("TIME_SLOT_ID"): int(e.get("TIME_VALUE", "")) for e in root.iter("TIME_SLOT")}
    return [
        (
            element.findtext("ANNOTATION_VALUE") or "",
            slots[element.get("TIME_SLOT_REF1")] / 1000,
            slots[element.get("TIME_SLOT_REF2")] / 1000,
        )
        for element in root.iter("ALIGNABLE_ANNOTATION")
    ]


def boris(path: Path) -> Story:
    (observation,) = json.loads(path.read_text("utf-8"))["observations"].values()
    events = observation["events"]
    return [
        (start[2], start[0], stop[0]) for start, stop in zip(events[::2], events[1::2], strict=True)
    ]


@pytest.fixture(scope="module")
def told(clips_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return Told(clips_dir, tmp_path_factory.mktemp("story"))


def test_a_short_broad_smile_is_in_every_output_at_its_time(told: Told) -> None:
    stories = told.stretches()
    for name, story in stories.items():
        assert [label for label, _, _ in story] == ["neutral", told.face.label, "neutral"], name
        assert story[1][1] == pytest.approx(SMILE_S[0], abs=0.1), name
        assert story[1][2] == pytest.approx(SMILE_S[1], abs=0.1), name
        assert story[0][1] == 0 and story[2][2] == pytest.approx(5.0, abs=0.05), name


def test_all_outputs_agree_to_a_millisecond(told: Told) -> None:
    stories = told.stretches()
    reference = stories.pop("page")
    for name, story in stories.items():
        for (_, *times_s), (_, *same_s) in zip(story, reference, strict=True):
            assert times_s == pytest.approx(same_s, abs=1.01e-3), name


def test_frames_tell_the_same(told: Told) -> None:
    (_, start_s, end_s) = told.stretches()["elan"][1]
    rows = list(told.rows("o.jsonl"))
    with (told.folder / "o.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    for row, line in zip(rows, table, strict=True):
        (face,) = row["faces"]
        assert line["label"] == face["label"]
        assert float(line["timestamp"]) == pytest.approx(row["time_s"], abs=1e-4)
        assert line["frame_label"] == face["frame_emotions"]["label"]
        if abs(row["time_s"] - start_s) > 0.1 and abs(row["time_s"] - end_s) > 0.1:
            assert (face["label"] != "neutral") == (start_s <= row["time_s"] < end_s)


def test_the_headline_is_that_of_the_smile(told: Told) -> None:
    assert told.face.label != "neutral" and told.face.basic8["happiness"] > 0.9
    assert told.face.expressive == pytest.approx(0.9 / 5, abs=0.05)


def test_a_held_smile_keeps_its_word(clips_dir: Path) -> None:
    """Its first word in rows changes less than once a second, though near synonyms take turns."""
    from ferstream.stream.sources import open_source

    from .fakes import ListSink

    sink = ListSink()
    with Recognizer() as recognizer:
        run(open_source(str(clips_dir / "single_face.mp4")), recognizer, [sink])
    smiling = [
        (row.time_s, face.emotions.label)
        for row in sink.rows
        for face in row.faces
        if face.emotions.label != "neutral"
    ]
    changes = sum(a[1] != b[1] for a, b in pairwise(smiling))
    assert changes < smiling[-1][0] - smiling[0][0], smiling
