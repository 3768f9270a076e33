"""A disk that fills up and is freed: every output says so, goes on, and the exit status tells."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from ferstream.stream.errors import SinkError, SinkLost
from ferstream.stream.frame import Frame
from ferstream.stream.outputs import Outputs
from ferstream.stream.result import Result
from ferstream.stream.sinks.background import BackgroundSink
from ferstream.stream.sinks.base import SinkInfo, WholeLines
from tests import media

from .fakes import face
from .small_disk import SmallDisk, small_disk

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ = 10
SIZE = (320, 240)
KINDS = ("jsonl", "csv", "vtt", "srt", "eaf", "boris", "mp4", "mov", "mkv", "m3u8")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


class Run:
    """One live output, given frames faster than a camera would."""

    def __init__(self, path: Path) -> None:
        outputs = Outputs(to=(str(path),))
        self.said: list[str] = []
        ((place,),) = outputs.for_sources(["camera"])
        (self.sink,) = outputs.sinks([place], self.said.append, live=True)
        outlet = getattr(self.sink, "writer", self.sink)
        assert isinstance(outlet, BackgroundSink)
        self.outlet = outlet
        self._index = 0

    def open(self) -> None:
        self.sink.open(SinkInfo("camera", SIZE, RATE_HZ, live=True))

    def give(self, seconds: float) -> None:
        """So many seconds of frames; a new word each second, so that every output has news."""
        for _ in range(round(seconds * RATE_HZ)):
            time_s = 100 + self._index / RATE_HZ
            frame = Frame(media.picture(self._index, SIZE), time_s, self._index, "camera")
            shown = [face(1 + int(time_s) % 5, (40, 40, 80, 90))]
            self.sink.write(frame, Result(self._index, time_s, "camera", shown))
            self._index += 1
            time.sleep(0.004)

    def until(self, words: str) -> None:
        begun_s = time.monotonic()
        while not any(words in line for line in self.said):
            assert time.monotonic() - begun_s < 60, self.said
            self.give(0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_so_and_goes_on_once_there_is_room(disk: SmallDisk, kind: str) -> None:
    path = disk.path / f"o.{kind}"
    run = Run(path)
    run.open()
    run.give(8)
    disk.fill()
    run.until("no space left")
    assert run.outlet.failure and run.outlet.lost
    disk.free()
    run.until("is back")
    assert not run.outlet.failure
    run.give(8)
    run.sink.close()
    assert not run.outlet.failure, run.said
    whole(path, kind)
    assert not list(disk.path.glob(".*")), "no draft is left"


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_stays_full_is_told_at_the_end(disk: SmallDisk, kind: str) -> None:
    run = Run(disk.path / f"o.{kind}")
    run.open()
    run.give(3)
    disk.fill()
    run.until("no space left")
    run.sink.close()
    assert run.outlet.failure or run.outlet.lost


@pytest.mark.parametrize("kind", ("jsonl", "mp4", "m3u8"))
def test_a_disk_that_is_full_from_the_start(disk: SmallDisk, kind: str) -> None:
    disk.fill()
    run = Run(disk.path / f"o.{kind}")
    run.open()
    run.until("no space left")
    disk.free()
    run.until("is back")
    run.give(6)
    run.sink.close()
    whole(disk.path / f"o.{kind}", kind)


def whole(path: Path, kind: str) -> None:
    """The file holds whole pieces from before the disk was full and from after."""
    if kind == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert rows[0]["kind"] == "header"
        frames = [row["frame"] for row in rows[1:]]
        assert frames == sorted(frames) and len(set(frames)) == len(frames) > 50
    elif kind == "csv":
        head, *lines = path.read_text().splitlines()
        assert {line.count(",") for line in lines} == {head.count(",")}
    elif kind in ("mp4", "mov", "mkv", "m3u8"):
        with av.open(str(path)) as file:
            times_s = [float(frame.time or 0) for frame in file.decode(video=0)]
        assert len(times_s) > 40 and times_s == sorted(times_s)
        if kind == "m3u8":
            listed = [n for n in path.read_text().splitlines() if not n.startswith("#")]
            assert all((path.parent / name).stat().st_size for name in listed)
    else:
        assert path.stat().st_size > 200


def test_a_line_that_fits_in_part_is_taken_back(disk: SmallDisk) -> None:
    path = disk.path / "o.txt"
    file = WholeLines(path, "head\n")
    with pytest.raises(SinkLost, match="make room there"):
        file.write("x" * 2_000_000 + "\n")
    file.write("after\n")
    file.close()
    assert path.read_text() == "head\nafter\n"


def test_score_ends_with_the_failure(disk: SmallDisk) -> None:
    """Nobody waits there: the clip can be scored again."""
    outputs = Outputs(to=(str(disk.path / "o.m3u8"),))
    ((place,),) = outputs.for_sources(["clip"])
    (sink,) = outputs.sinks([place], print, live=False)
    sink.open(SinkInfo("clip", SIZE, RATE_HZ))
    disk.fill()
    with pytest.raises(SinkError, match=r"no space left.* s are missing"):
        for index in range(100):
            frame = Frame(media.picture(index, SIZE), index / RATE_HZ, index, "clip")
            sink.write(frame, Result(index, frame.time_s, "clip", []))
    with pytest.raises(SinkError, match="no space left"):
        sink.close()


@pytest.mark.slow
def test_the_exit_status_of_a_live_run(disk: SmallDisk, tmp_path: Path) -> None:
    """What the encoder still holds is written, or not, at the end."""
    disk.fill()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ferstream", "live", "sample", "--no-show", "--seconds", "4"),
            *("--to", str(disk.path / "o.jsonl"), "--to", str(disk.path / "o.m3u8")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "no space left on device" in line]
    assert any("o.jsonl" in line for line in lines), done.stderr
    assert any("o.m3u8" in line for line in lines), done.stderr
    assert "Traceback" not in done.stderr
