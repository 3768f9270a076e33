"""Times of files: those that ffprobe gives, less the container's start, over every break."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from ferstream.stream.frame import Frame
from ferstream.stream.outputs import Outputs
from ferstream.stream.run import run
from ferstream.stream.sources import open_source
from ferstream.stream.sources.base import Source
from ferstream.stream.sources.clock import FileClock
from tests import media

from .fakes import FakeRecognizer

Maker = Callable[[Path], Path]


def read(path: Path) -> tuple[list[Frame], Source]:
    source = open_source(path)
    return list(source.frames()), source


def even(count: int, start_s: float = 0.0, rate: float = 30) -> list[float]:
    return [start_s + k / rate for k in range(count)]


def times_s(frames: list[Frame]) -> list[float]:
    return [frame.time_s for frame in frames]


def late_pictures(folder: Path) -> Path:
    """Sound from 0 s, pictures from 2 s."""
    pictures = media.video(folder / "p.mp4", 30, times_s=even(30, 2.0))
    return media.with_sound(folder / "late.mp4", pictures, (0.0, 3.2))


def b_frames(name: str, codec: str) -> Maker:
    def make(folder: Path) -> Path:
        ticks = Fraction(1, 25)
        options = {"bf": "2"}
        return media.video(folder / name, 40, codec=codec, rate=25, options=options, ticks=ticks)

    return make


def cut_stream(folder: Path) -> Path:
    """It begins in the middle of a group of pictures."""
    whole = media.video(folder / "whole.ts", 60, (320, 240), options={"g": "20", "bf": "2"})
    return media.without_start(folder / "cut.ts", whole, 0.4)


def longer_sound(folder: Path) -> Path:
    """Matroska says how long all of it lasts, not the pictures."""
    pictures = media.video(folder / "p.mkv", 30, options={"bf": "0"})
    return media.with_sound(folder / "longer.mkv", pictures, (0.0, 9.0), "libopus")


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="no ffprobe on this machine")
@pytest.mark.parametrize(
    "make",
    [
        late_pictures,
        lambda folder: media.trimmed(folder / "trimmed.mp4", 0.9),
        b_frames("mpeg4.avi", "mpeg4"),
        b_frames("h264.avi", "libx264"),
        b_frames("mpeg2.mpg", "mpeg2video"),
        b_frames("h264.mkv", "libx264"),
        b_frames("h264.ts", "libx264"),
        cut_stream,
        longer_sound,
        lambda folder: media.video(folder / "a.webm", 20, codec="libvpx", times_s=even(20, 3.0)),
    ],
)
def test_times_are_those_of_ffprobe(tmp_path: Path, make: Maker) -> None:
    path = make(tmp_path)
    asked = "format=start_time:frame=best_effort_timestamp_time"
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", asked]
    out = subprocess.run([*command, "-of", "json", str(path)], capture_output=True, check=True)
    probed = json.loads(out.stdout)
    start_s = max(0.0, float(probed["format"]["start_time"]))
    right = [frame.get("best_effort_timestamp_time") for frame in probed["frames"]]
    frames, source = read(path)
    assert len(frames) == len(right)
    for frame, stamp in zip(frames, right, strict=True):
        # ffprobe has no stamp for what the decoder still held at the end of some files.
        assert stamp is None or frame.time_s == pytest.approx(float(stamp) - start_s, abs=2e-6)
    assert source.notes == ()


def test_pictures_that_begin_after_the_sound(tmp_path: Path) -> None:
    frames, source = read(late_pictures(tmp_path))
    assert times_s(frames) == pytest.approx(even(30, 2.0), abs=1e-4)
    assert source.duration_s == pytest.approx(3.0, abs=1e-3)
    assert source.notes == ()


def test_an_edit_list_hides_pictures_and_is_no_damage(tmp_path: Path) -> None:
    frames, source = read(media.trimmed(tmp_path / "trimmed.mp4", 1.0, 60))
    assert times_s(frames) == pytest.approx(even(30), abs=1e-4)
    assert [media.level(frame.pixels) for frame in frames] == [k % 20 for k in range(30, 60)]
    assert source.notes == ()


@pytest.mark.parametrize("rate", [30, 60, 12])
def test_a_bare_stream_has_the_rate_that_it_says(tmp_path: Path, rate: int) -> None:
    frames, source = read(
        media.video(tmp_path / "bare.h264", 40, rate=rate, ticks=Fraction(1, rate))
    )
    assert times_s(frames) == pytest.approx(even(40, rate=rate), abs=1e-6)
    assert source.rate_hz == rate


def test_a_clock_that_restarts_goes_on_where_it_was(tmp_path: Path) -> None:
    part = media.video(tmp_path / "part.ts", 30)
    path = media.joined(tmp_path / "joined.ts", [part, part, part])
    frames, source = read(path)
    assert times_s(frames) == pytest.approx(even(90), abs=1e-4)
    assert [media.level(frame.pixels) for frame in frames] == 3 * [k % 20 for k in range(30)]
    assert source.notes == tuple(
        f"the clock turns back at {end_s} s: times go on from there" for end_s in ("0.97", "1.97")
    )


def test_a_clock_that_leaps_goes_on_where_it_was(tmp_path: Path) -> None:
    first = media.video(tmp_path / "first.ts", 30)
    second = media.video(tmp_path / "second.ts", 30, times_s=even(30, 500.0))
    frames, source = read(media.joined(tmp_path / "joined.ts", [first, second]))
    assert times_s(frames) == pytest.approx(even(60), abs=1e-4)
    assert source.notes == ("the clock leaps at 0.97 s: times go on from there",)


def test_a_pause_is_no_leap(tmp_path: Path) -> None:
    paused = [*even(10), *even(10, 8.0)]
    frames, source = read(media.video(tmp_path / "paused.ts", 20, times_s=paused))
    assert times_s(frames) == pytest.approx(paused, abs=1e-4)
    long = [*even(10), *even(10, 80.0)]
    frames, source = read(media.video(tmp_path / "long.mp4", 20, times_s=long))
    assert times_s(frames) == pytest.approx(long, abs=1e-4)
    assert source.notes == ()


def test_the_parts_of_a_playlist_follow_each_other(tmp_path: Path) -> None:
    for name, start_s in (("a", 0.0), ("b", 0.0), ("c", 5.0)):
        media.video(tmp_path / f"{name}.ts", 30, times_s=even(30, start_s))
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1.0,", "a.ts"]
    for name in "bc":
        lines += ["#EXT-X-DISCONTINUITY", "#EXTINF:1.0,", f"{name}.ts"]
    (tmp_path / "all.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    frames, source = read(tmp_path / "all.m3u8")
    assert times_s(frames) == pytest.approx(even(90), abs=1e-4)
    assert [note.split(":")[0] for note in source.notes] == [
        "the clock turns back at 0.97 s",
        "the clock leaps at 1.97 s",
    ]


def test_a_whole_file_with_longer_sound_is_not_called_damaged(tmp_path: Path) -> None:
    assert read(longer_sound(tmp_path))[1].notes == ()
    data = (tmp_path / "longer.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 4])
    (note,) = read(tmp_path / "cut.mkv")[1].notes
    assert note.endswith("could be read: the file is damaged")


def test_a_stamp_that_is_late_alone_is_no_new_clock() -> None:
    clock = FileClock(10.0, 0.1)
    stamps = [10.0, 10.1, 10.2, 10.1, 10.4, 10.5]
    assert [clock.at(stamp) for stamp in stamps] == pytest.approx([0, 0.1, 0.2, 0.201, 0.4, 0.5])
    assert clock.notes == []


def test_stamps_that_stay_behind_are_a_new_clock() -> None:
    clock = FileClock(10.0, 0.1)
    stamps = [10.0, 10.1, 10.2, 10.0, 10.1, 10.2, 10.3]
    found = [clock.at(stamp) for stamp in stamps]
    assert found == pytest.approx([0, 0.1, 0.2, 0.201, 0.202, 0.5, 0.6])
    assert len(clock.notes) == 1


def test_stamps_that_repeat_are_no_new_clock() -> None:
    clock = FileClock(0.0, 0.1)
    stamps = [0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.6]
    found = [clock.at(stamp) for stamp in stamps]
    assert found == pytest.approx([0, 0.1, 0.101, 0.102, 0.103, 0.104, 0.6])
    assert clock.notes == []


def test_pictures_without_stamps_are_a_step_apart() -> None:
    clock = FileClock(None, 0.04)
    assert [clock.at(None) for _ in range(3)] == pytest.approx([0, 0.04, 0.08])
    clock = FileClock(1.0, 0.04)
    stamps = [1.5, None, 1.58, 0.2]
    assert [clock.at(stamp) for stamp in stamps] == pytest.approx([0.5, 0.54, 0.58, 0.62])


def test_all_outputs_tell_the_times_that_a_player_shows(tmp_path: Path) -> None:
    """A face from the first picture on, which comes 2 s after the sound."""
    path = late_pictures(tmp_path)
    written = ("jsonl", "csv", "vtt", "srt", "eaf", "boris")
    outputs = Outputs(to=tuple(str(tmp_path / f"o.{kind}") for kind in (*written, "mp4", "mkv")))
    (places,) = outputs.for_sources([str(path)])
    run(open_source(path), FakeRecognizer(), outputs.sinks(places, print, live=False))
    texts = {kind: (tmp_path / f"o.{kind}").read_text() for kind in written}
    rows = [json.loads(line)["time_s"] for line in texts["jsonl"].splitlines()[1:]]
    assert rows == pytest.approx(even(30, 2.0), abs=1e-3)
    table = csv.DictReader(texts["csv"].splitlines())
    assert [float(row["timestamp"]) for row in table] == pytest.approx(rows, abs=1e-3)
    assert "00:00:02.000 --> 00:00:03.000" in texts["vtt"]
    assert "00:00:02,500 --> 00:00:03,000" in texts["srt"]
    slots = [int(slot) for slot in re.findall(r'TIME_VALUE="(\d+)"', texts["eaf"])]
    assert (min(slots), max(slots)) == (2000, 3000)
    events = json.loads(texts["boris"])["observations"]
    stamps = [event[0] for observation in events.values() for event in observation["events"]]
    assert (float(min(stamps)), float(max(stamps))) == pytest.approx((2.0, 3.0), abs=1e-3)
    for kind in ("mp4", "mkv"):
        with av.open(str(tmp_path / f"o.{kind}")) as video:
            shown = [float(frame.time or 0) for frame in video.decode(video=0)]
        assert shown == pytest.approx(rows, abs=1e-3)
