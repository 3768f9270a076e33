"""Annotated video beside the clip it is of: sound, timing, and what players want."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from ferstream.stream.outputs import Outputs
from ferstream.stream.run import run
from ferstream.stream.sources import open_source
from tests import media

from .fakes import FakeRecognizer


class Track(NamedTuple):
    codec: str
    times_s: list[float]


def annotated(clip: Path, kind: str = "mp4") -> Path:
    path = clip.with_name(f"annotated.{kind}")
    outputs = Outputs(to=(str(path),))
    (places,) = outputs.for_sources([str(clip)])
    sinks = outputs.sinks(places, print, live=False, sound_of=clip)
    run(open_source(clip), FakeRecognizer(lambda frame: []), sinks)
    return path


def sound_of(path: Path) -> Track:
    """The codec, and the times of the packets that are heard."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.audio
        packets = [p for p in file.demux(stream) if p.pts is not None and not p.is_discard]
        return Track(stream.codec_context.codec.canonical_name, [_time_s(p) for p in packets])


def _time_s(packet: Any) -> float:
    return float(packet.pts * packet.time_base)


def pictures_of(path: Path) -> list[float]:
    with av.open(str(path)) as file:
        return [float(frame.time or 0) for frame in file.decode(video=0)]


def loudness(path: Path) -> float:
    with av.open(str(path)) as file:
        heard = [frame.to_ndarray().ravel() for frame in file.decode(audio=0)]
    return float(np.abs(np.concatenate(heard).astype(float)).mean())


@pytest.mark.parametrize(
    ("source", "codec", "kind", "written"),
    [
        ("c.mp4", "aac", "mp4", "aac"),
        ("c.mov", "pcm_s16le", "mov", "pcm_s16le"),
        ("c.mov", "pcm_s16le", "mp4", "aac"),
        ("c.mkv", "libopus", "mp4", "opus"),
        ("c.mkv", "flac", "mkv", "flac"),
        ("c.avi", "libmp3lame", "mp4", "mp3"),
        ("c.ts", "aac", "mp4", "aac"),
        ("c.ts", "mp2", "mov", "aac"),
        ("c.ts", "mp2", "mkv", "mp2"),
    ],
)
def test_the_sound_is_copied_where_players_know_it(
    tmp_path: Path, source: str, codec: str, kind: str, written: str
) -> None:
    bare = Fraction(1, 30)
    inside = "mpeg4" if source.endswith("avi") else "libx264"
    pictures = media.video(tmp_path / "p.mp4", 30, codec=inside, ticks=bare, options={"bf": "0"})
    clip = media.with_sound(tmp_path / source, pictures, (0.0, 1.0), codec)
    path = annotated(clip, kind)
    sound = sound_of(path)
    assert sound.codec == written
    assert sound.times_s[-1] == pytest.approx(1.0, abs=0.1)
    assert loudness(path) == pytest.approx(loudness(clip), rel=0.25) or written != codec
    rows = [frame.time_s for frame in open_source(clip).frames()]
    assert pictures_of(path) == pytest.approx(rows, abs=2e-3)


def test_pictures_and_sound_stay_where_they_were(tmp_path: Path) -> None:
    """The sound begins at once, the pictures at 2 s."""
    late = [2 + k / 30 for k in range(30)]
    pictures = media.video(tmp_path / "p.mp4", 30, times_s=late)
    clip = media.with_sound(tmp_path / "clip.mp4", pictures, (0.0, 4.0))
    for kind in ("mp4", "mkv"):
        path = annotated(clip, kind)
        assert pictures_of(path) == pytest.approx(late, abs=1e-3)
        sound = sound_of(path)
        assert sound.times_s[0] == pytest.approx(0.0, abs=0.025)
        assert sound.times_s[-1] == pytest.approx(4.0, abs=0.05)


def test_sound_goes_on_where_the_pictures_do(tmp_path: Path) -> None:
    """Two recordings in one file, whose clocks begin anew."""
    pictures = media.video(tmp_path / "p.mp4", 30, options={"bf": "0"})
    part = media.with_sound(tmp_path / "part.ts", pictures, (0.0, 1.0))
    path = annotated(media.joined(tmp_path / "joined.ts", [part, part]))
    assert pictures_of(path)[-1] == pytest.approx(59 / 30, abs=0.05)
    sound = sound_of(path)
    assert np.all(np.diff(sound.times_s) > 0)
    assert sound.times_s[-1] == pytest.approx(2.0, abs=0.1)


def test_sound_that_an_edit_list_hides_is_not_heard(tmp_path: Path) -> None:
    clip = media.trimmed(tmp_path / "clip.mp4", 1.0, 60, sound=True)
    path = annotated(clip, "mkv")
    assert pictures_of(path) == pytest.approx([k / 30 for k in range(30)], abs=2e-3)
    assert -0.03 < sound_of(path).times_s[0] < 0.05


def test_a_clip_without_sound_and_a_picture_have_none(tmp_path: Path) -> None:
    for clip in (media.video(tmp_path / "clip.mp4", 5), media.image(tmp_path / "still.png")):
        path = annotated(clip)
        with av.open(str(path)) as file:
            assert len(file.streams.audio) == 0
        path.unlink()


def test_what_players_want(tmp_path: Path) -> None:
    """Browsers and QuickTime: 4:2:0, square pixels, said colours, the index in front."""
    path = annotated(media.video(tmp_path / "clip.mp4", 30, (90, 72), aspect=Fraction(64, 45)))
    with av.open(str(path)) as file:
        stream: Any = file.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt, codec.codec_tag) == ("h264", "yuv420p", "avc1")
        assert (codec.width, codec.height) == (128, 72)
        assert stream.sample_aspect_ratio in (None, Fraction(1))
        assert (codec.color_primaries, codec.color_trc, codec.colorspace) == (1, 1, 1)
        assert codec.color_range == 1
        frame = next(file.decode(stream))
        assert media.quarters(frame.to_ndarray(format="rgb24")) == "rbg."
        assert float(stream.duration * stream.time_base) == pytest.approx(1.0, abs=0.02)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_turned_clip_is_written_upright(tmp_path: Path) -> None:
    path = annotated(media.video(tmp_path / "clip.mp4", 5, rotation_deg=90))
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        assert frame.rotation == 0
        assert media.quarters(frame.to_ndarray(format="rgb24")) == "b.rg"


@pytest.mark.parametrize("name", ["12:30:15.mp4", "50%d.mp4", "ü 😀.mkv"])
def test_any_name_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = Outputs(video=Path(name))
    (places,) = outputs.for_sources(["sample"])
    clip = media.video(tmp_path / "clip.mp4", 5)
    run(open_source(clip), FakeRecognizer(), outputs.sinks(places, print, live=False))
    assert len(pictures_of(tmp_path / name)) == 5
