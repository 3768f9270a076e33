"""Labelled faces as calibration takes them, read by the training side's readers; and clips, which
show whether averaging, attention and motion leave the probabilities honest.

There is no labelled video here: the clips are photographs spoiled or set in motion. The readers
are plain NumPy: nothing here needs PyTorch. N samples or clips, T frames of a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from ferstream.engines.bundle import Bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.terminal import plain_console
from ferstream.stream.faces.quality import sharpness
from ferstream.training.datasets.augment import CORRUPTIONS, CROP_PX, ViewMaker, corrupted
from ferstream.training.datasets.fer import FerPlus, load_fer_plus
from ferstream.training.datasets.judged import judged_columns
from ferstream.training.datasets.motion import (
    FaceShape,
    MotionMaker,
    fit_face_shape,
    make_motion_set,
    motion_target,
)

from .gate import Examples, Outputs, Predictions
from .heads import LabelledFaces
from .outputs import ClipScorer, Logits, alone
from .quantize import CalibrationData
from .ranges import LEAST, Samples, hold_fit, stratified, thirds
from .reliability import (
    divergence,
    equal_mass_error,
    expected_calibration_error,
    negative_log_likelihood,
)

Array = npt.NDArray[np.float32]
Crops = npt.NDArray[np.uint8]

CLIP_VIEWS = 8
_SPOILED_EVERY = 4


@dataclass(frozen=True)
class Photographs:
    """The rated photographs of one split, with their aligned crops (N, 1, S, S)."""

    data: FerPlus
    crops: Crops

    def subset(self, rows: npt.NDArray[Any]) -> Photographs:
        """Some of them."""
        return Photographs(self.data.subset(rows), self.crops[rows])

    @property
    def quality(self) -> npt.NDArray[np.int64]:
        """0 the blurred, 1 the middle, 2 the sharp third, (N,)."""
        return thirds(sharpness_of(self.crops))


def photographs(split: str, folder: str | None, crop_px: int) -> Photographs:
    """The photographs of a split that the measuring protocol counts.

    Raises:
        FileNotFoundError: no such data.
    """
    data = load_fer_plus(split, folder)
    data = data.subset(data.rated)
    return Photographs(data, data.crops(crop_px))


def sharpness_of(crops: Crops) -> npt.NDArray[np.float64]:
    """The run time's sharpness of each crop, 0..1, (N,)."""
    return np.array([sharpness(crop[0]) for crop in crops])


def labelled_faces(faces: Photographs, folder: str | None) -> LabelledFaces:
    """What probabilities are fitted on, with the same faces spoiled; words where they were judged,
    which zeros stand for elsewhere."""
    judged = judged_columns(faces.data, folder, faces.data.split)
    return LabelledFaces(
        crops=faces.crops,
        votes=faces.data.votes,
        label=faces.data.majority,
        words=(judged.words > 0).astype(np.float32),
        word_weight=judged.judge.sum(axis=1),
        harder={how: corrupted(faces.crops, how) for how in CORRUPTIONS},
    )


def representative(faces: Photographs, count: int, seed: int, least: int = LEAST) -> Photographs:
    """At most `count` photographs spread over emotions and qualities.

    Raises:
        SamplesUnfit: fewer than `least`, or of one emotion.
    """
    stratum = faces.data.majority * 3 + faces.quality
    chosen = faces.subset(stratified(stratum, count, seed))
    hold_fit(chosen.data.majority, least)
    return chosen


def crop_samples(faces: Photographs, seed: int) -> Crops:
    """Their crops, every fourth of them spoiled in one of the corruptions' ways: a live camera
    gives such views too."""
    crops = faces.crops.copy()
    for at, how in enumerate(CORRUPTIONS):
        rows = np.arange(at * _SPOILED_EVERY, len(crops), _SPOILED_EVERY * len(CORRUPTIONS))
        crops[rows] = corrupted(crops[rows], how, seed)
    return crops


def motion_samples(
    faces: Photographs, shape: FaceShape, seed: int
) -> tuple[Array, npt.NDArray[np.float32]]:
    """Motion stacks (N, 2F, P, P) of those photographs that have landmarks, set in motion, and
    their targets (N, 8)."""
    rows: Iterable[int] = np.flatnonzero(faces.data.seen).tolist()
    made = make_motion_set(faces.data, shape, rows, seed=seed)
    return made.motion.astype(np.float32), made.target


