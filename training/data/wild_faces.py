"""The judged wild faces as a set to learn from beside FER+: cut as run time cuts them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.align import anchors_of
from ferstream.stream.detect import FaceMesh, Region

from .fer import BASIC8
from .judged import GRADES, JudgedFaces, load_wild
from .learning_faces import LearningFaces
from .synthetic.action_units import ARKIT_NAMES

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
