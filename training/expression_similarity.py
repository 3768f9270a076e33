"""How alike emotions look: F_exp from expression embeddings (paper 000, eq. 1 to 3).

K emotions, N images, D embedding dimensions.

Decisions: eq. 1 squares the distance and eq. 2 squares it again; both are followed. A distance of
0 (every image of one emotion also stands under the other) would make eq. 2 infinite, so distances
are at least ``FLOOR``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import OptionsWrong

Array = npt.NDArray[np.floating[Any]]
Matrix = npt.NDArray[np.float32]

FLOOR = 1e-3
"""The least distance eq. 2 sees; single precision is 1e-6 about 0."""
BLOCK = 2048


def hausdorff(a_ND: Array, b_MD: Array, *, block: int = BLOCK) -> tuple[float, float]:
    """Directed Hausdorff distances d_H(A, B) and d_H(B, A) (eq. 1), both in one pass.

    Only ``block`` x ``block`` distances are held at a time.
    """
    a, b = np.asarray(a_ND, np.float32), np.asarray(b_MD, np.float32)
    # |a - b|^2 as one product: (-2a, |a|^2, 1) . (b, 1, |b|^2).
    left = np.concatenate([-2 * a, _square(a), np.ones_like(a[:, :1])], axis=1)
    right = np.concatenate([b, np.ones_like(b[:, :1]), _square(b)], axis=1).T
    nearest_a = np.full(len(a), np.inf, np.float32)
    nearest_b = np.full(len(b), np.inf, np.float32)
    for i in range(0, len(a), block):
        rows = slice(i, i + block)
        for j in range(0, len(b), block):
            columns = slice(j, j + block)
            distance = left[rows] @ right[:, columns]
            np.minimum(nearest_a[rows], distance.min(axis=1), out=nearest_a[rows])
            np.minimum(nearest_b[columns], distance.min(axis=0), out=nearest_b[columns])
    return max(float(nearest_a.max()), 0.0), max(float(nearest_b.max()), 0.0)


def hausdorff_matrix(
    embedding_ND: Array,
    label_N: npt.NDArray[np.integer[Any]],
    classes: int,
    *,
    block: int = BLOCK,
) -> Matrix:
    """d_H(C_i, C_j) of all pairs of emotions, (K, K), 0 on the diagonal.

    Raises:
        OptionsWrong: an emotion without an image has no distance.
    """
    order = np.argsort(label_N, kind="stable")
    counts = np.bincount(label_N, minlength=classes)
    if len(counts) > classes:
        raise OptionsWrong(f"label {len(counts) - 1} is outside the {classes} emotions")
    if not counts.all():
        empty = np.flatnonzero(counts == 0).tolist()
        raise OptionsWrong(f"no image of emotions {empty}: F_exp needs at least one of each")
    points = np.asarray(embedding_ND, np.float32)[order]
    groups = np.split(points, np.cumsum(counts)[:-1])
    distance = np.zeros((classes, classes), np.float32)
    for i in range(classes):
        for j in range(i + 1, classes):
            distance[i, j], distance[j, i] = hausdorff(groups[i], groups[j], block=block)
    return distance


def expression_similarity(distance_KK: Array) -> Matrix:
    """F_exp (K, K) from directed Hausdorff distances (eq. 2 and 3), each row summing to 1.

    Row i holds how far emotion i may be taken for the others.
    """
    similarity = 1 / np.square(np.maximum(np.asarray(distance_KK, np.float64), FLOOR))
    return row_normalised(similarity)


def row_normalised(similarity_KK: Array) -> Matrix:
    """Eq. 3 and eq. 5: the diagonal becomes the sum of the rest of its row, then each row is
    divided by its sum; so every diagonal is 0.5. A row without any similarity is its own emotion.
    """
    similarity = np.array(similarity_KK, np.float64)
    np.fill_diagonal(similarity, 0)
    rest = similarity.sum(axis=1)
    np.fill_diagonal(similarity, np.where(rest > 0, rest, 1))
    return np.asarray(similarity / similarity.sum(axis=1, keepdims=True), np.float32)


def _square(points_ND: Matrix) -> Matrix:
    return np.asarray(np.square(points_ND).sum(axis=1, keepdims=True), np.float32)
