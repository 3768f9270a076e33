"""Who is who from frame to frame: stable ids for faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .quality import Quality


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame."""

    id: int
    """Stable while the face is followed, through short losses; never used again."""
    box: tuple[float, float, float, float]
    """x, y, width, height in pixels of the frame; may reach beyond its edges."""
    landmarks_xy: NDArray[np.float32]
    """(468, 2) landmarks of the face mesh, pixels of the frame."""
    quality: Quality
