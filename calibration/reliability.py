"""Do the probabilities mean what they say?  N samples, K classes; plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]


def expected_calibration_error(
    probability_NK: Array, label_N: npt.NDArray[np.integer[Any]], bins: int = 15
) -> float:
    """Equal-width ECE of the top class, 0..1 (Guo et al. 2017, eq. 5).

    The gap between confidence and accuracy in each bin of confidence, weighed by its samples.
    """
    confidence_N = probability_NK.max(axis=1)
    hit_N = probability_NK.argmax(axis=1) == label_N
    bin_N = np.minimum((confidence_N * bins).astype(int), bins - 1)
    gap = 0.0
    for index in range(bins):
        inside = bin_N == index
        if inside.any():
            gap += inside.mean() * abs(hit_N[inside].mean() - confidence_N[inside].mean())
    return float(gap)


def negative_log_likelihood(probability_NK: Array, votes_NK: Array) -> float:
    """Mean cross entropy to the raters' vote distribution, in nats."""
    return float(-(votes_NK * np.log(probability_NK + 1e-12)).sum(axis=1).mean())


def divergence(probability_NK: Array, votes_NK: Array) -> float:
    """Mean KL divergence from the raters' vote distribution to the predicted one, in nats."""
    entropy = -(votes_NK * np.log(votes_NK + 1e-12)).sum(axis=1).mean()
    return negative_log_likelihood(probability_NK, votes_NK) - float(entropy)


def brier_score(probability_NK: Array, votes_NK: Array) -> float:
    """Mean squared distance to the vote distribution, 0..2."""
    return float(((probability_NK - votes_NK) ** 2).sum(axis=1).mean())
