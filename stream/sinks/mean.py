"""Means of readings: over a moment, an episode, a clip."""

# R numbers of a reading: basic expressions, words, families, intensity and what follows

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.labels import Labels

from ..emotions import NEUTRAL, Emotions
from ..result import FaceResult

Vector = NDArray[np.float64]

_AFTER = 4
"""Numbers after the lists: intensity, valence, arousal, whether uncertain."""

# Frames whose attention or intensity is nothing still count a little against each other.
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True)
class Numbers:
    """One reading as numbers."""

    values: Vector
    """(R,); NaN where the bundle has no value."""
    labels: Labels

    @classmethod
    def of(cls, emotions: Emotions) -> Numbers:
        """The numbers of a reading."""
        labels, chance = emotions.labels, dict(emotions.ranked)
        scores = (
            emotions.intensity,
            emotions.valence,
            emotions.arousal,
            float(emotions.uncertain),
        )
        values = [
            *(emotions.basic8[name] for name in labels.basic.labels),
            *(chance[word] for word in labels.words.labels),
            *(emotions.families[name] for name in labels.words.families),
            *(math.nan if value is None else value for value in scores),
        ]
        return cls(np.array(values, np.float64), labels)

    @staticmethod
    def count(labels: Labels) -> int:
        """R, of a reading in these labels."""
        lists = (labels.basic.labels, labels.words.labels, labels.words.families)
        return sum(map(len, lists)) + _AFTER

    def toward(self, other: Numbers, share: float) -> Numbers:
        """The linear interpolation towards another reading, by a share of 0 to 1."""
        return Numbers(self.values + share * (other.values - self.values), self.labels)

    @property
    def expression(self) -> str:
        """The likeliest basic expression."""
        names = self.labels.basic.labels
        return names[int(np.argmax(self.values[: len(names)]))]

    @property
    def is_uncertain(self) -> bool:
        """Whether the reading is mostly uncertain."""
        return bool(self.values[-1] > 0.5)


def weight_of(found: FaceResult, expression: str) -> float:
    """How much a frame counts for an expression: its attention, 1 being an even share, times its
    intensity; for `neutral` its attention alone."""
    strength = 1.0 if expression == NEUTRAL else found.emotions.intensity
    return max(found.attention * found.among * strength, _LEAST_WEIGHT)


@dataclass(frozen=True, slots=True)
class Reading:
    """A mean reading; the fields are those of `Emotions`, `uncertain` a share."""

    expression: str
    """The likeliest of the basic expressions."""
    label: str
    """`neutral` where that is the expression, else the best word."""
    basic8: dict[str, float]
    ranked: tuple[tuple[str, float], ...]
    families: dict[str, float]
    intensity: float
    valence: float | None
    arousal: float | None
    uncertain: float
    labels: Labels

    @classmethod
    def of(cls, numbers: Numbers) -> Reading:
        """The reading that these numbers stand for."""
        labels = numbers.labels
        basic, words, families = (
            labels.basic.labels,
            labels.words.labels,
            labels.words.families,
        )
        ends = np.cumsum([len(basic), len(words), len(families)])
        basic_K, words_K, families_K, after = np.split(numbers.values, ends)
        ranked = tuple(
            (words[at], float(words_K[at])) for at in np.argsort(-words_K, kind="stable")
        )
        expression = numbers.expression
        intensity, valence, arousal, uncertain = after.tolist()
        return cls(
            expression=expression,
            label=NEUTRAL if expression == NEUTRAL else ranked[0][0],
            basic8=dict(zip(basic, basic_K.tolist(), strict=True)),
            ranked=ranked,
            families=dict(zip(families, families_K.tolist(), strict=True)),
            intensity=intensity,
            valence=None if math.isnan(valence) else valence,
            arousal=None if math.isnan(arousal) else arousal,
            uncertain=uncertain,
            labels=labels,
        )

    @property
    def probability(self) -> float:
        """The probability of the label."""
        return self.basic8[NEUTRAL] if self.label == NEUTRAL else self.ranked[0][1]


class Mean:
    """A running weighted mean of readings."""

    __slots__ = ("_labels", "_sum", "frames", "weight")

    def __init__(self) -> None:
        self._sum: Vector | float = 0.0
        self._labels: Labels | None = None
        self.weight = 0.0
        self.frames = 0

    def add(self, numbers: Numbers, weight: float) -> None:
        """Add one frame's numbers; all frames of a mean are of one bundle."""
        self._sum = self._sum + weight * numbers.values
        self._labels = numbers.labels
        self.weight += weight
        self.frames += 1

    def merge(self, other: Mean) -> None:
        """Add all frames of another mean."""
        self._sum = self._sum + other._sum
        self._labels = other._labels or self._labels
        self.weight += other.weight
        self.frames += other.frames

    def copy(self) -> Mean:
        """An independent copy."""
        mean = Mean()
        mean.merge(self)
        return mean

    def reading(self) -> Reading:
        """The mean reading; at least one frame must have been added."""
        assert self._labels is not None
        return Reading.of(Numbers(np.asarray(self._sum / self.weight), self._labels))
