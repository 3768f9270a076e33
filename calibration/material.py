"""What each network of a bundle is quantized with and judged on, read from labelled photographs.

The samples come from the training split, the judging from the validation split, which no network
has learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle

from .compare import Examples
from .data import (
    Photographs,
    clip_examples,
    clip_samples,
    crop_samples,
    face_shape,
    motion_examples,
    motion_samples,
    photograph_examples,
    photographs,
    representative,
)
from .lower import Material
from .samples import LEAST, Samples, stratified

SWEEP = 400
"""Examples for trying layer by layer."""
MOVING = 1500
"""At most so many validation photographs are set in motion."""


def materials(
    bundle: Bundle,
    networks: Sequence[str],
    folder: str | None,
    *,
    samples: int,
    seed: int,
    least: int = LEAST,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> dict[str, Material]:
    """Samples and examples of each network, by its name.

    Raises:
        SamplesUnfit: too few photographs, or of one emotion.
        FileNotFoundError: no data.
    """
    crop_px = bundle.manifest.crop.px
    progress("reading labelled faces", 0.0)
    train = photographs("train", folder, crop_px)
    judge = photographs("validation", folder, crop_px)
    chosen = representative(train, samples, seed, least)
    found = {}
    if "spatial" in networks:
        label = judge.data.majority
        examples = photograph_examples(bundle, judge.crops, label)
        found["spatial"] = material(
            {"crop": crop_samples(chosen, seed)}, examples, judge.quality, seed
        )
    if {"temporal", "fusion"} & set(networks):
        seen = train.subset(train.data.seen)
        shape = face_shape(train.data)
        moving = representative(seen, samples, seed, least)
        judged = _moving(judge, seed)
        if "temporal" in networks:
            progress("setting photographs in motion", 0.3)
            motion, _ = motion_samples(moving, shape, seed)
            stacks, target = motion_samples(judged, shape, seed + 1)
            examples = motion_examples(bundle, stacks, target.argmax(axis=1))
            found["temporal"] = material({"motion": motion}, examples, None, seed)
        if "fusion" in networks:
            progress("making clips", 0.6)
            inputs, _ = clip_samples(bundle, moving, shape, seed)
            clips, label = clip_samples(bundle, judged, shape, seed + 1)
            found["fusion"] = material(inputs, clip_examples(bundle, clips, label), None, seed)
    return found


def _moving(judge: Photographs, seed: int) -> Photographs:
    seen = judge.subset(judge.data.seen)
    if len(seen.data) <= MOVING:
        return seen
    rows = np.sort(np.random.default_rng(seed).permutation(len(seen.data))[:MOVING])
    return seen.subset(rows)


def material(
    samples: Samples,
    examples: Examples,
    quality: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Material:
    """Samples and examples, some of these, spread over labels and quality, for the sweep."""
    stratum = examples.label if quality is None else examples.label * 3 + quality
    rows = stratified(stratum, SWEEP, seed)
    few = {name: array[rows] for name, array in examples.inputs.items()}
    return Material(samples, examples, Examples(few, examples.label[rows], examples.read))
