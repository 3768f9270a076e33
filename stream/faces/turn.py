"""Frames turned by quarters, and what is found in them carried back."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .detect import Detection

TURNS = (0, 90, 180, 270)
"""Degrees clockwise."""


def turned(rgb: NDArray[np.uint8], turn_deg: int) -> NDArray[np.uint8]:
    """A frame (H, W, 3) turned clockwise by one of `TURNS`."""
    return np.ascontiguousarray(np.rot90(rgb, -turn_deg // 90)) if turn_deg else rgb


def turned_back(found: Detection, turn_deg: int, height: int, width: int) -> Detection:
    """A detection in a turned frame, where it lies in the frame of this size as it was."""
    if not turn_deg:
        return found
    x, y, across, down = found.box
    low, high = _back(np.array([(x, y), (x + across, y + down)]), turn_deg, height, width)
    corner, size = np.minimum(low, high), np.abs(high - low)
    points_xy = _back(found.points_xy, turn_deg, height, width)
    return Detection((*corner.tolist(), *size.tolist()), found.score, points_xy)


def upright_turn(roll_rad: float) -> int:
    """The one of `TURNS` that best makes a face with this roll, clockwise, stand upright."""
    return round(-math.degrees(roll_rad) / 90) % 4 * 90


def _back(xy: NDArray[np.float64], turn_deg: int, height: int, width: int) -> NDArray[np.float64]:
    x, y = xy[:, 0], xy[:, 1]
    back = {90: (y, height - x), 180: (width - x, height - y), 270: (width - y, x)}
    return np.stack(back[turn_deg], axis=1)
