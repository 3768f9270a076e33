"""Data cleaning by expression embeddings (paper 000, Algorithm 1).

An image of a category whose expression lies far from those of its nearest neighbours in that
category was found under the wrong word.  N images, D embedding dimensions, K neighbours.

Decisions where the paper is silent: an image is no neighbour of its own; a category of no more
than K images uses all the others; a category of one image cannot be judged and keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong

Array = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]

NEIGHBOURS = 10
"""K of section 3.2."""
THRESHOLD = 0.2
"""Sigma of section 3.2, of squared distances on the unit sphere: 0 to 4."""


@dataclass(frozen=True)
class Cleaning:
    """What Algorithm 1 decided.

    Args:
        distance: (N,) d_n of step 3, the mean squared distance to the nearest neighbours.
        keep: (N,) True where d_n < sigma (step 4).
    """

    distance: npt.NDArray[np.float32]
    keep: npt.NDArray[np.bool_]

    @property
    def removed(self) -> float:
        """The share of images removed, 0..1; the paper removed 0.31."""
        return float(1 - self.keep.mean()) if len(self.keep) else 0.0


def cleaned(
    embedding_ND: Array,
    label_N: Labels,
    *,
    neighbours: int = NEIGHBOURS,
    threshold: float = THRESHOLD,
) -> Cleaning:
    """Algorithm 1 on every category of a set.

    Args:
        embedding_ND: step 1's embeddings, on the unit sphere.
        label_N: category of each image.
        neighbours: K; more is stricter.
        threshold: sigma; less is stricter.

    Raises:
        OptionsWrong: K below 1, sigma not above 0, or arrays of different lengths.
    """
    if neighbours < 1:
        raise OptionsWrong(f"{neighbours} neighbours: cleaning needs at least 1")
    if not threshold > 0:
        raise OptionsWrong(f"a threshold of {threshold} keeps nothing: it must be above 0")
    if len(embedding_ND) != len(label_N):
        raise OptionsWrong(
            f"{len(embedding_ND)} embeddings and {len(label_N)} labels: give one label an image"
        )
    distance = np.zeros(len(label_N), np.float32)
    for label in np.unique(label_N):
        rows = np.flatnonzero(label_N == label)
        distance[rows] = neighbour_distance(embedding_ND[rows], neighbours)
    return Cleaning(distance, distance < threshold)


def neighbour_distance(
    embedding_ND: Array, neighbours: int = NEIGHBOURS, *, block: int = 1024
) -> npt.NDArray[np.float32]:
    """d_n of one category (steps 2 and 3), (N,).

    Only ``block`` x N distances are held at a time.
    """
    points = np.asarray(embedding_ND, np.float32)
    count = len(points)
    nearest = min(neighbours, count - 1)
    if nearest < 1:
        return np.zeros(count, np.float32)
    found = np.empty(count, np.float32)
    norm = np.square(points).sum(axis=1)
    for start in range(0, count, block):
        rows = np.arange(start, min(start + block, count))
        square = norm[rows, None] + norm - 2 * (points[rows] @ points.T)
        square[rows - start, rows] = np.inf
        near = np.partition(square, nearest - 1, axis=1)[:, :nearest]
        found[rows] = np.maximum(near, 0).mean(axis=1)
    return found
