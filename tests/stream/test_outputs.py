"""Where results go: places told by their names, checked before anything runs."""

from __future__ import annotations

import csv
import json
import os
import threading
from pathlib import Path
from typing import Any, get_args

import av
import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.formats import FORMATS, SUFFIXES, Place, named, place_of, places_for, stems
from ferstream.stream.options import ToOption
from ferstream.stream.outputs import Outputs
from ferstream.stream.run import Route, run, run_many
from ferstream.stream.sinks.background import BackgroundSink
from ferstream.stream.sinks.blur import BlurSink
from ferstream.stream.sinks.rows import RowSink
from ferstream.stream.sinks.video import VideoSink
from tests import media

from .fakes import FakeRecognizer, FakeSource, face

SOURCES = ["a/x.mp4", "b/x.mp4", "b/y.mp4", "rtsp://u:secret@cam:554/live?x=1", "y.mp4"]


def quiet(line: str) -> None:
    raise AssertionError(line)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-", "jsonl"),
        ("out/X.JSONL", "jsonl"),
        ("tcp://127.0.0.1:9", "tcp"),
        ("MQTT://broker/p", "mqtt"),
        ("https://host/x.mp4", "http"),
        ("rtsp://127.0.0.1:8554/door", "rtsp"),
        ("x.vtt", "subtitles"),
        ("x.m3u8", "hls"),
    ],
)
def test_the_name_tells_the_kind(text: str, kind: str) -> None:
    assert place_of(text) == Place(named(kind), text)


def test_the_help_names_every_format() -> None:
    option: Any = get_args(ToOption)[1]
    for one in FORMATS:
        assert any(f"x{suffix}" in option.help for suffix in one.suffixes or ("x",)) or any(
            f"{scheme}://" in option.help for scheme in one.schemes
        ), one.name


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x.avi", "told by the ending"),
        ("folder", "told by the ending"),
        ("ftp://u:secret@host/x", "tcp://, http://"),
    ],
)
def test_what_cannot_be_told_is_refused(text: str, what: str) -> None:
    with pytest.raises(SinkError, match=what) as caught:
        place_of(text)
    assert "secret" not in str(caught.value)


def test_each_source_has_its_own_file() -> None:
    each = places_for(["out/{source}.vtt", "-", "rtsp://127.0.0.1:8554/{source}"], SOURCES)
    targets = [place.target for places in each for place in places if place.target != "-"]
    assert len(set(targets)) == len(targets) == 10
    assert not any("secret" in target for target in targets)
    with pytest.raises(SinkError, match=r"put \{source\} into its name"):
        places_for(["out.vtt"], SOURCES)
    assert places_for(["out.vtt"], SOURCES[:1]) == [[Place(named("subtitles"), "out.vtt")]]


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a/x.mp4", "b/x.mp4"], ["a_x", "b_x"]),
        (["x.mp4", "x.mov"], ["x.mp4", "x.mov"]),
        (["a/x.mp4", "a/x.mov", "b/x.mp4"], ["a_x.mp4", "a_x.mov", "b_x.mp4"]),
        (["1/a/x.mp4", "2/a/x.mp4", "x.mp4"], ["1_a_x", "2_a_x", "x"]),
        (["a/X.mp4", "b/x.mp4"], ["a_X", "b_x"]),
        (["a/x.mp4", "b/x.mp4", "a_x.mp4"], ["a_x", "b_x", "a_x-2"]),
        (["cam 12:30.mp4", "cam_12_30.mp4"], ["cam_12_30", "cam_12_30-2"]),
        (["100%.mp4", "-x.mp4", "笑顔.mp4"], ["100", "-x", "笑顔"]),
        (["../x.mp4", "x.mp4"], ["x", "x-2"]),
    ],
)
def test_clips_of_one_stem_are_called_by_what_tells_them_apart(
    sources: list[str], names: list[str]
) -> None:
    assert stems(sources) == names


