"""Temperatures: one number per head that makes its probabilities fit the crowd's votes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Array = npt.NDArray[np.floating[Any]]

LEAST, MOST = 0.2, 5.0
"""Temperatures outside these bounds would mean a broken head, not an unsure one."""


def softmax(logits_NK: Array, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Rows of logits to rows of probabilities."""
    scaled = logits_NK.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def fit_temperature(logits_NK: Array, target_NK: Array, weight_N: Array | None = None) -> float:
    """The temperature with the least cross entropy to soft targets (Guo et al. 2017, 4.2).

    Args:
        logits_NK: a head's outputs, best those of the deployed engine.
        target_NK: rows are distributions, such as the raters' votes.
        weight_N: how much each sample counts; equally where None.

    Raises:
        ValueError: nothing to fit on.
    """
    if not len(logits_NK):
        raise ValueError("a temperature needs at least one sample to be fitted on")
    weight = np.ones(len(logits_NK)) if weight_N is None else weight_N

    def loss(log_temperature: float) -> float:
        probability = softmax(logits_NK, float(np.exp(log_temperature)))
        cross_entropy = -(target_NK * np.log(probability + 1e-12)).sum(axis=1)
        return float((cross_entropy * weight).sum() / weight.sum())

    found = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded")
    return float(np.exp(found.x))
