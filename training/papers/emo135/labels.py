"""Which labels teach: the cleaning of faces, and the correlations of labels.

Data cleaning by expression embeddings (paper 000, Algorithm 1).

An image of a category whose expression lies far from those of its nearest neighbours in that
category was found under the wrong word.  N images, D embedding dimensions, K neighbours.

Decisions where the paper is silent: an image is no neighbour of its own; a category of no more
than K images uses all the others; a category of one image cannot be judged and keeps it.

What paper 000 learns of a set of faces between its two trainings: which faces stand under the
wrong word, and how alike the words look.

N training faces, K emotions, D dimensions of the embedding.

Decisions: training faces alone are cleaned; the figures are of all validation and test faces, where
the paper split its set after cleaning all of it. A category of which sigma would leave fewer than
K + 1 faces keeps its K + 1 most typical ones, or F_exp and the classifier would lack it. Sigma's
scale is the embedding's: one whose points lie close together loses nothing to the paper's 0.2. So
sigma may also be taken where a given share of the faces goes; the paper's took away 0.31.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.files import written_whole

from ...errors import OptionsWrong
from .similarity import Matrix, expression_similarity, hausdorff_matrix

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


FILE = "correlations.npz"
"""Its name in a run folder, so that a run that goes on uses what it began with."""


@dataclass(frozen=True)
class Correlations:
    """Algorithm 1, F_exp and what F_word is made of, of a run.

    Args:
        distance: (N,) d_n of each training face.
        keep: (N,) True for the faces that stay.
        rescued: (N,) True where a face stays only so that its category is not lost.
        hausdorff: (K, K) directed distances of eq. 1.
        similarity: (K, K) F_exp of eq. 2 and 3, rows summing to 1.
        meaning: (K, K) similarity of the words, of which F_word is made; -1..1.
        threshold: () sigma, as given or as taken.
    """

    distance: npt.NDArray[np.float32]
    keep: npt.NDArray[np.bool_]
    rescued: npt.NDArray[np.bool_]
    hausdorff: Matrix
    similarity: Matrix
    meaning: Matrix
    threshold: npt.NDArray[np.float64]

    @property
    def removed(self) -> float:
        """The share of faces removed, 0..1; 0.31 in the paper."""
        return float(1 - self.keep.mean())

    def save(self, folder: Path) -> None:
        """Write it into a run folder, whole or not at all."""
        with written_whole(folder / FILE) as fresh, fresh.open("wb") as file:
            np.savez_compressed(file, **vars(self))


def load_correlations(folder: Path) -> Correlations | None:
    """What a run folder holds; None before it was found."""
    path = folder / FILE
    if not path.is_file():
        return None
    with np.load(path) as stored:
        return Correlations(**dict(stored))


def find_correlations(
    embedding_ND: npt.NDArray[np.floating[Any]],
    label_N: npt.NDArray[np.int64],
    labels: tuple[str, ...],
    meaning_KK: Matrix,
    *,
    neighbours: int,
    threshold: float,
    share: float = 0.0,
    clean: bool = True,
    complete: bool = True,
) -> Correlations:
    """Algorithm 1, then F_exp of what it leaves. Without ``clean`` every face stays.

    Unless the labels must be ``complete``, one without a face is at an infinite distance from
    the others, and F_exp makes it like itself alone.

    Where ``share`` is above 0, sigma is such that this share of all faces goes, before small
    categories get theirs back.

    Raises:
        OptionsWrong: an emotion without a training face, or see `training.datasets.cleaning`.
    """
    counts = np.bincount(label_N, minlength=len(labels))
    if complete and not counts.all():
        missing = ", ".join(labels[at] for at in np.flatnonzero(counts == 0).tolist()[:5])
        raise OptionsWrong(
            f"no training face of {missing}: how alike emotions look (F_exp) needs one of each; "
            "take more faces with --limit, or leave the label out of the set"
        )
    found = cleaned(embedding_ND, label_N, neighbours=neighbours, threshold=threshold)
    if share:
        threshold = float(np.quantile(found.distance, 1 - share, method="higher"))
    keep = found.distance < threshold if clean else np.ones(len(label_N), np.bool_)
    rescued = _rescued(found.distance, keep, label_N, neighbours + 1)
    keep = keep | rescued
    distance = np.full((len(labels), len(labels)), np.inf, np.float32)
    there, place_N = np.unique(label_N, return_inverse=True)
    distance[np.ix_(there, there)] = hausdorff_matrix(embedding_ND[keep], place_N[keep], len(there))
    np.fill_diagonal(distance, 0)
    similarity = expression_similarity(distance)
    sigma = np.array(threshold)
    return Correlations(found.distance, keep, rescued, distance, similarity, meaning_KK, sigma)


def _rescued(
    distance_N: npt.NDArray[np.float32],
    keep_N: npt.NDArray[np.bool_],
    label_N: npt.NDArray[np.int64],
    least: int,
) -> npt.NDArray[np.bool_]:
    """The removed faces that come back, (N,): the most typical ones of small categories."""
    back = np.zeros(len(keep_N), np.bool_)
    for label in np.unique(label_N):
        rows = np.flatnonzero(label_N == label)
        typical = rows[np.argsort(distance_N[rows], kind="stable")[:least]]
        if keep_N[rows].sum() < least:
            back[typical] = ~keep_N[typical]
    return back
