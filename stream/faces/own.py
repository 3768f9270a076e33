"""The project's own face front end: a detector and a landmark network, run by any engine.

Both take grey pictures. Nothing is kept between frames; safe to call from several threads and
after a fork, as far as the engines are.

N faces, P = 106 points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ferstream.engines import contract
from ferstream.engines.contract import CELL_PX, Array, NetworkSpec, Tensors

from .align import averaged, part_of, reach
from .head import MEAN_HEAD
from .points import IRISES, POINTS, head_turn, square_around, square_matrix

CROP_PX = 64
"""Side of the landmark network's crops in training; at run time it is the network's own."""
LANDMARKS = contract.landmarks(len(POINTS), crop_px=CROP_PX)
DETECTOR = contract.detector()
"""Tensors of the networks as they are trained."""
_KNOWN = np.array(POINTS[: -len(IRISES)])
"""Numbers of the landmarks that are points of the mesh."""
Square = tuple[float, float, float, float]
"""Centre x and y, side, roll in radians, as `points.square_around` gives it."""
STRIDES, UNIT = (8, 16, CELL_PX), 4.0
"""Of the detector's cells, pixels, and of its answers, strides."""
_BATCH = 16
"""Pictures that the detector sees at once, at most."""
_SAME = 0.4
"""Boxes that share so much, intersection over union, are of one face."""
_FARTHEST = 8.0
"""How far a network may say that something is, in crop sides or units: more is nonsense, and would
lead out of what numbers hold."""
_SMOOTH = 0.05
"""How far, in face widths squared, the filled-in mesh may miss the points themselves."""


class Runs(Protocol):
    """What is needed of an engine."""

    @property
    def spec(self) -> NetworkSpec:
        """The tensors it takes and gives."""

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name."""

    def close(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True, slots=True)
class OwnFace:
    """What the landmark network makes of a square of the frame, whether a face is in it or not."""

    points_xy: NDArray[np.float32]
    """(P, 2) in the order of `points.POINTS`, pixels of the frame."""
    presence: float
    """0..1."""
    pose_deg: tuple[float, float, float]
    """Yaw, pitch and roll in the frame, as `points.angles_deg` has them."""
    opening: tuple[float, float]
    """0..1, the person's right and left eye."""

    @property
    def square(self) -> Square:
        """Where to look for it next."""
        return square_around(self.points_xy)


class OwnLandmarks:
    """Landmarks for any number of squares of one or several frames, in one batch."""

    def __init__(self, engine: Runs) -> None:
        self.engine = engine
        self.crop_px = int(engine.spec.inputs[0].shape[-1])

    def run(self, picture: NDArray[np.uint8], squares: Sequence[Square]) -> list[OwnFace]:
        """One face per square of a frame (H, W) grey or (H, W, 3) RGB, in order."""
        return self.run_many([(picture, squares)])[0]

    def run_many(
        self, wanted: Sequence[tuple[NDArray[np.uint8], Sequence[Square]]]
    ) -> list[list[OwnFace]]:
        """The same of several frames, all of their squares in one batch."""
        shown = [(picture, square) for picture, squares in wanted for square in squares]
        if not shown:
            return [[] for _ in wanted]
        side = self.crop_px
        matrices = [square_matrix(square, side) for _, square in shown]
        pairs = zip(shown, matrices, strict=True)
        crops = np.stack([_cut(picture, matrix, side) for (picture, _), matrix in pairs])[:, None]
        told = self.engine.run({"crop": crops})
        faces = iter(self._faces(told, matrices, [square for _, square in shown]))
        return [[next(faces) for _ in squares] for _, squares in wanted]

    def _faces(
        self,
        told: Mapping[str, NDArray[np.float32]],
        matrices: Sequence[NDArray[np.float64]],
        squares: Sequence[Square],
    ) -> Iterator[OwnFace]:
        """What the network told of crops, in their frames."""
        presence = _share(told["presence"][:, 0])
        inside = np.clip(told["points"].astype(np.float64), -_FARTHEST, _FARTHEST)
        inside = (inside + 0.5) * self.crop_px - 0.5
        for row, square in enumerate(squares):
            back = cv2.invertAffineTransform(matrices[row])
            points = inside[row] @ back[:, :2].T + back[:, 2]
            yaw, pitch, roll = told["pose"][row].tolist()
            right, left = told["opening"][row].tolist()
            yield OwnFace(
                points.astype(np.float32),
                float(presence[row]),
                (yaw, pitch, _turn(roll + math.degrees(square[3]))),
                (right, left),
            )


