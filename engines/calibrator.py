"""Logits to probabilities that mean what they say: the parameters a manifest keeps, and their use.

| kind | probabilities | parameters |
|---|---|---|
| temperature | softmax(z / T) | `scale` (1/T,) |
| vector | softmax(w * z + b) | `scale` (K,), `shift` (K,) |
| matrix | softmax(W z + b) | `scale` (K * K,) row by row, `shift` (K,) |
| isotonic | a rising curve per class over softmax(z / T), normalised | `scale`, `knots` |
| logistic | sigmoid(w * z + b), each class on its own | `scale` (K,), `shift` (K,) |

Guo et al. 2017, sections 4.1 and 4.2. Fitting them is calibration's work.
"""

# N samples, K classes

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

Finite = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Kind = Literal["temperature", "vector", "matrix", "isotonic", "logistic"]

_FLOOR = 1e-6
"""A class that a curve puts at nothing keeps this much, so that no logarithm ends in infinity."""


@dataclass(frozen=True)
class Calibrator:
    """How one head's logits become probabilities; see the module's table."""

    kind: Kind
    scale: tuple[Finite, ...]
    shift: tuple[Finite, ...] = ()
    knots: tuple[tuple[tuple[Share, Share], ...], ...] = ()
    """For each class points (probability said, probability meant), both rising."""

    def fits(self, classes: int) -> bool:
        """Whether the parameters are those of a head with so many classes, its curves rise, and its
        one temperature is above 0."""
        if self.kind in ("temperature", "isotonic") and not all(one > 0 for one in self.scale):
            return False
        sizes = {
            "temperature": (1, 0, 0),
            "vector": (classes, classes, 0),
            "matrix": (classes * classes, classes, 0),
            "isotonic": (1, 0, classes),
            "logistic": (classes, classes, 0),
        }
        return (len(self.scale), len(self.shift), len(self.knots)) == sizes[self.kind] and all(
            len(points) > 0
            and all(a <= b for column in zip(*points, strict=True) for a, b in pairwise(column))
            for points in self.knots
        )

    def probabilities(self, logits_NK: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Rows of logits to rows of probabilities, (N, K) float32, which sum to 1 unless each class
        is on its own."""
        scaled_NK = self._scaled(logits_NK.astype(np.float32))
        if self.kind == "logistic":
            return np.asarray(0.5 * (1 + np.tanh(0.5 * scaled_NK)), np.float32)
        odds_NK = np.exp(scaled_NK - scaled_NK.max(axis=1, keepdims=True))
        said_NK = odds_NK / odds_NK.sum(axis=1, keepdims=True)
        if self.kind == "isotonic":
            columns = [
                np.interp(
                    said_NK[:, k], [said for said, _ in points], [meant for _, meant in points]
                )
                for k, points in enumerate(self.knots)
            ]
            meant_NK = np.maximum(np.stack(columns, axis=1), _FLOOR)
            said_NK = meant_NK / meant_NK.sum(axis=1, keepdims=True)
        return np.asarray(said_NK, np.float32)

    def _scaled(self, logits_NK: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scale = np.asarray(self.scale, np.float32)
        if self.kind == "matrix":
            classes = len(self.shift)
            logits_NK = logits_NK @ scale.reshape(classes, classes).T
        else:
            logits_NK = logits_NK * scale
        return logits_NK + np.asarray(self.shift, np.float32) if self.shift else logits_NK


def temperature(value: float) -> Calibrator:
    """The calibrator of one temperature."""
    return Calibrator("temperature", (1 / value,))


@dataclass(frozen=True)
class PredictionSets:
    """Which classes to name together so that the label is among them as often as promised.

    A class belongs to the set if the probability of the classes up to and with it, best first,
    and `penalty` for every rank after the first `free`, is at most `threshold` (RAPS, Angelopoulos
    et al. 2021, without chance). The best class always belongs to it.
    """

    head: str
    coverage: Share
    """Promised share of faces whose label is in the set, where faces are like those it was
    fitted on."""
    threshold: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    penalty: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    free: Annotated[int, Field(ge=0, le=4096)]
    measured: dict[str, dict[str, float]] = field(default_factory=dict)
    """Coverage and mean size on data not fitted on, by how they were spoiled."""

    def members(self, probability_NK: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """(N, K) True where a class belongs to the row's set."""
        member_NK = self.scores(probability_NK) <= self.threshold
        member_NK[np.arange(len(member_NK)), probability_NK.argmax(axis=1)] = True
        return member_NK

    def scores(self, probability_NK: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(N, K) how unusual each class would be as the label; the threshold is one of these."""
        order_NK = np.argsort(-probability_NK, axis=1, kind="stable")
        sorted_NK = np.take_along_axis(probability_NK.astype(np.float64), order_NK, axis=1)
        rank_K = np.arange(1, probability_NK.shape[1] + 1)
        unusual_NK = sorted_NK.cumsum(axis=1) + self.penalty * np.maximum(rank_K - self.free, 0)
        score_NK: npt.NDArray[np.float64] = np.empty_like(unusual_NK)
        np.put_along_axis(score_NK, order_NK, unusual_NK, axis=1)
        return score_NK
