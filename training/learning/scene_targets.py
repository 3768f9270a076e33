"""Scenes as a detector's network answers them: which cell should say what.

S side of a scene, M faces, C cells of all scales.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ferstream.stream.faces.own import UNIT, cells

from ..datasets.point_faces import PointFaces
from ..datasets.scenes import Scenes
from .draws import Draw

Floats = npt.NDArray[np.float32]

REACH = 2.0
"""A face belongs to the scale whose UNIT strides its longer side comes nearest; to the next one as
well where it is less than so many times nearer."""
_NEAR, _ASIDE = 0.25, 0.5
"""A cell within the first share of a face's size from its middle tells of it; of those within the
second nothing is wanted."""


class CellTargets(NamedTuple):
    """face (C,) 1 where a face is to be told, 0 where none, -1 where it does not matter; box
    (C, 4) and points (C, 5, 2) as `DetectorOutput` has them, where face is 1."""

    face: Floats
    box: Floats
    points: Floats


def cell_targets(boxes: Floats, points: Floats, side_px: int) -> CellTargets:
    """What each cell should say of faces with these boxes (M, 4) and points (M, 5, 2)."""
    centres, strides = cells(side_px, side_px)
    face = np.zeros(len(centres), np.float32)
    box = np.zeros((len(centres), 4), np.float32)
    where = np.zeros((len(centres), 5, 2), np.float32)
    for (x, y, width, height), five in zip(boxes.tolist(), points, strict=True):
        middle, size = np.array([x + width / 2, y + height / 2]), max(width, height)
        away = np.abs(centres - middle).max(1)
        off_scale = np.abs(np.log(size / (UNIT * strides)))
        own = off_scale <= off_scale.min() + np.log(REACH) / 2
        near = own & (away <= np.maximum(_NEAR * size, strides / 2))
        around = (away <= np.maximum(_ASIDE * size, strides)) & (face == 0)
        face[around] = -1
        face[near] = 1
        unit = UNIT * strides[near, None]
        box[near, :2] = (middle - centres[near]) / unit
        box[near, 2:] = np.log(np.array([width, height]) / unit)
        where[near] = (five - centres[near, None]) / unit[:, None]
    return CellTargets(face, box, where)


class SceneTargets(Dataset[dict[str, torch.Tensor]]):
    """Items: picture (1, S, S) uint8, `CellTargets`, and counts (). The draw's key alone makes a
    scene; for validation each row is always the same one."""

    weights: torch.Tensor | None = None

    def __init__(self, faces: PointFaces, side_px: int, count: int) -> None:
        self.scenes, self.count = Scenes(faces, side_px), count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        scene = self.scenes.scene(draw.rng())
        targets = cell_targets(scene.boxes, scene.points, self.scenes.side_px)
        arrays = {name: torch.from_numpy(part) for name, part in targets._asdict().items()}
        return {
            "picture": torch.from_numpy(scene.grey[None]),
            **arrays,
            "counts": torch.tensor(float(draw.counts)),
        }
