"""Means of readings: over a moment, an episode, a clip."""

# R numbers of a reading: 8 basic expressions, 135 words, 6 families, intensity and what follows

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.taxonomy import load_taxonomy

from ..emotions import NEUTRAL, Emotions
from ..result import FaceResult

Vector = NDArray[np.float64]

_BASIC8 = load_taxonomy("basic8").labels
_WORDS = load_taxonomy("emo135").labels
_WORD_AT = {word: at for at, word in enumerate(_WORDS)}
_FAMILIES = load_taxonomy("emo135").families
_FIRST_WORD, _FIRST_FAMILY = len(_BASIC8), len(_BASIC8) + len(_WORDS)
_INTENSITY = _FIRST_FAMILY + len(_FAMILIES)
SIZE = _INTENSITY + 4

# Frames whose attention or intensity is nothing still count a little against each other.
_LEAST_WEIGHT = 1e-6


def vector(emotions: Emotions) -> Vector:
    """A reading as numbers (R,); NaN for what the bundle does not tell."""
    values = np.empty(SIZE)
    values[:_FIRST_WORD] = [emotions.basic8[name] for name in _BASIC8]
    at = [_FIRST_WORD + _WORD_AT[word] for word, _ in emotions.ranked]
    values[at] = [p for _, p in emotions.ranked]
    values[_FIRST_FAMILY:_INTENSITY] = [emotions.families[name] for name in _FAMILIES]
    valence, arousal = (
        math.nan if value is None else value for value in (emotions.valence, emotions.arousal)
    )
    values[_INTENSITY:] = (emotions.intensity, valence, arousal, float(emotions.uncertain))
    return values


def weight_of(found: FaceResult, expression: str) -> float:
    """How much a frame counts for an expression: its attention, 1 being an even share, times its
    intensity; for `neutral` its attention alone."""
    strength = 1.0 if expression == NEUTRAL else found.emotions.intensity
    return max(found.attention * found.among * strength, _LEAST_WEIGHT)


@dataclass(frozen=True, slots=True)
class Reading:
    """A mean reading; the fields are those of `Emotions`, `uncertain` a share."""

    expression: str
    """The likeliest of the eight basic expressions."""
    label: str
    """`neutral` where that is the expression, else the best word."""
    basic8: dict[str, float]
    ranked: tuple[tuple[str, float], ...]
    families: dict[str, float]
    intensity: float
    valence: float | None
    arousal: float | None
    uncertain: float

    @classmethod
    def of(cls, values: Vector) -> Reading:
        """The reading that these numbers (R,) are of."""
        words = values[_FIRST_WORD:_FIRST_FAMILY]
        ranked = tuple((_WORDS[at], float(words[at])) for at in np.argsort(-words, kind="stable"))
        expression = expression_of(values)
        intensity, valence, arousal, uncertain = values[_INTENSITY:].tolist()
        return cls(
            expression=expression,
            label=NEUTRAL if expression == NEUTRAL else ranked[0][0],
            basic8=dict(zip(_BASIC8, values[:_FIRST_WORD].tolist(), strict=True)),
            ranked=ranked,
            families=dict(zip(_FAMILIES, values[_FIRST_FAMILY:_INTENSITY].tolist(), strict=True)),
            intensity=intensity,
            valence=None if math.isnan(valence) else valence,
            arousal=None if math.isnan(arousal) else arousal,
            uncertain=uncertain,
        )

    @property
    def probability(self) -> float:
        """That of the label."""
        return self.basic8[NEUTRAL] if self.label == NEUTRAL else self.ranked[0][1]


def expression_of(values: Vector) -> str:
    """The likeliest basic expression of a reading (R,)."""
    return _BASIC8[int(np.argmax(values[:_FIRST_WORD]))]


def is_uncertain(values: Vector) -> bool:
    """Whether a reading (R,) is mostly uncertain."""
    return bool(values[-1] > 0.5)


class Mean:
    """A weighted mean under way."""

    __slots__ = ("_sum", "frames", "weight")

    def __init__(self) -> None:
        self._sum = np.zeros(SIZE)
        self.weight = 0.0
        self.frames = 0

    def add(self, values: Vector, weight: float) -> None:
        """Take one frame's numbers (R,)."""
        self._sum += weight * values
        self.weight += weight
        self.frames += 1

    def merge(self, other: Mean) -> None:
        """Take all that another one has taken."""
        self._sum += other._sum
        self.weight += other.weight
        self.frames += other.frames

    def copy(self) -> Mean:
        """One that goes on apart from this one."""
        mean = Mean()
        mean.merge(self)
        return mean

    def reading(self) -> Reading:
        """The mean; of at least one frame."""
        return Reading.of(self._sum / self.weight)
