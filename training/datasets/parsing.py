"""Which part of a face each pixel shows: the eight semantic classes of paper 002.

Labels come from a folder of masks (an external parser's, as in the paper), with the pictures of
the 3D face, or as polygons about landmarks. Polygons know neither ear, neck nor hair: all that is
outside the face's oval is background there. The paper does not say where brows go: to skin here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong
from .learning_faces import LearningFaces

Image = npt.NDArray[np.uint8]

CLASSES = ("background", "skin", "eye", "ear", "nose", "mouth", "neck", "hair")
IGNORED = 255
"""The label of a pixel that nothing is known of."""
BISENET_TO_CLASSES = np.array(
    [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 5, 5, 6, 6, 0, 7, 0], dtype=np.uint8
)
"""Nineteen labels of the usual face parser (background, skin, brows, eyes, glasses, ears, earring,
nose, mouth, lips, neck, necklace, cloth, hair, hat) to the eight: brows are skin, glasses eye, an
earring is ear, a necklace neck; cloth and hat are background."""
POLYGONS = (
    ("face_oval", "skin"),
    ("nose", "nose"),
    ("left_eye", "eye"),
    ("right_eye", "eye"),
    ("lips", "mouth"),
)
"""Landmark groups in the order of painting."""
_FRACTION = 4
"""Bits behind the point in which polygons are painted."""


@dataclass(frozen=True)
class Parsing:
    """Where the labels of a set's pixels come from.

    Args:
        source: "landmarks", "given" (with the set's pictures), or a folder that holds a mask
            NAME.png for each face's name, as large as its picture.
        mask_classes: of the folder's masks: 19 (put together to eight) or 8.
    """

    source: str = "landmarks"
    mask_classes: int = 19

    def check(self, faces: LearningFaces) -> None:
        """Raises OptionsWrong where these faces cannot be parsed so."""
        if self.mask_classes not in (8, 19):
            raise OptionsWrong(f"masks of {self.mask_classes} classes: there are 8 and 19")
        if self.source == "landmarks":
            missing = set(_points("face_oval")) - set(faces.landmark_index.tolist())
            if missing or not len(faces.landmark_index):
                raise OptionsWrong(
                    f"{faces.name} has no landmarks to draw polygons about: give --parsing a "
                    "folder of masks"
                )
        elif self.source == "given":
            if faces.parsing is None:
                raise OptionsWrong(
                    f"{faces.name} comes without parsing labels: give --parsing landmarks or a "
                    "folder of masks"
                )
        elif not Path(self.source).is_dir():
            raise OptionsWrong(
                f"--parsing {self.source}: no such folder; it is landmarks, given, or a folder of "
                "masks"
            )

    def crop(
        self, faces: LearningFaces, row: int, matrix: npt.NDArray[np.float64], crop_px: int
    ) -> Image:
        """Labels (crop_px, crop_px) of one face under a matrix (2, 3); all IGNORED if unknown.

        Raises:
            OptionsWrong: a mask is missing, of another size or of other labels.
        """
        if self.source == "landmarks":
            if not faces.seen[row]:
                return np.full((crop_px, crop_px), IGNORED, np.uint8)
            points_xy = faces.landmarks_xy[row] @ matrix[:, :2].T + matrix[:, 2]
            return polygons(points_xy, faces.landmark_index, crop_px)
        labels = (
            faces.parsing[row] if self.source == "given" and faces.parsing is not None else None
        )
        if labels is None:
            labels = self._mask(faces, row)
        warped = cv2.warpAffine(
            labels,
            matrix,
            (crop_px, crop_px),
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(warped, np.uint8)

    def _mask(self, faces: LearningFaces, row: int) -> Image:
        path = Path(self.source) / f"{faces.names[row]}.png"
        read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if read is None:
            raise OptionsWrong(
                f"{path} is missing or no picture: the folder of masks needs one for every face"
            )
        if read.shape != faces.pixels[row].shape:
            raise OptionsWrong(
                f"{path} has the shape {read.shape}, its picture {faces.pixels[row].shape}: a "
                "mask has one channel and the picture's size"
            )
        if read.max() >= self.mask_classes:
            raise OptionsWrong(
                f"{path} holds the label {read.max()}, beyond {self.mask_classes} classes: see "
                "--mask-classes"
            )
        mask = np.asarray(read, np.uint8)
        return BISENET_TO_CLASSES[mask] if self.mask_classes == 19 else mask


def polygons(
    points_xy: npt.NDArray[np.float32 | np.float64], index: npt.NDArray[np.int16], side: int
) -> Image:
    """Labels (side, side) by the convex hulls of landmark groups.

    Args:
        points_xy: (L, 2) in pixels of the crop.
        index: (L,) the landmarks' numbers in MediaPipe's mesh.
    """
    place = {int(number): at for at, number in enumerate(index)}
    labels = np.zeros((side, side), np.uint8)
    for group, name in POLYGONS:
        rows = [place[number] for number in _points(group) if number in place]
        if len(rows) < 3:
            continue
        hull = cv2.convexHull(points_xy[rows].astype(np.float32))
        fixed = np.round(hull * 2**_FRACTION).astype(np.int32)
        cv2.fillConvexPoly(labels, fixed, CLASSES.index(name), cv2.LINE_8, _FRACTION)
    return labels


def dominant(labels: Image, top: int) -> npt.NDArray[np.float32]:
    """1 for the ``top`` classes with the most pixels, 0 for the rest, (8,); CT's labels.

    A class without a pixel never counts. All eight classes run, background among them, as the
    sum of eq. 3 does.
    """
    counts = np.bincount(labels[labels != IGNORED].ravel(), minlength=len(CLASSES))[: len(CLASSES)]
    chosen = np.zeros(len(CLASSES), np.float32)
    order = np.argsort(-counts, kind="stable")[:top]
    chosen[order[counts[order] > 0]] = 1
    return chosen


@cache
def _points(group: str) -> tuple[int, ...]:
    """Numbers of a group's landmarks in the mesh of 478, as MediaPipe's own table of connections
    has them (mediapipe.python.solutions.face_mesh_connections, Apache-2.0)."""
    text = resources.files(__package__).joinpath("landmark_groups.json").read_text("utf-8")
    return tuple(json.loads(text)[group])
