"""Pictures as their makers meant them: turned, whole, of square pixels, of usual contrast."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from ferstream.stream.errors import SourceTooLarge, SourceUnreadable
from ferstream.stream.frame import Frame
from ferstream.stream.sandbox.untrusted import Limits, open_untrusted
from ferstream.stream.sources import open_source
from ferstream.stream.sources.base import Source
from ferstream.stream.sources.image import decode_picture
from tests import heic, media

# What a turn does to the quarters r b / g . is written out by hand.
TURNED = dict(enumerate(["rbg.", "br.g", ".gbr", "g.rb", "rgb.", "gr.b", ".bgr", "b.rg"], start=1))
ORIENTATION = 0x0112


def read(path: Path, **options: Any) -> tuple[list[Frame], Source]:
    source = open_source(path, **options)
    return list(source.frames()), source


def oriented(path: Path, orientation: int) -> Path:
    """A picture whose Exif says how it is to be turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lossless: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    Image.fromarray(media.picture()).save(path, exif=exif, **lossless)
    return path


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".avif"])
def test_every_kind_is_turned_as_its_exif_says(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    path = oriented(tmp_path / f"p{suffix}", orientation)
    (frame,), source = read(path)
    assert media.quarters(frame.pixels) == TURNED[orientation]
    assert source.size == (frame.width_px, frame.height_px)
    with Image.open(path) as image:
        right = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(frame.pixels, right)
    assert frame.pixels.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff", ".avif"])
def test_a_strangers_picture_is_turned_too(tmp_path: Path, suffix: str) -> None:
    path = oriented(tmp_path / f"p{suffix}", 5)
    with open_untrusted(path) as source:
        (frame,) = source.frames()
        assert source.size == (48, 64)
    assert media.quarters(frame.pixels) == TURNED[5]
    with pytest.raises(SourceTooLarge), open_untrusted(path, Limits(max_pixels=1000)) as source:
        list(source.frames())


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_live_pictures_of_strangers_are_turned(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    data = oriented(tmp_path / f"p{suffix}", orientation).read_bytes()
    assert media.quarters(decode_picture(data, 10_000)) == TURNED[orientation]


def test_a_damaged_webp_is_refused(tmp_path: Path) -> None:
    data = oriented(tmp_path / "p.webp", 1).read_bytes()
    with pytest.raises(SourceUnreadable, match="webp picture is damaged"):
        decode_picture(data[:40] + bytes(len(data) - 40), 10_000)


def test_a_heic_is_put_together_from_its_tiles(tmp_path: Path) -> None:
    pixels = media.picture(10, (192, 128))
    path = heic.grid(tmp_path / "phone.heic", pixels)
    (frame,), source = read(path)
    assert source.size == (192, 128)
    assert np.abs(frame.pixels.astype(int) - pixels).mean() < 4
    with open_untrusted(path) as stranger:
        (same,) = stranger.frames()
    np.testing.assert_array_equal(same.pixels, frame.pixels)


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".gif", ".png"])
def test_pictures_that_move_have_their_times(tmp_path: Path, suffix: str) -> None:
    pictures = [Image.fromarray(media.picture(4 * k)) for k in range(4)]
    lasts_ms = [100, 50, 200, 100]
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    path = tmp_path / f"m{suffix}"
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=lasts_ms, loop=0, **options
    )
    frames, source = read(path)
    assert [media.level(frame.pixels) for frame in frames] == [0, 4, 8, 12]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.15, 0.35], abs=1e-3)
    assert source.rate_hz is not None and source.notes == ()


def test_a_moving_picture_that_says_no_time_is_no_blur(tmp_path: Path) -> None:
    """Browsers show for a tenth of a second what is to be over at once."""
    pictures = [Image.fromarray(media.picture(4 * k)) for k in range(3)]
    pictures[0].save(tmp_path / "m.webp", save_all=True, append_images=pictures[1:], duration=0)
    frames, _ = read(tmp_path / "m.webp")
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2])


def test_pages_and_other_views_are_no_motion(tmp_path: Path) -> None:
    pictures = [Image.fromarray(media.picture(4 * k)) for k in range(3)]
    for name in ("pages.tiff", "views.mpo"):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
        (frame,), _ = read(tmp_path / name)
        assert media.level(frame.pixels) == 0


