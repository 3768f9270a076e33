"""The line that tells a whole living face from a covered, drawn or carved one (stream.quality).

`ferstream data clear OUT.npy` learns it anew; `stream/clear_view.npy` is where it is read.
It is learned on wild's training faces and on two spoiled versions of each, all of them worn
in the same ways, by least squares with a ridge. FER+, fairface and wild's other parts play no part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ferstream.stream.quality import CLEAR_PX, clear_features, clear_line

from .data.judged import load_wild
from .data.readers.finder import FaceFinder
from .data.spoiled import SPOILERS, worn

_RIDGE = 30.0
_SPOILED, _WHOLE = 2, 2
"""Spoiled and whole versions of each face."""


def wild_crops(
    split: str, data: Path | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Crops (N, 64, 64) of the faces found in a split of wild, and their landmarks (N, 468, 2)."""
    finder, faces = FaceFinder(), load_wild(split, data)
    found = [
        crop
        for picture, box in zip(faces.pictures(), faces.boxes, strict=True)
        if (crop := finder.crop(picture, CLEAR_PX, tuple(box.tolist()))) is not None
    ]
    return np.stack([one.pixels for one in found]), np.stack([one.landmarks_xy for one in found])


def examples(
    crops: npt.NDArray[np.uint8], landmarks_xy: npt.NDArray[np.float32], seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Features of N crops and of spoiled ones, and which of SPOILERS each is, -1 for none."""
    rng = np.random.default_rng(seed)
    features, kinds = [], []
    for crop, points in zip(crops, landmarks_xy, strict=True):
        for kind in [-1] * _WHOLE + rng.choice(len(SPOILERS), _SPOILED, replace=False).tolist():
            view = crop if kind < 0 else SPOILERS[kind](crop, points, rng)
            features.append(clear_features(worn(view, rng)))
            kinds.append(kind)
    return np.stack(features), np.array(kinds)


def fit(features: npt.NDArray[np.float32], kinds: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The line, as `stream/clear_view.npy` holds it: weights and then the constant; about 1 for a
    face, -1 for what is spoiled."""
    weight = np.where(kinds < 0, 1 / _WHOLE, 1 / _SPOILED).astype(np.float32)
    target = np.where(kinds < 0, 1.0, -1.0).astype(np.float32)
    mean, middle = np.average(features, 0, weight), np.average(target, weights=weight)
    centred = features - mean
    gram = (centred * weight[:, None]).T @ centred + _RIDGE * np.eye(features.shape[1])
    line = np.linalg.solve(gram, centred.T @ (weight * (target - middle)))
    return np.append(line, middle - mean @ line).astype(np.float32)


def separation(
    line: npt.NDArray[np.float32], features: npt.NDArray[np.float32], kinds: npt.NDArray[np.int64]
) -> float:
    """How often a line gives a whole face more than a spoiled one, 0..1."""
    along = features @ line[:-1]
    whole, spoiled = along[kinds < 0], np.sort(along[kinds >= 0])
    return float(np.searchsorted(spoiled, whole).mean() / len(spoiled))


def learned(out: Path, data: Path | None = None) -> tuple[float, float]:
    """Write the line learned on wild's training part to `out`; its `separation` on the validation
    part, and that of the line in use.

    Raises DataMissing and LabelsWrong as the set's reader does.
    """
    line = fit(*examples(*wild_crops("train", data)))
    np.save(out, line.astype(np.float16))
    held_out = examples(*wild_crops("validation", data), seed=1)
    return separation(line, *held_out), separation(clear_line(), *held_out)
