"""What the networks of the face front end are shown in training.

The landmark network: views of faces as it meets them, shifted, turned, scaled, blurred, dark,
covered; and views beside faces, so that presence means something. The detector: scenes, and which
of its cells should say what.

P points, S side of the crop or scene, M faces, C cells of all scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ferstream.stream.faces.own import UNIT, cells
from ferstream.stream.faces.points import MIRRORED, square_around, square_matrix

from ..datasets.point_faces import ORIGINS, PointFaces
from ..datasets.scenes import Scenes, drawn_ground, square_part
from .draws import Draw

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_Rng = np.random.Generator

SHOWN = {"fer2013plus": 1.0, "wild": 4.0, "clips": 4.0, "rendered": 1.2}
"""How often a face of each origin is shown."""
_BESIDE = 0.15
"""Share of views that show no face, or one so far off that it counts as none."""
_OTHER_GROUND = 0.5
"""Share of views that show something else beyond the picture's edge, not the edge drawn out:
most photographs end close about the face."""


@dataclass(frozen=True)
class Offset:
    """How a view misses the face's own square: shift in sides, log of scale, turn in degrees."""

    x: float = 0.0
    y: float = 0.0
    log_scale: float = 0.0
    turn_deg: float = 0.0

    @classmethod
    def drawn(cls, rng: _Rng) -> Offset:
        """As following a face, or a detector's box, leaves it."""
        x, y = np.clip(rng.normal(0, 0.06, 2), -0.2, 0.2).tolist()
        turn = rng.uniform(-40, 40) if rng.random() < 0.1 else rng.normal(0, 9)
        return cls(x, y, float(np.clip(rng.normal(0, 0.1), -0.3, 0.3)), float(turn))

    @classmethod
    def away(cls, rng: _Rng) -> Offset:
        """Beside the face, or at another scale."""
        if rng.random() < 0.3:
            return cls(log_scale=float(rng.choice([-1.3, 1.3]) + rng.normal(0, 0.15)))
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.3)
        scale, turn = rng.normal(0, 0.3), rng.uniform(-40, 40)
        return cls(float(far * np.cos(angle)), float(far * np.sin(angle)), float(scale), turn)

    def near(self, rng: _Rng) -> Offset:
        """The same a frame later."""
        x, y = rng.normal(0, 0.012, 2).tolist()
        return Offset(
            self.x + x,
            self.y + y,
            self.log_scale + float(rng.normal(0, 0.02)),
            self.turn_deg + float(rng.normal(0, 2)),
        )


class PointViews(Dataset[dict[str, torch.Tensor]]):
    """Items are two views of a face that differ by little, as two frames do.

    crop (2, 1, S, S) uint8; points (2, P, 2) in crop sides from its middle; known (P,) 1 where a
    point counts; pose (2, 3) degrees; opening (2,) and opening_known (2,); present (2, 1) 0 or 1;
    counts (). Without `varied` every face is shown once and as it is, for validation.
    """

    def __init__(self, faces: PointFaces, crop_px: int, *, varied: bool) -> None:
        self.faces, self.crop_px, self.varied = faces, crop_px, varied
        shown = np.array([SHOWN[name] for name in ORIGINS])
        self.weights = torch.from_numpy(shown[faces.origin]).double() if varied else None
        self.squares = [square_around(points) for points in faces.points_xy]

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        rng, row, faces = draw.rng(), draw.row, self.faces
        here = not self.varied or rng.random() >= _BESIDE
        offset = Offset.drawn(rng) if self.varied else Offset()
        if not here:
            offset = Offset.away(rng)
        mirror = self.varied and rng.random() < 0.5
        views, points, poses = [], [], []
        empty = not here and rng.random() < 0.5
        for shown in (offset, offset.near(rng) if self.varied else offset):
            crop, xy, pose = self._view(row, shown, rng)
            if empty:
                crop = ground(self.crop_px, rng)
            if mirror:
                crop, xy, pose = mirrored(crop, xy, pose)
            views.append(worn(crop, rng) if self.varied else crop)
            points.append((xy + 0.5) / self.crop_px - 0.5)
            poses.append(pose)
        opening = faces.opening[row][::-1] if mirror else faces.opening[row]
        known = np.ones(len(points[0]), np.float32)
        known[-2:] = faces.irises[row]
        return {
            "crop": torch.from_numpy(np.stack(views)[:, None]),
            "points": torch.from_numpy(np.stack(points).astype(np.float32)),
            "known": torch.from_numpy(known * here),
            "pose": torch.from_numpy(np.stack(poses).astype(np.float32)),
            "opening": torch.from_numpy(np.nan_to_num(opening).astype(np.float32)),
            "opening_known": torch.from_numpy((np.isfinite(opening) * here).astype(np.float32)),
            "present": torch.full((2, 1), float(here)),
            "counts": torch.tensor(float(draw.counts)),
        }

    def _view(self, row: int, offset: Offset, rng: _Rng) -> tuple[Grey, Floats, Floats]:
        """The crop, its points in pixels of it, and the pose in it."""
        x, y, side, roll = self.squares[row]
        seen = (
            x + offset.x * side,
            y + offset.y * side,
            side * float(np.exp(offset.log_scale)),
            roll + float(np.radians(offset.turn_deg)),
        )
        matrix = square_matrix(seen, self.crop_px)
        picture, size = self.faces.pictures[row], (self.crop_px, self.crop_px)
        crop = cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        if self.varied and rng.random() < _OTHER_GROUND:
            beyond = ground(self.crop_px, rng)
            inside = cv2.warpAffine(np.ones_like(picture), matrix, size)
            crop = np.where(inside > 0, crop, beyond)
        xy = self.faces.points_xy[row] @ matrix[:, :2].T + matrix[:, 2]
        pose = self.faces.pose_deg[row] - np.array([0, 0, np.degrees(seen[3])], np.float32)
        return np.asarray(crop, np.uint8), xy.astype(np.float32), pose