def test_a_row_of_jpegs_is_a_video(tmp_path: Path) -> None:
    parts = [media.image(tmp_path / f"{k}.jpg", media.picture(k)) for k in range(5)]
    frames, _ = read(media.joined(tmp_path / "row.mjpeg", parts))
    assert [media.level(frame.pixels) for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == pytest.approx([k / 25 for k in range(5)])


def test_what_is_transparent_is_white_and_deep_grey_is_not_cut_off(tmp_path: Path) -> None:
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:, 4:] = (10, 20, 30, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    (frame,), _ = read(tmp_path / "clear.png")
    assert frame.pixels[0, 0].tolist() == [255, 255, 255]
    assert frame.pixels[0, 7].tolist() == [10, 20, 30]
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    (frame,), _ = read(tmp_path / "deep.png")
    assert np.abs(frame.pixels[..., 0].astype(int) - ramp // 256).max() <= 1


def test_a_picture_that_is_cut_off_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    data = media.image(tmp_path / "cut.jpg", noisy).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    (frame,), _ = read(tmp_path / "cut.jpg")
    assert frame.pixels.shape == (200, 200, 3)
    assert np.ptp(frame.pixels[:50]) > 100


@pytest.mark.parametrize(
    ("stored", "aspect", "seen"),
    [
        ((720, 576), Fraction(64, 45), (1024, 576)),
        ((320, 480), Fraction(2), (640, 480)),
        ((720, 480), Fraction(8, 9), (640, 480)),
        ((64, 48), Fraction(1), (64, 48)),
    ],
)
def test_pixels_are_square(
    tmp_path: Path, stored: tuple[int, int], aspect: Fraction, seen: tuple[int, int]
) -> None:
    for name in ("a.mp4", "a.mkv", "a.ts"):
        path = media.video(tmp_path / name, 12, stored, aspect=aspect)
        frames, source = read(path)
        assert source.size == seen
        assert {(frame.width_px, frame.height_px) for frame in frames} == {seen}
        assert media.quarters(frames[0].pixels) == "rbg."


def test_a_turned_video_has_square_pixels_too(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.mp4", 3, (64, 48), aspect=Fraction(2), rotation_deg=90)
    frames, source = read(path)
    assert (frames[0].width_px, frames[0].height_px) == source.size == (48, 128)


def test_a_pixel_a_thousand_times_as_wide_is_a_mistake(tmp_path: Path) -> None:
    path = media.video(tmp_path / "a.mkv", 3, aspect=Fraction(1000))
    assert read(path)[1].size == (64, 48)


def two_tracks(path: Path, default: int | None) -> Path:
    """Two video tracks: pictures from 0 on of 64 by 48, from 10 on of 80 by 60."""
    sizes = [(64, 48), (80, 60)]
    with av.open(str(path), "w") as file:
        streams: list[Any] = []
        for number, size in enumerate(sizes):
            stream: Any = file.add_stream("libx264", rate=30, options={"crf": "4"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            is_default = av.stream.Disposition.default if number == default else 0
            stream.disposition = av.stream.Disposition(is_default)
            streams.append(stream)
        for index in range(6):
            for number, (stream, size) in enumerate(zip(streams, sizes, strict=True)):
                pixels = media.picture(10 * number + index, size)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in streams:
            file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("default", "seen"), [(None, 0), (0, 0), (1, 1)])
def test_the_track_marked_default_is_read(tmp_path: Path, default: int | None, seen: int) -> None:
    path = two_tracks(tmp_path / "two.mkv", default)
    frames, source = read(path)
    assert source.size == [(64, 48), (80, 60)][seen]
    assert [media.level(frame.pixels) for frame in frames] == [10 * seen + k for k in range(6)]


def test_another_track_can_be_named(tmp_path: Path) -> None:
    path = two_tracks(tmp_path / "two.mkv", 1)
    assert read(path, track=0)[1].size == (64, 48)
    assert read(path, track=1)[1].size == (80, 60)
    with pytest.raises(SourceUnreadable, match="has 2 video tracks and no track 2"):
        read(path, track=2)


def pq(light: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """SMPTE ST 2084: the signal, 0..1, of a light in candelas per square metre."""
    y = (light / 10_000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)


@pytest.mark.slow
@pytest.mark.slow
def test_hdr_has_the_contrast_of_other_video(tmp_path: Path) -> None:
    """A grey ramp up to the white of ordinary pictures, 203 candelas per square metre."""
    grey = np.linspace(0.1, 1, 256)
    signal = pq(203 * grey**2.4)
    path = tmp_path / "hdr.mp4"
    with av.open(str(path), "w") as file:
        options = {"x265-params": "log-level=none:crf=4"}
        stream: Any = file.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 256, 64, "yuv420p10le"
        codec = stream.codec_context
        codec.color_primaries, codec.color_trc, codec.colorspace, codec.color_range = 9, 16, 9, 1
        for _ in range(3):
            frame = av.VideoFrame(256, 64, "yuv420p10le")
            luma = np.broadcast_to(np.round(64 + 876 * signal).astype(np.uint16), (64, 256))
            frame.planes[0].update(np.ascontiguousarray(luma).tobytes())
            for plane in (1, 2):
                frame.planes[plane].update(np.full((32, 128), 512, np.uint16).tobytes())
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    frames, _ = read(path)
    assert len(frames) == 3
    for seen in frames:
        shown = seen.pixels.mean((0, 2))
        # Without mapping, the ramp would end at 148.
        assert np.abs(shown[4:-4] - 255 * grey[4:-4]).max() < 12
