"""A clip in a few lines: what each face showed, taken from its moments of expression.

A minute of a still face with one smile in it is a smile: words of the still moments would only
drown it. The headline is the mean of a face's episodes that are not neutral, its frames weighted by
attention (in units of an even share) and intensity; where there are none, the face was neutral.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..emotions import NEUTRAL, faint
from ..frame import Frame
from ..result import Result
from .base import BaseSink, SinkInfo
from .episodes import Episode, Episodes
from .mean import Mean


@dataclass(frozen=True, slots=True)
class FaceSummary:
    """One face over a whole clip; numbers are means over its moments of expression, or over all
    where it shows none."""

    id: int
    frames: int
    from_s: float
    to_s: float
    label: str
    """`neutral` where no expression showed, else the word that fits best."""
    neutral: float
    expressive: float
    """Share of the frames that belong to an expression, 0..1."""
    intensity: float
    valence: float | None
    arousal: float | None
    uncertain: float
    """Share of the frames whose reading was uncertain."""
    basic8: dict[str, float]
    families: dict[str, float]
    ranked: tuple[tuple[str, float], ...]
    """All words with their probabilities, best first."""
    episodes: int = 0
    """Stretches of a basic expression other than neutral."""

    def top(self, k: int = 10) -> list[tuple[str, float]]:
        """The k most fitting words; of a face that shows nothing only a hint of one."""
        if self.label == NEUTRAL:
            return [faint(self.ranked, self.neutral)]
        return list(self.ranked[:k])

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """Plain types, `top` words."""
        affect = {"valence": self.valence, "arousal": self.arousal, "intensity": self.intensity}
        return {
            "id": self.id,
            "frames": self.frames,
            "from_s": round(self.from_s, 4),
            "to_s": round(self.to_s, 4),
            "label": self.label,
            "neutral": round(self.neutral, 4),
            "expressive": round(self.expressive, 4),
            **{name: round(value, 4) for name, value in affect.items() if value is not None},
            "uncertain": round(self.uncertain, 4),
            "episodes": self.episodes,
            "basic8": {name: round(p, 4) for name, p in self.basic8.items()},
            "families": {name: round(p, 4) for name, p in self.families.items()},
            "top": [{"word": word, "p": round(p, 4)} for word, p in self.top(top)],
        }


@dataclass
class _Face:
    """One face so far: its moments of expression, and the others."""

    from_s: float
    to_s: float
    frames: int = 0
    episodes: int = 0
    shown: Mean = field(default_factory=Mean)
    still: Mean = field(default_factory=Mean)

    def add(self, episode: Episode) -> None:
        assert episode.mean is not None
        self.episodes += episode.expression != NEUTRAL
        (self.still if episode.expression == NEUTRAL else self.shown).merge(episode.mean)

    def summary(self, face_id: int) -> FaceSummary:
        reading = (self.shown if self.shown.frames else self.still).reading()
        return FaceSummary(
            id=face_id,
            frames=self.frames,
            from_s=self.from_s,
            to_s=self.to_s,
            label=reading.ranked[0][0] if self.shown.frames else NEUTRAL,
            neutral=reading.basic8.get(NEUTRAL, 0.0),
            expressive=self.shown.frames / (self.shown.frames + self.still.frames),
            intensity=reading.intensity,
            valence=reading.valence,
            arousal=reading.arousal,
            uncertain=reading.uncertain,
            basic8=reading.basic8,
            families=reading.families,
            ranked=reading.ranked,
            episodes=self.episodes,
        )


class TallySink(BaseSink):
    """Keeps sums per face; memory grows with the number of faces, not with time."""

    def __init__(self) -> None:
        self._faces: dict[int, _Face] = {}
        self._episodes = Episodes()

    def open(self, info: SinkInfo) -> None:
        """Begin anew."""
        self._faces.clear()
        self._episodes = Episodes()

    def write(self, frame: Frame, result: Result) -> None:
        """Add one frame."""
        for found in result.faces:
            one = self._faces.setdefault(found.face.id, _Face(result.time_s, result.time_s))
            one.frames += 1
            one.to_s = result.time_s
        self._add(self._episodes.add(result))

    def close(self) -> None:
        """Count what went on until now."""
        self._add(self._episodes.finish())

    def faces(self) -> list[FaceSummary]:
        """The faces seen until `close`, the longest seen first."""
        faces = [one.summary(face_id) for face_id, one in self._faces.items()]
        return sorted(faces, key=lambda face: (-face.frames, face.id))

    def _add(self, ended: list[Episode]) -> None:
        for episode in ended:
            self._faces[episode.face_id].add(episode)
