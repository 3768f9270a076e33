"""Do the probabilities mean what they say?  N samples, K classes; plain numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Bin:
    """Samples of like confidence."""

    low: float
    high: float
    n: int
    confidence: float
    """Mean of what was said."""
    accuracy: float
    """Mean of what was so."""


def binned(said_N: Array, so_N: Array, bins: int = 15, *, equal_mass: bool = False) -> list[Bin]:
    """Samples by what was said of them, beside what was so; bins of equal width or equal mass.

    Empty bins are left out.
    """
    if equal_mass:
        place_N = np.empty(len(said_N), np.int64)
        place_N[np.argsort(said_N, kind="stable")] = np.arange(len(said_N)) * bins // len(said_N)
    else:
        place_N = np.minimum((said_N * bins).astype(int), bins - 1)
    found = []
    for index in range(bins):
        said, so = said_N[place_N == index], so_N[place_N == index]
        if not len(said):
            continue
        low, high = (said.min(), said.max()) if equal_mass else (index / bins, (index + 1) / bins)
        found.append(Bin(float(low), float(high), len(said), float(said.mean()), float(so.mean())))
    return found


def gap(bins: list[Bin]) -> float:
    """Mean distance between what was said and what was so, weighed by samples."""
    total = sum(b.n for b in bins)
    return sum(b.n * abs(b.accuracy - b.confidence) for b in bins) / total


def equal_mass_error(
    probability_NK: Array, label_N: npt.NDArray[np.integer[Any]], bins: int = 15
) -> float:
    """ECE of the top class in bins of as many samples each (Nixon et al. 2019)."""
    hit_N = (probability_NK.argmax(axis=1) == label_N).astype(np.float64)
    return gap(binned(probability_NK.max(axis=1), hit_N, bins, equal_mass=True))


def classwise_error(
    probability_NK: Array, label_N: npt.NDArray[np.integer[Any]], bins: int = 15
) -> float:
    """Mean over the classes of each class's own ECE against the rest (Kull et al. 2019)."""
    return float(
        np.mean(
            [
                gap(binned(probability_NK[:, k], (label_N == k).astype(np.float64), bins))
                for k in range(probability_NK.shape[1])
            ]
        )
    )


def soft_error(probability_NK: Array, votes_NK: Array, bins: int = 15) -> float:
    """ECE against the raters: the top class's probability beside the share that chose it."""
    best_N = probability_NK.argmax(axis=1)
    rows = np.arange(len(best_N))
    return gap(binned(probability_NK[rows, best_N], votes_NK[rows, best_N], bins))


def interval(
    figure: Callable[[npt.NDArray[np.int64]], float],
    count: int,
    resamples: int = 500,
    seed: int = 0,
    share: float = 0.95,
    least: float = 0.0,
    most: float = math.inf,
) -> tuple[float, float]:
    """Within which the figure lies in that share of resamples with replacement.

    Shifted by as much as the resamples' mean is off the figure itself: a resample holds samples
    twice, and an ECE of fewer different samples is greater.

    Args:
        figure: a figure of some rows, such as ``lambda rows: ece(p[rows], label[rows])``.
        least, most: what the figure cannot be below or above.
    """
    rng = np.random.default_rng(seed)
    found = [figure(rng.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.quantile(found, ((1 - share) / 2, (1 + share) / 2))
    bias = float(np.mean(found)) - figure(np.arange(count))
    low, high = np.clip((low - bias, high - bias), least, most)
    return float(low), float(high)
