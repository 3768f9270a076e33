"""Triplets of labelled faces as the embedding's training takes them (paper 000, section 3.3).

N faces, M triplets, S side of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from ..draws import Draw
from ..errors import OptionsWrong
from .face_images import FaceImages
from .face_splits import Splits
from .learning_faces import LearningFaces
from .triplets import (
    Triplets,
    blended,
    blendshape_distance,
    draw_triplets,
    read_triplets,
    vote_distance,
)


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
