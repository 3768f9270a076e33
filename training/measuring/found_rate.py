"""How many faces are found in photographs that show one, and how many where none is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.faceless import faceless_pictures
from ..datasets.judged import JudgedFaces, load_fairface, load_wild
from ..datasets.readers.finder import FaceFinder
from ..datasets.readers.pixels import Picture

FACELESS = 500
"""Pictures without a face that `found_rates` looks at."""
_SIZES = (0.5, 2.0)
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
