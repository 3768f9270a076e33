"""The files that tiny copies of layouts consist of: drawn, not downloaded."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..media import video

EMOTIW = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")


@dataclass(frozen=True)
class Written:
    """What lies in a folder: items per split and label; where a set has people, how many."""

    counts: dict[str, dict[str, int]]
    people: int = 0
    kind: str = "images"
    labels: tuple[str, ...] = ()
    """The whole label map in order, where it is the set's own."""
    said: tuple[str, ...] = field(default=())
    """Parts of its notes."""


def picture(path: Path, seed: int | None = None) -> Path:
    """A small picture, another one for each path (its last four parts) or seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(
        zlib.crc32("/".join(path.parts[-4:]).encode()) if seed is None else seed
    )
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (40, 40), interpolation=cv2.INTER_CUBIC)
    assert cv2.imwrite(str(path), pixels)
    return path


def text(path: Path, *lines: str) -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def frames(folder: Path, count: int, name: str = "{:03d}.jpg", start: int = 0) -> Path:
    """A folder of frames."""
    for number in range(start, start + count):
        picture(folder / name.format(number))
    return folder


def clip(path: Path, count: int = 4) -> Path:
    """A video file; its frames tell their numbers (tests.media.level)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".avi":
        return video(path, count, codec="mjpeg", pixel_format="yuvj420p")
    return video(path, count)
