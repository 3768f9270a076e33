"""The fusion-weight study: how much of the spatial stream serves best (paper 003, V-F, Fig. 7).

N clips, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]

WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
"""Shares of the spatial stream that are tried: 0, 0.1 ... 1."""


@dataclass(frozen=True)
class FusionCurve:
    """Figures over the weight of the spatial stream."""

    weights: tuple[float, ...]
    top1: tuple[float, ...]
    """Share of clips whose class was found"""
    macro_recall: tuple[float, ...]
    """Mean over the classes that occur: the paper's average accuracy over all classes"""

    @property
    def best(self) -> float:
        """The weight of the highest macro recall; of several the one nearest to a half."""
        top = max(self.macro_recall)
        found = zip(self.weights, self.macro_recall, strict=True)
        return min((weight for weight, value in found if value == top), key=lambda w: abs(w - 0.5))


def fused(spatial_NK: Array, temporal_NK: Array, weight: float) -> Array:
    """Both streams' probabilities mixed, `weight` of the spatial one: (N, K)."""
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}: the spatial stream's share is 0 to 1")
    return np.asarray(weight * spatial_NK + (1 - weight) * temporal_NK)


def fusion_curve(
    spatial_NK: Array,
    temporal_NK: Array,
    label_N: npt.NDArray[np.integer[Any]],
    weights: tuple[float, ...] = WEIGHTS,
) -> FusionCurve:
    """Sweeps the weight over both streams' probabilities (N, K)."""
    classes = [label_N == k for k in np.unique(label_N)]
    top1, recall = [], []
    for weight in weights:
        hit = fused(spatial_NK, temporal_NK, weight).argmax(1) == label_N
        top1.append(float(hit.mean()))
        recall.append(float(np.mean([hit[there].mean() for there in classes])))
    return FusionCurve(weights, tuple(top1), tuple(recall))