@dataclass(frozen=True, slots=True)
class OwnDetection:
    """A face that the detector sees."""

    box: tuple[float, float, float, float]
    """x, y, width, height about the landmarks, in pixels of the frame; may reach beyond it."""
    score: float
    """0..1."""
    points_xy: NDArray[np.float64]
    """(5, 2) right and left eye, tip of the nose, right and left corner of the mouth."""

    @property
    def square(self) -> Square:
        """Where to look for its landmarks."""
        x, y, width, height = self.box
        across, down = (self.points_xy[1] - self.points_xy[0]).tolist()
        side = 1.3 * max(width, height)
        return x + width / 2, y + height / 2, side, math.atan2(down, across)


class OwnDetector:
    """Finds faces in whole frames.

    Args:
        engine: of the detector's network.
        longer_px: larger frames are reduced to this longer side; a face is found from about 8
            pixels of what is left on.
        least_score: detections below are left out, 0..1.
    """

    def __init__(self, engine: Runs, longer_px: int = 320, least_score: float = 0.5) -> None:
        self.engine, self.longer_px, self.least_score = engine, longer_px, least_score

    def detect(self, picture: NDArray[np.uint8]) -> list[OwnDetection]:
        """Faces of a frame (H, W) grey or (H, W, 3) RGB, best first."""
        return self.detect_many([picture])[0]

    def detect_many(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[OwnDetection]]:
        """The same of several frames, those of one size in one batch."""
        prepared = [self._prepared(picture) for picture in pictures]
        sizes: dict[tuple[int, ...], list[int]] = {}
        for place, (grey, _) in enumerate(prepared):
            sizes.setdefault(grey.shape, []).append(place)
        found: list[list[OwnDetection]] = [[] for _ in pictures]
        for shape, places in sizes.items():
            for at in range(0, len(places), _BATCH):
                batch = places[at : at + _BATCH]
                shown = np.stack([prepared[place][0] for place in batch])[:, None]
                told = self.engine.run({"picture": shown})
                for row, place in enumerate(batch):
                    one = {name: values[row : row + 1] for name, values in told.items()}
                    seen = decoded(one, shape, self.least_score)
                    found[place] = _in_frame(seen, prepared[place][1])
        return found

    def _prepared(
        self, picture: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Grey, reduced, black to the right and below up to whole cells; and its scale, x and y."""
        height, width = picture.shape[:2]
        scale = min(self.longer_px / max(height, width), 1.0)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        if scale < 1:
            skip = max(int(0.25 / scale), 1)
            picture = np.asarray(
                cv2.resize(picture[::skip, ::skip], size, interpolation=cv2.INTER_AREA), np.uint8
            )
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
        cell = STRIDES[-1]
        shape = [-(-side // cell) * cell for side in grey.shape]
        whole = np.zeros(shape, np.uint8)
        whole[: grey.shape[0], : grey.shape[1]] = grey
        return whole, np.array([size[0] / width, size[1] / height])


def _in_frame(seen: Sequence[Decoded], scale: NDArray[np.float64]) -> list[OwnDetection]:
    """Detections in pixels of the frame, of one that was reduced by this scale, x and y."""
    found = []
    for one in seen:
        # A pixel's centre has a whole number; its corner is what scales.
        low, size = (one.box[:2] + 0.5) / scale - 0.5, one.box[2:] / scale
        points = (one.points + 0.5) / scale - 0.5
        found.append(OwnDetection((*low.tolist(), *size.tolist()), one.score, points))
    return found


@dataclass(frozen=True, slots=True)
class Decoded:
    """A detection in the pixels that the detector saw: box (4,), 0..1, points (5, 2)."""

    box: NDArray[np.float64]
    score: float
    points: NDArray[np.float64]


def decoded(
    told: dict[str, NDArray[np.float32]], shape: tuple[int, ...], least_score: float
) -> list[Decoded]:
    """The detector's answer for one picture of this shape (H, W) as boxes, best first."""
    centres, strides = cells(*shape[:2])
    score = _share(told["score"][0])
    rows = np.flatnonzero(score >= least_score)
    rows = rows[np.argsort(-score[rows], kind="stable")]
    unit = UNIT * strides[rows, None]
    size = np.exp(np.clip(told["box"][0, rows, 2:].astype(np.float64), -6, 6)) * unit
    middle = np.clip(told["box"][0, rows, :2].astype(np.float64), -_FARTHEST, _FARTHEST)
    low = centres[rows] + middle * unit - size / 2
    five = np.clip(told["points"][0, rows].astype(np.float64), -_FARTHEST, _FARTHEST)
    points = centres[rows, None] + five * unit[:, None]
    kept: list[Decoded] = []
    for at, row in enumerate(rows.tolist()):
        box = np.concatenate([low[at], size[at]])
        if all(_shared(box, other.box) < _SAME for other in kept):
            kept.append(Decoded(box, float(score[row]), points[at]))
    return kept


@cache
def cells(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (C, 2) of the detector's cells in a picture of this size, and their strides (C,)."""
    centres, strides = [], []
    for stride in STRIDES:
        x, y = ((np.arange(side // stride) + 0.5) * stride - 0.5 for side in (width, height))
        centres.append(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
        strides.append(np.full(len(centres[-1]), float(stride)))
    return np.concatenate(centres), np.concatenate(strides)


def mesh_of_points(points_xy: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The meshes (..., 468, 3) that go with landmarks (..., P, 2): the mean head in their pose,
    pulled to where they lie, smoothly in between. z grows away from the camera, in pixels too."""
    flat = MEAN_HEAD @ head_turn(points_xy).swapaxes(-1, -2)
    target = points_xy[..., : len(_KNOWN), :].astype(np.float64)
    here = flat[..., _KNOWN, :2]
    here_mean, target_mean = here.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    centred, wanted = here - here_mean, target - target_mean
    product, square = ((centred * other).sum((-2, -1)) for other in (wanted, centred))
    scale = (product / square)[..., None, None]
    posed = scale * flat
    shift = target_mean - scale * here_mean
    # One product for all meshes: a column for each one's x and y.
    missing = (target - scale * here - shift).reshape(-1, *target.shape[-2:])
    columns = missing.transpose(1, 0, 2).reshape(len(_KNOWN), -1)
    filled = (_filling() @ columns).reshape(len(MEAN_HEAD), -1, 2).transpose(1, 0, 2)
    posed[..., :2] += shift + filled.reshape(*posed.shape[:-1], 2)
    return np.asarray(posed, np.float32)


@cache
def _filling() -> NDArray[np.float64]:
    """(468, P - 2): how far each point of the mesh follows each landmark that is moved."""
    known = MEAN_HEAD[_KNOWN]

    def near(one: NDArray[np.float64]) -> NDArray[np.float64]:
        apart = np.linalg.norm(one[:, None] - known[None], axis=2)
        return np.asarray(np.exp(-((apart / 0.12) ** 2)), np.float64)

    inner = near(known) + _SMOOTH * np.eye(len(known))
    return np.asarray(np.linalg.solve(inner, near(MEAN_HEAD).T).T)


def _cut(
    picture: NDArray[np.uint8], matrix: NDArray[np.float64], crop_px: int
) -> NDArray[np.uint8]:
    """The crop of a grey or RGB frame, which is reduced by area first where it is much larger."""
    per_px = 1 / max(math.hypot(matrix[0, 0], matrix[1, 0]), 1e-9)
    shrink = max(int(0.75 * per_px), 1)
    rim = 2 * shrink + 2
    part = part_of(picture, reach(matrix, -0.5, crop_px - 0.5), rim, rim)
    shown, moved = averaged(picture, matrix, part, shrink)
    grey = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY) if shown.ndim == 3 else shown
    crop = cv2.warpAffine(grey, moved, (crop_px, crop_px), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def _shared(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes (4,), 0..1."""
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[:2] + one[2:], other[:2] + other[2:])
    both = float(np.prod(np.maximum(high - low, 0)))
    return both / max(float(np.prod(one[2:]) + np.prod(other[2:])) - both, 1e-9)


def _share(log_odds: NDArray[np.float32]) -> NDArray[np.float64]:
    """0..1, of whatever number."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds.astype(np.float64), -60, 60))), np.float64)


def _turn(degrees: float) -> float:
    """The same angle in -180..180."""
    return (degrees + 180) % 360 - 180
