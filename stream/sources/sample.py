"""The built-in sample: a photograph set in motion, so that everything can be tried with nothing.

The photograph is NASA's portrait of Eileen Collins, in the public domain, and `collins.png` the
part of it that is shown, as scikit-image has it (`astronaut`). She smiles in it. Her mouth, brows
and eyelids are moved through a few landmarks by a smooth warp, from a straight mouth to her own
smile to raised brows with an open mouth and back to the smile. It is a sample to see the pipeline
work, not a recording of a person's expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..frame import Frame
from .base import BaseSource

NOTE = "made from a public-domain NASA photograph (Eileen Collins), moved by warping"

_RATE_HZ = 30.0
_DURATION_S = 3.6
_WIDTH_PX, _HEIGHT_PX = 640, 480
# The part of the photograph shown, and how much it is enlarged.
_LEFT_PX, _TOP_PX, _SCALE = 64, 6, 2.0
PHOTOGRAPH = Path(__file__).with_name("collins.png")
CORNER_PX = np.array([61, 4], np.float32)
"""x and y in the photograph of the corner of what the file holds: the part shown, and a rim."""
# Reach of a landmark's movement, in pixels of the photograph.
_REACH_PX = 8.0

# Landmarks of the photograph, x and y in its pixels, and how far each moves (dx, dy) to make the
# two expressions that the photograph does not show. Points that move by nothing hold the rest of
# the face in place.
_LANDMARKS: tuple[tuple[float, float, float, float, float, float], ...] = (
    # x, y, straight mouth dx dy, surprise dx dy
    (200.9, 139.0, 4.0, 5.0, 4.0, 4.5),  # corner of the mouth, on the picture's left
    (245.7, 141.8, -4.0, 4.5, -4.0, 4.0),  # the other corner
    (223.1, 142.5, 0.0, 3.4, 0.0, 0.0),  # inner edge of the upper lip
    (211.5, 141.5, 2.5, 3.4, 2.5, 1.0),
    (234.5, 142.5, -2.5, 3.4, -2.5, 1.0),
    (222.7, 149.9, 0.0, -3.2, 0.0, 2.5),  # inner edge of the lower lip
    (211.5, 148.0, 2.5, -2.2, 2.0, 2.5),
    (234.5, 149.0, -2.5, -2.2, -2.0, 2.5),
    (222.3, 156.5, 0.0, -2.0, 0.0, 4.0),  # under the lower lip
    (223.3, 136.5, 0.0, 0.6, 0.0, 0.0),  # between nose and lip
    (220.9, 176.0, 0.0, 0.0, 0.0, 4.5),  # chin
    (203.0, 170.0, 0.0, 0.0, 0.0, 4.0),
    (240.0, 171.0, 0.0, 0.0, 0.0, 4.0),
    (190.0, 120.3, 1.0, 3.0, 1.0, 3.0),  # cheeks sink as the smile goes
    (258.9, 124.1, -1.0, 3.0, -1.0, 3.0),
    (187.3, 91.2, 0.0, 1.0, 0.0, -6.0),  # brows
    (197.6, 86.1, 0.0, 1.0, 0.0, -8.5),
    (215.7, 88.7, 0.0, 1.0, 0.0, -8.0),
    (236.9, 89.4, 0.0, 1.0, 0.0, -8.0),
    (255.6, 88.5, 0.0, 1.0, 0.0, -8.5),
    (265.4, 95.0, 0.0, 1.0, 0.0, -6.0),
    (202.5, 97.4, 0.0, -0.4, 0.0, -2.6),  # upper eyelids
    (249.2, 99.5, 0.0, -0.4, 0.0, -2.6),
    (204.1, 105.2, 0.0, 0.6, 0.0, 1.0),  # lower eyelids
    (246.8, 107.2, 0.0, 0.6, 0.0, 1.0),
    (223.7, 131.0, 0.0, 0.0, 0.0, 0.0),  # nose
    (214.0, 128.0, 0.0, 0.0, 0.0, 0.0),
    (233.5, 128.5, 0.0, 0.0, 0.0, 0.0),
    (206.0, 127.0, 0.0, 0.0, 0.0, 0.0),
    (241.0, 128.0, 0.0, 0.0, 0.0, 0.0),
    (194.3, 101.1, 0.0, 0.0, 0.0, 0.0),  # corners of the eyes
    (213.8, 104.0, 0.0, 0.0, 0.0, 0.0),
    (237.1, 105.1, 0.0, 0.0, 0.0, 0.0),
    (257.0, 104.1, 0.0, 0.0, 0.0, 0.0),
    (185.7, 149.2, 0.0, 0.0, 0.0, 2.0),  # jaw
    (259.6, 153.3, 0.0, 0.0, 0.0, 2.0),
)

# Amount of each expression over time: seconds, straight mouth, surprise; her smile is (0, 0).
_SCORE: tuple[tuple[float, float, float], ...] = (
    (0.0, 1.0, 0.0),
    (0.6, 1.0, 0.0),
    (1.1, 0.0, 0.0),
    (1.9, 0.0, 0.0),
    (2.3, 0.0, 1.0),
    (2.9, 0.0, 1.0),
    (3.3, 0.0, 0.0),
    (3.6, 0.0, 0.0),
)


class SampleSource(BaseSource):
    """The sample as a source: 640x480, 30 frames a second, 3.6 s, the same bytes every time."""

    name = "sample"
    live = False
    rate_hz: float | None = _RATE_HZ
    size: tuple[int, int] | None = (_WIDTH_PX, _HEIGHT_PX)
    duration_s: float | None = _DURATION_S
    notes: tuple[str, ...] = (NOTE,)

    def __init__(self) -> None:
        with Image.open(PHOTOGRAPH) as picture:
            self._photograph = np.asarray(picture.convert("RGB"))
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """All frames from the first, in order."""
        straight = _source_map([(x, y, dx, dy) for x, y, dx, dy, _, _ in _LANDMARKS])
        surprise = _source_map([(x, y, dx, dy) for x, y, _, _, dx, dy in _LANDMARKS])
        rest = _grid()
        for index in range(round(_DURATION_S * _RATE_HZ)):
            if self._closed:
                return
            time_s = index / _RATE_HZ
            of_straight, of_surprise = _amounts(time_s)
            where = rest + of_straight * straight + of_surprise * surprise
            where += _sway_px(time_s)
            where -= CORNER_PX
            pixels = cv2.remap(self._photograph, where[..., 0], where[..., 1], cv2.INTER_LINEAR)
            yield Frame(np.asarray(pixels, np.uint8), time_s, index, self.name, dense=True)

    def close(self) -> None:
        """End `frames` before its next frame."""
        self._closed = True


def _grid() -> NDArray[np.float32]:
    """(H, W, 2): where in the photograph each pixel of the clip lies when nothing moves."""
    x, y = np.meshgrid(np.arange(_WIDTH_PX), np.arange(_HEIGHT_PX))
    grid = np.stack((x / _SCALE + _LEFT_PX, y / _SCALE + _TOP_PX), axis=-1)
    return np.asarray(grid, np.float32)


def _source_map(moves: list[tuple[float, float, float, float]]) -> NDArray[np.float32]:
    """(H, W, 2) offsets into the photograph that move each landmark by its (dx, dy).

    A sum of Gaussians around the landmarks' new places whose weights make it exact there.
    """
    table = np.array(moves)
    moved_xy, back_xy = table[:, :2] + table[:, 2:], -table[:, 2:]
    apart = np.square(moved_xy[:, None] - moved_xy[None]).sum(-1)
    kernel = np.exp(-apart / (2 * _REACH_PX**2)) + 0.01 * np.eye(len(moves))
    weights = np.linalg.solve(kernel, back_xy)
    # Gaussians are separable, and the clip's grid is regular: two small products, no (H, W, N).
    grid = _grid()
    along_x = np.exp(-np.square(grid[0, :, 0][:, None] - moved_xy[:, 0]) / (2 * _REACH_PX**2))
    along_y = np.exp(-np.square(grid[:, 0, 1][:, None] - moved_xy[:, 1]) / (2 * _REACH_PX**2))
    offsets = [(along_y * weights[:, axis]) @ along_x.T for axis in (0, 1)]
    return np.asarray(np.stack(offsets, axis=-1), np.float32)


def _amounts(time_s: float) -> tuple[np.float32, np.float32]:
    """How much of the straight mouth and of the surprise there is, eased between the keys."""
    times = [key[0] for key in _SCORE]
    after = min(max(int(np.searchsorted(times, time_s, side="right")), 1), len(_SCORE) - 1)
    start, end = _SCORE[after - 1], _SCORE[after]
    share = min(max((time_s - start[0]) / (end[0] - start[0]), 0.0), 1.0)
    eased = share * share * (3 - 2 * share)
    straight = start[1] + (end[1] - start[1]) * eased
    surprise = start[2] + (end[2] - start[2]) * eased
    return np.float32(straight), np.float32(surprise)


def _sway_px(time_s: float) -> NDArray[np.float32]:
    """The head is never quite still: a slow drift of about a pixel of the photograph."""
    return np.array([1.2 * np.sin(1.9 * time_s), 0.8 * np.sin(2.7 * time_s + 1)], np.float32)
