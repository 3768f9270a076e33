"""Labelled faces as calibration takes them, read by the training side's readers.

Those are plain NumPy: nothing here needs PyTorch. N samples, T frames of a clip.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.engines.engine import open_engine

from .compare import Examples, Outputs, Said
from .heads import LabelledFaces
from .outputs import alone
from .samples import LEAST, hold_fit, stratified, thirds

if TYPE_CHECKING:
    from ferstream.training.data.fer import FerPlus
    from ferstream.training.data.motion import FaceShape

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
    from ferstream.training.data.fer import load_fer_plus
    from ferstream.training.evaluate import crops_of

    data = load_fer_plus(split, folder)
    data = data.subset(data.rated)
    return Photographs(data, crops_of(data, crop_px))


def face_shape(train: FerPlus) -> FaceShape:
    """How expressions move landmarks, for setting photographs in motion."""
    from ferstream.training.data.motion import fit_face_shape

    return fit_face_shape(train)


def sharpness_of(crops: Crops) -> npt.NDArray[np.float64]:
    """The run time's sharpness of each crop, 0..1, (N,)."""
    from ferstream.stream.quality import sharpness

    return np.array([sharpness(crop[0]) for crop in crops])


def labelled_faces(faces: Photographs, folder: str | None) -> LabelledFaces:
    """What probabilities are fitted on, with the same faces spoiled; words where they were judged,
    which zeros stand for elsewhere."""
    from ferstream.training.data.hardships import HARDSHIPS, worsened
    from ferstream.training.data.judged import judged_columns

    judged = judged_columns(faces.data, folder, faces.data.split)
    return LabelledFaces(
        crops=faces.crops,
        votes=faces.data.votes,
        label=faces.data.majority,
        words=(judged.words > 0).astype(np.float32),
        word_weight=judged.judge.sum(axis=1),
        harder={how: worsened(faces.crops, how) for how in HARDSHIPS},
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
    """Their crops, every fourth of them spoiled in one of the hardships' ways: a live camera
    gives such views too."""
    from ferstream.training.data.hardships import HARDSHIPS, worsened

    crops = faces.crops.copy()
    for at, how in enumerate(HARDSHIPS):
        rows = np.arange(at * _SPOILED_EVERY, len(crops), _SPOILED_EVERY * len(HARDSHIPS))
        crops[rows] = worsened(crops[rows], how, seed)
    return crops


def motion_samples(
    faces: Photographs, shape: FaceShape, seed: int
) -> tuple[Array, npt.NDArray[np.float32]]:
    """Motion stacks (N, 2F, P, P) of those photographs that have landmarks, set in motion, and
    their targets (N, 8)."""
    from ferstream.training.data.motion_set import make_motion_set

    rows: Iterable[int] = np.flatnonzero(faces.data.seen).tolist()
    made = make_motion_set(faces.data, shape, rows, seed=seed)
    return made.motion.astype(np.float32), made.target


def clip_samples(
    bundle: Bundle, faces: Photographs, shape: FaceShape, seed: int
) -> tuple[dict[str, Array], npt.NDArray[np.int64]]:
    """Inputs of the fusion network: clips of views, half of them spoiled, with their motion; and
    the labels (N,). Clips are of all lengths up to CLIP_VIEWS."""
    from ferstream.training.data.views import ViewMaker
    from ferstream.training.evaluate_clips import ClipScorer

    seen = faces.subset(faces.data.seen)
    maker = ViewMaker(seen.data, shape, seed)
    views = [maker.clip(row, CLIP_VIEWS, CLIP_VIEWS // 2)[0] for row in range(len(seen.data))]
    stacks, _ = motion_samples(seen, shape, seed)
    scorer = ClipScorer(bundle, precision="fp32")
    length = np.random.default_rng(seed).integers(1, CLIP_VIEWS + 1, len(views))
    inputs = {
        "feature": scorer.features(np.stack(views)),
        "mask": (np.arange(CLIP_VIEWS) < length[:, None]).astype(np.float32),
        "has_motion": scorer.shares(stacks),
        **scorer.heard(scorer.motion(stacks)),
    }
    return inputs, seen.data.majority


def photograph_examples(
    bundle: Bundle, crops: Crops, label: npt.NDArray[np.int64], backend: str = "auto"
) -> Examples:
    """The spatial network judged on single photographs: its features go through the bundle's
    fusion network in float, as at run time."""
    fusion = open_engine(bundle, "fusion", backend=backend, precision="fp32")
    head = {name: bundle.manifest.head(name) for name in ("basic8", "emo135")}

    def read(outputs: Outputs) -> Said:
        out = fusion.run(alone(bundle, outputs["feature"]))
        words = head["emo135"].probabilities(out["emo135"])
        return Said(head["basic8"].probabilities(out["basic8"]), words)

    return Examples({"crop": crops}, label, read)


def motion_examples(bundle: Bundle, motion: Array, label: npt.NDArray[np.int64]) -> Examples:
    """The temporal network judged on motion stacks."""
    head = bundle.manifest.head("basic8")
    return Examples(
        {"motion": motion}, label, lambda out: Said(head.probabilities(out["basic8"]), None)
    )


def clip_examples(
    bundle: Bundle, inputs: dict[str, Array], label: npt.NDArray[np.int64]
) -> Examples:
    """The fusion network judged on clips."""
    basic8, words = (bundle.manifest.head(name) for name in ("basic8", "emo135"))

    def read(out: Outputs) -> Said:
        return Said(basic8.probabilities(out["basic8"]), words.probabilities(out["emo135"]))

    return Examples(inputs, label, read)
