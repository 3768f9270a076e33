"""Real clips as frames, and real faces set in motion on a plain canvas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ferstream.stream.frame import Frame
from ferstream.stream.sources.sample import SampleSource
from tests import media

Picture = NDArray[np.uint8]

PATCH_PX = 170
"""Side of the square that holds a cut-out face."""


def frames_of(clip: Path) -> Iterator[Frame]:
    """The frames of a clip with their own times."""
    with av.open(str(clip)) as container:
        for index, picture in enumerate(container.decode(video=0)):
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24"), np.uint8)
            yield Frame(rgb, float(picture.time), index, clip.name)


def pictures_of(clip: Path, size: tuple[int, int] | None = None) -> list[Picture]:
    """The pictures of a clip, brought to a width and height if one is given."""
    pictures = [frame.pixels for frame in frames_of(clip)]
    if size is None:
        return pictures
    return [np.asarray(cv2.resize(picture, size), np.uint8) for picture in pictures]


def at_rate(pictures: list[Picture], rate_hz: float, source: str = "test") -> Iterator[Frame]:
    """Pictures as frames of an even rate."""
    for index, picture in enumerate(pictures):
        yield Frame(picture, index / rate_hz, index, source)


def faces_cut_out(pictures: list[Picture], box: tuple[float, float, float, float]) -> list[Picture]:
    """The face in this box (x, y, width, height), (170, 170) pixels of each picture."""
    x, y, width, height = box
    scale = PATCH_PX / (1.7 * max(width, height))
    middle_x, middle_y = x + width / 2, y + 0.45 * height
    matrix = np.array(
        [
            [scale, 0, PATCH_PX / 2 - scale * middle_x],
            [0, scale, PATCH_PX / 2 - scale * middle_y],
        ]
    )
    side = (PATCH_PX, PATCH_PX)
    return [np.asarray(cv2.warpAffine(picture, matrix, side), np.uint8) for picture in pictures]


def canvas(width: int = 854, height: int = 480) -> Picture:
    """A soft grey ground."""
    noise = np.random.default_rng(0).integers(90, 150, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 9), np.uint8)


def paste(ground: Picture, face: Picture, x: float, y: float) -> None:
    """Lay the oval of a cut-out face on the ground, its corner at x, y, wholly inside."""
    oval = np.zeros((PATCH_PX, PATCH_PX), np.float32)
    axes = (int(0.42 * PATCH_PX), int(0.49 * PATCH_PX))
    cv2.ellipse(oval, (PATCH_PX // 2, PATCH_PX // 2), axes, 0, 0, 360, 1.0, -1)
    share = np.asarray(cv2.GaussianBlur(oval, (0, 0), 2))[..., None]
    left, top = round(x), round(y)
    place = ground[top : top + PATCH_PX, left : left + PATCH_PX]
    place[:] = (place * (1 - share) + face * share).astype(np.uint8)


def back_behind_a_hand(path: Path) -> tuple[Path, int]:
    """A clip of 320 x 240, ten pictures a second, and how many it has: somebody goes, comes back
    elsewhere with the mouth covered for a second, and is plain to see."""
    there = np.ascontiguousarray(next(SampleSource().frames()).pixels[::2, ::2])
    back = np.ascontiguousarray(np.roll(there, 50, axis=1))
    covered = back.copy()
    covered[112:180, 155:270] = (40, 60, 90)
    shown = [there] * 4 + [np.full_like(there, 110)] * 17 + [covered] * 10 + [back] * 4
    return media.video(path, len(shown), (320, 240), rate=10, pictures=shown), len(shown)
