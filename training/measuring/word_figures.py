"""Figures of words ranked or made likely for faces: hits, calibration, what explains them.

N faces, W words, R ranks, J words that a judge named at most, F predictors; plain NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.int64]

BINS = 15
FOLDS = 5
_RIDGE = 1.0
_LEAST_P = 1e-9


def ranking(
    ranked_NR: Numbers, named_NJ: Numbers, grades: Sequence[float], shown: int = 10
) -> dict[str, Floats]:
    """What a ranking of words is worth, face by face, each (N,) in 0..1.

    Both are numbers of words, best first, -1 for none; every face has at least one named. top1:
    the judge's first is first; top1_among: the first is one of the judge's; first_in_top5 and
    first_in_top10: the judge's first is among as many; recall_at_10: share of the judge's words
    among ten; ndcg_at_10: discounted cumulative gain of ten (Järvelin and Kekäläinen 2002), a
    word's gain being its grade by its place with the judge, over that of the judge's own order.
    """
    ten_NR = ranked_NR[:, :shown]
    same_NRJ = (ten_NR[:, :, None] == named_NJ[:, None, :]) & (named_NJ >= 0)[:, None, :]
    first_NR = same_NRJ[:, :, 0]
    gains_J = np.asarray(grades, np.float64)[: named_NJ.shape[1]]
    discount = 1 / np.log2(np.arange(max(shown, len(gains_J))) + 2)
    gained_N = (same_NRJ @ gains_J) @ discount[: ten_NR.shape[1]]
    ideal_N = ((named_NJ >= 0) * gains_J) @ discount[: len(gains_J)]
    found_N = same_NRJ.any(axis=1).sum(axis=1)
    return {
        "top1": first_NR[:, 0].astype(np.float64),
        "top1_among": same_NRJ[:, 0].any(axis=1).astype(np.float64),
        "first_in_top5": first_NR[:, :5].any(axis=1).astype(np.float64),
        "first_in_top10": first_NR.any(axis=1).astype(np.float64),
        "recall_at_10": found_N / (named_NJ >= 0).sum(axis=1),
        "ndcg_at_10": gained_N / ideal_N,
    }


def word_gaps(said_NW: Floats, so_NW: npt.NDArray[np.bool_], bins: int = BINS) -> Floats:
    """Each word's calibration error (W,), 0..1: the distance between the mean of what was said
    and how often it was so, in bins of equal width, weighed by the faces in them."""
    count, words = said_NW.shape
    bin_NW = np.minimum((said_NW * bins).astype(np.int64), bins - 1) + bins * np.arange(words)
    off = np.bincount(bin_NW.ravel(), (said_NW - so_NW).ravel(), minlength=bins * words)
    return np.asarray(np.abs(off).reshape(words, bins).sum(axis=1) / count)


def log_odds(p_NK: Floats, *, odds: bool = True) -> Floats:
    """Logarithms of the odds of probabilities, or of the probabilities themselves."""
    p_NK = np.clip(np.asarray(p_NK, np.float64), _LEAST_P, 1 - _LEAST_P)
    return np.asarray(np.log(p_NK) - (np.log1p(-p_NK) if odds else 0))


def ridge_residuals(
    wanted_NW: Floats, known_NF: Floats, folds: int = FOLDS, seed: int = 0
) -> tuple[Floats, Floats]:
    """Squared distances (N,) of each face's targets from a ridge regression that has not seen the
    face, and from their mean over all faces; predictors are standardized."""
    count = len(wanted_NW)
    order = np.random.default_rng(seed).permutation(count)
    said_NW = np.empty_like(wanted_NW)
    for fold in range(folds):
        held = order[fold::folds]
        rest = np.setdiff1d(order, held)
        mean_F, spread_F = known_NF[rest].mean(0), known_NF[rest].std(0) + 1e-12
        x_NF, y_W = (known_NF[rest] - mean_F) / spread_F, wanted_NW[rest].mean(0)
        left_FF = x_NF.T @ x_NF + _RIDGE * np.eye(x_NF.shape[1])
        weight_FW = np.linalg.solve(left_FF, x_NF.T @ (wanted_NW[rest] - y_W))
        said_NW[held] = (known_NF[held] - mean_F) / spread_F @ weight_FW + y_W
    left_N = ((wanted_NW - said_NW) ** 2).sum(axis=1)
    return left_N, ((wanted_NW - wanted_NW.mean(0)) ** 2).sum(axis=1)


def overlap_within(ranked_NR: Numbers, group_N: Numbers) -> Floats:
    """Mean Jaccard overlap (n,) of a face's words with those of each other face of its group, for
    the faces that are not alone in theirs."""
    found = []
    for group in np.unique(group_N):
        rows = ranked_NR[group_N == group]
        if len(rows) < 2:
            continue
        member_NW = np.zeros((len(rows), int(ranked_NR.max()) + 1))
        np.put_along_axis(member_NW, rows, 1, axis=1)
        both_NN = member_NW @ member_NW.T
        jaccard_NN = both_NN / (2 * ranked_NR.shape[1] - both_NN)
        found.append((jaccard_NN.sum(axis=1) - 1) / (len(rows) - 1))
    return np.concatenate(found) if found else np.zeros(0)
