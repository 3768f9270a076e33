"""Labelled faces as every image system takes them, whichever data set they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import anchor_matrix, warp

from .fer import LAYOUT, DataMissing, FerPlus
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
