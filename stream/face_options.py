"""Which faces of a source are looked for, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rotate = Literal["auto", 0, 90, 180, 270]


REMEMBER_S = 10.0


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """Which faces are looked for. Raises ValueError for a value that means nothing."""

    max_faces: int = 100
    """So many are followed at once; the largest come first, what is left out is counted."""
    min_face_px: float = 12.0
    """Narrower faces are left out; width of the face in the frame, ear to ear, pixels."""
    rotate: Rotate = "auto"
    """Degrees by which the frames have to be turned clockwise to stand upright. `auto`: found out
    where a source's first face is found, and kept for the whole of it. Places stay those of the
    frame as it is."""
    cropped: bool = False
    """Each frame is one face: nothing is detected, and there is always one."""
    remember_s: float = REMEMBER_S
    """For so long a face that has left is known again by its looks and keeps its id, seconds; 1.5
    at the least, and three frames where those come rarely. In a recording always."""

    def __post_init__(self) -> None:
        if self.max_faces < 1:
            raise ValueError(f"max_faces {self.max_faces}: at least 1")
        if not self.min_face_px >= 0:
            raise ValueError(f"min_face_px {self.min_face_px}: a width in pixels, 0 or more")
        if not self.remember_s >= 0:
            raise ValueError(f"remember_s {self.remember_s}: seconds, 0 or more")
        if self.rotate not in ("auto", 0, 90, 180, 270):
            raise ValueError(f"rotate {self.rotate!r}: auto, 0, 90, 180 or 270 degrees")
