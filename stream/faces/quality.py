"""How good a view of a face is: size, sharpness, pose, presence, brightness, clearness."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

_EAR_RIGHT, _EAR_LEFT, _FOREHEAD, _CHIN = 234, 454, 10, 152
_EYE_RIGHT, _EYE_LEFT = EYES = 33, 263
"""Landmarks: the outer corners of the eyes, as the face has them."""

_NOISE_VARIANCE = 25.0
"""Variance of grey levels below which a crop holds nothing but noise."""
_HALF_SHARP = 0.05
"""Edge energy per contrast of a crop blurred by about one pixel; sharpness is 0.5 there."""
_USELESS_PX, _PLENTY_PX = 16.0, 80.0
_USELESS_YAW_DEG, _USELESS_PITCH_DEG = 75.0, 60.0

TRUSTED = 0.35
"""Of a view with a lower score nothing is said for sure: its readings are `uncertain`."""
CLEAR_PX = 64
"""Side of the crops that `clear_features` reads."""
_CELL_PX, _BINS = 8, 9
_HALF_CLEAR, _STEEPNESS = 0.13, 6.0
"""What the line of `clear` gives where it is 0.5: 3 % of wild's validation faces are below."""


@dataclass(frozen=True, slots=True)
class Quality:
    """One view's quality; every part is measured, `score` sums it up."""

    size_px: float
    """Width of the face in the frame, ear to ear, pixels."""
    sharpness: float
    """0 (smeared) .. 1 (crisp): edges of the aligned crop against its contrast."""
    yaw_deg: float
    """Head turn, degrees; positive where the face looks to the picture's right."""
    pitch_deg: float
    """Head nod, degrees; positive where the face looks down."""
    presence: float
    """The landmark network's own belief that a face is there, 0..1."""
    brightness: float
    """Mean grey of the aligned crop, 0..1."""
    clear: float
    """How surely the crop shows the whole of a living face, 0..1: low where the mouth is covered,
    and of drawings and statues."""
    score: float
    """0 (worthless) .. 1 (a large, sharp, lit, frontal, clear face)."""

    def to_json(self) -> dict[str, float]:
        """Plain numbers, rounded."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measure(landmarks: NDArray[np.float32], crop: NDArray[np.uint8], presence: float) -> Quality:
    """The quality of one view.

    Args:
        landmarks: (468, 3) in pixels, z in the same unit, growing away from the camera.
        crop: the aligned grey crop (64, 64).
        presence: 0..1.

    The score is presence times `clear` times the geometric mean of the parts, each brought to
    0..1, and of their worst: one very bad part is enough to make a view worthless.
    """
    yaw_deg, pitch_deg = pose_deg(landmarks)
    size_px = float(np.linalg.norm(landmarks[_EAR_LEFT] - landmarks[_EAR_RIGHT]))
    sharp = sharpness(crop)
    brightness = float(cv2.mean(crop)[0]) / 255
    parts = (
        _between(size_px, _USELESS_PX, _PLENTY_PX),
        sharp,
        1 - _between(abs(yaw_deg), 0, _USELESS_YAW_DEG) ** 2,
        1 - _between(abs(pitch_deg), 0, _USELESS_PITCH_DEG) ** 2,
        _between(brightness, 0.02, 0.25) * _between(1 - brightness, 0.02, 0.15),
    )
    clear = clearness(crop)
    mean = math.prod(parts) ** (1 / len(parts))
    score = presence * clear * math.sqrt(mean * min(parts))
    return Quality(size_px, sharp, yaw_deg, pitch_deg, presence, brightness, clear, score)


def clearness(crop: NDArray[np.uint8]) -> float:
    """`Quality.clear` of an aligned grey crop (64, 64): a line through its gradients, learned on
    photographs of faces and on the same ones spoiled (training/measuring/clear_view.py)."""
    line = clear_line()
    along = float(clear_features(crop) @ line[:-1]) + float(line[-1])
    return 1 / (1 + math.exp(-_STEEPNESS * (along - _HALF_CLEAR)))


def clear_features(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(1764,) histograms of the gradients of an aligned grey crop (64, 64) (Dalal and Triggs 2005),
    as OpenCV 4's HOGDescriptor gives them, which OpenCV 5 left out.

    Blocks of 2 x 2 cells of 8 pixels, a cell from each other; 9 directions of 20 degrees.
    """
    across, down = (
        cv2.Sobel(crop, cv2.CV_32F, 1, 0, ksize=1),
        cv2.Sobel(crop, cv2.CV_32F, 0, 1, ksize=1),
    )
    strength, angle = cv2.cartToPolar(across, down)
    # Each gradient counts for the two directions next to its own; half a turn on is the same one.
    place = angle * np.float32(_BINS / np.pi) + np.float32(_BINS - 0.5)
    upper = (place - np.floor(place)) * strength
    lower = place.astype(np.intp)
    pixels = np.zeros(crop.size * _BINS, np.float32)
    at, first, second = _places()
    pixels[at + first[lower]] = strength - upper
    pixels[at + second[lower]] = upper
    # Weights are separable: first all rows of all blocks' cells, then all columns.
    weights = _cell_weights()
    rows = (weights @ pixels.reshape(len(crop), -1)).reshape(-1, CLEAR_PX, _BINS)
    sums = weights @ rows.transpose(1, 0, 2).reshape(CLEAR_PX, -1)
    blocks = len(weights) // 2
    # Columns' block and cell, rows' block and cell, direction.
    each = sums.reshape(blocks, 2, blocks, 2, _BINS).transpose(0, 2, 1, 3, 4)
    found = each.reshape(blocks * blocks, -1)
    found = np.minimum(found / (_lengths(found) + 0.1 * found.shape[1]), 0.2)
    return np.asarray(found / (_lengths(found) + 1e-3), np.float32).ravel()


