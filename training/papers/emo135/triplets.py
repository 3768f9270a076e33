"""Triplets of faces: read, drawn, and as sets to learn from.

Triplets of faces for an expression embedding: two that look alike and the odd one out.

Paper 000 takes its embedding from a network trained on triplets that people judged (section 3.3).
Where such a set is at hand `read_triplets` reads it; else `draw_triplets` makes triplets from any
distance between faces: raters' votes, a teacher's blendshapes, or both.

N faces, M triplets, K labels, A blendshapes.  A triplet is three rows (a, b, odd).

Triplets of labelled faces as the embedding's training takes them (paper 000, section 3.3).

N faces, M triplets, S side of the crop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ...datasets.face_splits import Splits
from ...datasets.learning_faces import LearningFaces
from ...errors import OptionsWrong
from ...learning.drawn_sets import FaceImages
from ...learning.draws import Draw

Array = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]
Distance = Callable[[Rows, Rows], Array]
"""Distances (M,) between faces given by their rows (M,) and (M,)."""

ONE_CLASS_MARGIN = 0.1
OTHER_MARGIN = 0.2
"""Margins of Vemulapalli and Agarwala 2019, on which paper 000's embedding is built: smaller where
all three faces show the same emotion."""


@dataclass(frozen=True)
class Triplets:
    """rows (M, 3) int64: two alike and the odd one out; margin (M,) float32 of the loss."""

    rows: Rows
    margin: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


def vote_distance(votes_NK: Array) -> Distance:
    """Hellinger distance of the raters' vote distributions: 0 alike, 1 nothing in common."""
    root = np.sqrt(np.asarray(votes_NK, np.float32))
    return lambda a, b: np.linalg.norm(root[a] - root[b], axis=1) / np.sqrt(np.float32(2))


def blendshape_distance(blendshapes_NA: Array) -> Distance:
    """Root of the mean squared difference of standardised blendshapes, halved: most pairs of faces
    lie in 0..1. Blendshapes that never change say nothing."""
    values = np.asarray(blendshapes_NA, np.float32)
    spread = values.std(axis=0)
    moving = spread > 1e-6
    if not moving.any():
        raise OptionsWrong("no blendshape differs between any two faces: no distance comes of it")
    points = values[:, moving] / spread[moving]
    return lambda a, b: np.sqrt(np.square(points[a] - points[b]).mean(axis=1)) / 2


def blended(first: Distance, second: Distance, share: float = 0.5) -> Distance:
    """``share`` of the second distance and the rest of the first.

    Raises:
        OptionsWrong: the share is outside 0..1.
    """
    if not 0 <= share <= 1:
        raise OptionsWrong(f"a share of {share}: it must be 0 to 1")
    return lambda a, b: (1 - share) * first(a, b) + share * second(a, b)


def draw_triplets(
    distance: Distance,
    label_N: npt.NDArray[np.integer[Any]],
    count: int,
    *,
    seed: Sequence[int],
    gap: float = 0.1,
    tries: int = 50,
) -> Triplets:
    """Triplets whose odd face is farther from both others by more than ``gap``.

    Two thirds of all first pairs share their label, so that all three kinds (one, two and three
    emotions) come up however many labels there are.

    Args:
        distance: between faces.
        label_N: main emotion of each face, for the kinds and their margins.
        count: M.
        seed: the same seed, the same triplets.
        gap: in the distance's unit.
        tries: rounds of drawing before giving up.

    Raises:
        OptionsWrong: fewer than three faces, or so few faces differ by the gap that ``count``
            triplets do not come together.
    """
    faces = len(label_N)
    if faces < 3:
        raise OptionsWrong(f"{faces} faces: a triplet needs three")
    rng = np.random.default_rng(list(seed))
    order = np.argsort(label_N, kind="stable")
    _, first, inverse, size = np.unique(
        label_N[order], return_index=True, return_inverse=True, return_counts=True
    )
    class_N = np.empty(faces, np.int64)
    class_N[order] = inverse
    found: list[Rows] = []
    have = 0
    for _ in range(tries):
        draw = rng.integers(0, faces, (max(count, 64), 3))
        mates = rng.random(len(draw)) < 2 / 3
        own = class_N[draw[:, 0]]
        mate = order[first[own] + rng.integers(0, size[own])]
        draw[:, 1] = np.where(mates, mate, draw[:, 1])
        rows = _odd_last(distance, draw[_distinct(draw)], gap)
        found.append(rows)
        have += len(rows)
        if have >= count:
            rows = np.concatenate(found)[:count]
            return Triplets(rows, margins(rows, label_N))
    raise OptionsWrong(
        f"only {have} of {count} triplets differ by {gap}: ask for fewer or a smaller gap"
    )


