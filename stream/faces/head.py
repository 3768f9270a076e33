"""The mean head, posed by the few points that a detector gives.

Where the landmark network refuses a face (a profile, a small or covered one), the detector's own
six points still say where it is and how it is turned. The mean head stands in for its landmarks:
what aligns crops, measures pose and draws needs no case of its own. It knows nothing of the
face's expression or looks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MEAN_HEAD = np.load(Path(__file__).with_name("mean_head.npy")).astype(np.float64)
"""(468, 3) median landmarks of 2,010 faces, symmetric, looking at the camera; one ear to the other
is 1, y points down and z away from the camera."""

_POINTS = ((33, 133), (362, 263), (4,), (13, 14), (234,), (454,))
"""The landmarks whose mean each of the detector's points is."""
_POINTS_OF_HEAD = np.array([MEAN_HEAD[list(of)].mean(0) for of in _POINTS])


def posed_head(points_xy: NDArray[np.float64]) -> NDArray[np.float32]:
    """Landmarks (468, 3) of the mean head, as large and turned as a detector's points say.

    Args:
        points_xy: (6, 2) right eye, left eye, tip of the nose, middle of the mouth, right ear,
            left ear of the person, in pixels.

    The pose is that of a camera without perspective: the affine map that fits best, made a scaled
    rotation. z is in pixels too.
    """
    centre_xy, centre = points_xy.mean(0), _POINTS_OF_HEAD.mean(0)
    fitted = np.linalg.lstsq(_POINTS_OF_HEAD - centre, points_xy - centre_xy, rcond=None)[0].T
    left, scales, right = np.linalg.svd(fitted, full_matrices=False)
    across, down = left @ right
    turn = np.stack([across, down, np.cross(across, down)])
    landmarks = scales.mean() * (MEAN_HEAD - centre) @ turn.T
    landmarks[:, :2] += centre_xy
    return np.asarray(landmarks, np.float32)
