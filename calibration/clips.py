"""Clips: do averaging, attention and motion leave the probabilities honest?

There is no labelled video here: the clips are photographs spoiled or set in motion.
N clips, T frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from ferstream.engines.bundle import Bundle
from ferstream.engines.terminal import plain_console
from ferstream.training.datasets.augment import CROP_PX
from ferstream.training.datasets.fer import FerPlus
from ferstream.training.datasets.motion import (
    FaceShape,
    MotionMaker,
    fit_face_shape,
    motion_target,
)
from ferstream.training.datasets.views import ViewMaker

from .data import CLIP_VIEWS, Photographs, photographs
from .outputs import ClipScorer, Logits
from .ranges import stratified
from .reliability import (
    divergence,
    equal_mass_error,
    expected_calibration_error,
    negative_log_likelihood,
)

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
    train = photographs("train", folder, bundle.manifest.crop.px)
    shape = fit_face_shape(train.data)
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
    moving = moving_clips(scorer, seen.data, shape, None, seed)
    return {
        "half the views spoiled": spoiled,
        "in motion": {
            stream: _in_motion(scorer.head.probabilities(out["basic8"]), moving.target)
            for stream, out in moving.outputs.items()
        },
    }


@dataclass(frozen=True)
class MovingClips:
    """Photographs set in motion, and a bundle's outputs for them."""

    target: npt.NDArray[np.float32]
    """(N, 8) the votes as far as the expression is on at the clip's end."""
    level: npt.NDArray[np.float64]
    """(N,) how far it is on there, 0..1."""
    outputs: dict[str, Logits]
    """Of each stream alone, ``temporal`` and ``spatial``, and of both, ``fused``, as deployed
    live."""


def moving_clips(
    scorer: ClipScorer, data: FerPlus, shape: FaceShape, kind: str | None, seed: int
) -> MovingClips:
    """Photographs with landmarks set in motion, each ``kind`` of motion or one drawn for each."""
    maker = MotionMaker(data, shape, seed)
    crops, stacks, targets, levels, gaps_s = [], [], [], [], []
    for row in counted(len(data), f"Setting photographs in motion ({kind or 'all kinds'})"):
        clip = maker.clip(row, kind or maker.any_kind(), CROP_PX)
        crops.append(np.stack(clip.crops))
        stacks.append(maker.motion(clip))
        targets.append(motion_target(data.votes[row], clip.level))
        levels.append(clip.level)
        gaps_s.append(clip.gap_s)
    target = np.stack(targets)
    stack = np.stack(stacks)
    motion = scorer.motion(stack)
    feature = scorer.features(np.stack(crops))
    age_s = np.stack([gap_s * np.arange(feature.shape[1] - 1, -1, -1) for gap_s in gaps_s])
    frames = scorer.fused(feature, age_s=age_s)
    both = scorer.fused(feature, motion, scorer.motion_weights(stack), age_s=age_s)
    return MovingClips(
        target, np.array(levels), {"temporal": motion, "spatial": frames, "fused": both}
    )


def counted(count: int, what: str) -> Iterable[int]:
    """0 to ``count`` with a bar of progress where somebody looks on."""
    console = plain_console(stderr=True)
    return track(range(count), what, console=console, disable=not console.is_terminal)


def _in_motion(probability: Array, target: Array) -> dict[str, float]:
    label = target.argmax(axis=1)
    return {
        "n": len(label),
        "top1": float((probability.argmax(axis=1) == label).mean()),
        "nll": negative_log_likelihood(probability, target),
        "ece": expected_calibration_error(probability, label),
    }


def _row(probability: Array, label: npt.NDArray[np.int64], votes: Array) -> dict[str, float]:
    return {
        "n": len(label),
        "top1": float((probability.argmax(axis=1) == label).mean()),
        "confidence": float(probability.max(axis=1).mean()),
        "ece": expected_calibration_error(probability, label),
        "ece_equal_mass": equal_mass_error(probability, label),
        "nll": negative_log_likelihood(probability, np.eye(probability.shape[1])[label]),
        "kl_votes": divergence(probability, votes),
    }
