"""The 106 landmarks that the project's own landmark network gives, and what follows from them.

They are points of MediaPipe's mesh, under its numbers: all that alignment, pose and drawing need.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .head import MEAN_HEAD

_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_BROWS = (
    *(70, 63, 105, 66, 107, 46, 53, 52, 65, 55),
    *(300, 293, 334, 296, 336, 276, 283, 282, 295, 285),
)
_EYES = (33, 160, 159, 158, 133, 153, 145, 144, 263, 387, 386, 385, 362, 380, 374, 373)
_NOSE = (168, 6, 197, 195, 4, 2, 98, 97, 326, 327, 64, 294)
_LIPS = (
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
IRISES = (468, 473)
"""Numbers of the irises' centres, the person's right and left, in the mesh of 478 points."""
POINTS = (*_OVAL, *_BROWS, *_EYES, *_NOSE, *_LIPS, *IRISES)
"""The 106 numbers, in the order of the network's answer."""
PLACE = {number: place for place, number in enumerate(POINTS)}
"""Where each of them stands in that order."""
REACH = 1.3
"""Side of the square that the network is shown, in longer sides of the face's landmarks."""

_MESH = np.array(POINTS[: -len(IRISES)])
_RIGID = np.array([PLACE[number] for number in (*_OVAL, *_EYES, *_NOSE)])
"""What expressions move little: pose is read off it."""
_RIGID_HEAD = MEAN_HEAD[[POINTS[place] for place in _RIGID]]
_FIT = np.linalg.pinv(_RIGID_HEAD - _RIGID_HEAD.mean(0))
"""(3, rigid points): centred points in the picture to the affine map that fits best."""

_LEAN_RAD = math.radians(5.2)
"""The mean head looks up by so much where the rendered faces, whose pose is known, look straight:
the median over 400 of them."""
_LEAN = np.array(
    [
        [1, 0, 0],
        [0, math.cos(_LEAN_RAD), -math.sin(_LEAN_RAD)],
        [0, math.sin(_LEAN_RAD), math.cos(_LEAN_RAD)],
    ]
)


def _mirrored() -> NDArray[np.intp]:
    """Where each point's fellow on the other side stands."""
    head = MEAN_HEAD[_MESH]
    other = head * (-1, 1, 1)
    places = np.linalg.norm(other[:, None] - head[None], axis=2).argmin(1)
    return np.append(places, [len(_MESH) + 1, len(_MESH)])


MIRRORED = _mirrored()
"""(106,) places of the points in a mirrored picture."""


def square_around(points_xy: NDArray[np.floating[Any]]) -> tuple[float, float, float, float]:
    """Where the network looks for a face with these landmarks (106, 2), of which the irises say
    nothing.

    Centre x and y, side, all in pixels, and the angle of the line between the eyes, radians
    clockwise in the picture.
    """
    eyes = points_xy[PLACE[263]] - points_xy[PLACE[33]]
    roll = math.atan2(float(eyes[1]), float(eyes[0]))
    cos, sin = math.cos(roll), math.sin(roll)
    level = np.array([[cos, sin], [-sin, cos]])
    upright_xy = points_xy[: len(_MESH)] @ level.T
    low, high = upright_xy.min(0), upright_xy.max(0)
    x, y = ((low + high) / 2 @ level).tolist()
    return x, y, REACH * float((high - low).max()), roll


def square_matrix(square: tuple[float, float, float, float], side_px: int) -> NDArray[np.float64]:
    """(2, 3) frame pixels to those of the network's picture, (side_px, side_px), of a square as
    `square_around` gives it. A pixel's centre has a whole-number coordinate, as in OpenCV."""
    x, y, side, roll = square
    scale = side_px / max(side, 1e-6)
    cos, sin = scale * math.cos(roll), scale * math.sin(roll)
    linear = np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([linear, (side_px - 1) / 2 - linear @ np.array([x, y])])


def head_turn(points_xy: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The rotations (..., 3, 3) of heads with these landmarks (..., 106, 2), from looking at the
    camera.

    Axes: x to the picture's right, y down, z away from the camera. That of a camera without
    perspective: the affine map that fits best, made a rotation.
    """
    flat = points_xy[..., _RIGID, :].astype(np.float64)
    affine = _FIT @ (flat - flat.mean(-2, keepdims=True))
    left, _, right = np.linalg.svd(affine.swapaxes(-1, -2), full_matrices=False)
    turn = np.empty((*points_xy.shape[:-2], 3, 3))
    turn[..., :2, :] = left @ right
    across, down = turn[..., 0, :], turn[..., 1, :]
    following, last = [1, 2, 0], [2, 0, 1]
    turn[..., 2, :] = across[..., following] * down[..., last]
    turn[..., 2, :] -= across[..., last] * down[..., following]
    return np.asarray(turn @ _LEAN)


def angles_deg(turn: NDArray[np.floating[Any]]) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a head turned so (3, 3), axes as of `head_turn`.

    As of `quality.pose_deg`: yaw is positive where the face looks to the picture's right, pitch
    where it looks down, roll clockwise is that of the line between the eyes, taken out first.
    """
    across, normal = turn[:, 0], -turn[:, 2]
    roll = math.atan2(float(across[1]), float(across[0]))
    cos, sin = math.cos(roll), math.sin(roll)
    x = cos * float(normal[0]) + sin * float(normal[1])
    y = cos * float(normal[1]) - sin * float(normal[0])
    z = float(normal[2])
    yaw, pitch = math.atan2(x, -z), math.atan2(y, math.hypot(x, z))
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)
