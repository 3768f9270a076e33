"""Machine-judged faces to learn from: photographs with sets of words, and wild faces.

Faces labelled with sets of emotion words: FER+ photographs, each with what a judge named of it.

The judge is a vision-language model (see .judged), not a person. Paper 000 gives a face one word;
here it has three to five, best first, and its target is a distribution over them by their places.

N faces, K words, J words named of a face at most, M pairs of a face and one of its words.

The judged wild faces as a set to learn from beside FER+: cut as run time cuts them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.faces.align import anchors_of
from ferstream.stream.faces.detect import FaceMesh, Region

from .fer import BASIC8
from .judged import GRADES, JudgedFaces, load_judged_photographs, load_wild
from .learning_faces import Floats, LearningFaces, faces_of_photographs
from .synthetic.expressions import ARKIT_NAMES

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


_MIN_PRESENCE = 0.5
_REGION_PER_BOX = 1.5
IRISES = 10
"""Points that the mesh of 478 has beyond the one of 468."""


def wild_faces(
    split: str, landmark_index: npt.NDArray[np.int16], folder: str | Path | None = None
) -> LearningFaces:
    """The wild faces of a split on which the landmark network sees a face, readable ones only.

    There are no votes, so that ``target`` is what the judge said, and no blendshapes, which are
    zeros. Of the landmarks asked for, those beyond the mesh's are zeros.

    Raises:
        DataMissing, LabelsWrong: see `load_judged_photographs`.
    """
    faces = load_wild(split, folder)
    found = _landmarks(faces)
    rows = np.array(
        [row for row in range(len(faces)) if row in found and faces.judged.basic[row] >= 0],
        np.int64,
    )
    judged = faces.judged.take(rows)
    judge = np.eye(len(BASIC8), dtype=np.float32)[judged.basic]
    pictures = faces.pictures()
    mesh_xy = np.stack([found[row] for row in rows.tolist()])
    mesh_xy = np.pad(mesh_xy, ((0, 0), (0, IRISES), (0, 0)))
    return LearningFaces(
        name="wild",
        labels=BASIC8,
        names=tuple(f"wild/{split}/{faces.names[row]}" for row in rows.tolist()),
        pixels=[
            np.asarray(cv2.cvtColor(pictures[row], cv2.COLOR_RGB2GRAY), np.uint8)
            for row in rows.tolist()
        ],
        target=judge,
        anchors_xy=np.stack([anchors_of(found[row]) for row in rows.tolist()]),
        seen=np.ones(len(rows), np.bool_),
        landmarks_xy=mesh_xy[:, landmark_index],
        landmark_index=landmark_index,
        blendshapes=np.zeros((len(rows), len(ARKIT_NAMES)), np.float32),
        words=judged.named(GRADES),
        affect=judged.affect,
        judge=judge,
    )


def _landmarks(faces: JudgedFaces) -> dict[int, npt.NDArray[np.float32]]:
    """The mesh (468, 2) of each face that the landmark network sees, by row: a look at the box to
    find its region, a second one to read it well."""
    mesh = FaceMesh(workers=1)
    found = {}
    for row, picture in enumerate(faces.pictures()):
        x, y, width, height = (float(v) for v in faces.boxes[row])
        right, left = faces.points[row, 0], faces.points[row, 1]
        roll = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
        side = _REGION_PER_BOX * max(width, height)
        region = Region(x + width / 2, y + height / 2, side, roll)
        rough = mesh.run(picture, [region])[0]
        fine = mesh.run(picture, [Region.around(rough.xy)])[0]
        if min(rough.presence, fine.presence) >= _MIN_PRESENCE:
            found[row] = fine.xy
    mesh.close()
    return found
