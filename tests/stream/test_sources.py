"""Files and images: good ones read right, bad ones refused in one clear line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferstream.stream.errors import (
    SourceError,
    SourceMissing,
    SourceRefused,
    SourceUnreadable,
)
from ferstream.stream.frame import Frame
from ferstream.stream.sources import open_source
from ferstream.stream.sources.base import Source
from ferstream.stream.sources.pixels import Orientation
from tests import media


def read(spec: str | Path) -> tuple[list[Frame], Source]:
    source = open_source(spec)
    return list(source.frames()), source


def test_a_video_gives_every_frame_at_its_time(tmp_path: Path) -> None:
    frames, source = read(media.video(tmp_path / "a.mp4", frames=20))
    assert [frame.index for frame in frames] == list(range(20))
    assert [media.level(frame.pixels) for frame in frames] == list(range(20))
    assert [frame.time_s for frame in frames] == pytest.approx([k / 30 for k in range(20)])
    assert (source.live, source.rate_hz, source.size) == (False, 30.0, (64, 48))
    assert source.duration_s == pytest.approx(20 / 30, abs=1e-3)
    assert source.notes == ()
    assert {frame.source for frame in frames} == {str(tmp_path / "a.mp4")}
    assert all(frame.pixels.flags.c_contiguous for frame in frames)


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 0.05, 0.5, 0.51, 2.0]
    frames, _ = read(media.video(tmp_path / "vfr.mp4", frames=6, times_s=times_s))
    assert [frame.time_s for frame in frames] == pytest.approx(times_s, abs=1e-4)


def test_times_begin_at_zero_and_always_grow(tmp_path: Path) -> None:
    late_s = [5.0, 5.1, 5.2]
    path = media.video(tmp_path / "late.mkv", frames=3, times_s=late_s)
    assert [frame.time_s for frame in read(path)[0]] == pytest.approx([0, 0.1, 0.2], abs=2e-3)


# What a turn does to the quarters r b / g . is written out by hand.
@pytest.mark.parametrize(
    ("rotation_deg", "flip", "seen", "size"),
    [
        (0, False, "rbg.", (64, 48)),
        (90, False, "b.rg", (48, 64)),
        (180, False, ".gbr", (64, 48)),
        (-90, False, "gr.b", (48, 64)),
        (0, True, "br.g", (64, 48)),
        (90, True, ".bgr", (48, 64)),
    ],
)
def test_a_video_is_turned_as_its_metadata_says(
    tmp_path: Path, rotation_deg: int, flip: bool, seen: str, size: tuple[int, int]
) -> None:
    path = media.video(tmp_path / "r.mp4", 3, rotation_deg=rotation_deg, flip=flip)
    frames, source = read(path)
    assert media.quarters(frames[0].pixels) == seen
    assert (frames[0].width_px, frames[0].height_px) == source.size == size


@pytest.mark.parametrize(
    ("orientation", "seen"),
    list(enumerate(["rbg.", "br.g", ".gbr", "g.rb", "rgb.", "gr.b", ".bgr", "b.rg"], start=1)),
)
def test_a_photograph_is_turned_as_its_exif_says(
    tmp_path: Path, orientation: int, seen: str
) -> None:
    frames, _ = read(media.oriented_jpeg(tmp_path / "photo.jpg", orientation))
    assert media.quarters(frames[0].pixels) == seen


def test_rotations_agree_with_matrices() -> None:
    assert Orientation.from_rotation(0) == Orientation.from_matrix(None) == Orientation()
    assert Orientation.from_rotation(-180) == Orientation.from_rotation(180)
    assert Orientation.from_rotation(90) == Orientation(swap=True, flip_y=True)
    assert Orientation.from_rotation(-90) == Orientation(swap=True, flip_x=True)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("ten.mkv", "libx265", "yuv420p10le"),
        ("ten.mp4", "libx264", "yuv420p10le"),
        ("grey.mkv", "libx264", "gray"),
        ("full.avi", "mjpeg", "yuvj420p"),
        ("rgb.mkv", "ffv1", "bgr0"),
        ("vp9.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_other_formats_become_rgb(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    options = {"log-level": "none"} if codec == "libx265" else {}
    path = media.video(tmp_path / name, 4, codec=codec, pixel_format=pixel_format, options=options)
    frames, _ = read(path)
    assert len(frames) == 4
    assert frames[0].pixels.dtype == np.uint8
    assert frames[0].pixels.shape == (48, 64, 3)
    if pixel_format == "gray":
        assert np.ptp(frames[0].pixels.astype(int), axis=2).max() <= 2
    else:
        assert media.quarters(frames[0].pixels) == "rbg."


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_an_image_is_a_clip_of_one_frame(tmp_path: Path, suffix: str) -> None:
    (frame,), source = read(media.image(tmp_path / f"i{suffix}"))
    assert media.quarters(frame.pixels) == "rbg."
    assert (frame.time_s, frame.index) == (0.0, 0)
    assert source.rate_hz is None


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3), (7, 5), (3, 201), (333, 5)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), (200, 100, 50), np.uint8)
    (frame,), source = read(media.image(tmp_path / "odd.png", pixels))
    np.testing.assert_array_equal(frame.pixels, pixels)
    assert source.size == size


def test_an_odd_sized_video(tmp_path: Path) -> None:
    path = media.video(tmp_path / "odd.mkv", 3, (65, 49), codec="ffv1", pixel_format="bgr0")
    assert read(path)[0][2].pixels.shape == (49, 65, 3)


@pytest.mark.slow
def test_eight_k(tmp_path: Path) -> None:
    path = media.video(tmp_path / "8k.avi", 2, (7680, 4320), codec="mjpeg", pixel_format="yuvj420p")
    frames, _ = read(path)
    assert [frame.pixels.shape for frame in frames] == [(4320, 7680, 3)] * 2


def test_a_truncated_video_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    frames, source = read(media.truncated(tmp_path / "cut.mp4", 0.5))
    assert 10 < len(frames) < 200
    assert any(f"{len(frames)} of 200 frames" in note for note in source.notes)


def test_a_video_damaged_in_the_middle_is_read_on(tmp_path: Path) -> None:
    path = media.video(tmp_path / "hurt.mp4", 60, options={"g": "10"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 150] = b"\xff" * 150
    path.write_bytes(data)
    frames, _ = read(path)
    assert frames[-1].time_s > 1.5
    assert 30 < len(frames) <= 60


def bad_files(folder: Path) -> dict[str, Path]:
    files = {name: folder / name for name in ("empty.mp4", "text.txt", "noise.bin", "noise.mp4")}
    files["empty.mp4"].touch()
    files["text.txt"].write_text("no video, only words\n" * 50)
    noise = np.random.default_rng(0).bytes(100_000)
    files["noise.bin"].write_bytes(noise)
    files["noise.mp4"].write_bytes(noise)
    files["sound.m4a"] = media.audio_only(folder / "sound.m4a")
    files["nothing.mkv"] = media.no_frames(folder / "nothing.mkv")
    whole = media.video(folder / "whole.mp4", 30).read_bytes()
    files["headless.mp4"] = folder / "headless.mp4"
    files["headless.mp4"].write_bytes(whole[: len(whole) // 2])
    return files


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.mp4", "is empty"),
        ("text.txt", "not a video or image"),
        ("noise.bin", "not a video or image"),
        ("noise.mp4", "not a video or image"),
        ("sound.m4a", "sound but no picture"),
        ("nothing.mkv", "holds no picture"),
        ("headless.mp4", "not a video or image"),
    ],
)
def test_what_is_no_video_is_refused_by_name(tmp_path: Path, name: str, words: str) -> None:
    path = bad_files(tmp_path)[name]
    with pytest.raises(SourceUnreadable, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(8))
def test_noise_never_escapes_the_tree(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    for suffix in ("mp4", "jpg", "gif", "ts", "h264", "mpg", "png"):
        path = tmp_path / f"noise.{suffix}"
        path.write_bytes(random.bytes(int(10 ** random.uniform(1, 5))))
        with pytest.raises(SourceError):
            read(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"no file .*gone\.mp4") as caught:
        open_source(tmp_path / "gone.mp4")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(SourceUnreadable, match="is a folder"):
        open_source(tmp_path)


def test_closing_ends_the_frames(tmp_path: Path) -> None:
    source = open_source(media.video(tmp_path / "a.mp4", 60))
    frames = source.frames()
    next(frames)
    source.close()
    assert len(list(frames)) == 0
    source.close()


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = media.video(tmp_path / "v.mp4", 3)
    monkeypatch.setattr("av.open", denied)
    with pytest.raises(SourceRefused, match="check its permissions"):
        open_source(path)
