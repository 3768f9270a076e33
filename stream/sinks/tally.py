"""A clip in a few lines: what each face showed, averaged over its frames.

A frame's attention is its share among the frames that its clip held at that moment, and a face's
first frames share with few. Frames are therefore weighted by their attention in units of an even
share: 1 for a frame like the others, less for a poor one, more for a telling one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from ..frame import Frame
from ..result import FaceResult, Result
from .base import SinkInfo

# A face's frames whose attention is nothing still count a little against each other.
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True)
class FaceSummary:
    """One face over a whole clip; probabilities are means weighted by attention."""

    id: int
    frames: int
    from_s: float
    to_s: float
    label: str
    """`neutral` where that is the likeliest basic expression, else the best word."""
    neutral: float
    intensity: float
    uncertain: float
    """Share of the frames whose reading was uncertain, weighted too."""
    basic8: dict[str, float]
    families: dict[str, float]
    ranked: tuple[tuple[str, float], ...]
    """All words with their probabilities, best first."""

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """Plain types, `top` words."""
        return {
            "id": self.id,
            "frames": self.frames,
            "from_s": round(self.from_s, 4),
            "to_s": round(self.to_s, 4),
            "label": self.label,
            "neutral": round(self.neutral, 4),
            "intensity": round(self.intensity, 4),
            "uncertain": round(self.uncertain, 4),
            "basic8": {name: round(p, 4) for name, p in self.basic8.items()},
            "families": {name: round(p, 4) for name, p in self.families.items()},
            "top": [{"word": word, "p": round(p, 4)} for word, p in self.ranked[:top]],
        }


class _Sums:
    """Weighted sums of one face's emotions."""

    def __init__(self, time_s: float, clip_frames: int) -> None:
        self.frames = 0
        self.lately_s: deque[float] = deque(maxlen=clip_frames)
        self.from_s = self.to_s = time_s
        self.weight = 0.0
        self.values: dict[str, dict[str, float]] = {"basic8": {}, "families": {}, "words": {}}
        self.intensity = 0.0
        self.uncertain = 0.0

    def add(self, found: FaceResult, time_s: float, clip_duration_s: float) -> None:
        self.lately_s.append(time_s)
        while self.lately_s[0] < time_s - clip_duration_s:
            self.lately_s.popleft()
        weight = max(found.attention * len(self.lately_s), _LEAST_WEIGHT)
        emotions = found.emotions
        self.frames += 1
        self.to_s = time_s
        self.weight += weight
        self.intensity += weight * emotions.intensity
        self.uncertain += weight * emotions.uncertain
        for kind, pairs in (
            ("basic8", emotions.basic8.items()),
            ("families", emotions.families.items()),
            ("words", emotions.ranked),
        ):
            sums = self.values[kind]
            for name, probability in pairs:
                sums[name] = sums.get(name, 0.0) + weight * probability

    def summary(self, face_id: int) -> FaceSummary:
        means = {
            kind: {name: value / self.weight for name, value in sums.items()}
            for kind, sums in self.values.items()
        }
        basic8 = means["basic8"]
        ranked = sorted(means["words"].items(), key=lambda pair: -pair[1])
        best = max(basic8, key=basic8.__getitem__)
        return FaceSummary(
            id=face_id,
            frames=self.frames,
            from_s=self.from_s,
            to_s=self.to_s,
            label="neutral" if best == "neutral" else ranked[0][0],
            neutral=basic8["neutral"],
            intensity=self.intensity / self.weight,
            uncertain=self.uncertain / self.weight,
            basic8=basic8,
            families=means["families"],
            ranked=tuple(ranked),
        )


class TallySink:
    """Keeps sums per face; memory grows with the number of faces, not with time.

    `clip_frames` and `clip_duration_s` are the bundle's: how many frames share an attention of 1.
    """

    def __init__(self, clip_frames: int, clip_duration_s: float) -> None:
        self._clip_frames = clip_frames
        self._clip_duration_s = clip_duration_s
        self._sums: dict[int, _Sums] = {}

    def open(self, info: SinkInfo) -> None:
        """Begin anew."""
        self._sums.clear()

    def write(self, frame: Frame, result: Result) -> None:
        """Add one frame."""
        for found in result.faces:
            sums = self._sums.get(found.face.id)
            if sums is None:
                sums = self._sums[found.face.id] = _Sums(result.time_s, self._clip_frames)
            sums.add(found, result.time_s, self._clip_duration_s)

    def close(self) -> None:
        """Nothing to let go of."""

    def faces(self) -> list[FaceSummary]:
        """The faces seen, the longest seen first."""
        faces = [sums.summary(face_id) for face_id, sums in self._sums.items()]
        return sorted(faces, key=lambda face: (-face.frames, face.id))
