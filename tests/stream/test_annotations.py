"""Annotations for ELAN and BORIS: valid, complete, and true to the episodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.frame import Frame
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.annotation import AnnotationSink
from ferstream.stream.sinks.base import NOTICE, SinkInfo
from ferstream.stream.sinks.boris import BorisSink
from ferstream.stream.sinks.elan import EafSink

from .fakes import face

INFO = SinkInfo("camera", (64, 48), 25.0, about={"purpose": "a <test> & \x00more"})
JOYFUL, SAD = (face(label=name).emotions.label for name in ("happiness", "sadness"))


def two_faces(time_s: float) -> list[FaceResult]:
    """Face 1 joyful for four seconds, then sad; face 2 there from 2 to 6 s, in doubt."""
    faces = [face(1, label="happiness" if time_s < 4 else "sadness")]
    if 2 <= time_s < 6:
        other = face(2, label="neutral")
        faces.append(replace(other, emotions=replace(other.emotions, uncertain=True)))
    return faces


def give(
    sink: AnnotationSink,
    seconds: float = 10,
    faces_at: Callable[[float], list[FaceResult]] = two_faces,
    info: SinkInfo = INFO,
    begin_s: float = 0.0,
    at_last: Callable[[], object] = lambda: None,
) -> None:
    """A source's frames from its start to its end."""
    sink.open(info)
    pixels = np.zeros((48, 64, 3), np.uint8)
    for index in range(round(seconds * 25)):
        time_s = begin_s + index / 25
        found = Result(index, time_s, "camera", faces_at(index / 25))
        sink.write(Frame(pixels, time_s, index, "camera"), found)
    at_last()
    sink.close()


def valid_eaf(path: Path) -> ElementTree.Element:
    """The document, held to the schema."""
    etree = pytest.importorskip("lxml.etree", reason="lxml validates the documents")
    schema = etree.XMLSchema(file=str(Path(__file__).with_name("eaf_subset.xsd")))
    schema.assertValid(etree.parse(str(path)))
    return ElementTree.parse(path).getroot()


def tier(root: ElementTree.Element, name: str) -> list[tuple[float | None, float | None, str]]:
    """Start, end and value of a tier's annotations; no times for those that refer to others."""
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE", "")) for slot in root[1]}
    found: list[tuple[float | None, float | None, str]] = []
    (holder,) = (element for element in root.iter("TIER") if element.get("TIER_ID") == name)
    for (annotation,) in holder:
        value = annotation.findtext("ANNOTATION_VALUE") or ""
        if annotation.tag == "ALIGNABLE_ANNOTATION":
            start, end = (slots[annotation.get(f"TIME_SLOT_REF{n}")] / 1000 for n in (1, 2))
            found.append((start, end, value))
        else:
            found.append((None, None, value))
    return found


def test_eaf_has_tiers_per_face(tmp_path: Path) -> None:
    path = tmp_path / "o.eaf"
    give(EafSink(path))
    root = valid_eaf(path)
    tiers = [element.get("TIER_ID") for element in root.iter("TIER")]
    kinds = ["expression", "basic", "family", "probability"]
    kinds += ["intensity", "valence", "arousal", "certainty"]
    assert tiers == [f"{kind}@Face {number}" for number in (1, 2) for kind in kinds]
    first, second = tier(root, "expression@Face 1")
    assert (first[0], first[2], second[2], second[1]) == (0.0, JOYFUL, SAD, 10.0)
    assert first[1] == second[0]
    assert tier(root, "expression@Face 2") == [(2.0, 6.0, "neutral")]
    assert [value for _, _, value in tier(root, "family@Face 1")] == ["joy", "sadness"]
    assert [value for _, _, value in tier(root, "basic@Face 1")] == ["happiness", "sadness"]
    assert [value for _, _, value in tier(root, "valence@Face 1")] == ["", ""], "not told"
    assert float(tier(root, "intensity@Face 2")[0][2]) == pytest.approx(0.2)
    assert [value for _, _, value in tier(root, "certainty@Face 2")] == ["uncertain"]
    assert float(tier(root, "probability@Face 2")[0][2]) == pytest.approx(0.8)


def test_eaf_says_what_it_is_and_links_no_camera(tmp_path: Path) -> None:
    path = tmp_path / "o.eaf"
    give(EafSink(path), 1)
    root = valid_eaf(path)
    lines = [element.text for element in root.iter("PROPERTY")]
    assert lines[:2] == [NOTICE, "Source: camera"]
    assert "Purpose: a <test> & more" in lines
    assert root.find("HEADER/MEDIA_DESCRIPTOR") is None


def test_eaf_links_its_media(tmp_path: Path) -> None:
    media = tmp_path / "a clip ü.mp4"
    media.touch()
    (tmp_path / "notes").mkdir()
    path = tmp_path / "notes" / "o.eaf"
    around = tmp_path / "notes" / ".." / media.name
    give(EafSink(path), 1, info=replace(INFO, source=str(around)))
    link = valid_eaf(path).find("HEADER/MEDIA_DESCRIPTOR")
    assert link is not None
    assert link.get("MEDIA_URL") == media.as_uri()
    assert link.get("MIME_TYPE") == "video/mp4"
    assert link.get("RELATIVE_MEDIA_URL") == "../a clip ü.mp4"


