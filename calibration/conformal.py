"""Prediction sets with a promised coverage: "one of these", right nine times in ten.

Regularised adaptive prediction sets (Angelopoulos et al. 2021), in their form without chance: the
same face gets the same set every time, at the price of covering a little more than promised.
N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.calibrator import PredictionSets

from .errors import SamplesUnfit

Array = npt.NDArray[np.floating[Any]]
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
    rank = int(np.ceil((count + 1) * coverage))
    if rank > count:
        raise SamplesUnfit(
            f"{count} samples are too few to promise a coverage of {coverage:g}: give a larger "
            "validation set"
        )
    open_ended = PredictionSets("basic8", coverage, np.inf, penalty, free)
    score_N = open_ended.scores(probability_NK)[np.arange(count), label_N]
    # Rounded up: the last digit must not cost coverage.
    limit = float(np.ceil(np.sort(score_N)[rank - 1] * 1e6) / 1e6)
    return replace(open_ended, threshold=limit)


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
    has not seen: there the promise is a guarantee, under hardship it is an observation.

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