def margins(rows_M3: Rows, label_N: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
    """The loss's margin of each triplet by whether its faces share one emotion, (M,)."""
    label = label_N[rows_M3]
    same = (label[:, 0] == label[:, 1]) & (label[:, 1] == label[:, 2])
    return np.where(same, ONE_CLASS_MARGIN, OTHER_MARGIN).astype(np.float32)


def read_triplets(path: Path, names: Sequence[str], margin: float = OTHER_MARGIN) -> Triplets:
    """A triplet set: three image names a line, parted by commas, the odd one last.

    Raises:
        OptionsWrong: a line that is none, a name that is not among ``names``, or no line.
    """
    row_of = {name: row for row, name in enumerate(names)}
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3:
            raise OptionsWrong(f"{path}, line {number}: {len(parts)} names where three belong")
        strange = [part for part in parts if part not in row_of]
        if strange:
            raise OptionsWrong(f"{path}, line {number}: no image {strange[0]!r} in the set")
        rows.append([row_of[part] for part in parts])
    if not rows:
        raise OptionsWrong(f"{path} holds no triplet: expected lines of a, b, odd one")
    return Triplets(np.array(rows, np.int64), np.full(len(rows), margin, np.float32))


def _distinct(draw_M3: Rows) -> npt.NDArray[np.bool_]:
    a, b, c = draw_M3.T
    return np.asarray((a != b) & (b != c) & (a != c))


def _odd_last(distance: Distance, draw_M3: Rows, gap: float) -> Rows:
    """The triplets with a clear odd one, which is put last."""
    a, b, c = draw_M3.T
    sides = np.stack([distance(b, c), distance(a, c), distance(a, b)], axis=1)
    odd = sides.argmin(axis=1)
    others = np.sort(sides, axis=1)
    clear = others[:, 1] - others[:, 0] > gap
    turned = np.stack([(odd + 1) % 3, (odd + 2) % 3, odd], axis=1)
    return np.asarray(np.take_along_axis(draw_M3, turned, axis=1)[clear], np.int64)


class FaceTriplets(Dataset[dict[str, torch.Tensor]]):
    """Items: crop (3, 1, S, S) uint8, the odd one last, margin () and counts ().

    The three are varied each in its own way, by the draw that asks for them.
    """

    weights: torch.Tensor | None = None

    def __init__(self, images: FaceImages, triplets: Triplets) -> None:
        self.images, self.triplets = images, triplets

    def __len__(self) -> int:
        return len(self.triplets)

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        keys = draw.rng().integers(0, 2**62, 3).tolist()
        rows = self.triplets.rows[draw.row].tolist()
        crops = [self.images[Draw(row, key)]["crop"] for row, key in zip(rows, keys, strict=True)]
        return {
            "crop": torch.stack(crops),
            "margin": torch.tensor(self.triplets.margin[draw.row]),
            "counts": torch.tensor(float(draw.counts)),
        }


class ComparedFaces(Dataset[dict[str, torch.Tensor]]):
    """Items: what `FaceImages` gives, and shapes (A,), standardised blendshapes, with seen (), 0
    where they are not known; so that a batch knows how far apart its faces are."""

    weights: torch.Tensor | None = None

    def __init__(self, images: FaceImages) -> None:
        self.images = images
        shapes = images.faces.blendshapes
        if shapes is None:
            shapes = np.zeros((len(images), 0), np.float32)
        spread = shapes.std(axis=0) if len(shapes) else np.ones(0)
        moving = spread > 1e-6
        self.shapes = torch.from_numpy(np.float32(shapes[:, moving] / spread[moving]))
        self.seen = torch.from_numpy(np.float32(shapes.any(axis=1)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        known = {"shapes": self.shapes[draw.row], "seen": self.seen[draw.row]}
        return {**self.images[draw], **known}


def batch_distance(batch: dict[str, torch.Tensor], share: float) -> torch.Tensor:
    """Distances (B, B) by votes and blendshapes as `drawn_triplets` has them; infinite where
    blendshapes count and are not known."""
    root, shapes, seen = batch["target"].float().sqrt(), batch["shapes"].float(), batch["seen"]
    votes = torch.cdist(root, root) / 2**0.5
    if not shapes.shape[1] or share == 0:
        return votes
    looks = torch.cdist(shapes, shapes) / shapes.shape[1] ** 0.5 / 2
    known = (seen[:, None] * seen[None, :]) > 0
    return torch.where(known, (1 - share) * votes + share * looks, torch.inf)


def drawn_triplets(
    faces: LearningFaces, count: int, *, seed: Sequence[int], blendshape_share: float, gap: float
) -> Triplets:
    """Triplets that nobody judged: by the raters' votes and a teacher's blendshapes.

    Where blendshapes count, only faces that the teacher saw make triplets; where a set has none,
    the votes stand alone.

    Raises:
        OptionsWrong: so many triplets do not come together.
    """
    label = faces.label
    rows = np.arange(len(faces))
    shapes = faces.blendshapes
    if shapes is not None and blendshape_share > 0:
        rows = np.flatnonzero(shapes.any(axis=1))
    votes = vote_distance(faces.target[rows])
    distance = votes
    if shapes is not None and blendshape_share > 0 and len(rows):
        distance = blended(votes, blendshape_distance(shapes[rows]), blendshape_share)
    found = draw_triplets(distance, label[rows], count, seed=seed, gap=gap)
    return Triplets(rows[found.rows], found.margin)


def judged_triplets(path: Path, data: Splits) -> dict[str, Triplets]:
    """The triplets of a file by split; those whose faces are not all in one split are left out.

    Raises:
        OptionsWrong: the file is not there, names other faces, or holds no triplet of training.
    """
    if not path.is_file():
        raise OptionsWrong(f"no file of triplets at {path}: expected lines of a, b, odd one")
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    whole = read_triplets(path, [name for part in parts.values() for name in part.names])
    found, start = {}, 0
    for split, part in parts.items():
        rows = whole.rows - start
        inside = ((rows >= 0) & (rows < len(part))).all(axis=1)
        found[split] = Triplets(rows[inside], whole.margin[inside])
        start += len(part)
    if not len(found["train"]):
        raise OptionsWrong(f"{path} has no triplet whose three faces are all training faces")
    return found
