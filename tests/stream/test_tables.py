"""Tables: Parquet and CSV tell the same, of one source or many, and of clips in all."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferstream import main, save_table
from ferstream.engines.labels import BUILT_IN
from ferstream.stream.errors import SinkError
from ferstream.stream.formats import place_of
from ferstream.stream.frame import Frame
from ferstream.stream.outputs import Outputs
from ferstream.stream.report import failure_json, summary_json
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.base import Sink, SinkInfo, SinkOptions
from ferstream.stream.sinks.tally import ClipSink, write_clips
from ferstream.stream.sinks.tally import columns as clip_columns
from ferstream.stream.summary import StageTimes, Summary
from tests import media
from tests.engines import tiny

from .fakes import face

parquet = pytest.importorskip("pyarrow.parquet", reason="an extra: tables")
from ferstream.stream.sinks import parquet as module  # noqa: E402  needs it

NO_TIMES = StageTimes(0, 0.0, 0.0)
ABOUT = {"bundle": {"name": "x", "version": "1"}, "options": {"stride": 2}, "purpose": "a test"}


def give(sink: Sink, shown: Sequence[Sequence[FaceResult]], name: str = "clip") -> None:
    """Ten frames a second."""
    sink.open(SinkInfo(name, (64, 48), 10.0, about=ABOUT))
    add(sink, shown, name)
    sink.close()


def add(sink: Sink, shown: Sequence[Sequence[FaceResult]], name: str, first: int = 0) -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    for at, faces in enumerate(shown, first):
        result = Result(at, at / 10, name, list(faces))
        sink.write(Frame(pixels, at / 10, at, name), result)


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a table, numbers as numbers; None for what is empty."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    with path.open(encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(lines)]


def _value(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


def alike(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> None:
    assert len(one) == len(other)
    for mine, yours in zip(one, other, strict=True):
        assert list(mine) == list(yours)
        for name, value in mine.items():
            if isinstance(value, float):
                # CSV has times to four digits, Parquet numbers of 32 bits.
                assert value == pytest.approx(yours[name], rel=1e-6, abs=6e-5), name
            else:
                assert value == yours[name], name


def test_parquet_tells_what_csv_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", 600)
    shown = [[face(1), face(2, label="anger")], [], [face(2)]] * 10
    made = Outputs(to=(str(tmp_path / "x.csv"), str(tmp_path / "x.parquet")), columns=("words",))
    for place in made.for_sources(["clip"])[0]:
        (sink,) = made.sinks([place], print, live=False)
        give(sink, shown)
    rows = read(tmp_path / "x.parquet")
    alike(rows, read(tmp_path / "x.csv"))
    assert [row["face_id"] for row in rows[:4]] == [1, 2, -1, 2]
    assert rows[0]["success"] == 1 and rows[2]["label"] is None and rows[2]["word_joy"] is None
    file = parquet.ParquetFile(tmp_path / "x.parquet")
    assert file.metadata.num_row_groups > 4, "written as it goes"
    facts = json.loads(file.schema_arrow.metadata[b"ferstream"])
    assert facts == {"schema": 2, **ABOUT}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.parquet"]


def test_one_table_of_several_sources_has_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    outputs = Outputs(to=(str(path),))
    each = outputs.for_sources(["a", "b"])
    assert all(place.shared for places in each for place in places)
    sinks = [outputs.sinks([p.unfinished for p in places], print, live=False)[0] for places in each]
    for sink, name in zip(sinks, "ab", strict=True):
        sink.open(SinkInfo(name, about=ABOUT))
    for at in range(3):
        for sink, name in zip(sinks, "ab", strict=True):
            add(sink, [[face(1)]], name, at)
    for sink in sinks:
        sink.close()
    assert not path.exists()
    outputs.finish([place for places in each for place in places])
    rows = read(path)
    assert [(row["source"], row["frame"]) for row in rows] == [
        (name, at) for at in range(3) for name in "ab"
    ]
    with pytest.raises(SinkError, match=r"all\.parquet exists"):
        Outputs(to=(str(path),)).for_sources(["a"])


def test_parts_are_joined_to_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", 300)
    parts = [tmp_path / f"{name}.parquet" for name in "abc"]
    clips: list[list[list[FaceResult]]] = [[[face(1)]] * 7, [[]], []]
    for path, shown in zip(parts, clips, strict=True):
        give(module.make(SinkOptions(str(path))), shown, path.stem)
    module.join(parts, tmp_path / "all.parquet")
    assert read(tmp_path / "all.parquet") == [row for path in parts for row in read(path)]
    facts = json.loads(parquet.read_schema(tmp_path / "all.parquet").metadata[b"ferstream"])
    assert facts == {"schema": 2, **ABOUT}
    parts[1].write_bytes(b"PAR1 cut off")
    with pytest.raises(SinkError, match="cannot be joined"):
        module.join(parts, tmp_path / "all.parquet")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", 1)
    sink = module.make(SinkOptions("/dev/full"))
    with pytest.raises(SinkError, match="cannot write /dev/full: no space left on device") as full:
        give(sink, [[face(1)]] * 2000)
    assert "\n" not in str(full.value)
    with pytest.raises(SinkError, match="no space left"):
        add(sink, [[face(1)]], "clip")
    sink.close()
    missing = module.make(SinkOptions(str(tmp_path / "no" / "x.parquet")))
    with pytest.raises(SinkError, match="cannot write"):
        give(missing, [])


def test_a_clip_summed_up(tmp_path: Path) -> None:
    """Two seconds of happiness and two of anger, a face that stays for one, and one frame empty."""
    happy, angry = face(1, strength=0.9), face(1, label="anger", strength=0.7)
    happy = replace(happy, emotions=replace(happy.emotions, valence=0.8, arousal=-0.5))
    angry = replace(angry, emotions=replace(angry.emotions, valence=-0.9, arousal=0.1))
    still = face(2, label="neutral")
    shown = [[happy, still]] * 10 + [[happy]] * 10 + [[angry]] * 20 + [[]]
    sink = ClipSink()
    give(sink, shown)
    times = Summary("clip.mp4", 41, 2, 1.5, 4.1, 1.0, {}, {}, NO_TIMES, (), False)
    told = summary_json(times, sink.faces())
    for one in told["faces"]:
        one["over_time"] = sink.over_time(one["id"])
    empty = summary_json(replace(times, source="empty.mp4"), [])
    bad = failure_json("bad.mp4", ValueError("it holds no picture"))
    for suffix in ("csv", "parquet"):
        write_clips(place_of(str(tmp_path / f"c.{suffix}")), [told, empty, bad], BUILT_IN, {})
    rows = read(tmp_path / "c.parquet")
    alike(rows, read(tmp_path / "c.csv"))
    first, second, nobody, failed = rows
    assert list(first) == [column.name for column in clip_columns(BUILT_IN)]
    assert (first["source"], first["face_id"], first["frames"]) == ("clip.mp4", 1, 40)
    assert first["seen_s"] == pytest.approx(4.0) and first["to_s"] == pytest.approx(3.9)
    assert first["share_happiness"] == first["share_anger"] == pytest.approx(0.5)
    assert sum(first[f"share_{name}"] for name in BUILT_IN.basic.labels) == pytest.approx(1)
    assert first["valence_mean"] == pytest.approx(-0.05, abs=1e-4)
    assert (first["valence_peak"], first["arousal_peak"]) == pytest.approx((-0.9, -0.5))
    assert first["intensity_peak"] == pytest.approx(happy.emotions.intensity, abs=1e-4)
    assert first["episodes"] == 2 and first["expressive"] == 1 and first["uncertain_share"] == 0
    assert first["label"] == first["word1"] and first["word1_p"] >= first["word2_p"] > 0
    assert first["confidence_mean"] == pytest.approx(0.87) and first["size_px_mean"] == 60
    assert (second["face_id"], second["label"], second["episodes"]) == (2, "neutral", 0)
    assert second["seen_s"] == pytest.approx(1.0) and second["word2"] is None
    assert second["valence_mean"] is None and second["share_neutral"] == 1
    assert (nobody["face_id"], nobody["frames"], nobody["seen_s"]) == (-1, 41, None)
    assert (failed["source"], failed["error"]) == ("bad.mp4", "it holds no picture")


def test_a_picture_counts_though_it_has_no_length() -> None:
    sink = ClipSink()
    give(sink, [[face(1)]])
    told = sink.over_time(1)
    assert told["seen_s"] == 0 and told["shares"] == {"happiness": 1.0}


def test_scoring_several_clips_into_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tiny.bundle(tmp_path / "tiny").path)
    clips = [media.video(tmp_path / f"{name}.mp4", 6) for name in "ab"]
    bad = media.audio_only(tmp_path / "c.mp4")
    outputs = [tmp_path / name for name in ("rows.csv", "rows.parquet", "clips.csv")]
    command = ["score", *map(str, [*clips, bad]), "--bundle", bundle, "--stride", "2"]
    command += ["--to", str(outputs[0]), "--to", str(outputs[1]), "--summary", str(outputs[2])]
    with pytest.raises(SystemExit) as left:
        main([*command, "--columns", "units"])
    told = capsys.readouterr()
    assert left.value.code == 1 and "c.mp4" in told.err, "a bad clip stops nothing"
    rows = read(outputs[1])
    alike(rows, read(outputs[0]))
    assert [(Path(row["source"]).name, row["frame"]) for row in rows] == [
        (f"{name}.mp4", at) for name in "ab" for at in (0, 2, 4)
    ]
    facts = json.loads(parquet.read_schema(outputs[1]).metadata[b"ferstream"])
    assert facts["options"] == {"stride": 2} and facts["bundle"]["name"] == "tiny"
    summed = read(outputs[2])
    assert [Path(row["source"]).name for row in summed] == ["a.mp4", "b.mp4", "c.mp4"]
    assert summed[2]["error"] and not summed[0]["error"]
    with pytest.raises(SystemExit):
        main([*command, "--columns", "units", "--resume"])
    assert (read(outputs[1]), read(outputs[2])) == (rows, summed), "complete after a resume too"
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(command)
    assert "rows.csv exists" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_from_python(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    for length in (2, 5):  # the second replaces the first
        results = (Result(at, at / 10, "clip", [face(1)]) for at in range(length))
        assert save_table(results, path, columns=["pose"], top=1) == path
        assert [row["frame"] for row in read(path)] == list(range(length))
    assert "pose_roll" in read(path)[0] and "top2" not in read(path)[0]

    def failing() -> Any:
        yield Result(0, 0.0, "clip", [])
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        save_table(failing(), path)
    assert len(read(path)) == 5, "what was there stays"


def test_wrong_tables_from_python(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"a table is \.csv or \.parquet"):
        save_table([], tmp_path / "x.jsonl")
    with pytest.raises(SinkError, match="there is no folder"):
        save_table([], tmp_path / "no" / "x.csv")
    with pytest.raises(ValueError, match="a list of blendshapes"):
        save_table([], tmp_path / "x.csv", columns=["smiles"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--summary", "x.jsonl"], "x.jsonl: a summary is a table, .csv or .parquet"),
        (["--summary", "x.txt"], "x.txt: what to write there"),
        (["--summary", "x.csv", "--aggregate-only"], "which --aggregate-only forbids"),
        (["--summary", "x.csv", "--to", "x.csv"], "the same file"),
        (["--to", "x.parquet", "--aggregate-only"], "would tell of single people"),
    ],
)
def test_wrong_tables_are_refused_before_anything_is_opened(
    options: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["score", "sample", "--bundle", "none-is-opened", *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ferstream: ") and says in line
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["score", "sample", "--bundle", "none-is-opened", "--to", "x.parquet"])
    assert capsys.readouterr().err == (
        "ferstream: this needs pyarrow: pip install 'ferstream[tables]'\n"
    )


def test_nothing_is_loaded_that_was_not_asked_for() -> None:
    script = (
        "import sys, ferstream; from ferstream import Recognizer, to_df; "
        "import ferstream.stream.cli, ferstream.stream.cli_live, ferstream.stream.outputs; "
        "print(*{'pyarrow', 'pandas', 'polars'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