def test_several_clips_share_one_table(tmp_path: Path) -> None:
    """By --csv and by --to; a clip that fails leaves what the others wrote."""
    for outputs in (Outputs(csv=tmp_path / "a.csv"), Outputs(to=(str(tmp_path / "b.csv"),))):
        each = outputs.for_sources(["one", "two", "three"])
        (target,) = {place.target for places in each for place in places}
        for name, places in zip(["one", "two", "three"], each, strict=True):
            unfinished = [place.unfinished for place in places]
            sinks = outputs.sinks(unfinished, quiet, live=False)
            if name == "two":
                places[0].discard()
                continue
            run(FakeSource([0.0, 0.5], name=name), FakeRecognizer(), sinks)
        assert not Path(target).exists()
        outputs.finish([place for places in each for place in places])
        rows = list(csv.DictReader(Path(target).read_text().splitlines()))
        assert [(row["source"], row["frame"]) for row in rows] == [
            ("one", "0"),
            ("one", "1"),
            ("three", "0"),
            ("three", "1"),
        ]
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "b.csv"}


def test_cameras_share_one_table_at_the_same_time(tmp_path: Path) -> None:
    outputs = Outputs(csv=tmp_path / "all.csv")
    names = [f"cam{k}" for k in range(4)]
    times_s = [k / 50 for k in range(50)]
    each = outputs.for_sources(names)
    routes = [
        Route(FakeSource(times_s, name=name), outputs.sinks(places, quiet, live=True))
        for name, places in zip(names, each, strict=True)
    ]
    run_many(routes, FakeRecognizer())
    outputs.finish([place for places in each for place in places])
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert {name: sum(row["source"] == name for row in rows) for name in names} == dict.fromkeys(
        names, 50
    )


def test_an_address_keeps_its_host() -> None:
    (places,) = places_for(["{source}.csv"], ["rtsp://u:p@127.0.0.1:8554/door"])
    assert places[0].target == "127.0.0.1_8554_door.csv"


@pytest.mark.parametrize(("aggregate_only", "known"), [(True, False), (False, True)])
def test_windows_of_one_face_tell_of_it_unless_forbidden(
    tmp_path: Path, aggregate_only: bool, known: bool
) -> None:
    path = tmp_path / "w.jsonl"
    outputs = Outputs(jsonl=path, rows="windows", aggregate_only=aggregate_only)
    (places,) = outputs.for_sources(["fake"])
    run(FakeSource(), FakeRecognizer(), outputs.sinks(places, quiet, live=False))
    row = json.loads(path.read_text().splitlines()[1])
    assert row["faces_mean"] == 1 and (row["shares"] is not None) == known


def test_several_sources_write_into_folders(tmp_path: Path) -> None:
    outputs = Outputs(jsonl=tmp_path / "rows", video=tmp_path / "video")
    each = outputs.for_sources(SOURCES)
    names = [Path(places[0].target).name for places in each]
    assert len(set(names)) == len(names)
    assert names[:3] == ["a_x.jsonl", "b_x.jsonl", "b_y.jsonl"]
    assert "secret" not in "".join(names)
    assert (tmp_path / "rows").is_dir() and (tmp_path / "video").is_dir()


def test_one_source_writes_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    assert Outputs(jsonl=path).for_sources(["x.mp4"]) == [[Place(named("jsonl"), str(path))]]


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    clip = media.video(tmp_path / "clip.mp4", 2)
    before = clip.read_bytes()
    with pytest.raises(SinkError, match="would replace the source"):
        Outputs(video=clip).for_sources([str(clip)])
    with pytest.raises(SinkError, match="would replace the source"):
        Outputs(to=(str(clip),)).for_sources([str(clip)])
    with pytest.raises(SinkError, match="name a folder"):
        Outputs(jsonl=clip).for_sources(["a", "b"])
    with pytest.raises(SinkError, match="make it first"):
        Outputs(csv=tmp_path / "no" / "o.csv").for_sources(["a"])
    with pytest.raises(SinkError, match="same place twice"):
        path = tmp_path / "o.csv"
        Outputs(csv=path, to=(str(path),)).for_sources(["a"])
    assert clip.read_bytes() == before


def test_an_output_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    names = [f"all{suffix}" for suffix in SUFFIXES if suffix != ".m3u8"]
    outputs = Outputs(to=tuple(str(tmp_path / name) for name in names))
    (places,) = outputs.for_sources(["fake"])
    sinks = outputs.sinks([place.unfinished for place in places], quiet, live=False)
    run(FakeSource([k / 10 for k in range(5)]), FakeRecognizer(), sinks)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.part" for name in names}
    for place in places:
        place.finish()
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    for name in ("all.mp4", "all.mkv", "all.mov"):
        with av.open(str(tmp_path / name)) as video:
            assert sum(1 for _ in video.decode(video=0)) == 5


