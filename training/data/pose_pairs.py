"""What FaPE-GAN learns from and is asked for (paper 004, section 4.2): pure functions over rows.

N images, M draws, L = 68 landmarks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong

Rows = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer[Any]]
Image = npt.NDArray[np.uint8]

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