@cache
def _places() -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Where the directions of each of a crop's pixels begin, (64, 64), and the two directions of a
    gradient by the whole part of its angle in directions, half a turn added."""
    at = _BINS * np.arange(CLEAR_PX**2).reshape(CLEAR_PX, CLEAR_PX)
    lower = np.arange(4 * _BINS)
    return at, lower % _BINS, (lower + 1) % _BINS


def _lengths(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@cache
def _cell_weights() -> NDArray[np.float32]:
    """(14, 64): how far each of a crop's rows counts for each of two cells of seven blocks; a
    block's middle counts most, and what lies between two cells for both."""
    row = np.arange(2 * _CELL_PX)
    middle = np.exp(-((row - _CELL_PX) ** 2) / (2 * (_CELL_PX / 2) ** 2))
    place = (row + 0.5) / _CELL_PX - 0.5
    cells = [middle * np.maximum(1 - np.abs(place - cell), 0) for cell in (0, 1)]
    weights = np.zeros((CLEAR_PX // _CELL_PX - 1, 2, CLEAR_PX), np.float32)
    for block, of_block in enumerate(weights):
        of_block[:, block * _CELL_PX : (block + 2) * _CELL_PX] = cells
    return weights.reshape(-1, CLEAR_PX)


@cache
def clear_line() -> NDArray[np.float32]:
    """(1765,) weights of `clear_features` and the constant that `clearness` goes by."""
    return np.asarray(np.load(Path(__file__).with_name("clear_view.npy")), np.float32)


def pose_deg(landmarks: NDArray[np.float32]) -> tuple[float, float]:
    """Yaw and pitch of landmarks (468, 3), degrees, roll taken out first.

    The face looks along the normal of the plane through ears, forehead and chin.
    """
    eyes = landmarks[_EYE_LEFT] - landmarks[_EYE_RIGHT]
    roll = math.atan2(float(eyes[1]), float(eyes[0]))
    cos, sin = math.cos(roll), math.sin(roll)
    ax, ay, az = (landmarks[_EAR_LEFT] - landmarks[_EAR_RIGHT]).tolist()
    bx, by, bz = (landmarks[_CHIN] - landmarks[_FOREHEAD]).tolist()
    ax, ay, bx, by = (
        cos * ax + sin * ay,
        cos * ay - sin * ax,
        cos * bx + sin * by,
        cos * by - sin * bx,
    )
    x, y, z = az * by - ay * bz, ax * bz - az * bx, ay * bx - ax * by
    return math.degrees(math.atan2(x, -z)), math.degrees(math.atan2(y, math.hypot(x, z)))


def sharpness(crop: NDArray[np.uint8]) -> float:
    """0..1: variance of the Laplacian of a grey crop over its own variance.

    Dividing by the contrast keeps dim and pale faces comparable.
    """
    edges = float(cv2.meanStdDev(cv2.Laplacian(crop, cv2.CV_16S))[1][0, 0]) ** 2
    contrast = float(cv2.meanStdDev(crop)[1][0, 0]) ** 2
    energy = edges / (contrast + _NOISE_VARIANCE)
    return energy / (energy + _HALF_SHARP)


def _between(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)