def test_what_exists_is_kept_and_devices_are_written_directly(tmp_path: Path) -> None:
    path, link = tmp_path / "o.csv", tmp_path / "link.csv"
    path.write_text("mine")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(SinkError, match="exists: name another file, or say --overwrite"):
            Outputs(csv=name).for_sources(["a"])
    ((place,),) = Outputs(csv=link, overwrite=True).for_sources(["a"])
    Path(place.unfinished.target).write_text("new")
    assert path.read_text() == "mine"
    place.finish()
    assert link.is_symlink() and path.read_text() == "new"
    ((place,),) = Outputs(csv=Path("/dev/null")).for_sources(["a"])
    assert place.unfinished == place


def test_the_folder_of_a_pattern_is_made(tmp_path: Path) -> None:
    pattern = str(tmp_path / "new" / "{source}" / "rows.jsonl")
    Outputs(to=(pattern,)).for_sources(["a.mp4", "b.mp4"])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a", "b"]
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="file is a file: name a folder"):
        Outputs(to=(str(tmp_path / "file" / "{source}.csv"),)).for_sources(["a"])


@pytest.mark.parametrize(
    "suffix", [suffix for one in FORMATS if not one.rows for suffix in one.suffixes]
)
def test_aggregates_leave_no_place_for_single_people(tmp_path: Path, suffix: str) -> None:
    outputs = Outputs(to=(str(tmp_path / f"x{suffix}"),), aggregate_only=True)
    with pytest.raises(SinkError, match="would tell of single people"):
        outputs.for_sources(["a"])


def test_aggregates_hold_no_face(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    outputs = Outputs(to=(str(path),), aggregate_only=True, rows="frames", window_s=0.5)
    (places,) = outputs.for_sources(["fake"])
    recognizer = FakeRecognizer(lambda frame: [face(k) for k in range(1, 5)])
    source = FakeSource([k / 10 for k in range(20)])
    run(source, recognizer, outputs.sinks(places, quiet, live=False), about={"purpose": "a test"})
    header, *rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert header["purpose"] == "a test"
    assert len(rows) == 4 and {row["kind"] for row in rows} == {"window"}
    assert rows[0]["shares"]["happiness"] == pytest.approx(0.8)
    text = path.read_text()
    assert not any(f'"{word}"' in text for word in ("id", "box", "faces", "quality", "crop"))


def test_every_kind_of_file_is_written(tmp_path: Path) -> None:
    """One run into all of them; what is in each is held by the sinks' own tests."""
    names = [f"all{suffix}" for suffix in SUFFIXES]
    outputs = Outputs(to=tuple(str(tmp_path / name) for name in names), blur=True)
    (places,) = outputs.for_sources(["fake"])
    source = FakeSource([k / 10 for k in range(30)])
    run(source, FakeRecognizer(), outputs.sinks(places, quiet, live=False))
    for name in names:
        assert (tmp_path / name).stat().st_size > 100, name


def test_live_outputs_work_in_threads_of_their_own_and_masked_before(tmp_path: Path) -> None:
    outputs = Outputs(to=tuple(str(tmp_path / n) for n in ("a.jsonl", "a.mp4")), blur=True)
    (places,) = outputs.for_sources(["fake"])
    live = outputs.sinks(places, quiet, live=True)
    assert all(isinstance(sink, BackgroundSink) for sink in live)
    rows, video = outputs.sinks(places, quiet, live=False)
    assert isinstance(rows, RowSink) and isinstance(video, BlurSink)
    plain = outputs.masked(VideoSink(tmp_path / "b.mp4"))
    assert isinstance(plain, BlurSink)


def test_an_output_that_fails_does_not_end_a_live_run(tmp_path: Path) -> None:
    """A pipe whose reader leaves after the header."""
    said: list[str] = []
    pipe = tmp_path / "x.jsonl"
    os.mkfifo(pipe)
    left = threading.Event()

    def read_one_line() -> None:
        with pipe.open() as file:
            file.readline()
        left.set()

    threading.Thread(target=read_one_line).start()
    outputs = Outputs(to=(str(pipe),))
    (places,) = outputs.for_sources(["fake"])
    recognizer = FakeRecognizer()
    source = FakeSource([k / 10 for k in range(20)], live=True, before_each=lambda k: left.wait(10))
    run(source, recognizer, outputs.sinks(places, said.append, live=True), policy="every")
    assert len(recognizer.seen) == 20
    assert len(said) == 1 and "nobody reads" in said[0]
