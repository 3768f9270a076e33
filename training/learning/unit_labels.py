"""Action-unit labels for MSAU-Net's first stage: 1 on, -1 off, 0 says nothing (paper 003, eq. 2).

They come from the set itself (DISFA, BP4D, the synthetic face), else from a teacher's blendshapes,
which are no annotation: somebody who has DISFA or BP4D names those.

The paper uses 0 "for data distribution balance ... to reduce the number of negative or positive
samples" and does not say which are dropped: here the commoner label of a unit is dropped at
random, anew at every showing, so that in the mean both are shown as often.

N faces, U action units, B blendshapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ..datasets.face_splits import prepared_splits
from ..datasets.learning_faces import LearningFaces
from ..datasets.synthetic.expressions import ARKIT_NAMES, SHAPES_OF
from ..errors import OptionsWrong
from .drawn_sets import FaceImages
from .draws import Draw

Labels = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]

STRONG = 98.0
"""Percentile of a unit's values on training faces that counts as the unit at its strongest."""
ON, OFF = 0.5, 0.2
"""Shares of that strength from which a unit is on, and below which it is off."""
MUTE = 0.05
"""A teacher whose strongest value of a unit is below does not see it: it says nothing of it."""


def unit_values(blendshapes_NB: Floats, names: Sequence[str]) -> Floats:
    """Values (N, U) 0..1 of units from ARKit's 52 blendshapes, each the mean of the shapes that
    make it; a unit that they cannot show, such as AU23, is 0."""
    matrix = np.zeros((len(ARKIT_NAMES), len(names)), np.float32)
    for column, name in enumerate(names):
        for shape, weight in SHAPES_OF.get(name, ()):
            for whole in (shape, f"{shape}Left", f"{shape}Right"):
                if whole in ARKIT_NAMES:
                    matrix[ARKIT_NAMES.index(whole), column] += weight
    return np.asarray(blendshapes_NB @ (matrix / np.maximum(matrix.sum(0), 1e-9)), np.float32)


def strengths(faces: LearningFaces, names: Sequence[str]) -> Floats:
    """How high (U,) a teacher's value of each unit goes on these faces; 0 where it is mute."""
    if faces.blendshapes is None or not faces.seen.any():
        return np.zeros(len(names), np.float32)
    values = unit_values(faces.blendshapes[faces.seen], names)
    highest = np.percentile(values, STRONG, axis=0)
    return np.asarray(np.where(highest < MUTE, 0, highest), np.float32)


def unit_labels(faces: LearningFaces, names: Sequence[str], strength_U: Floats) -> Labels:
    """(N, U): the set's own labels by name, a unit that it does not know being 0; else the
    teacher's, by what ``strengths`` found on training faces.

    Raises:
        OptionsWrong: the faces have neither, or none of these units.
    """
    found = np.zeros((len(faces), len(names)), np.int8)
    if faces.units is not None:
        for column, name in enumerate(names):
            if name in faces.unit_names:
                found[:, column] = faces.units[:, faces.unit_names.index(name)]
    elif faces.blendshapes is not None:
        values = unit_values(faces.blendshapes, names)
        heard = (strength_U > 0) & faces.seen[:, None]
        found[heard & (values >= ON * strength_U)] = 1
        found[heard & (values < OFF * strength_U)] = -1
    else:
        raise OptionsWrong(
            f"{faces.name} has no action units: name a set that has (DISFA or BP4D, made by "
            "`ferstream data prepare`) with --units and fix their detection, or train --variant "
            "plain-cnn, which has none"
        )
    if len(found) and not found.any():
        raise OptionsWrong(
            f"{faces.name} knows none of the units {', '.join(names)}: name others with "
            "--action-units"
        )
    return found


def teaching_shares(labels_NU: Labels, evenness: float = 1.0) -> Floats:
    """(2, U): the shares of each unit's off (row 0) and on labels (row 1) that teach at a showing.

    ``evenness`` 1 makes both as common, 0 leaves all. A unit that is always off teaches nothing.
    """
    counts = np.stack([(labels_NU < 0).sum(0), (labels_NU > 0).sum(0)]).astype(np.float64)
    shares = (
        (counts.min(0) / np.maximum(counts, 1)) ** evenness if evenness else np.ones_like(counts)
    )
    return np.asarray(shares, np.float32)


@dataclass(frozen=True)
class UnitSet:
    """Faces of one or more data sets with the labels (N, U) of all of them."""

    faces: tuple[LearningFaces, ...]
    labels: Labels

    def images(
        self,
        crop_px: int,
        evenness: float,
        augmentation: str | None = None,
        weights: torch.Tensor | None = None,
    ) -> UnitImages:
        """Their crops, varied and drawn as `FaceImages` does."""
        images = [FaceImages(part, crop_px, augmentation=augmentation) for part in self.faces]
        return UnitImages(images, self.labels, teaching_shares(self.labels, evenness), weights)


def unit_sets(
    folders: str, own: tuple[LearningFaces, LearningFaces], names: Sequence[str], seed: int
) -> tuple[UnitSet, UnitSet]:
    """What to train and to validate detection on: prepared folders, commas between them, with or
    without expressions; the own faces where none is named.

    Raises:
        OptionsWrong: a folder that is not there, or faces without these units.
    """
    pairs = [own]
    if folders:
        pairs = [_prepared_pair(folder.strip(), seed) for folder in folders.split(",")]
    labels: tuple[list[Labels], list[Labels]] = ([], [])
    for pair in pairs:
        strength_U = strengths(pair[0], names)
        for found, faces in zip(labels, pair, strict=True):
            found.append(unit_labels(faces, names, strength_U))
    train, validation = (
        UnitSet(tuple(pair[split] for pair in pairs), np.concatenate(labels[split]))
        for split in (0, 1)
    )
    return train, validation


def _prepared_pair(folder: str, seed: int) -> tuple[LearningFaces, LearningFaces]:
    if not Path(folder).is_dir():
        raise OptionsWrong(
            f"there is no folder {folder!r} of action units: name what `ferstream data prepare` "
            "made of DISFA or BP4D"
        )
    splits = prepared_splits(Path(folder), seed, labelled=False)
    return splits["train"], splits["validation"]


class UnitImages(Dataset[dict[str, torch.Tensor]]):
    """Items of one or more `FaceImages` with units (U,) float32 in -1, 0 and 1.

    Args:
        images: shown one after the other; where there are several, their labels differ, and items
            hold no target.
        labels: of all of them, (N, U).
        shares: (2, U) see `teaching_shares`; None: every label teaches.
        weights: (N,) how often each face is drawn in training; None: once an epoch.
    """

    def __init__(
        self,
        images: Sequence[FaceImages],
        labels: Labels,
        shares: Floats | None = None,
        weights: torch.Tensor | None = None,
    ) -> None:
        self.images, self.labels = tuple(images), labels
        self.shares, self.weights = shares, weights
        self.starts = np.cumsum([0, *map(len, images)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        part = int(np.searchsorted(self.starts, draw.row, side="right")) - 1
        item = self.images[part][draw._replace(row=draw.row - int(self.starts[part]))]
        if len(self.images) > 1:
            del item["target"]
        units = self.labels[draw.row].astype(np.float32)
        if self.shares is not None:
            # A chance of its own: the picture is the same whether or not its units are asked for.
            chance = np.random.default_rng([draw.key, 1]).random(len(units), np.float32)
            taught = np.where(units > 0, self.shares[1], self.shares[0])
            units = np.where(chance < taught, units, np.float32(0))
        return item | {"units": torch.from_numpy(units)}
