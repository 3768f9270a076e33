"""Faces labelled with sets of emotion words: FER+ photographs, each with what a judge named of it.

The judge is a vision-language model (see .judged), not a person. Paper 000 gives a face one word;
here it has three to five, best first, and its target is a distribution over them by their places.

N faces, K words, J words named of a face at most, M pairs of a face and one of its words.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy

from .judged import GRADES, load_judged_photographs
from .learning_faces import Floats, LearningFaces
from .photographs import faces_of_photographs

NAME = "fer2013plus:words"

Named = npt.NDArray[np.int64]


def judged_word_faces(split: str, folder: str | Path | None = None) -> LearningFaces:
    """The photographs of a split that are not neutral to the (first) judge; K = 135.

    Raises:
        DataMissing, LabelsWrong: see `.judged`.
    """
    found = load_judged_photographs(split, folder)
    rows = np.flatnonzero((found.judged.basic > 0) & (found.judged.words[:, 0] >= 0))
    data, named = found.photographs.subset(rows), found.judged.words[rows]
    labels = load_taxonomy("emo135").labels
    return faces_of_photographs(
        data,
        name=NAME,
        labels=labels,
        names=tuple(f"{split}/{image:05d}" for image in data.image.tolist()),
        target=set_targets(named, len(labels)),
        named=named,
    )


def set_targets(named_NJ: Named, words: int) -> Floats:
    """Distributions (N, K) over the words named, by GRADES; a row without any is zeros."""
    target: Floats = np.zeros((len(named_NJ), words), np.float32)
    for place in range(named_NJ.shape[1]):
        rows = np.flatnonzero(named_NJ[:, place] >= 0)
        target[rows, named_NJ[rows, place]] = GRADES[place]
    return np.asarray(target / np.maximum(target.sum(axis=1, keepdims=True), 1e-9), np.float32)


def one_word_each(faces: LearningFaces) -> LearningFaces:
    """Every face once for each of its words, alone, in the order of faces and places: M faces.

    Faces that have one label anyway stay as they are.
    """
    if faces.named is None:
        return faces
    rows, places = np.nonzero(faces.named >= 0)
    target = np.zeros((len(rows), len(faces.labels)), np.float32)
    target[np.arange(len(rows)), faces.named[rows, places]] = 1
    names = tuple(f"{faces.names[row]}#{place}" for row, place in zip(rows, places, strict=True))
    return replace(faces.take(rows), names=names, target=target, named=None)


def kept_faces(faces: LearningFaces, keep_M: npt.NDArray[np.bool_]) -> LearningFaces:
    """The faces with those of their words that stay, ``keep_M`` being of `one_word_each`; a face
    that loses its last word goes."""
    if faces.named is None:
        return faces.take(np.flatnonzero(keep_M))
    named = faces.named.copy()
    rows, places = np.nonzero(named >= 0)
    named[rows[~keep_M], places[~keep_M]] = -1
    target = set_targets(named, len(faces.labels))
    left = np.flatnonzero((named >= 0).any(axis=1))
    return replace(faces, target=target, named=named).take(left)


def spread_faces(faces: LearningFaces, word_KK: Floats) -> LearningFaces:
    """Faces whose sets are spread over words of like meaning (F_word), so that sets without a word
    in common can be near each other; other faces stay as they are."""
    if faces.named is None:
        return faces
    target = faces.target @ np.asarray(word_KK, np.float32).T
    return replace(faces, target=target / np.maximum(target.sum(axis=1, keepdims=True), 1e-9))
