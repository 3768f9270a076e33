"""A part of a source: every Nth frame, from when to when, a region; told apart from nonsense."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferstream import main
from ferstream.stream.errors import PartInvalid, PartMissing
from ferstream.stream.frame import Frame
from ferstream.stream.sources import open_source
from ferstream.stream.sources.clock import skipped_before
from ferstream.stream.sources.part import Part, region_of
from tests import media
from tests.engines import tiny

from .fakes import FakeSource

TIMES_S = [n / 10 for n in range(20)]


def frames(part: Part, times_s: Sequence[float] = TIMES_S, **fake: Any) -> list[Frame]:
    with part.of(FakeSource(times_s, **fake)) as source:
        return list(source.frames())


@pytest.mark.parametrize(
    ("part", "indices"),
    [
        (Part(), list(range(20))),
        (Part(stride=7), [0, 7, 14]),
        (Part(start_s=0.5, end_s=0.9), [5, 6, 7, 8]),
        (Part(stride=3, start_s=1.0), [10, 13, 16, 19]),
        (Part(stride=30), [0]),
    ],
)
def test_the_wanted_frames_keep_index_and_time(part: Part, indices: list[int]) -> None:
    found = frames(part)
    assert [frame.index for frame in found] == indices
    assert [frame.time_s for frame in found] == [n / 10 for n in indices]
    later = frames(part, [1000 + time_s for time_s in TIMES_S], live=True)
    assert [frame.index for frame in later] == indices, (
        "a camera's times count from its first frame"
    )


def test_what_a_part_tells_of_itself() -> None:
    fake = FakeSource(TIMES_S)
    fake.duration_s = 2.0
    source = Part(stride=5, end_s=1.0).of(fake)
    assert (source.rate_hz, source.duration_s, source.size) == (2.0, 1.0, (64, 48))
    assert len(list(source.frames())) == 2 and source.notes == ()
    source.close()
    assert fake.closed == 1
    short = Part(end_s=60).of(FakeSource(TIMES_S))
    assert len(list(short.frames())) == 20
    assert short.notes == ("ends at 2.00 s, before the end of 60 s that was asked for",)
    stopped = Part(start_s=1.5).of(FakeSource(TIMES_S, before_each=lambda n: stopped.close()))
    assert list(stopped.frames()) == [], "nobody is told of a start that was not waited for"


def test_a_break_among_frames_left_out_is_told_by_the_next_one() -> None:
    class Broken(FakeSource):
        def frames(self) -> Any:
            for frame in super().frames():
                yield replace(frame, restart=frame.index == 4, dense=True)

    with Part(stride=3).of(Broken(TIMES_S)) as source:
        found = list(source.frames())
    assert [frame.index for frame in found if frame.restart] == [6]
    assert not any(frame.dense for frame in found), "three pictures a second are not dense"


@pytest.mark.parametrize(
    ("region", "pixels"),
    [
        ((0, 0, 1, 1), (0, 0, 64, 48)),
        ((0.5, 0, 0.5, 0.5), (32, 0, 32, 24)),
        ((10, 20, 30, 28), (10, 20, 30, 28)),
        ((0, 0, 1.0, 48), None),
        ((40, 0, 25, 20), None),
        ((0.9, 0.9, 0.1, 0.1), None),
    ],
)
def test_regions_in_shares_and_in_pixels(
    region: tuple[float, ...], pixels: tuple[int, ...] | None
) -> None:
    part = Part(region=region)  # type: ignore[arg-type]
    if pixels is not None:
        assert {frame.region for frame in frames(part)} == {pixels}
        return
    with pytest.raises(PartMissing, match=r"64 x 48 pixels|16 x 16 at least"):
        part.of(FakeSource())
    unsized = FakeSource()
    unsized.size = None
    with pytest.raises(PartMissing):
        list(part.of(unsized).frames())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"stride": 0}, "stride 0"),
        ({"stride": 2.0}, "stride 2.0"),
        ({"stride": True}, "stride True"),
        ({"start_s": -1}, "start -1"),
        ({"start_s": None}, "start None"),
        ({"start_s": float("nan")}, "start nan"),
        ({"start_s": 3, "end_s": 2}, "the end comes after the start"),
        ({"end_s": 0}, "the end comes after the start"),
        ({"end_s": "9"}, "end 9"),
        ({"region": (0, 0, 1)}, "region 0,0,1:"),
        ({"region": 3}, "region 3:"),
        ({"region": "half"}, "region half"),
        ({"region": (0, 0, 0, 9)}, "above 0"),
        ({"region": (-1, 0, 9, 9)}, "from 0 on"),
        ({"region": (0.5, 0, 0.6, 1)}, "up to 1"),
        ({"region": (0, 0, float("inf"), 9)}, "region"),
    ],
)
def test_parts_that_mean_nothing(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(PartInvalid, match=says) as refused:
        Part(**wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1,2,3,4,5", "0,0,nan,1", "1;2;3;4"])
def test_regions_that_are_none(text: str) -> None:
    with pytest.raises(PartInvalid, match="region"):
        region_of(text)


def test_a_source_that_ends_before_the_start() -> None:
    declared = FakeSource(TIMES_S)
    declared.duration_s = 2.0
    with pytest.raises(PartMissing, match=r"fake ends at 2.00 s, before the start of 9 s"):
        Part(start_s=9).of(declared)
    assert declared.closed == 1
    with pytest.raises(PartMissing, match="before the start of 9 s"):
        frames(Part(start_s=9))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("part") / "clip.mp4", 30)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--stride", "0"], "stride 0: a whole number"),
        (["--start", "3", "--end", "2"], "the end comes after the start"),
        (["--start", "99"], "ends at 1.00 s, before the start of 99 s"),
        (["--region", "60,0,20,20"], "reaches beyond the picture of"),
        (["--region", "left"], "region left: x,y,width,height"),
        (["--blur", "--region", "0,0,1,1"], "drop one"),
    ],
)
def test_the_command_line_says_it_in_one_line(
    clip: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["score", str(clip), "--bundle", "none-is-opened", *options])
    told = capsys.readouterr()
    assert left.value.code == 1 and told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("ferstream: ") and says in line


@pytest.mark.mediapipe
def test_the_command_line_scores_a_part(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    short = media.video(tmp_path / "short.mp4", 6)
    options = ["--stride", "4", "--start", "0.5", "--end", "0.9", "--region", "0,0,0.5,1"]
    bundle = str(tiny.bundle(tmp_path / "tiny").path)
    with pytest.raises(SystemExit) as left:
        command = ["score", str(clip), str(short), "--bundle", bundle, *options, "--json"]
        main([*command, "--to", str(tmp_path / "{source}.jsonl")])
    told = capsys.readouterr()
    assert left.value.code == 1 and "short.mp4 ends at 0.17 s" in told.err
    header, *read = map(json.loads, (tmp_path / "clip.jsonl").read_text().splitlines())
    assert header["options"] == {
        **{"stride": 4, "start_s": 0.5, "end_s": 0.9, "region": [0, 0, 0.5, 1]}
    }
    assert [row["frame"] for row in read] == [15, 19, 23]
    assert not rows.exists() and not (tmp_path / "short.jsonl").exists()
    assert np.isclose(read[0]["time_s"], 0.5)


def b_frames(path: Path) -> Path:
    """A key frame each ten pictures, B-frames between."""
    options = {"g": "10", "bf": "3", "sc_threshold": "0"}
    return media.video(path, 60, options=options)


SKIPPABLE: dict[str, tuple[Any, int]] = {
    "B-frames.mp4": (b_frames, 40),
    "B-frames.mkv": (b_frames, 40),
    "open GOPs.mp4": (
        lambda path: media.video(path, 60, options={"g": "10", "x264-params": "open-gop=1"}),
        0,
    ),
    "pictures.avi": (
        lambda path: media.video(path, 60, codec="mjpeg", pixel_format="yuvj420p"),
        45,
    ),
    "B-frames.avi": (b_frames, 0),
    "uneven.mp4": (
        lambda path: media.video(
            path, 60, times_s=[k / 30 + (k % 3) / 100 for k in range(60)], options={"g": "10"}
        ),
        40,
    ),
}
"""Files with the packets at least that are left out ahead of 1.5 s."""


@pytest.mark.parametrize("name", SKIPPABLE)
def test_a_later_start_changes_no_bit(tmp_path: Path, name: str) -> None:
    make, least = SKIPPABLE[name]
    path = make(tmp_path / name)
    with open_source(path) as source:
        rate_hz = source.rate_hz
        whole = list(source.frames())
        notes = source.notes
    left_out = skipped_before(path, 0, rate_hz, 1.5).packets
    assert left_out >= least and (least or left_out == 0)
    for start_s in (0.3, 1.0, 1.5, 1.95):
        with Part(start_s=start_s).of(open_source(path)) as part:
            found = list(part.frames())
            assert part.notes == notes
        wanted = [frame for frame in whole if frame.time_s >= start_s - 1e-6]
        assert [(f.index, f.time_s) for f in found] == [(f.index, f.time_s) for f in wanted]
        assert all((a.pixels == b.pixels).all() for a, b in zip(found, wanted, strict=True))
