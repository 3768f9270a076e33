"""What the project's own detector finds of what YuNet found, and what it takes for a face; and how
many faces a whole front end finds in photographs that show one, and in such without any.
"""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.own import OwnDetection, OwnDetector

from ..datasets.arrays import stored_arrays
from ..datasets.faceless import faceless_pictures
from ..datasets.fer import SPLITS, data_folder
from ..datasets.judged import JudgedFaces, load_fairface, load_wild
from ..datasets.readers.finder import FaceFinder
from ..datasets.readers.pixels import Picture

Floats = npt.NDArray[np.float32]

SETS = ("wild", "fairface")
FACELESS = 500
"""Pictures without a face that are looked at, the first ones: none is in any training."""
SIZES_PX = (0.0, 16.0, 32.0, 64.0, 128.0, np.inf)
"""Widths, in pixels that the detector sees, between which its share of found faces is told."""
_BORDER = 0.25
"""Beyond the picture, as a share of its longer side, where nothing is found without it."""
_SIZES = (0.5, 2.0)
"""A found face may be so much smaller or larger than YuNet's, whose boxes are drawn otherwise."""


@dataclass(frozen=True)
class LabelledPicture:
    """pixels (H, W, 3) RGB; boxes (M, 4) of YuNet's faces, of which one, main, is the judged one's
    number."""

    pixels: Picture
    boxes: Floats
    main: int


def detector_figures(detector: OwnDetector, folder: str | Path | None) -> dict[str, Any]:
    """For wild (test split) and fairface: faces, share found of all and of the main ones; by_width
    of all, by the width that the detector sees; and false_faces among pictures without one."""
    root = data_folder(folder)
    found: dict[str, Any] = {}
    for name in SETS:
        if (root / name).is_dir():
            found[name] = found_of(detector, labelled_pictures(root / name))
    false = [len(detector.detect(picture)) for picture in faceless_pictures(FACELESS)]
    found["false_faces"] = {
        "pictures": FACELESS,
        "faces": sum(false),
        "pictures_with": sum(count > 0 for count in false),
    }
    return found


def found_of(detector: OwnDetector, pictures: Iterable[LabelledPicture]) -> dict[str, Any]:
    """Shares of labelled faces that are found."""
    hits: list[bool] = []
    mains: list[bool] = []
    widths: list[float] = []
    extra = 0
    for one in pictures:
        seen = with_border(detector, one.pixels)
        here = [any(matches(face, box) for face in seen) for box in one.boxes]
        extra += sum(not any(matches(face, box) for box in one.boxes) for face in seen)
        hits += here
        mains.append(here[one.main])
        scale = min(detector.longer_px / max(one.pixels.shape[:2]), 1.0)
        widths += (one.boxes[:, 2] * scale).tolist()
    every, wide = np.array(hits), np.array(widths)
    by_width = {}
    for low, high in itertools.pairwise(SIZES_PX):
        rows = (wide >= low) & (wide < high)
        if rows.any():
            by_width[f"{low:g}-{high:g}"] = [int(every[rows].sum()), int(rows.sum())]
    return {
        "faces": len(every),
        "found": float(every.mean()),
        "main": float(np.mean(mains)),
        "others_seen": extra,
        "by_width": by_width,
    }


def with_border(detector: OwnDetector, picture: Picture) -> list[OwnDetection]:
    """Faces of a picture; where there is none, of the same with a black border, as faces that
    fill it are found."""
    seen = detector.detect(picture)
    if seen:
        return seen
    rim = round(_BORDER * max(picture.shape[:2]))
    wider = np.asarray(cv2.copyMakeBorder(picture, *[rim] * 4, cv2.BORDER_CONSTANT), np.uint8)
    return [
        OwnDetection(
            (one.box[0] - rim, one.box[1] - rim, *one.box[2:]), one.score, one.points_xy - rim
        )
        for one in detector.detect(wider)
    ]


def matches(face: OwnDetection, box: Floats) -> bool:
    """Whether its middle lies in the box and its size is about the box's."""
    x, y, width, height = face.box
    middle = np.array([x + width / 2, y + height / 2])
    inside = (middle >= box[:2]).all() and (middle <= box[:2] + box[2:]).all()
    ratio = np.sqrt(max(width * height, 1e-9) / max(float(box[2] * box[3]), 1e-9))
    return bool(inside and _SIZES[0] < ratio < _SIZES[1])


def labelled_pictures(folder: Path) -> Iterator[LabelledPicture]:
    """The pictures of a set, of its test split where it has splits, with all of YuNet's faces."""
    table = stored_arrays(folder / "labels.npz")
    rows = np.arange(len(table["name"]))
    if "split" in table:
        rows = np.flatnonzero(table["split"] == SPLITS["test"])
    with zipfile.ZipFile(folder / "images.zip") as archive:
        there = {Path(name).name: name for name in archive.namelist()}
        for row in rows.tolist():
            first, last = table["offset"][row : row + 2].tolist()
            encoded = np.frombuffer(archive.read(there[str(table["name"][row])]), np.uint8)
            pixels = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.uint8)
            boxes = table["faces"][first:last, :4].astype(np.float32)
            yield LabelledPicture(pixels, boxes, int(table["main"][row]))


"""Pictures without a face that `found_rates` looks at."""
"""A found face may be so much smaller or larger than the labelled one, which is drawn otherwise."""


def found(faces: JudgedFaces, finder: FaceFinder) -> npt.NDArray[np.bool_]:
    """(N,) whether the judged face of each picture is found: one whose middle lies in its box and
    whose size is not another's."""
    return np.array(
        [
            any(_matches(mesh.xy, box) for mesh in finder.faces(picture))
            for picture, box in zip(faces.pictures(), faces.boxes, strict=True)
        ],
        bool,
    )


def false_faces(pictures: Iterable[Picture], finder: FaceFinder) -> list[int]:
    """How many faces are found in each of some pictures that show none."""
    return [len(finder.faces(picture)) for picture in pictures]


def found_rates(data: Path | None = None) -> dict[str, Any]:
    """Of each set `faces`, how many are `found` and the names of the `missed`; of fairface the
    found in each group too; of pictures without a face how many `false_faces` there are.

    Raises DataMissing and LabelsWrong as the sets' readers do.
    """
    finder = FaceFinder()
    report: dict[str, Any] = {}
    sets = {"fairface": load_fairface(data)}
    sets |= {f"wild {split}": load_wild(split, data) for split in ("train", "validation", "test")}
    for name, faces in sets.items():
        seen = found(faces, finder)
        missed = [faces.names[row] for row in np.flatnonzero(~seen).tolist()]
        report[name] = {"faces": len(seen), "found": int(seen.sum()), "missed": missed}
        for group, column in faces.groups.items():
            report[name][group] = {
                str(value): [int(seen[column == value].sum()), int((column == value).sum())]
                for value in np.unique(column)
            }
    false = sum(false_faces(faceless_pictures(FACELESS), finder))
    report["without a face"] = {"pictures": FACELESS, "false_faces": false}
    return report


def _matches(landmarks_xy: npt.NDArray[np.float32], box: npt.NDArray[np.float32]) -> bool:
    low, high = landmarks_xy.min(0), landmarks_xy.max(0)
    inside = (box[:2] <= (low + high) / 2) & ((low + high) / 2 <= box[:2] + box[2:])
    larger = float(np.sqrt(np.prod(high - low) / max(float(np.prod(box[2:])), 1e-6)))
    return bool(inside.all()) and _SIZES[0] < larger < _SIZES[1]
