"""Reliability of probabilities, and prediction sets.

Do the probabilities mean what they say?  N samples, K classes; plain numpy.

Prediction sets with a promised coverage: "one of these", right nine times in ten.

Regularised adaptive prediction sets (Angelopoulos et al. 2021), in their form without chance: the
same face gets the same set every time, at the price of covering a little more than promised.
N samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.calibrator import PredictionSets

from .errors import SamplesUnfit

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


def binned(
    predicted_N: Array, so_N: Array, bins: int = 15, *, equal_mass: bool = False
) -> list[Bin]:
    """Samples by what was said of them, beside what was so; bins of equal width or equal mass.

    Empty bins are left out.
    """
    if equal_mass:
        place_N = np.empty(len(predicted_N), np.int64)
        place_N[np.argsort(predicted_N, kind="stable")] = (
            np.arange(len(predicted_N)) * bins // len(predicted_N)
        )
    else:
        place_N = np.minimum((predicted_N * bins).astype(int), bins - 1)
    found = []
    for index in range(bins):
        predicted, so = predicted_N[place_N == index], so_N[place_N == index]
        if not len(predicted):
            continue
        low, high = (
            (predicted.min(), predicted.max()) if equal_mass else (index / bins, (index + 1) / bins)
        )
        found.append(
            Bin(float(low), float(high), len(predicted), float(predicted.mean()), float(so.mean()))
        )
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


Labels = npt.NDArray[np.integer[Any]]

PENALTIES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"""For every rank after the first. Without any, a network that is often sure leaves no room below
1 to tell sets apart, and they grow far beyond what was promised."""


def with_threshold(
    probability_NK: Array, label_N: Labels, coverage: float, penalty: float, free: int = 1
) -> PredictionSets:
    """Sets whose threshold lets them hold the label this often.

    The (n + 1)-corrected quantile: the promise holds for the next face, not only for these.

    Raises:
        SamplesUnfit: too few samples for this coverage.
        ValueError: a coverage outside 0..1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage lies between 0 and 1, not at {coverage}")
    count = len(label_N)
    rank = least_rank(count, coverage)
    open_ended = PredictionSets("basic8", coverage, np.inf, penalty, free)
    score_N = open_ended.scores(probability_NK)[np.arange(count), label_N]
    # Rounded up: the last digit must not cost coverage.
    limit = float(np.ceil(np.sort(score_N)[rank - 1] * 1e6) / 1e6)
    return replace(open_ended, threshold=limit)


def least_rank(count: int, coverage: float) -> int:
    """Rank of the score, 1 the smallest of ``count``, that promises this coverage.

    Raises:
        SamplesUnfit: too few samples.
    """
    rank = int(np.ceil((count + 1) * coverage))
    if rank > count:
        raise SamplesUnfit(
            f"{count} samples are too few to promise a coverage of {coverage:g}: give a larger "
            "validation set"
        )
    return rank


def fit_sets(
    probability_NK: Array,
    label_N: Labels,
    coverage: float = 0.9,
    *,
    harder: Sequence[Array] = (),
    seed: int = 0,
) -> PredictionSets:
    """The smallest sets that keep their promise also where the view is poor.

    The penalty is chosen on one half of the samples: the one with the smallest sets among those
    that cover as promised on each of ``harder``, the same samples spoiled; where none does, the
    one that comes nearest. The threshold is set on the other half, unspoiled, which the choice
    has not seen: there the promise is a guarantee, under corruption it is an observation.

    Raises:
        SamplesUnfit: too few samples for this coverage.
        ValueError: a coverage outside 0..1.
    """
    half_N = np.random.default_rng(seed).permutation(len(label_N)) % 2 == 0
    first_NK, label = probability_NK[half_N], label_N[half_N]
    ranking = []
    for penalty in PENALTIES:
        sets = with_threshold(first_NK, label, coverage, penalty)
        size = measure(sets, first_NK, label).size
        worst = min((measure(sets, p_NK[half_N], label).covered for p_NK in harder), default=1.0)
        ranking.append((min(worst, coverage), -size, penalty))
    _, _, penalty = max(ranking)
    return with_threshold(probability_NK[~half_N], label_N[~half_N], coverage, penalty)


@dataclass(frozen=True)
class Coverage:
    """How sets do on samples that they were not fitted on."""

    n: int
    covered: float
    """Share of the samples whose label is in the set."""
    size: float
    """Mean number of classes in a set."""
    single: float
    """Share of the sets that name one class."""
    single_right: float
    """Share of those that are right; 0 where there are none."""


def measure(sets: PredictionSets, probability_NK: Array, label_N: Labels) -> Coverage:
    """Coverage and size of the sets."""
    member_NK = sets.members(probability_NK)
    size_N = member_NK.sum(axis=1)
    hit_N = member_NK[np.arange(len(label_N)), label_N]
    single_N = size_N == 1
    return Coverage(
        len(label_N),
        float(hit_N.mean()),
        float(size_N.mean()),
        float(single_N.mean()),
        float(hit_N[single_N].mean()) if single_N.any() else 0.0,
    )
