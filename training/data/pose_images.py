"""Faces in pairs of poses as FaPE-GAN takes them, and its faces as a set to learn from.

N faces, M pairs, S side of the crop.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import Dataset

from ..draws import Draw
from ..errors import OptionsWrong
from ..pose_synthesis import centred, synthesised
from .contours import contours_of, in_crop
from .learning_faces import Image, LearningFaces
from .pose_pairs import Wanted, balancing_pairs, landmark_picture, training_pairs
from .task_faces import joined, people_of, pose_codes

TRIES = 20
"""Pairs drawn for each face of a small split, to find some that end in it."""


class PosePairs(Dataset[dict[str, torch.Tensor]]):
    """Items: face, pose and wanted (1, S, S) float in -1..1, and counts (): I_i, I_P and I_t of
    section 4.2, aligned as at run time.

    Args:
        faces: N faces with 68 landmarks.
        pairs: M rows to turn and rows whose pose is wanted.
        crop_px: S.
    """

    weights: torch.Tensor | None = None

    def __init__(self, faces: LearningFaces, pairs: Wanted, crop_px: int) -> None:
        self.faces, self.pairs, self.crop_px = faces, pairs, crop_px
        self.points = crop_contours(faces, crop_px)

    def __len__(self) -> int:
        return len(self.pairs.source)

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        source, target = self.pairs.source[draw.row], self.pairs.target[draw.row]
        pictures = {
            "face": self.faces.crop(int(source), self.crop_px),
            "pose": landmark_picture(self.points[target], self.crop_px),
            "wanted": self.faces.crop(int(target), self.crop_px),
        }
        item = {name: centred(torch.from_numpy(p)[None]) for name, p in pictures.items()}
        return {**item, "counts": torch.tensor(float(draw.counts))}


def crop_contours(faces: LearningFaces, crop_px: int) -> npt.NDArray[np.float32]:
    """The 68 landmarks of every face in its crop's pixels, (N, 68, 2)."""
    points = contours_of(faces)
    matrices = (faces.matrix(row, crop_px) for row in range(len(faces)))
    moved = [in_crop(face, matrix) for face, matrix in zip(points, matrices, strict=True)]
    return np.stack(moved)


def pairs_to_learn(train: LearningFaces, seed: int) -> Wanted:
    """Pairs of one person and one expression in two poses, as many as there are faces.

    Raises:
        OptionsWrong: the set does not say who and from where, or has no such pair.
    """
    poses = pose_codes(train)[1]
    return training_pairs(people_of(train), poses, train.label, len(train), seed=seed)


def held_out_pairs(
    train: LearningFaces, held: LearningFaces, most: int, seed: int
) -> tuple[LearningFaces, Wanted] | None:
    """Pairs whose answer is a held-out face, ``most`` at most: the same person's face to turn may
    be one to learn from, the answer never is. None where there is no such pair."""
    both = joined([train, held])
    poses = pose_codes(both)[1]
    try:
        count = TRIES * max(len(held), most)
        pairs = training_pairs(people_of(both), poses, both.label, count, seed=seed)
    except OptionsWrong:
        return None
    rows = np.flatnonzero(pairs.target >= len(train))[:most]
    return (both, Wanted(pairs.source[rows], pairs.target[rows])) if len(rows) else None


def made_faces(
    generator: nn.Module, train: LearningFaces, crop_px: int, *, most: int | None, seed: int
) -> tuple[Image, Wanted]:
    """What FaPE-GAN adds to the training faces, (M, S, S), so that all poses of an expression
    have equally many; and which face was turned to whose pose."""
    poses = pose_codes(train)[1]
    wanted = balancing_pairs(poses, train.label, seed=seed, most=most)
    points = crop_contours(train, crop_px)
    made = synthesised(generator, wanted, lambda rows: train.take(rows).crops(crop_px), points)
    return made.reshape(-1, crop_px, crop_px), wanted


def with_made(train: LearningFaces, made: Image, wanted: Wanted) -> LearningFaces:
    """Real training faces and made ones: these keep person and expression of the face that was
    turned, have the pose that was wanted, and are aligned already."""
    if not len(made):
        return train
    assert train.poses is not None
    turned = replace(
        train.take(wanted.source),
        names=tuple(f"made/{row:06d}" for row in range(len(made))),
        pixels=made,
        seen=np.zeros(len(made), np.bool_),
        poses=train.poses[wanted.target],
        landmarks_xy=np.zeros_like(train.landmarks_xy[wanted.source]),
        parsing=None,
        contours_xy=None,
    )
    return joined([train, turned])