def clip_samples(
    bundle: Bundle, faces: Photographs, shape: FaceShape, seed: int
) -> tuple[dict[str, Array], npt.NDArray[np.int64]]:
    """Inputs of the fusion network: clips of views, half of them spoiled, with their motion; and
    the labels (N,). Clips are of all lengths up to CLIP_VIEWS."""
    seen = faces.subset(faces.data.seen)
    maker = ViewMaker(seen.data, shape, seed)
    views = [maker.clip(row, CLIP_VIEWS, CLIP_VIEWS // 2)[0] for row in range(len(seen.data))]
    stacks, _ = motion_samples(seen, shape, seed)
    scorer = ClipScorer(bundle, precision="fp32")
    length = np.random.default_rng(seed).integers(1, CLIP_VIEWS + 1, len(views))
    inputs = {
        "feature": scorer.features(np.stack(views)),
        "mask": (np.arange(CLIP_VIEWS) < length[:, None]).astype(np.float32),
        "has_motion": scorer.motion_weights(stacks),
        **scorer.motion_inputs(scorer.motion(stacks)),
    }
    return inputs, seen.data.majority


def photograph_examples(
    bundle: Bundle, crops: Crops, label: npt.NDArray[np.int64], backend: str = "auto"
) -> Examples:
    """The spatial network judged on single photographs: its features go through the bundle's
    fusion network in float, as at run time."""
    fusion = open_engine(bundle, "fusion", backend=backend, precision="fp32")
    head = {name: bundle.manifest.head(name) for name in ("basic8", "emo135")}

    def read(outputs: Outputs) -> Predictions:
        out = fusion.run(alone(bundle, outputs["feature"]))
        words = head["emo135"].probabilities(out["emo135"])
        return Predictions(head["basic8"].probabilities(out["basic8"]), words)

    return Examples({"crop": crops}, label, read)


def motion_examples(bundle: Bundle, motion: Array, label: npt.NDArray[np.int64]) -> Examples:
    """The temporal network judged on motion stacks."""
    head = bundle.manifest.head("basic8")
    return Examples(
        {"motion": motion}, label, lambda out: Predictions(head.probabilities(out["basic8"]), None)
    )


def clip_examples(
    bundle: Bundle, inputs: dict[str, Array], label: npt.NDArray[np.int64]
) -> Examples:
    """The fusion network judged on clips."""
    basic8, words = (bundle.manifest.head(name) for name in ("basic8", "emo135"))

    def read(out: Outputs) -> Predictions:
        return Predictions(basic8.probabilities(out["basic8"]), words.probabilities(out["emo135"]))

    return Examples(inputs, label, read)


SWEEP = 400
"""Examples for trying layer by layer."""
MOVING = 1500
"""At most so many validation photographs are set in motion."""


def calibration_data(
    bundle: Bundle,
    networks: Sequence[str],
    folder: str | None,
    *,
    samples: int,
    seed: int,
    least: int = LEAST,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> dict[str, CalibrationData]:
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
        found["spatial"] = calibration_data_of(
            {"crop": crop_samples(chosen, seed)}, examples, judge.quality, seed
        )
    if {"temporal", "fusion"} & set(networks):
        seen = train.subset(train.data.seen)
        shape = fit_face_shape(train.data)
        moving = representative(seen, samples, seed, least)
        judged = _moving(judge, seed)
        if "temporal" in networks:
            progress("setting photographs in motion", 0.3)
            motion, _ = motion_samples(moving, shape, seed)
            stacks, target = motion_samples(judged, shape, seed + 1)
            examples = motion_examples(bundle, stacks, target.argmax(axis=1))
            found["temporal"] = calibration_data_of({"motion": motion}, examples, None, seed)
        if "fusion" in networks:
            progress("making clips", 0.6)
            inputs, _ = clip_samples(bundle, moving, shape, seed)
            clips, label = clip_samples(bundle, judged, shape, seed + 1)
            found["fusion"] = calibration_data_of(
                inputs, clip_examples(bundle, clips, label), None, seed
            )
    return found


def _moving(judge: Photographs, seed: int) -> Photographs:
    seen = judge.subset(judge.data.seen)
    if len(seen.data) <= MOVING:
        return seen
    rows = np.sort(np.random.default_rng(seed).permutation(len(seen.data))[:MOVING])
    return seen.subset(rows)


def calibration_data_of(
    samples: Samples,
    examples: Examples,
    quality: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
) -> CalibrationData:
    """Samples and examples, some of these, spread over labels and quality, for the sweep."""
    stratum = examples.label if quality is None else examples.label * 3 + quality
    rows = stratified(stratum, SWEEP, seed)
    few = {name: array[rows] for name, array in examples.inputs.items()}
    return CalibrationData(samples, examples, Examples(few, examples.label[rows], examples.read))


Values = npt.NDArray[np.floating[Any]]
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


def _in_motion(probability: Values, target: Values) -> dict[str, float]:
    label = target.argmax(axis=1)
    return {
        "n": len(label),
        "top1": float((probability.argmax(axis=1) == label).mean()),
        "nll": negative_log_likelihood(probability, target),
        "ece": expected_calibration_error(probability, label),
    }


def _row(probability: Values, label: npt.NDArray[np.int64], votes: Values) -> dict[str, float]:
    return {
        "n": len(label),
        "top1": float((probability.argmax(axis=1) == label).mean()),
        "confidence": float(probability.max(axis=1).mean()),
        "ece": expected_calibration_error(probability, label),
        "ece_equal_mass": equal_mass_error(probability, label),
        "nll": negative_log_likelihood(probability, np.eye(probability.shape[1])[label]),
        "kl_votes": divergence(probability, votes),
    }
