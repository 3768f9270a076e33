"""Emotions: calibrated probabilities over words, families and neutral."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Emotions:
    """What an expression reads as (being written; the names stand)."""

    basic8: dict[str, float]
    ranked: tuple[tuple[str, float], ...]
    families: dict[str, float]
    neutral: float
    intensity: float
    uncertain: bool
    label: str

    def top(self, k: int = 10) -> list[tuple[str, float]]:
        """The k most fitting words, best first."""
        return list(self.ranked[:k])

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """The row's fields: label, neutral, intensity, uncertain, basic8, families, top."""
        raise NotImplementedError
