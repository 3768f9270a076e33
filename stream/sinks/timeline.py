"""The last seconds of each face, for the strip under the picture."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ..emotions import Colour, colour_of
from ..result import FaceResult, Result

# Frames kept per face at most, whatever the frame rate.
_MOST_MOMENTS = 512


@dataclass(frozen=True, slots=True)
class Moment:
    """One face at one time."""

    time_s: float
    label: str
    colour: Colour
    """That of the label."""
    attention: float
    """Its share of the window's attention; 1 is an even share."""
    motion: float
    """How fast the features move against each other, face widths per second."""
    affect: tuple[float, float] | None = None
    """Valence and arousal, -1..1 each; None where the bundle has none."""


class Timeline:
    """Moments of the faces seen in the last `duration_s` seconds; memory does not grow."""

    def __init__(self, duration_s: float = 6.0) -> None:
        self.duration_s = duration_s
        self.now_s = 0.0
        self._moments: dict[int, deque[Moment]] = {}
        self._last: dict[int, FaceResult] = {}

    def add(self, result: Result) -> None:
        """Add one frame's faces; frames come in the order of their times."""
        if result.time_s < self.now_s:
            self._moments.clear()
            self._last.clear()
        gap_s, self.now_s = result.time_s - self.now_s, result.time_s
        for found in result.faces:
            key = found.face.id
            motion = _motion(self._last.get(key), found, gap_s)
            moments = self._moments.setdefault(key, deque(maxlen=_MOST_MOMENTS))
            # Frames share the attention with more or fewer others: in units of an even share.
            attention = found.attention * found.among
            emotions = found.emotions
            colour = colour_of(emotions.label, emotions.labels)
            moments.append(
                Moment(result.time_s, emotions.label, colour, attention, motion, emotions.affect)
            )
        self._last = {found.face.id: found for found in result.faces}
        oldest_s = result.time_s - self.duration_s
        for key in list(self._moments):
            moments = self._moments[key]
            while moments and moments[0].time_s < oldest_s:
                moments.popleft()
            if not moments:
                del self._moments[key]

    def faces(self) -> list[int]:
        """Ids of the faces with a moment in the last `duration_s`, the longest known first."""
        return list(self._moments)

    def moments(self, face_id: int) -> list[Moment]:
        """Moments of one face, oldest first."""
        return list(self._moments.get(face_id, ()))


def _motion(before: FaceResult | None, now: FaceResult, gap_s: float) -> float:
    """Mean speed of the landmarks, the head's own movement taken out; face widths per second."""
    if before is None or gap_s <= 0:
        return 0.0
    first, second = before.face.landmarks_xy, now.face.landmarks_xy
    width_px = max(float(np.ptp(second[:, 0])), 1.0)
    moved = (second - second.mean(0)) - (first - first.mean(0))
    return float(np.hypot(moved[:, 0], moved[:, 1]).mean()) / width_px / gap_s
