"""Labelled faces as every image system takes them, whichever data set they come from; and those
that a judge labelled with sets of words.

The judge is a vision-language model (see .judged), not a person. Paper 000 gives a face one word;
here it has three to five, best first, and its target is a distribution over them by their places.
Wild faces that were judged go beside FER+'s, cut as run time cuts them.

N faces, K words, J words named of a face at most, M pairs of a face and one of its words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.faces.align import anchor_matrix, anchors_of, warp
from ferstream.stream.faces.detect import FaceMesh, Region

from .fer import BASIC8, LAYOUT, DataMissing, FerPlus
from .judged import GRADES, JudgedFaces, load_judged_photographs, load_wild
from .synthetic.expressions import ARKIT_NAMES

Image = npt.NDArray[np.uint8]
Images = Sequence[Image] | Image
"""N images (H, W): a list of them, or one array (N, H, W)."""
Floats = npt.NDArray[np.float32]
OPTIONAL = (
    *("people", "poses", "units", "blendshapes", "words", "affect", "judge"),
    *("contours_xy", "named"),
)
"""Columns that a set may lack."""


@dataclass(frozen=True)
class LearningFaces:
    """N labelled faces of one split.

    Args:
        name: of the data set.
        labels: K names.
        names: N names, unique among all splits; a slash parts folders.
        pixels: N grey images (H, W) uint8; H and W may differ from face to face.
        target: (N, K) float32, each row a distribution over the labels.
        anchors_xy: (N, 6, 2) float32 pixels, see stream.align.
        seen: (N,) True where the anchors can be trusted; others are cropped as they are.
        landmarks_xy: (N, L, 2) float32 pixels, L may be 0.
        landmark_index: (L,) numbers of the landmarks in MediaPipe's mesh.
        parsing: N label maps (H, W) uint8, see .parsing; None where there are none.
        people: (N,) whose face it is; None where nobody knows.
        poses: (N,) names such as half_left; None where nobody knows.
        units: (N, U) int8, action units 1 on, -1 off, 0 unknown (paper 003, eq. 2); None where
            the set has none.
        unit_names: U names such as AU12.
        blendshapes: (N, 52) float32 0..1, ARKit's, a teacher's or a 3D face's; None without.
        words: (N, 135) float32 0..1, how much a judge's naming of each emotion word counts; affect
            (N, 3) float32 valence and arousal -1..1, intensity 0..1; judge (N, 8) float32, the
            basic expression that the judge named, all zeros for faces that were not judged, whose
            words and affect say nothing (see .judged: machine judgements). None without.
        contours_xy: (N, 68, 2) float32 pixels, the 68 landmarks of Multi-PIE; None without.
        named: (N, J) int64, the labels of each face best first, -1 for none, where it has several;
            None where it has one.
    """

    name: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    pixels: Images
    target: Floats
    anchors_xy: Floats
    seen: npt.NDArray[np.bool_]
    landmarks_xy: Floats
    landmark_index: npt.NDArray[np.int16]
    parsing: Images | None = None
    people: npt.NDArray[np.int64] | None = None
    poses: npt.NDArray[np.str_] | None = None
    units: npt.NDArray[np.int8] | None = None
    unit_names: tuple[str, ...] = ()
    blendshapes: Floats | None = None
    words: Floats | None = None
    affect: Floats | None = None
    judge: Floats | None = None
    contours_xy: Floats | None = None
    named: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def label(self) -> npt.NDArray[np.int64]:
        """The largest part of each target, (N,)."""
        return np.asarray(self.target.argmax(axis=1), np.int64)

    def matrix(self, row: int, crop_px: int) -> npt.NDArray[np.float64]:
        """(2, 3), from image pixels to those of the crop that run time would cut."""
        if self.seen[row]:
            return anchor_matrix(self.anchors_xy[row], crop_px)
        height, width = self.pixels[row].shape
        scale = crop_px / min(height, width)
        shift = (np.array([crop_px, crop_px]) - scale * np.array([width, height]) + scale - 1) / 2
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)

    def crop(self, row: int, crop_px: int) -> Image:
        """The crop (crop_px, crop_px) of one face, as at run time."""
        return warp(self.pixels[row], self.matrix(row, crop_px), crop_px)

    def crops(self, crop_px: int) -> Image:
        """All crops, (N, 1, crop_px, crop_px)."""
        return np.stack([self.crop(row, crop_px) for row in range(len(self))])[:, None]

    def take(self, rows: npt.NDArray[np.int64]) -> LearningFaces:
        """The chosen rows only."""
        optional: dict[str, Any] = {
            name: None if (column := getattr(self, name)) is None else column[rows]
            for name in OPTIONAL
        }
        return replace(
            self,
            names=tuple(self.names[row] for row in rows.tolist()),
            pixels=_taken(self.pixels, rows),
            target=self.target[rows],
            anchors_xy=self.anchors_xy[rows],
            seen=self.seen[rows],
            landmarks_xy=self.landmarks_xy[rows],
            parsing=None if self.parsing is None else _taken(self.parsing, rows),
            **optional,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Twelve letters that change with any picture or label."""
        digest = hashlib.sha256("\n".join((self.name, *self.labels)).encode())
        digest.update(np.ascontiguousarray(self.target).tobytes())
        digest.update(np.ascontiguousarray(self.anchors_xy).tobytes())
        for part in (self.pixels, self.parsing):
            for image in () if part is None else part:
                digest.update(np.ascontiguousarray(image).tobytes())
        return digest.hexdigest()[:12]


def _taken(part: Images, rows: npt.NDArray[np.int64]) -> Images:
    if isinstance(part, np.ndarray):
        return part[rows]
    return [part[row] for row in rows.tolist()]


def faces_of_photographs(data: FerPlus, **columns: Any) -> LearningFaces:
    """Photographs with name, labels, names, target and further columns of LearningFaces; their
    blendshapes in ARKIT_NAMES' order, zeros where the teacher saw no face.

    Raises:
        DataMissing: the teacher does not tell all blendshapes.
    """
    if missing := set(ARKIT_NAMES) - set(data.blendshape_names):
        names = ", ".join(sorted(missing))
        raise DataMissing(f"teacher.npz lacks the blendshapes {names}: {LAYOUT}")
    in_order = [data.blendshape_names.index(name) for name in ARKIT_NAMES]
    return LearningFaces(
        pixels=data.pixels,
        anchors_xy=data.anchors_xy,
        seen=data.seen,
        landmarks_xy=data.landmarks_xy,
        landmark_index=data.landmark_index,
        blendshapes=data.blendshapes[:, in_order] * data.seen[:, None],
        **columns,
    )


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
