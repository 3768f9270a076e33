"""Where the eyes look, read off the dark of the irises between the corners of the eyes.

A line through where the irises lie and how the head is turned, learned on rendered faces whose gaze
is known (training/measuring/eye_figures.py); `gaze.npy` is where it is read. BENCHMARKS.md says how
well it does there: it tells aside from ahead, not which of two neighbours is looked at.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .align import crop_matrix

_CORNERS = np.array([33, 133, 362, 263])
"""Landmarks: the corners of the right and the left eye, as they lie in the picture from left on."""
_WIDE, _HIGH, _EYE = 28, 16, 24
"""The patch about an eye, pixels, and how long the eye is in it."""
_SMOOTH_PX = 1.2
_DARK = 20
"""Of a patch's pixels so many percent count as dark: iris, pupil, lashes."""
_EVEN = 1e-3


def _grid() -> NDArray[np.float32]:
    """(patch, 3): x and y of each of its pixels from its middle in eye lengths, and 1."""
    y, x = np.mgrid[:_HIGH, :_WIDE].reshape(2, -1)
    flat = np.stack([x - (_WIDE - 1) / 2, y - (_HIGH - 1) / 2, np.full(x.shape, _EYE)], axis=1)
    return np.asarray(flat / _EYE, np.float32)


_GRID = _grid()

LINE = Path(__file__).with_name("gaze.npy")


def gaze_features(
    crop: NDArray[np.uint8], landmarks_xy: NDArray[np.float32], yaw_deg: float, pitch_deg: float
) -> NDArray[np.float64]:
    """(7,) for `gaze.npy`: x and y of the dark's middle in the right and in the left eye, in eye
    lengths from between its corners, yaw and pitch of the head in units of 30 degrees, and 1.

    Args:
        crop: the aligned grey crop (S, S).
        landmarks_xy: (468, 2) pixels of the frame.
        yaw_deg: of the head, as `Quality` has it.
        pitch_deg: of the head.
    """
    to_crop = crop_matrix(landmarks_xy, len(crop))
    corners = landmarks_xy[_CORNERS] @ to_crop[:, :2].T + to_crop[:, 2]
    irises = _dark_middles(crop, corners.tolist())
    return np.array([*irises, yaw_deg / 30, pitch_deg / 30, 1.0])


def gaze_deg(
    crop: NDArray[np.uint8], landmarks_xy: NDArray[np.float32], yaw_deg: float, pitch_deg: float
) -> tuple[float, float]:
    """How far the eyes are turned in the head: to the picture's right, and down. Arguments as of
    `gaze_features`; of closed eyes it means nothing."""
    right, down = (gaze_features(crop, landmarks_xy, yaw_deg, pitch_deg) @ _line()).tolist()
    return right, down


def _dark_middles(crop: NDArray[np.uint8], corners: list[list[float]]) -> list[float]:
    """Where the dark of each eye lies, x and y in its lengths from its middle; corners are those of
    one eye after the other."""
    patches = np.empty((2, _HIGH, _WIDE), np.float32)
    for eye, patch in enumerate(patches):
        (x, y), (last_x, last_y) = corners[2 * eye : 2 * eye + 2]
        wide, high = last_x - x, last_y - y
        scale = _EYE / max(wide * wide + high * high, 1e-6)
        cos, sin = scale * wide, scale * high
        middle_x, middle_y = (x + last_x) / 2, (y + last_y) / 2
        matrix = np.array(
            [
                [cos, sin, (_WIDE - 1) / 2 - cos * middle_x - sin * middle_y],
                [-sin, cos, (_HIGH - 1) / 2 + sin * middle_x - cos * middle_y],
            ]
        )
        seen = cv2.warpAffine(crop, matrix, (_WIDE, _HIGH), borderMode=cv2.BORDER_REPLICATE)
        cv2.GaussianBlur(seen.astype(np.float32), (0, 0), _SMOOTH_PX, dst=patch)
    flat = patches.reshape(2, -1)
    darkest = _DARK * flat.shape[1] // 100
    level = np.partition(flat, darkest, axis=1)[:, darkest]
    dark = np.maximum(level[:, None] - flat, 0) @ _GRID
    return [value / max(total, _EVEN) for x, y, total in dark.tolist() for value in (x, y)]


@cache
def _line() -> NDArray[np.float64]:
    """(7, 2) weights of `gaze_features`, to degrees right and down."""
    return np.asarray(np.load(LINE), np.float64)
