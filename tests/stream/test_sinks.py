"""Files that results go into: readable whenever the run ends, refused where they cannot be."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.frame import Frame
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.base import Sink, SinkInfo, check_writable
from ferstream.stream.sinks.csv import CsvSink
from ferstream.stream.sinks.screen import LinesSink, WindowSink, check_display
from ferstream.stream.sinks.tally import FaceSummary, TallySink
from ferstream.stream.sinks.video import VideoSink
from tests import media

from .fakes import face, jsonl_sink

INFO = SinkInfo("clip.mp4", (64, 48), 30.0, about={"bundle": {"name": "fake"}})


def give(
    sink: Sink,
    times_s: list[float],
    faces: list[FaceResult] | None = None,
    size: tuple[int, int] = (64, 48),
) -> None:
    for index, time_s in enumerate(times_s):
        frame = Frame(media.picture(index, size), time_s, index, "clip.mp4")
        sink.write(frame, Result(index, time_s, "clip.mp4", faces or []))


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_jsonl_has_a_header_and_a_row_per_frame(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    sink = jsonl_sink(path, top=3)
    sink.open(INFO)
    give(sink, [0.0, 0.0333333])
    give(sink, [0.2], [face(7, label="sadness")])
    sink.close()
    header, first, second, third = json_lines(path)
    assert header["schema"] == 2 and header["kind"] == "header"
    assert header["bundle"] == {"name": "fake"}
    assert (header["source"], header["size"], header["rate_hz"]) == ("clip.mp4", [64, 48], 30.0)
    assert first == {"schema": 2, "source": "clip.mp4", "frame": 0, "time_s": 0.0, "faces": []}
    assert second["time_s"] == 0.033333
    (found,) = third["faces"]
    assert found["id"] == 7
    assert found["box"] == [20.0, 20.0, 60.0, 60.0]
    assert len(found["top"]) == 3
    assert found["top"][0]["word"] == found["label"]
    assert found["basic8"]["sadness"] == 0.8
    assert set(found) >= {"quality", "neutral", "intensity", "uncertain", "families", "attention"}


@pytest.mark.parametrize("kind", [jsonl_sink, CsvSink])
def test_rows_are_on_disk_before_the_next_frame(
    tmp_path: Path, kind: Callable[[Path], Sink]
) -> None:
    """As after a crash: the file is never closed."""
    path = tmp_path / "o"
    sink = kind(path)
    sink.open(INFO)
    for count in range(1, 4):
        give(sink, [count / 30], [face()])
        text = path.read_text()
        assert len(text.splitlines()) == count + 1
        assert text.endswith("\n")
    sink.close()


def test_csv_keeps_openfaces_habits(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    sink = CsvSink(path, top=2)
    sink.open(INFO)
    give(sink, [0.0])
    give(sink, [0.5], [face(1), face(2, (1, 2, 3, 4), "anger", attention=0.25)])
    sink.close()
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert list(rows[0])[:9] == [
        *("frame", "face_id", "timestamp", "confidence", "success"),
        *("box_x", "box_y", "box_w", "box_h"),
    ]
    assert [(row["frame"], row["face_id"], row["success"]) for row in rows] == [
        ("0", "-1", "0"),
        ("0", "1", "1"),
        ("0", "2", "1"),
    ]
    assert rows[0]["confidence"] == "0" and rows[0]["label"] == ""
    angry = rows[2]
    assert angry["timestamp"] == "0.5000"
    assert [angry[f"box_{side}"] for side in "xywh"] == ["1.0", "2.0", "3.0", "4.0"]
    assert float(angry["basic8_anger"]) == 0.8
    assert float(angry["family_anger"]) == 0.7
    assert (angry["top1"], angry["attention"]) == (angry["label"], "0.2500")
    assert float(angry["top1_p"]) > float(angry["top2_p"])
    assert "top3" not in angry
    assert all(None not in row and None not in row.values() for row in rows)


def read_back(path: Path) -> tuple[list[float], list[np.ndarray[Any, Any]]]:
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
        assert file.streams.video[0].codec_context.name == "h264"
        times_s = [float(frame.time or 0) for frame in frames]
        return times_s, [frame.to_ndarray(format="rgb24") for frame in frames]


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.mov"])
def test_annotated_video_keeps_uneven_times(tmp_path: Path, name: str) -> None:
    times_s = [0.0, 0.04, 0.05, 0.5, 0.51, 2.0]
    sink = VideoSink(tmp_path / name)
    sink.open(INFO)
    give(sink, times_s)
    sink.close()
    found_s, pictures = read_back(tmp_path / name)
    assert found_s == pytest.approx(times_s, abs=1e-3)
    assert [media.level(pixels) for pixels in pictures] == list(range(6))


def test_annotated_video_of_a_camera_begins_at_zero(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open(SinkInfo("0", None, None, live=True))
    give(sink, [5000.0, 5000.25])
    sink.close()
    assert read_back(tmp_path / "o.mp4")[0] == pytest.approx([0, 0.25], abs=1e-4)


@pytest.mark.parametrize(
    ("size", "expected"), [((1, 1), (2, 2)), ((65, 49), (66, 50)), ((3, 200), (4, 200))]
)
def test_annotated_video_has_even_sides(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open(INFO)
    give(sink, [0.0, 0.1], [face()], size)
    sink.close()
    pixels = read_back(tmp_path / "o.mp4")[1][0]
    assert (pixels.shape[1], pixels.shape[0]) == expected


def test_annotated_video_shrinks_what_players_cannot_show(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open(INFO)
    give(sink, [0.0], [], (8192, 64))
    sink.close()
    assert read_back(tmp_path / "o.mp4")[1][0].shape[:2] == (32, 4096)


def test_annotated_video_shows_the_face_and_leaves_the_frame_alone(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open(INFO)
    frame = Frame(np.full((240, 320, 3), 128, np.uint8), 0.0, 0, "clip.mp4")
    sink.write(frame, Result(0, 0.0, "clip.mp4", [face(1, (100, 80, 60, 60), "anger")]))
    sink.close()
    pixels = read_back(tmp_path / "o.mp4")[1][0].astype(int)
    assert (pixels[..., 0] - pixels[..., 2] > 60).sum() > 50
    assert (frame.pixels == 128).all()


def test_a_video_without_a_frame_leaves_no_file(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open(INFO)
    sink.close()
    sink.close()
    assert not (tmp_path / "o.mp4").exists()


def test_a_frame_of_another_size_is_fitted(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open(INFO)
    give(sink, [0.0], size=(64, 48))
    sink.write(Frame(media.picture(3, (32, 24)), 0.1, 1, "c"), Result(1, 0.1, "c", []))
    sink.close()
    assert [pixels.shape for pixels in read_back(tmp_path / "o.mp4")[1]] == [(48, 64, 3)] * 2


@pytest.mark.parametrize("kind", [jsonl_sink, CsvSink, VideoSink])
def test_a_place_that_cannot_be_written(tmp_path: Path, kind: Any) -> None:
    for path in (tmp_path, tmp_path / "none" / "o", Path("/proc/o.mp4")):
        with pytest.raises(SinkError, match=r"cannot write"):
            kind(path).open(INFO)
    for path in (tmp_path, tmp_path / "none" / "o"):
        with pytest.raises(SinkError):
            check_writable(path)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    for sink in (jsonl_sink(Path("/dev/full")), CsvSink(Path("/dev/full"))):
        with pytest.raises(SinkError, match="no space left on device"):
            sink.open(INFO)
        sink.close()


def test_no_display_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SinkError, match="use --no-show"):
        WindowSink(lambda: None).open(INFO)


@pytest.mark.slow
def test_a_display_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SinkError, match="display :987 cannot be opened"):
        check_display()


def tallied(*shown: tuple[float, str]) -> FaceSummary:
    """A face that shows these labels for so many seconds each, at 10 frames a second."""
    sink, frame = TallySink(), 0
    sink.open(INFO)
    for seconds, label in shown:
        for _ in range(round(10 * seconds)):
            give(sink, [frame / 10], [face(label=label)])
            frame += 1
    sink.close()
    (summary,) = sink.faces()
    assert summary.frames == frame and summary.to_s == pytest.approx((frame - 1) / 10)
    assert sum(summary.basic8.values()) == pytest.approx(1)
    json.dumps(summary.to_json())
    return summary


def test_a_clip_is_told_by_its_moments_of_expression() -> None:
    """A minute of a still face with one smile in it is a smile."""
    alone, mixed = (
        tallied((2, "happiness")),
        tallied((30, "neutral"), (1, "happiness"), (29, "neutral")),
    )
    assert mixed.label == alone.label == face().emotions.label
    assert mixed.ranked[0][1] == pytest.approx(alone.ranked[0][1], abs=0.02)
    assert mixed.intensity == pytest.approx(alone.intensity, abs=0.05)
    assert alone.expressive == 1.0
    assert mixed.expressive == pytest.approx(1 / 60, abs=0.01)


def test_a_flicker_in_a_still_clip_is_no_expression() -> None:
    summary = tallied((3, "neutral"), (0.2, "happiness"), (3, "neutral"))
    assert (summary.label, summary.expressive) == ("neutral", 0.0)
    assert summary.neutral > 0.75


def test_tally_weighs_by_attention_in_units_of_an_even_share() -> None:
    """A frame whose attention is an even share counts as much in a short window as in a long."""
    sink = TallySink()
    sink.open(INFO)
    for frame in range(20):
        sad = frame >= 10
        found = face(label="sadness", strength=0.9) if sad else face(label="sadness", strength=0.5)
        among = 10 if sad else 2
        give(sink, [frame / 10], [replace(found, attention=1 / among, among=among)])
    sink.close()
    (summary,) = sink.faces()
    one, two = (face(label="sadness", strength=s).emotions for s in (0.5, 0.9))
    weights = np.array([one.intensity, two.intensity])
    expected = (weights * [0.5, 0.9]).sum() / weights.sum()
    assert summary.basic8["sadness"] == pytest.approx(expected)


def test_tally_of_several_faces_and_of_frames_without_attention() -> None:
    sink = TallySink()
    sink.open(INFO)
    give(sink, [0.0, 0.1], [face(1, label="neutral", attention=0.0), face(2)])
    give(sink, [0.2], [face(2)])
    sink.close()
    first, second = sink.faces()
    assert (first.id, first.frames) == (2, 3)
    assert (second.label, second.frames) == ("neutral", 2)


def test_tally_of_basic_expressions_without_neutral() -> None:
    """A bundle may name them as it likes."""
    found = face(label="anger")
    read = found.emotions
    basic8 = {("calm" if name == "neutral" else name): p for name, p in read.basic8.items()}
    basic = replace(read.labels.basic, labels=tuple(basic8))
    read = replace(read, basic8=basic8, labels=replace(read.labels, basic=basic))
    sink = TallySink()
    sink.open(INFO)
    give(sink, [0.0, 0.1], [replace(found, emotions=read)])
    sink.close()
    (summary,) = sink.faces()
    assert summary.neutral == 0 and summary.basic8.keys() == basic8.keys()


def test_csv_names_its_purpose(tmp_path: Path) -> None:
    sink = CsvSink(tmp_path / "x.csv", 1)
    sink.open(SinkInfo("x", about={"purpose": "a study of smiles"}))
    sink.close()
    first, columns = (tmp_path / "x.csv").read_text().splitlines()
    assert first == "# purpose: a study of smiles"
    assert columns.startswith("frame,face_id")


def test_lines_come_once_a_second() -> None:
    file = io.StringIO()
    sink = LinesSink(top=2, file=file)
    sink.open(SinkInfo("camera", live=True))
    give(sink, [100 + k / 10 for k in range(25)], [face(3)])
    lines = file.getvalue().splitlines()
    assert lines[0] == "watching camera; Ctrl-C ends"
    assert [line.split()[0] for line in lines[1:]] == ["0.0", "1.0", "2.0"]
    assert all("face 3: " in line and line.count("%") == 2 for line in lines[1:])
