"""recognizer(source, ...): whatever it is given, results come out, with pictures and tables."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferstream import FaceOptions, Frame, Recognizer, Result, Results, to_df
from ferstream.stream.errors import (
    PartInvalid,
    PartMissing,
    PictureMissing,
    RecognizerUnusable,
    SinkError,
    SourceMissing,
    TablesMissing,
)
from ferstream.stream.sinks.table import COLUMNS
from ferstream.stream.sources.sample import SampleSource

from .fakes import FakeSource

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    with Recognizer(faces=FaceOptions(rotate=0)) as recognizer:
        yield recognizer


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return next(SampleSource().frames()).pixels


@pytest.fixture(scope="module")
def clip(recognizer: Recognizer) -> Results:
    return recognizer("sample", stride=4, end_s=1.0)


def reading() -> list[str]:
    return [one.name for one in threading.enumerate() if "faces" in one.name or "read " in one.name]


def test_a_clip_is_a_list_or_an_iterator(recognizer: Recognizer, clip: Results) -> None:
    assert isinstance(clip, list) and [result.frame for result in clip] == list(range(0, 30, 4))
    assert [round(result.time_s, 3) for result in clip] == [
        round(n / 30, 3) for n in range(0, 30, 4)
    ]
    assert {result.source for result in clip} == {"sample"}
    assert all(result.picture is None for result in clip), "a clip's pictures are not kept"
    streamed = recognizer("sample", stream=True, stride=4, end_s=1.0)
    assert not isinstance(streamed, list)
    for one, other in zip(streamed, clip, strict=True):
        assert one.to_json() == other.to_json() and one.picture is not None
    assert recognizer._finder.trackers == {}, "nothing is kept of what has ended"


def test_an_iterator_that_is_dropped_stops_reading(recognizer: Recognizer) -> None:
    source = FakeSource([n / 10 for n in range(9000)])
    results = recognizer(source, stream=True)
    assert reading() == [], "nothing is read before it is asked for"
    assert next(results).faces == [] and reading() != []
    results.close()  # type: ignore[attr-defined]
    assert reading() == [] and source.closed
    with pytest.raises(StopIteration):
        next(results)


def test_a_list_has_the_ids_that_the_whole_clip_shows(
    recognizer: Recognizer, clip: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = recognizer.finish

    def joining(source: str) -> list[Result]:
        return [replace(result, joined={1: 7}) for result in finish(source)]

    monkeypatch.setattr(recognizer, "finish", joining)
    listed = recognizer("sample", stride=4, end_s=1.0)
    streamed = recognizer("sample", stream=True, stride=4, end_s=1.0)
    for results, wanted in ((listed, 7), (list(streamed), 1)):
        assert [result.frame for result in results] == [result.frame for result in clip]
        assert {face.id for result in results for face in result.faces} == {wanted}


def test_two_calls_at_once_do_not_mix(recognizer: Recognizer, clip: Results) -> None:
    both = zip(
        *(recognizer("sample", stream=True, stride=4, end_s=1.0) for _ in range(2)),
        strict=True,
    )
    for (one, other), alone in zip(both, clip, strict=True):
        assert one.to_json() == other.to_json() == alone.to_json()


def test_whatever_holds_pictures_and_lists_of_all(
    recognizer: Recognizer, pixels: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(pixels).save(path)
    given: list[Any] = [
        *(pixels, Image.fromarray(pixels), path.read_bytes(), path, str(path)),
        *(Frame(pixels, 0.0, 0, "mine"), Frame(pixels, 0.1, 1, "mine"), SampleSource()),
    ]
    results = recognizer(given, end_s=None)
    single, frames = results[:5], results[5:7]
    names = ["picture 1", "picture 2", "picture 3", str(path), str(path)]
    assert [result.source for result in single] == names
    assert len(results) == 7 + 108 and results[-1].source == "sample"
    first = single[0].faces[0].to_json()
    for result in single:
        found = result.faces[0].to_json()
        assert found["basic8"] == pytest.approx(first["basic8"], abs=2e-3)
        assert found["box"] == pytest.approx(first["box"], abs=0.1)
        assert found["attention"] == 1.0
    assert [result.faces[0].attention == 1 for result in frames] == [True, False]
    counted: list[Any] = [pixels, path, iter([pixels, pixels]), [], ()]
    assert [len(recognizer(one)) for one in counted] == [1, 1, 2, 0, 0]
    assert recognizer(path)[0].picture is not None, "a picture's file is a single picture too"
    assert len(recognizer([pixels] * 9, stride=4)) == 3


def test_a_region_maps_back_and_leaves_others_out(recognizer: Recognizer, pixels: Pixels) -> None:
    blank = np.full_like(pixels, 90)
    two = np.hstack([pixels, blank, pixels])
    width = pixels.shape[1]
    (whole,) = recognizer(two)
    (part,) = recognizer(two, region=(2 * width, 0, width, pixels.shape[0]))
    (shares,) = recognizer(two, region=(2 / 3, 0, 1 / 3, 1))
    assert len(whole.faces) == 2 and len(part.faces) == len(shares.faces) == 1
    right = max(whole.faces, key=lambda face: face.box[0])
    found = part.faces[0]
    assert found.box == shares.faces[0].box
    assert found.box == pytest.approx(right.box, abs=8)
    assert np.abs(found.landmarks_xy - right.landmarks_xy).mean() < 4
    assert found.emotions.label == right.emotions.label
    assert [len(recognizer(two, max_faces=1)[0].faces), len(recognizer(blank)[0].faces)] == [1, 0]
    score = found.quality.score
    assert len(recognizer(pixels, min_confidence=score - 0.1)[0].faces) == 1
    assert recognizer(pixels, min_confidence=min(score + 0.1, 1))[0].faces == []


WRONG: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "stride": ("sample", {"stride": 0}, PartInvalid, "stride 0"),
    "times": ("sample", {"start_s": 2, "end_s": 1}, PartInvalid, "the end comes after"),
    "late": ("sample", {"start_s": 60}, PartMissing, "sample ends at 3.60 s"),
    "region": ("sample", {"region": (0, 0, 999, 9)}, PartMissing, "640 x 480"),
    "faces": ("sample", {"max_faces": 0}, ValueError, "max_faces 0"),
    "half a face": ("sample", {"max_faces": 1.5}, ValueError, "max_faces 1.5: a whole number"),
    "a word": ("sample", {"min_confidence": "much"}, ValueError, "min_confidence much: 0 to 1"),
    "confidence": ("sample", {"min_confidence": 1.5}, ValueError, "min_confidence 1.5"),
    "nowhere": ("nowhere.mp4", {}, SourceMissing, "no file nowhere.mp4"),
    "None": (None, {}, TypeError, "NoneType is no picture"),
    "True": (True, {}, TypeError, "bool is no picture"),
    "floats": (np.full((9, 9, 3), 7.0), {}, ValueError, "divide by 255"),
    "second": ([np.zeros((9, 9), np.uint8), 0.5], {}, TypeError, "picture 2 of 2: float"),
    "no time": (np.zeros((9, 9), np.uint8), {"end_s": 3}, PartInvalid, "a picture has no time"),
    "endless": (FakeSource(live=True), {}, PartInvalid, "fake has no end: say stream=True"),
    "unknown": ("sample", {"striide": 3}, TypeError, "striide"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_calls_are_refused_in_one_line(recognizer: Recognizer, what: str) -> None:
    given, options, kind, says = WRONG[what]
    with pytest.raises(kind, match=says) as refused:
        recognizer(given, **options)
    assert "\n" not in str(refused.value)
    assert reading() == []


def test_a_closed_recognizer_says_so_at_once() -> None:
    closed = Recognizer()
    closed.close()
    with pytest.raises(RecognizerUnusable, match="make another"):
        closed("sample", stream=True)


def test_results_are_shown_and_saved(
    recognizer: Recognizer, pixels: Pixels, clip: Results, tmp_path: Path
) -> None:
    (result,) = recognizer(pixels)
    shown = result.plot()
    assert shown.shape == pixels.shape and shown.dtype == np.uint8 and (shown != pixels).any()
    assert result.picture is not None
    assert np.array_equal(result.picture, pixels), "drawn on a copy"
    png = result._repr_png_()
    assert png is not None
    assert (np.asarray(Image.open(io.BytesIO(png))) == shown).all()
    assert result.save(tmp_path / "o.png") == tmp_path / "o.png"
    assert (np.asarray(Image.open(tmp_path / "o.png")) == shown).all()
    assert result.top(2) == [result.faces[0].emotions.top(2)] == [result.faces[0].top(2)]
    assert clip[0]._repr_png_() is None
    assert (clip[0].plot(pixels) != pixels).any()
    with pytest.raises(PictureMissing, match="pictures=True"):
        clip[0].plot()
    (kept, *_) = recognizer("sample", end_s=0.1, pictures=True)
    assert kept.picture is not None and kept.plot().shape == kept.picture.shape
    for wrong in (tmp_path / "no" / "o.png", tmp_path / "o.xyz", tmp_path):
        with pytest.raises(SinkError):
            result.save(wrong)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_tell_what_rows_tell(
    recognizer: Recognizer, clip: Results, library: Any
) -> None:
    pytest.importorskip(library, reason="an extra: tables")
    nobody = recognizer(np.zeros((60, 80, 3), np.uint8))
    table = to_df([*nobody, *clip], library, columns=COLUMNS, top=3)
    rows = table.to_dicts() if library == "polars" else table.to_dict("records")
    assert len(rows) == 1 + len(clip)
    assert (rows[0]["face_id"], rows[0]["success"], rows[0]["source"]) == (-1, 0, "picture 1")
    for row, result in zip(rows[1:], clip, strict=True):
        (face,) = result.faces
        assert (row["frame"], row["face_id"], row["source"]) == (result.frame, face.id, "sample")
        assert row["timestamp"] == result.time_s and row["box_w"] == face.box[2]
        assert row["label"] == face.emotions.label and row["top1"] == face.top(1)[0][0]
        assert row["word_joy"] == dict(face.emotions.ranked)["joy"]
        smile = [face.blendshapes[f"mouthSmile{side}"] for side in ("Left", "Right")]
        assert row["AU12"] == pytest.approx(np.mean(smile))
        assert row["landmark1_y"] == face.landmarks_xy[1, 1]
    assert "top4" not in rows[0]
    names = list(clip.to_df(library).columns)
    assert names == list(clip[0].to_df(library).columns) == list(Results([]).to_df(library).columns)
    assert json.loads(json.dumps(clip.to_json(1)))[0] == clip[0].to_json(1)


def test_wrong_tables(clip: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="library 'excel': pandas or polars"):
        clip.to_df("excel")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top -1: a whole number of words"):
        clip.to_df(top=-1)
    for wrong in (["smiles"], "words"):
        with pytest.raises(ValueError, match="a list of blendshapes, units"):
            clip.to_df(columns=wrong)  # type: ignore[arg-type]
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TablesMissing, match=r"pip install 'ferstream\[tables\]'"):
        to_df([Result(0, 0.0, "x", [])])