def boris(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The project and its one observation, held to what BORIS relies on."""
    project = json.loads(path.read_text("utf-8"))
    assert project["project_format_version"] == "7.0"
    (observation,) = project["observations"].values()
    codes = {entry["code"] for entry in project["behaviors_conf"].values()}
    categories = {entry["category"] for entry in project["behaviors_conf"].values()}
    assert categories <= set(project["behavioral_categories"])
    subjects = {entry["name"] for entry in project["subjects_conf"].values()}
    times = [event[0] for event in observation["events"]]
    assert times == sorted(times)
    running: dict[tuple[str, ...], float] = {}
    for time_s, subject, code, modifier, *_ in observation["events"]:
        assert subject in subjects and code in codes and modifier in ("sure", "uncertain")
        started_s = running.pop((subject, code, modifier), None)
        if started_s is None:
            running[subject, code, modifier] = time_s
        else:
            assert time_s > started_s
    assert not running, "every state that starts stops"
    return project, observation


def test_boris_has_the_episodes_as_states(tmp_path: Path) -> None:
    path = tmp_path / "o.boris"
    give(BorisSink(path))
    project, observation = boris(path)
    assert observation["type"] == "LIVE"
    assert NOTICE in project["project_description"]
    told = [tuple(event[1:4]) for event in observation["events"]]
    joyful, sad = ("Face 1", JOYFUL, "sure"), ("Face 1", SAD, "sure")
    doubt = ("Face 2", "neutral", "uncertain")
    assert told == [joyful, doubt, joyful, sad, doubt, sad]
    times = [event[0] for event in observation["events"]]
    assert (times[0], times[1], times[4], times[5]) == (0.0, 2.0, 6.0, 10.0)
    assert times[2] == times[3]
    assert observation["events"][0][4].startswith("p 0.300")


def test_boris_links_its_media(tmp_path: Path) -> None:
    media = tmp_path / "clip.mp4"
    media.touch()
    path = tmp_path / "o.boris"
    give(BorisSink(path), info=replace(INFO, source=str(media)))
    _, observation = boris(path)
    assert observation["type"] == "MEDIA"
    assert observation["file"]["1"] == [str(media)]
    assert observation["media_info"]["length"] == {str(media): 10.0}
    assert observation["media_info"]["fps"] == {str(media): 25.0}
    assert {len(event) for event in observation["events"]} == {6}


def changing(time_s: float) -> list[FaceResult]:
    """Four faces that come, go, change and are in doubt."""
    labels = ["happiness", "sadness", "neutral", "anger"]
    found = []
    for number in range(1, 5):
        shown = face(number, label=labels[int(time_s / (2.1 + number) + number) % 4])
        doubt = int(time_s / 3.3 + number) % 3 == 0
        if (time_s + 3.1 * number) % (7 + number) > 2.4:
            found.append(replace(shown, emotions=replace(shown.emotions, uncertain=doubt)))
    return found


def test_many_faces_coming_and_going(tmp_path: Path) -> None:
    give(EafSink(tmp_path / "o.eaf"), 60, changing)
    give(BorisSink(tmp_path / "o.boris"), 60, changing)
    root = valid_eaf(tmp_path / "o.eaf")
    count = 0
    for number in range(1, 5):
        own = tier(root, f"expression@Face {number}")
        assert all((before[1] or 0) <= (after[0] or 0) for before, after in pairwise(own))
        count += len(own)
    slots = [int(slot.get("TIME_VALUE", "")) for slot in root.iter("TIME_SLOT")]
    assert slots == sorted(slots) and len(slots) == 2 * count
    _, observation = boris(tmp_path / "o.boris")
    assert len(observation["events"]) == 2 * count > 30


@pytest.mark.parametrize(("kind", "suffix"), [(EafSink, "eaf"), (BorisSink, "boris")])
def test_nobody_and_nothing(
    tmp_path: Path, kind: type[EafSink] | type[BorisSink], suffix: str
) -> None:
    path = tmp_path / f"o.{suffix}"
    give(kind(path), 1, lambda time_s: [])
    valid_eaf(path) if suffix == "eaf" else boris(path)
    give(kind(path), 0.04, lambda time_s: [face()])
    valid_eaf(path) if suffix == "eaf" else boris(path)
    sink = kind(path)
    sink.close()
    with pytest.raises(ValueError, match="open the sink"):
        sink.write(Frame(np.zeros((4, 4, 3), np.uint8), 0.0, 0, "c"), Result(0, 0.0, "c", []))


def test_a_live_source_counts_from_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "o.eaf"
    give(EafSink(path), info=replace(INFO, live=True), begin_s=90_000.0)
    assert tier(valid_eaf(path), "expression@Face 2") == [(2.0, 6.0, "neutral")]


@pytest.mark.parametrize(("kind", "suffix"), [(EafSink, "eaf"), (BorisSink, "boris")])
def test_a_killed_run_leaves_a_whole_document(
    tmp_path: Path, kind: type[EafSink] | type[BorisSink], suffix: str
) -> None:
    path, found = tmp_path / f"o.{suffix}", []

    def look() -> None:
        if suffix == "eaf":
            found.extend(tier(valid_eaf(path), "expression@Face 1"))
        else:
            found.extend(boris(path)[1]["events"])

    give(kind(path), 65, changing, at_last=look)
    assert len(found) > 5
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"cannot write .*o\.eaf: no such file or directory"):
        EafSink(tmp_path / "absent" / "o.eaf").open(INFO)
