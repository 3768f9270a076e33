"""Makes the videos, images and broken files that tests need."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def picture(index: int = 0, size: tuple[int, int] = (64, 48)) -> Image:
    """(H, W, 3) RGB: red above green on the left, blue above black right, brighter with index.

    The quarters tell which way is up; `level` reads the index back.
    """
    width_px, height_px = size
    pixels = np.zeros((height_px, width_px, 3), np.uint8)
    level = 60 + 9 * (index % 20)
    pixels[: height_px // 2, : width_px // 2, 0] = level
    pixels[height_px // 2 :, : width_px // 2, 1] = level
    pixels[: height_px // 2, width_px // 2 :, 2] = level
    return pixels


def level(pixels: Image) -> int:
    """The index of an upright `picture`, read from its red quarter, modulo 20."""
    red = pixels[: max(1, pixels.shape[0] // 2 - 2), : max(1, pixels.shape[1] // 2 - 2), 0]
    return round((float(np.median(red)) - 60) / 9)


def quarters(pixels: Image) -> str:
    """The colours of the four quarters, row by row: `rbg.` for an upright `picture`."""
    height_px, width_px = pixels.shape[:2]
    names = ""
    for row in (0, 1):
        for column in (0, 1):
            y, x = height_px // 4 + row * height_px // 2, width_px // 4 + column * width_px // 2
            colour = pixels[y, x].astype(int)
            names += "." if colour.max() < 40 else "rgb"[int(colour.argmax())]
    return names


def video(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] = (64, 48),
    *,
    rate: int = 30,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times_s: Sequence[float] | None = None,
    rotation_deg: int | None = None,
    flip: bool = False,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    ticks: Fraction = Fraction(1, 90_000),
    aspect: Fraction | None = None,
    pictures: Sequence[Image] | None = None,
) -> Path:
    """A video of `picture`s, or of others in their place; `times_s` instead of an even rate where
    given.

    `ticks` is the unit of the encoder's stamps: a frame's duration for those that want it;
    `aspect` the width of a pixel by its height.
    """
    with av.open(str(path), "w", options=container_options or {}) as file:
        crisp = {"crf": "4"} if codec == "libx264" else {}
        stream = file.add_stream(codec, rate=rate, options={**crisp, **(options or {})})
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.codec_context.time_base = ticks
        stream.codec_context.thread_count = 1  # by the number of cores pictures would differ
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation_deg is not None:
            stream.set_display_rotation(rotation_deg, hflip=flip)
        for index in range(frames):
            shown = picture(index, size) if pictures is None else pictures[index]
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24").reformat(*size)
            time_s = index / rate if times_s is None else times_s[index]
            frame.pts, frame.time_base = round(time_s / ticks), ticks
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def audio_only(path: Path) -> Path:
    """Half a second of a tone."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("aac", rate=16_000, layout="mono")
        samples = np.sin(np.arange(8000) / 8).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def truncated(path: Path, share: float = 0.5, frames: int = 200) -> Path:
    """The first `share` of a video whose index stands at its front."""
    whole = path.with_name(f"whole_{path.name}")
    video(whole, frames, (320, 240), container_options={"movflags": "faststart"})
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    whole.unlink()
    return path


def no_frames(path: Path) -> Path:
    """A container that announces a video and holds none of its frames."""
    with av.open(str(path), "w", format="matroska") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.start_encoding()
    return path


def image(path: Path, pixels: Image | None = None) -> Path:
    """An image of the kind that the name says: png, jpg, bmp, tiff."""
    pixels = picture() if pixels is None else pixels
    codec = {".jpg": "mjpeg", ".png": "png", ".bmp": "bmp", ".tiff": "tiff"}[path.suffix]
    pixel_format = {"mjpeg": "yuvj420p", "bmp": "bgr24"}.get(codec, "rgb24")
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height = pixels.shape[1], pixels.shape[0]
    context.pix_fmt, context.time_base = pixel_format, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
    packets = [*context.encode(frame), *context.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    return path


def oriented_jpeg(path: Path, orientation: int) -> Path:
    """A JPEG whose Exif says how it is to be turned (1 upright .. 8), as phones write it."""
    data = image(path).read_bytes()
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\x00\x2a" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    exif = b"Exif\x00\x00" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    return path


def with_sound(
    path: Path, pictures: Path, sound_s: tuple[float, float] = (0.0, 1.0), codec: str = "aac"
) -> Path:
    """The pictures of a video beside a tone that lasts from one time to another."""
    with av.open(str(pictures)) as video, av.open(str(path), "w") as file:
        copied: Any = file.add_stream_from_template(video.streams.video[0])
        sound: Any = file.add_stream(codec, rate=48_000, layout="mono")
        count = round((sound_s[1] - sound_s[0]) * 48_000)
        samples = (0.2 * np.sin(np.arange(count) / 8)).astype(np.float32)[None]
        tone = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        tone.sample_rate, tone.time_base = 48_000, Fraction(1, 48_000)
        tone.pts = round(sound_s[0] * 48_000)
        fifo: Any = av.AudioFifo()
        fifo.write(tone)
        packets = [p for p in video.demux(video=0) if p.size]
        for packet in packets:
            packet.stream = copied
        size = sound.codec_context.frame_size or 1024
        while (part := fifo.read(size, partial=True)) is not None:
            packets += sound.encode(part)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            file.mux(packet)
    return path


def trimmed(path: Path, begin_s: float, frames: int = 60, sound: bool = False) -> Path:
    """A video whose first `begin_s` are there and hidden by an edit list, as phones trim."""
    whole = video(path.with_name(f"whole_{path.name}"), frames, options={"g": str(frames)})
    if sound:
        silent, whole = whole, whole.with_name(f"sound_{path.name}")
        with_sound(whole, silent, (0.0, frames / 30))
    with av.open(str(whole)) as source, av.open(str(path), "w") as file:
        copied: Any = {s.index: file.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(begin_s / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = copied[packet.stream_index]
            file.mux(packet)
    return path


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """Files one after the other, byte for byte."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def without_start(path: Path, whole: Path, share: float = 0.5) -> Path:
    """A transport stream without its first packets, so that it begins between key frames."""
    data = whole.read_bytes()
    path.write_bytes(data[188 * int(len(data) / 188 * share) :])
    return path
