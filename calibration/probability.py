"""Calibrators fitted to what people say, and the one chosen that does best on data not seen.

Soft labels are used as such: a row of targets is the distribution of the raters' votes, or one-hot
for their majority. N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.calibrator import Calibrator, Kind, temperature

from .errors import SamplesUnfit

Array = npt.NDArray[np.floating[Any]]

LEAST, MOST = 0.2, 5.0
"""Temperatures outside these bounds would mean a broken head, not an unsure one."""
KINDS: tuple[Kind, ...] = ("temperature", "vector", "matrix", "isotonic")
MOST_CLASSES = {"matrix": 32, "isotonic": 32}
"""Kinds with too many parameters for a head of more classes than this."""
_RIDGE = 1e-3
"""Pull of vector and matrix towards plain temperature, per sample."""
_MOST_KNOTS = 24
_ROUNDS, _NEWTON_STEPS = 6, 6
_TYPICAL_SPREAD = 0.1
"""p (1 - p) of a word that says something of a face."""


def softmax(logits_NK: Array, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Rows of logits to rows of probabilities."""
    scaled = logits_NK.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def cross_entropy(probability_NK: Array, target_NK: Array, weight_N: Array) -> float:
    """Weighted mean cross entropy to the targets, in nats."""
    loss_N = -(target_NK * np.log(probability_NK + 1e-12)).sum(axis=1)
    return float((loss_N * weight_N).sum() / weight_N.sum())


def fit_temperature(logits_NK: Array, target_NK: Array, weight_N: Array | None = None) -> float:
    """The temperature with the least cross entropy to soft targets (Guo et al. 2017, 4.2).

    Args:
        logits_NK: a head's outputs, best those of the deployed engine.
        target_NK: rows are distributions, such as the raters' votes.
        weight_N: how much each sample counts; equally where None.

    Raises:
        ValueError: nothing to fit on.
    """
    from scipy.optimize import minimize_scalar

    weight = _weight(logits_NK, weight_N)

    def loss(log_temperature: float) -> float:
        probability = softmax(logits_NK, float(np.exp(log_temperature)))
        return cross_entropy(probability, target_NK, weight)

    found = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded")
    return float(np.exp(found.x))


PRIOR_FACES = 8.0
"""How many faces' worth a word's shift is held to that of all words: rare words have few."""


def fit_each(logits_NK: Array, named_NK: Array) -> Calibrator:
    """Classes that do not exclude each other: one slope for all, and a shift of each class by
    which as many are said as are named, held to the shift of all where a class is rare.

    Args:
        logits_NK: a head's outputs, best those of the deployed engine.
        named_NK: 1 where a class is right, else 0.

    Raises:
        ValueError: nothing to fit on.
    """
    from scipy.optimize import minimize

    if not len(logits_NK) or logits_NK.shape != named_NK.shape:
        raise ValueError(f"{logits_NK.shape} logits and {named_NK.shape} labels: nothing to fit")
    z_NK, y_NK = logits_NK.astype(np.float64), named_NK.astype(np.float64)

    def loss(parameters: Array, apart_K: Array) -> tuple[float, Array]:
        """Of one slope and one shift, the classes being ``apart_K`` from it."""
        slope, shift = parameters
        predicted = slope * z_NK + shift + apart_K
        off = 1 / (1 + np.exp(-predicted)) - y_NK
        value = np.mean(np.logaddexp(0, predicted) - y_NK * predicted)
        return float(value), np.array([np.mean(off * z_NK), np.mean(off)])

    slope, shift, apart_K = 1.0, 0.0, np.zeros(z_NK.shape[1])
    weight = PRIOR_FACES * _TYPICAL_SPREAD
    for _ in range(_ROUNDS):
        found = minimize(loss, np.array([slope, shift]), (apart_K,), jac=True, method="L-BFGS-B")
        slope, shift = float(np.clip(found.x[0], 1 / MOST, 1 / LEAST)), float(found.x[1])
        for _ in range(_NEWTON_STEPS):
            p_NK = 1 / (1 + np.exp(-(slope * z_NK + shift + apart_K)))
            bend_K = (p_NK * (1 - p_NK)).sum(axis=0) + weight
            apart_K = apart_K - ((p_NK - y_NK).sum(axis=0) + weight * apart_K) / bend_K
    shift_K = shift + apart_K
    return Calibrator("logistic", (slope,) * len(shift_K), tuple(shift_K.round(4).tolist()))


