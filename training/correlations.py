"""What paper 000 learns of a set of faces between its two trainings: which faces stand under the
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

from ferstream.engines.whole import written_whole

from .data.cleaning import cleaned
from .errors import OptionsWrong
from .expression_similarity import Matrix, expression_similarity, hausdorff_matrix

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
        OptionsWrong: an emotion without a training face, or see `training.data.cleaning`.
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
