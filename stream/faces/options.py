"""Which faces of a source are looked for, and how."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
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
    min_confidence: float = 0.0
    """Views of a face that are worth less (`Quality.score`, 0..1) are left out."""
    front_end: str = "auto"
    """What finds faces and their points, one for all sources of a Recognizer: own (the bundle's
    networks), mediapipe, dlib; `auto`: see `front.front_end`."""

    def __post_init__(self) -> None:
        if not (_is(Integral, self.max_faces) and self.max_faces >= 1):
            raise ValueError(f"max_faces {self.max_faces}: a whole number, 1 or more")
        if not (_is(Real, self.min_face_px) and self.min_face_px >= 0):
            raise ValueError(f"min_face_px {self.min_face_px}: a width in pixels, 0 or more")
        if not (_is(Real, self.remember_s) and self.remember_s >= 0):
            raise ValueError(f"remember_s {self.remember_s}: seconds, 0 or more")
        if not (_is(Real, self.min_confidence) and 0 <= self.min_confidence <= 1):
            raise ValueError(f"min_confidence {self.min_confidence}: 0 to 1")
        if self.rotate not in ("auto", 0, 90, 180, 270):
            raise ValueError(f"rotate {self.rotate!r}: auto, 0, 90, 180 or 270 degrees")


def _is(kind: type, value: object) -> bool:
    """Whether a value is such a number; NumPy's are, True is none."""
    return isinstance(value, kind) and not isinstance(value, bool)