def fit_vector(
    logits_NK: Array, target_NK: Array, weight_N: Array | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scale (K,) and shift (K,) of each class (Guo et al. 2017, vector scaling)."""
    classes = logits_NK.shape[1]
    start = 1 / fit_temperature(logits_NK, target_NK, weight_N)

    def spread(parameters: Array) -> tuple[Array, Array]:
        return np.diag(parameters[:classes]), parameters[classes:]

    def gather(slope_KK: Array, slope_K: Array) -> Array:
        return np.concatenate([np.diag(slope_KK), slope_K])

    first = np.concatenate([np.full(classes, start), np.zeros(classes)])
    found = _fit_linear(logits_NK, target_NK, _weight(logits_NK, weight_N), first, spread, gather)
    return found[:classes], found[classes:]


def fit_matrix(
    logits_NK: Array, target_NK: Array, weight_N: Array | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Matrix (K, K) and shift (K,) over all classes (Guo et al. 2017, matrix scaling)."""
    classes = logits_NK.shape[1]
    start = np.eye(classes) / fit_temperature(logits_NK, target_NK, weight_N)

    def spread(parameters: Array) -> tuple[Array, Array]:
        return parameters[: classes**2].reshape(classes, classes), parameters[classes**2 :]

    def gather(slope_KK: Array, slope_K: Array) -> Array:
        return np.concatenate([slope_KK.ravel(), slope_K])

    first = np.concatenate([start.ravel(), np.zeros(classes)])
    found = _fit_linear(logits_NK, target_NK, _weight(logits_NK, weight_N), first, spread, gather)
    return found[: classes**2].reshape(classes, classes), found[classes**2 :]


def fit_isotonic(
    logits_NK: Array, target_NK: Array, weight_N: Array | None = None
) -> tuple[float, tuple[tuple[tuple[float, float], ...], ...]]:
    """A temperature, and for each class a rising curve from probabilities said to those meant.

    Each class against the rest by the pool-adjacent-violators algorithm, thinned to few knots.
    """
    from scipy.optimize import isotonic_regression

    weight = _weight(logits_NK, weight_N)
    value = fit_temperature(logits_NK, target_NK, weight_N)
    predicted_NK = softmax(logits_NK, value)
    curves = []
    for k in range(logits_NK.shape[1]):
        order = np.argsort(predicted_NK[:, k], kind="stable")
        found = isotonic_regression(target_NK[order, k], weights=weight[order])
        at = np.unique(np.linspace(0, len(order) - 1, 4 * _MOST_KNOTS).round().astype(int))
        blocks = _thinned(predicted_NK[order, k][at], found.x[at])
        curves.append(((0.0, 0.0), *blocks, (1.0, max(1.0, blocks[-1][1]))))
    return value, tuple(curves)


def fitted(
    kind: Kind, logits_NK: Array, target_NK: Array, weight_N: Array | None = None
) -> Calibrator:
    """The calibrator of one kind with the least cross entropy; its numbers as a manifest keeps
    them, to six digits."""
    if kind == "temperature":
        return temperature(round(fit_temperature(logits_NK, target_NK, weight_N), 6))
    if kind == "isotonic":
        value, knots = fit_isotonic(logits_NK, target_NK, weight_N)
        return Calibrator("isotonic", (round(1 / value, 6),), knots=knots)
    fit = fit_vector if kind == "vector" else fit_matrix
    scale, shift = fit(logits_NK, target_NK, weight_N)
    return Calibrator(kind, _rounded(scale), _rounded(shift))


@dataclass(frozen=True)
class Choice:
    """The kind of calibrator that did best, fitted on everything."""

    calibrator: Calibrator
    nll: dict[str, float]
    """Cross entropy of each kind on samples that it was not fitted on, nats."""


def choose(
    logits_NK: Array,
    target_NK: Array,
    weight_N: Array | None = None,
    *,
    kinds: Sequence[Kind] = KINDS,
    most_recall_lost: float | None = 0.005,
    folds: int = 5,
    seed: int = 0,
) -> Choice:
    """Fit each kind on four fifths, judge it on the fifth left out, five times over; the best wins.

    A kind must beat the simpler ones, named before it, by more than twice the standard error of
    the difference: parameters that hardly help are noise, and ties go to fewer of them. A kind
    that costs more than ``most_recall_lost`` of the first kind's mean recall over the classes is
    out: a shift per class would take back the balance between rare and frequent ones that
    training chose.

    Raises:
        SamplesUnfit: fewer samples than folds.
    """
    if len(logits_NK) < folds:
        raise SamplesUnfit(
            f"{len(logits_NK)} samples cannot be split into {folds} parts: give a larger "
            "validation set"
        )
    weight = _weight(logits_NK, weight_N)
    part_N = np.random.default_rng(seed).permutation(len(logits_NK)) % folds
    loss_N: dict[Kind, npt.NDArray[np.float64]] = {}
    recall: dict[Kind, float] = {}
    for kind in kinds:
        if logits_NK.shape[1] > MOST_CLASSES.get(kind, logits_NK.shape[1]):
            continue
        loss_N[kind], guess_N = np.empty(len(logits_NK)), np.empty(len(logits_NK), np.int64)
        for part in range(folds):
            inside, outside = part_N != part, part_N == part
            found = fitted(kind, logits_NK[inside], target_NK[inside], weight[inside])
            predicted_NK = found.probabilities(logits_NK[outside])
            guess_N[outside] = predicted_NK.argmax(axis=1)
            loss_N[kind][outside] = -(target_NK[outside] * np.log(predicted_NK + 1e-12)).sum(axis=1)
        recall[kind] = mean_recall(guess_N, target_NK.argmax(axis=1))
    share_N = weight / weight.sum()
    best: Kind = kinds[0]
    for kind, loss in loss_N.items():
        gain_N = loss_N[best] - loss
        gain = float((share_N * gain_N).sum())
        error = float(np.sqrt((share_N**2 * (gain_N - gain) ** 2).sum()))
        lost = recall[kinds[0]] - recall[kind]
        if gain > 2 * error and (most_recall_lost is None or lost <= most_recall_lost):
            best = kind
    nll: dict[str, float] = {kind: float((share_N * loss).sum()) for kind, loss in loss_N.items()}
    return Choice(fitted(best, logits_NK, target_NK, weight), nll)


def _fit_linear(
    logits_NK: Array,
    target_NK: Array,
    weight_N: Array,
    first: Array,
    spread: Callable[[Array], tuple[Array, Array]],
    gather: Callable[[Array, Array], Array],
) -> npt.NDArray[np.float64]:
    """Parameters of softmax(W z + b) with the least cross entropy, held near ``first``."""
    from scipy.optimize import minimize

    share_N = weight_N / weight_N.sum()
    logits_NK = logits_NK.astype(np.float64)

    def loss(parameters: Array) -> tuple[float, Array]:
        matrix_KK, shift_K = spread(parameters)
        probability = softmax(logits_NK @ matrix_KK.T + shift_K)
        value = float(-(share_N[:, None] * target_NK * np.log(probability + 1e-12)).sum())
        excess_NK = share_N[:, None] * (probability * target_NK.sum(1, keepdims=True) - target_NK)
        slope = gather(excess_NK.T @ logits_NK, excess_NK.sum(axis=0))
        away = parameters - first
        return value + _RIDGE * float(away @ away), slope + 2 * _RIDGE * away

    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x, np.float64)


def mean_recall(guess_N: npt.NDArray[np.int64], label_N: npt.NDArray[np.int64]) -> float:
    """Mean over the classes that occur of the share of theirs that was found."""
    return float(np.mean([(guess_N[label_N == k] == k).mean() for k in np.unique(label_N)]))


def _weight(logits_NK: Array, weight_N: Array | None) -> npt.NDArray[np.float64]:
    if not len(logits_NK):
        raise ValueError("a calibrator needs at least one sample to be fitted on")
    return np.ones(len(logits_NK)) if weight_N is None else np.asarray(weight_N, np.float64)


def _thinned(predicted: Array, meant: Array) -> list[tuple[float, float]]:
    """At most so many points of a rising curve, none of them twice."""
    if len(predicted) > _MOST_KNOTS:
        at = np.unique(np.linspace(0, len(predicted) - 1, _MOST_KNOTS).round().astype(int))
        predicted, meant = predicted[at], meant[at]
    points: dict[float, float] = {}
    for x, y in zip(predicted.tolist(), meant.tolist(), strict=True):
        points[min(max(round(x, 6), 1e-6), 1 - 1e-6)] = round(y, 6)
    return sorted(points.items())


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values.ravel())
