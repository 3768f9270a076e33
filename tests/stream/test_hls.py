"""Live HLS: what a player would fetch, at any moment of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.frame import Frame
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.hls import LISTED, SEGMENT_S, HlsSink
from tests import media

from .fakes import face

SIZE = (320, 240)
INFO = SinkInfo("camera", SIZE, 10.0, live=True, about={"purpose": "a test"})


def give(
    sink: HlsSink,
    times_s: list[float],
    size: tuple[int, int] = SIZE,
    at_each: Callable[[float], object] = lambda time_s: None,
) -> None:
    for index, time_s in enumerate(times_s):
        frame = Frame(media.picture(index, size), time_s, index, "camera")
        sink.write(frame, Result(index, time_s, "camera", [face(1, (40, 40, 80, 90))]))
        at_each(time_s)


def steps(seconds: float, start_s: float = 5000.0, rate_hz: float = 10.0) -> list[float]:
    return [start_s + index / rate_hz for index in range(round(seconds * rate_hz))]


def playlist(path: Path) -> list[tuple[float, str]]:
    """Length and name of each segment listed, held to the format."""
    first, *lines = path.read_text().splitlines()
    assert first == "#EXTM3U"
    lengths = [float(line[8:].rstrip(",")) for line in lines if line.startswith("#EXTINF:")]
    names = [line for line in lines if not line.startswith("#")]
    (target,) = (int(line[22:]) for line in lines if line.startswith("#EXT-X-TARGETDURATION:"))
    assert len(names) == len(lengths) and max(lengths) <= target + 0.5
    return list(zip(lengths, names, strict=True))


def decoded(path: Path) -> list[tuple[float, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]]:
    with av.open(str(path)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        return [
            (float(frame.time or 0), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            for frame in file.decode(video=0)
        ]


def test_segments_roll_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "50% a b.m3u8"
    sink = HlsSink(path)
    sink.open(INFO)
    seen: list[int] = []

    def look(time_s: float) -> None:
        if path.exists():
            listed = playlist(path)
            assert len(listed) <= LISTED
            assert all((tmp_path / name).is_file() for _, name in listed)
            assert "#EXT-X-ENDLIST" not in path.read_text()
            seen.append(len(list(tmp_path.glob("*.ts"))))

    give(sink, steps(40), at_each=look)
    assert max(seen) <= LISTED + 4
    sink.close()
    assert path.read_text().endswith("#EXT-X-ENDLIST\n")
    listed = playlist(path)
    assert [name for _, name in listed] == [f"50% a b-{n:06d}.ts" for n in range(14, 20)]
    assert all(length == pytest.approx(SEGMENT_S, abs=0.11) for length, _ in listed)
    frames = decoded(path)
    assert len(frames) == LISTED * SEGMENT_S * 10
    assert frames[0][1].shape == (240, 320, 3)
    for _, name in listed:
        assert decoded(tmp_path / name), "each segment can be played by itself"


def test_a_short_run_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "o.m3u8"
    sink = HlsSink(path)
    sink.open(INFO)
    give(sink, steps(1.0))
    sink.close()
    frames = decoded(path)
    assert len(frames) == 10
    gaps = np.diff([time_s for time_s, _ in frames])
    assert gaps == pytest.approx(0.1, abs=0.001)
    drawn = np.abs(frames[5][1].astype(int) - media.picture(5, SIZE)).max(axis=2) > 60
    assert drawn.mean() > 0.01, "the face's box and panel are in the picture"


def test_an_outage_and_another_size_make_no_long_segment(tmp_path: Path) -> None:
    path = tmp_path / "o.m3u8"
    sink = HlsSink(path)
    sink.open(INFO)
    give(sink, steps(3.0))
    give(sink, steps(3.0, start_s=9000.0), (640, 360))
    give(sink, steps(1.0, start_s=100.0))
    sink.close()
    listed = playlist(path)
    assert sum(length for length, _ in listed) == pytest.approx(7.0, abs=0.2)
    assert {frame.shape for _, frame in decoded(path)} == {(240, 320, 3)}


def test_what_an_earlier_run_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "o.m3u8"
    for name in ("o-000123.ts", "o-000124.ts", "o-1.ts", "other-000001.ts", "notes.txt"):
        (tmp_path / name).touch()
    path.touch()
    sink = HlsSink(path)
    sink.open(INFO)
    left = {file.name for file in tmp_path.iterdir()}
    assert left <= {"o-1.ts", "other-000001.ts", "notes.txt", "o.m3u8"}
    assert {"o-1.ts", "other-000001.ts", "notes.txt"} <= left
    sink.close()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"o\.mp4 is no name for an HLS playlist"):
        HlsSink(tmp_path / "o.mp4")
    with pytest.raises(SinkError, match="a number would be put into o%03d"):
        HlsSink(tmp_path / "o%03d.m3u8")
    with pytest.raises(SinkError, match="there is no folder"):
        HlsSink(tmp_path / "absent" / "o.m3u8").open(INFO)
    sink = HlsSink(tmp_path / "o.m3u8")
    sink.close()
    with pytest.raises(ValueError, match="open the sink"):
        give(sink, [0.0])


def test_a_folder_that_goes_away_is_a_sinks_error(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    sink = HlsSink(folder / "o.m3u8")
    sink.open(INFO)
    give(sink, steps(1.0))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(SinkError, match="cannot write"):
        give(sink, steps(8.0, start_s=6000.0))
    with pytest.raises(SinkError, match="cannot write"):
        sink.close()
