"""Measure a bundle, as deployed, on photographs with crowd labels.

The crops come from the run-time alignment, the scores from the bundle's engines, the
probabilities from the code that users see. A photograph is a clip of one frame without motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from ferstream.calibration.heads import basic8_to_family
from ferstream.calibration.outputs import photograph_outputs
from ferstream.calibration.reliability import (
    divergence,
    expected_calibration_error,
    negative_log_likelihood,
)
from ferstream.engines.bundle import Bundle
from ferstream.engines.taxonomy import load_taxonomy, roll_up
from ferstream.stream.align import warp
from ferstream.stream.emotions import EmotionReader, is_uncertain

from .data.fer import BASIC8, FerPlus

Array = npt.NDArray[np.float32]

SECOND_VOTES = 3
"""Raters, of ten, from whom a second emotion counts as seen."""
TOP_WORDS = 10
EXPRESSION_FAMILIES = ("joy", "surprise", "anger", "sadness", "fear")
"""What the crowd's seven expressions roll up to; love counts as joy (happiness)."""


@dataclass(frozen=True)
class Scores:
    """What a bundle says of N faces: basic8 (N, 8), emo135 (N, 135) and family6 (N, 6)
    probabilities, intensity (N,) 0..1, and affect (N, 3), which is valence and arousal -1..1 and
    intensity 0..1, where the bundle has it."""

    basic8: Array
    emo135: Array
    family6: Array
    intensity: Array
    affect: Array | None
    backend: str
    precision: str


def crops_of(
    data: FerPlus, crop_px: int, shift_px: tuple[int, int] = (0, 0)
) -> npt.NDArray[np.uint8]:
    """Aligned crops (N, 1, crop_px, crop_px); the faces shifted right and down in them."""
    matrices = data.matrices(crop_px)
    matrices[:, :, 2] += shift_px
    pairs = zip(data.pixels, matrices, strict=True)
    return np.stack([warp(pixels, matrix, crop_px) for pixels, matrix in pairs])[:, None]


def score(bundle: Bundle, data: FerPlus, *, engine: str, precision: str) -> Scores:
    """Scores of every photograph."""
    crops = crops_of(data, bundle.manifest.crop.px)
    return score_crops(bundle, crops, engine=engine, precision=precision)


def score_crops(
    bundle: Bundle, crops: npt.NDArray[np.uint8], *, engine: str, precision: str
) -> Scores:
    """Scores of aligned crops (N, 1, S, S), N at least 1."""
    out, backend, used = photograph_outputs(bundle, crops, engine=engine, precision=precision)
    reader = EmotionReader(bundle.manifest)
    words = bundle.manifest.head("emo135").probabilities(out["emo135"])
    read = reader.read(out)
    affect = [[one.valence, one.arousal, one.intensity] for one in read]
    return Scores(
        bundle.manifest.head("basic8").probabilities(out["basic8"]),
        words,
        reader.family_probabilities(words),
        np.array([emotions.intensity for emotions in read], np.float32),
        None if read[0].valence is None else np.array(affect, np.float32),
        backend,
        used,
    )


def basic8_figures(probability: Array, data: FerPlus) -> dict[str, Any]:
    """Figures of the measuring protocol; shares are 0..1, kl and nll in nats."""
    label, guess = data.majority, probability.argmax(axis=1)
    recall = {
        name: float((guess[label == k] == k).mean())
        for k, name in enumerate(BASIC8)
        if (label == k).any()
    }
    right = guess == label
    unsure = np.array([is_uncertain(row) for row in probability.tolist()], dtype=bool)
    return {
        "n": len(data),
        "top1": float(right.mean()),
        "uncertain": float(unsure.mean()),
        "top1_where_uncertain": float(right[unsure].mean()) if unsure.any() else 0.0,
        "top1_where_certain": float(right[~unsure].mean()) if not unsure.all() else 0.0,
        "macro_recall": float(np.mean(list(recall.values()))),
        "ece": expected_calibration_error(probability, label),
        "kl": divergence(probability, data.votes),
        "nll": negative_log_likelihood(probability, data.votes),
        "recall": recall,
    }


def emo135_figures(scores: Scores, data: FerPlus) -> dict[str, Any]:
    """How the words agree with the crowd, whose votes know only eight emotions.

    family_top1 and basic8_family_top1: share of faces whose majority is not neutral for which
    the strongest family is the majority's (love counts as joy; neutral left out of basic8).
    second_family_in_top10: where at least three raters chose a second emotion of another family,
    whether a word of it is among the ten. intensity_rank_correlation: Spearman's, of the
    intensity shown with the share of votes that are not neutral, over all faces.
    """
    words_to_family = _five_families(roll_up("emo135", "family6"))
    basic_to_family = _five_families(basic8_to_family())
    family = scores.family6 @ _five_families(np.eye(6, dtype=np.float32))
    basic_family = (scores.basic8 @ basic_to_family).argmax(axis=1)
    rows = data.majority != 0
    label = basic_to_family[data.majority].argmax(axis=1)
    ten = np.argsort(-scores.emo135, axis=1)[:, :TOP_WORDS]
    shown = words_to_family[ten].max(axis=1)
    hits = [
        bool(shown[row, second])
        for row in np.flatnonzero(rows)
        if (second := _second_family(data.raw_votes[row], basic_to_family)) is not None
    ]
    expressed = 1 - data.raw_votes[:, 0] / data.raw_votes.sum(axis=1)
    return {
        "n": int(rows.sum()),
        "family_top1": float((family.argmax(axis=1) == label)[rows].mean()),
        "family_ece": expected_calibration_error(family[rows], label[rows]),
        "basic8_family_top1": float((basic_family == label)[rows].mean()),
        "second_n": len(hits),
        "second_family_in_top10": float(np.mean(hits)) if hits else 0.0,
        "intensity_rank_correlation": float(spearmanr(scores.intensity, expressed).statistic),
    }


def figures(bundle: Bundle, data: FerPlus, *, engine: str, precision: str) -> dict[str, Any]:
    """Everything that ``ferstream evaluate`` prints; ``data`` holds rated photographs only."""
    scores = score(bundle, data, engine=engine, precision=precision)
    return {
        "basic8": basic8_figures(scores.basic8, data),
        "emo135": emo135_figures(scores, data),
        "engine": scores.backend,
        "precision": scores.precision,
    }


def _five_families(to_family6: Array) -> Array:
    """(K, 6) to (K, 5) in EXPRESSION_FAMILIES' order, love added to joy."""
    families = load_taxonomy("family6").labels
    five = to_family6[:, [families.index(name) for name in EXPRESSION_FAMILIES]]
    five[:, 0] += to_family6[:, families.index("love")]
    return np.asarray(five, np.float32)


def _second_family(votes_K: Array, to_family: Array) -> int | None:
    """The family of the second emotion seen, if enough raters saw it and it is another family."""
    expressed = votes_K.copy()
    expressed[0] = 0
    first, second = np.argsort(-expressed, kind="stable")[:2]
    if expressed[second] < SECOND_VOTES:
        return None
    family = int(to_family[second].argmax())
    return None if family == int(to_family[first].argmax()) else family
