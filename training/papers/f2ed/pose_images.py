"""Pictures of poses and pairs of faces for FaPE-GAN (paper 004, section 4.2).

Faces in pairs of poses as FaPE-GAN takes them, and its faces as a set to learn from.

N faces, M pairs, S side of the crop.

What FaPE-GAN learns from and is asked for (paper 004, section 4.2): pure functions over rows.

N images, M draws, L = 68 landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ...datasets.learning_faces import Image, LearningFaces
from ...datasets.task_faces import joined, people_of, pose_codes
from ...errors import OptionsWrong
from ...learning.draws import Draw

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


JAW = (127, 234, 93, 132, 172, 150, 149, 148, 152, 377, 378, 379, 397, 361, 323, 454, 356)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
NOSE = (168, 197, 195, 4, 98, 97, 2, 326, 327)
EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178)
MESH_OF_68 = (*JAW, *BROWS, *NOSE, *EYES, *LIPS)
"""MediaPipe's number of each of the 68, in their order: jaw from the picture's left to its right,
brows, nose bridge and base, eyes, outer and inner lips. Chosen as the nearest points on a 3D face
that has both, alike on both sides; on the jaw they lie a fiftieth of a picture apart, a third of
that elsewhere."""


def contours_of(faces: LearningFaces) -> npt.NDArray[np.float32]:
    """The 68 landmarks of every face, (N, 68, 2) in pixels of its image: the set's own, or taken
    from its mesh.

    Raises:
        OptionsWrong: the set has neither.
    """
    if faces.contours_xy is not None:
        return faces.contours_xy
    place = {int(number): at for at, number in enumerate(faces.landmark_index)}
    if not set(MESH_OF_68) <= place.keys():
        raise OptionsWrong(
            f"{faces.name} has no landmarks to draw poses from: choose faces that `ferstream data "
            "prepare` made or synthetic ones, or --synthesis no"
        )
    return faces.landmarks_xy[:, [place[number] for number in MESH_OF_68]]


def in_crop(
    points_L2: npt.NDArray[np.floating[Any]], matrix: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float32]:
    """Points of an image in the pixels of its crop; ``matrix`` (2, 3) is `LearningFaces.matrix`."""
    return np.asarray(points_L2 @ matrix[:, :2].T + matrix[:, 2], np.float32)


Rows = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer[Any]]

CONTOURS = (
    (range(0, 17), False),
    (range(17, 22), False),
    (range(22, 27), False),
    (range(27, 31), False),
    (range(31, 36), False),
    (range(36, 42), True),
    (range(42, 48), True),
    (range(48, 60), True),
    (range(60, 68), True),
)
"""Jaw, brows, nose bridge, nostrils, eyes, outer and inner lips of the 68 points; closed or not."""


class Wanted(NamedTuple):
    """source (M,) rows of faces to turn; target (M,) rows whose landmarks show the pose wanted.

    In training the target's face is the answer; in augmentation only its landmarks are used.
    """

    source: Rows
    target: Rows


def landmark_picture(points_L2: npt.NDArray[np.floating[Any]], size_px: int) -> Image:
    """I_P: the 68 landmarks, in pixels of a square picture, drawn as contours in the style of a
    mask: (size_px, size_px) uint8, 255 on the lines.

    Raises:
        OptionsWrong: not 68 landmarks.
    """
    if points_L2.shape != (68, 2):
        raise OptionsWrong(f"landmarks of shape {points_L2.shape}: a pose picture needs (68, 2)")
    picture: Image = np.zeros((size_px, size_px), np.uint8)
    width = max(1, round(size_px / 128))
    for points, closed in CONTOURS:
        line = np.round(points_L2[list(points)]).astype(np.int32)[:, None]
        cv2.polylines(picture, [line], closed, 255, width)
    return picture


def training_pairs(
    subject_N: Codes, pose_N: Codes, expression_N: Codes, count: int, *, seed: int
) -> Wanted:
    """Pairs of one subject and one expression in two poses, M = ``count``, drawn with replacement
    evenly over (subject, expression).

    Raises:
        OptionsWrong: nobody is seen with one expression in two poses.
    """
    rng = np.random.default_rng(seed)
    _, group_N = np.unique(np.stack([subject_N, expression_N]), axis=1, return_inverse=True)
    group_N = group_N.reshape(-1)
    order = np.argsort(group_N, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(group_N[order])) + 1)
    groups = [rows for rows in groups if len(np.unique(pose_N[rows])) > 1]
    if not groups:
        raise OptionsWrong("no subject is seen with one expression in two poses: nothing to pair")
    source, target = np.empty(count, np.int64), np.empty(count, np.int64)
    for at in range(count):
        rows = groups[rng.integers(len(groups))]
        source[at] = rng.choice(rows)
        target[at] = rng.choice(rows[pose_N[rows] != pose_N[source[at]]])
    return Wanted(source, target)


def balancing_pairs(
    pose_N: Codes, expression_N: Codes, *, seed: int, most: int | None = None
) -> Wanted:
    """Which faces to turn to which pose, so that every expression has equally many images of every
    pose: as many as its largest (expression, pose), or ``most`` if that is fewer.

    Given the training rows alone, nothing of another part comes in. The target's landmarks are of
    the same expression where a face of it has that pose, else of any.
    An expression that is rare in itself is lifted to the mean of all expressions first.
    """
    rng = np.random.default_rng(seed)
    poses, expressions = np.unique(pose_N), np.unique(expression_N)
    counts = {
        (e, p): int(((expression_N == e) & (pose_N == p)).sum()) for e in expressions for p in poses
    }
    usual = round(len(pose_N) / max(len(counts), 1))
    source: list[Rows] = []
    target: list[Rows] = []
    for e in expressions:
        goal = max(usual, *(counts[e, p] for p in poses))
        goal = goal if most is None else min(goal, most)
        for p in poses:
            lacking = goal - counts[e, p]
            if lacking <= 0:
                continue
            same, posed = expression_N == e, pose_N == p
            others = np.flatnonzero(same & ~posed)
            shown = np.flatnonzero(same & posed)
            shown = shown if len(shown) else np.flatnonzero(posed)
            if len(others):
                source.append(rng.choice(others, lacking))
                target.append(rng.choice(shown, lacking))
    none = [np.empty(0, np.int64)]
    return Wanted(np.concatenate(source or none), np.concatenate(target or none))


@torch.no_grad()
def synthesised(
    generator: nn.Module,
    wanted: Wanted,
    faces: Callable[[npt.NDArray[np.int64]], Image],
    landmarks_NL2: npt.NDArray[np.floating[Any]],
    *,
    batch: int = 32,
) -> Image:
    """The faces wanted, (M, C, S, S) uint8.

    Args:
        generator: a trained `FaPEGenerator`, on any device; it is put into evaluation mode.
        wanted: which face to turn to whose pose, by `data.pose_pairs.balancing_pairs`.
        faces: gives rows' crops (M, C, S, S) uint8.
        landmarks_NL2: 68 landmarks of every image in the crop's pixels; targets' are read.

    A made face keeps its source's subject and expression and has its target's pose.
    """
    generator.eval()
    device = next(generator.parameters()).device
    made = []
    for start in range(0, len(wanted.source), batch):
        rows = slice(start, start + batch)
        crops = faces(wanted.source[rows])
        side = crops.shape[-1]
        poses = np.stack([landmark_picture(landmarks_NL2[at], side) for at in wanted.target[rows]])
        out = generator(
            centred(torch.from_numpy(crops)).to(device),
            centred(torch.from_numpy(poses[:, None])).to(device),
        )
        made.append(pixels(out).cpu().numpy())
    if not made:
        return np.asarray(faces(wanted.source)[:0], np.uint8)
    return np.concatenate(made)


def centred(pixels_BCSS: Tensor) -> Tensor:
    """uint8 pixels to -1..1."""
    return pixels_BCSS.float() / 127.5 - 1


def pixels(face_BCSS: Tensor) -> Tensor:
    """-1..1 to uint8 pixels."""
    return ((face_BCSS.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