def mirrored(crop: Grey, xy: Floats, pose_deg: Floats) -> tuple[Grey, Floats, Floats]:
    """A crop, its points (P, 2) in pixels and its pose as a mirror shows them."""
    other = xy[MIRRORED] * (-1, 1) + (crop.shape[1] - 1, 0)
    return crop[:, ::-1], other.astype(np.float32), pose_deg * np.array([-1, 1, -1], np.float32)


def ground(crop_px: int, rng: _Rng) -> Grey:
    """A square part of a picture without a face, at any scale."""
    part = square_part(drawn_ground(rng), rng)
    way = cv2.INTER_AREA if len(part) > crop_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (crop_px, crop_px), interpolation=way), np.uint8)


def worn(crop: Grey, rng: _Rng) -> Grey:
    """As cameras give it: small, blurred, unevenly lit, noisy, partly covered; some stay as is."""
    side = crop.shape[0]
    view = np.ascontiguousarray(crop).astype(np.float32)
    if rng.random() < 0.25:
        view = _covered(view, rng)
    if rng.random() < 0.25:
        small = int(rng.integers(14, 48))
        view = cv2.resize(view, (small, small), interpolation=cv2.INTER_AREA)
        view = cv2.resize(view, (side, side), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        view = cv2.GaussianBlur(view, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.25:
        slope = rng.normal(0, 0.35, 2)
        line = np.linspace(-1, 1, side)
        view *= np.clip(1 + slope[0] * line[:, None] + slope[1] * line[None], 0.15, 2.5)
    if rng.random() < 0.7:
        view = 255 * np.clip(view / 255, 0, 1) ** np.exp(rng.normal(0, 0.3))
        view = view * np.exp(rng.normal(-0.1, 0.35)) + rng.normal(0, 12)
    if rng.random() < 0.5:
        grain = rng.standard_normal(view.shape, np.float32)
        view = view + np.float32(rng.uniform(0, 10)) * grain
    return np.clip(view, 0, 255).astype(np.uint8)


def _covered(view: Floats, rng: _Rng) -> Floats:
    """With a hand, a microphone, hair before it: a bar or a spot of any tone."""
    side = view.shape[0]
    x, y = (rng.uniform(0.1, 0.9, 2) * side).tolist()
    axes = [int(v) for v in rng.uniform(0.05, 0.28, 2) * side]
    area = np.zeros_like(view)
    where, turn = (int(x), int(y)), float(rng.uniform(0, 180))
    if rng.random() < 0.5:
        cv2.ellipse(area, where, axes, turn, 0, 360, 1.0, -1, cv2.LINE_AA)
    else:
        box = cv2.boxPoints(((x, y), (2.0 * axes[0], 2.0 * axes[1]), turn))
        cv2.fillPoly(area, [box.astype(np.int32)], 1.0, cv2.LINE_AA)
    grain = rng.normal(rng.uniform(20, 230), rng.uniform(0, 30), (6, 6)).astype(np.float32)
    stuff = cv2.resize(grain, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(view * (1 - area) + stuff * area, np.float32)


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
