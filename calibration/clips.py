"""Clips: do averaging, attention and motion leave the probabilities honest?

There is no labelled video here: the clips are photographs spoiled or set in motion.
N clips, T frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle

from .data import CLIP_VIEWS, Photographs, face_shape, photographs
from .reliability import (
    divergence,
    equal_mass_error,
    expected_calibration_error,
    negative_log_likelihood,
)
from .samples import stratified

Array = npt.NDArray[np.floating[Any]]
Rows = dict[str, dict[str, float]]


def clip_reliability(
    bundle: Bundle, faces: Photographs, folder: str | None, count: int, seed: int
) -> dict[str, Rows]:
    """Of at most `count` photographs with landmarks, in the split's own proportions.

    ``half the views spoiled``: clips of CLIP_VIEWS views, half of them spoiled: one frame alone,
    the frames' probabilities averaged, and the attention. ``in motion``: each of them set in
    motion, scored by the temporal network, by the spatial one, and fused; against the votes as
    far as the expression is on at the end.
    """
    from ferstream.training.data.views import ViewMaker
    from ferstream.training.evaluate_clips import ClipScorer, motion_figures

    train = photographs("train", folder, bundle.manifest.crop.px)
    shape = face_shape(train.data)
    seen = faces.subset(faces.data.seen)
    seen = seen.subset(stratified(np.zeros(len(seen.data), np.int64), count, seed))
    scorer = ClipScorer(bundle)
    maker = ViewMaker(seen.data, shape, seed)
    views = np.stack(
        [
            maker.clip(row, CLIP_VIEWS, CLIP_VIEWS // 2, maker.any_way())[0]
            for row in range(len(seen.data))
        ]
    )
    feature = scorer.features(views)
    each_NTK = np.stack([scorer.single(feature[:, t]) for t in range(CLIP_VIEWS)], axis=1)
    attended = scorer.clips(feature)[0]
    votes, label = seen.data.votes, seen.data.majority
    spoiled = {
        "the last frame alone": _row(each_NTK[:, -1], label, votes),
        "frames averaged": _row(each_NTK.mean(axis=1), label, votes),
        "attention": _row(attended, label, votes),
    }
    moving = motion_figures(scorer, seen.data, shape, None, seed)
    count = moving.pop("n")
    return {
        "half the views spoiled": spoiled,
        "in motion": {stream: {"n": count, **row} for stream, row in moving.items()},
    }


def _row(said: Array, label: npt.NDArray[np.int64], votes: Array) -> dict[str, float]:
    return {
        "n": len(label),
        "top1": float((said.argmax(axis=1) == label).mean()),
        "confidence": float(said.max(axis=1).mean()),
        "ece": expected_calibration_error(said, label),
        "ece_equal_mass": equal_mass_error(said, label),
        "nll": negative_log_likelihood(said, np.eye(said.shape[1])[label]),
        "kl_votes": divergence(said, votes),
    }
