"""Scenes to teach a face detector: faces of known place at all scales on grounds without any.

S side of a scene, M faces in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.points import IRISES, PLACE

from .faceless import faceless_pictures
from .point_faces import ORIGINS, PointFaces

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
_Rng = np.random.Generator

FIVE = ((33, 133), (362, 263), (4,), (61,), (291,))
"""Right and left eye, tip of the nose, right and left corner of the mouth: landmarks whose mean
each of the detector's points is."""
_SHARE = {"fer2013plus": 0.3, "wild": 0.4, "clips": 0.08, "rendered": 0.22}
_WIDTHS = (8.0, 150.0)
"""Widths of faces in a scene, pixels, drawn by their logarithm."""
_FACELESS, _FIRST, _MOST_PX = 1200, 20_000, 400
"""Pictures without a face to lay faces on: others than those that false faces are counted in."""
_PIECES, _PIECE = 0.4, (0.2, 0.45)
"""Share of pieces of faces among what lies about, and their sides, in widths of the face."""
_TRIES = 12
_SEEN = 0.6
"""So much of a face's box must lie in the scene for it to count."""


@dataclass(frozen=True)
class Scene:
    """grey (S, S) uint8; boxes (M, 4) x, y, width, height and points (M, 5, 2) in its pixels."""

    grey: Grey
    boxes: Floats
    points: Floats


def box_of(points_xy: Floats) -> Floats:
    """The box (4,) about landmarks (106, 2), the irises left out: x, y, width, height."""
    xy = points_xy[: -len(IRISES)]
    low = xy.min(0)
    return np.asarray(np.concatenate([low, xy.max(0) - low]), np.float32)


def five_of(points_xy: Floats) -> Floats:
    """The detector's five points (5, 2) among landmarks (106, 2)."""
    return np.asarray([points_xy[[PLACE[n] for n in of]].mean(0) for of in FIVE], np.float32)


class Scenes:
    """Scenes without an end, each from a generator of its own; not for two threads at once."""

    def __init__(self, faces: PointFaces, side_px: int) -> None:
        self.faces, self.side_px = faces, side_px
        self.boxes = np.stack([box_of(points) for points in faces.points_xy])
        self.rows = [np.flatnonzero(faces.origin == at) for at in range(len(ORIGINS))]
        share = np.array([_SHARE[name] for name in ORIGINS])
        share = share * [len(rows) > 0 for rows in self.rows]
        self.share = share / share.sum()

    def scene(self, rng: _Rng) -> Scene:
        """A ground, pieces of other grounds, and up to five faces, none hiding another."""
        canvas = self._ground(rng)
        for _ in range(int(rng.integers(0, 4))):
            self._distract(canvas, rng)
        boxes: list[Floats] = []
        points: list[Floats] = []
        wanted = int(rng.choice([0, 1, 2, 3, 5], p=[0.12, 0.4, 0.23, 0.15, 0.1]))
        for _ in range(_TRIES if wanted else 0):
            placed = self._placed(canvas, boxes, rng)
            if placed is not None:
                boxes.append(placed[0])
                points.append(placed[1])
            if len(boxes) == wanted:
                break
        return Scene(
            _developed(canvas, rng),
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(points, np.float32).reshape(-1, 5, 2),
        )

    def _ground(self, rng: _Rng) -> Floats:
        part = square_part(drawn_ground(rng), rng)
        size = (self.side_px, self.side_px)
        return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.float32)

    def _distract(self, canvas: Floats, rng: _Rng) -> None:
        """A rectangle of something else, or of a piece of a face, as an eye or a cheek alone: not
        every rectangle is a face."""
        side = int(np.exp(rng.uniform(np.log(12), np.log(self.side_px))))
        of_face = rng.random() < _PIECES
        part = self._piece(rng) if of_face else square_part(drawn_ground(rng), rng)
        way = cv2.INTER_AREA if side < len(part) else cv2.INTER_LINEAR
        patch = cv2.resize(part, (side, side), interpolation=way)
        x, y = (int(v) for v in rng.integers(-side // 2, self.side_px - side // 2 + 1, 2))
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + side, self.side_px), min(y + side, self.side_px)
        canvas[top:bottom, left:right] = patch[top - y : bottom - y, left - x : right - x]

    def _piece(self, rng: _Rng) -> Grey:
        """A small square part of a face, too little of it to count as one."""
        row = self._drawn(rng)
        picture, (x, y, width, height) = self.faces.pictures[row], self.boxes[row].tolist()
        side = min(max(int(rng.uniform(*_PIECE) * width), 4), *picture.shape)
        left, top = (
            int(np.clip(rng.uniform(low, low + size - side), 0, length - side))
            for low, size, length in (
                (x, max(width, side), picture.shape[1]),
                (y, max(height, side), picture.shape[0]),
            )
        )
        return np.ascontiguousarray(picture[top : top + side, left : left + side])

    def _drawn(self, rng: _Rng) -> int:
        """A face's number, of each origin as often as wanted."""
        return int(rng.choice(self.rows[int(rng.choice(len(ORIGINS), p=self.share))]))

    def _placed(
        self, canvas: Floats, boxes: list[Floats], rng: _Rng
    ) -> tuple[Floats, Floats] | None:
        """Lay a face on the canvas where there is room; its box and points there."""
        row = self._drawn(rng)
        picture = self.faces.pictures[row]
        x, y, width, height = (float(v) for v in self.boxes[row])
        shown_px = float(np.exp(rng.uniform(*np.log(_WIDTHS))))
        scale = shown_px / max(width, 1.0)
        turn = float(np.clip(rng.normal(0, 12), -40, 40))
        mirror = rng.random() < 0.5
        matrix = cv2.getRotationMatrix2D((x + width / 2, y + height / 2), turn, scale)
        spare = 0.5 * shown_px * np.array([1, height / max(width, 1.0)]) * 0.6
        at = rng.uniform(spare, np.maximum(self.side_px - spare, spare + 1))
        matrix[:, 2] += at - [x + width / 2, y + height / 2]
        if mirror:
            matrix = np.array([[-1, 0, self.side_px - 1], [0, 1, 0]]) @ np.vstack(
                [matrix, [0, 0, 1]]
            )
        xy = self.faces.points_xy[row] @ matrix[:, :2].T + matrix[:, 2]
        box, five = box_of(xy.astype(np.float32)), five_of(xy.astype(np.float32))
        if mirror:
            five = five[[1, 0, 2, 4, 3]]
        if self._hidden(box) or any(_touch(box, other) for other in boxes):
            return None
        source: npt.NDArray[Any] = picture
        if scale < 0.6:  # sampling alone would skip pixels
            less = max(scale / 0.8, 1 / min(picture.shape))
            size = [max(round(side * less), 1) for side in picture.shape[::-1]]
            source = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            ratio = np.array(picture.shape[::-1]) / size
            matrix = matrix.copy()
            matrix[:, 2] += matrix[:, :2] @ (ratio / 2 - 0.5)
            matrix[:, :2] *= ratio
        self._lay(canvas, source, matrix, rng)
        return box, five

    def _lay(
        self, canvas: Floats, source: npt.NDArray[Any], matrix: npt.NDArray[Any], rng: _Rng
    ) -> None:
        """Lay a picture under ``matrix`` on the canvas, now and then with a soft rim."""
        height, width = source.shape[:2]
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
        reach = corners @ matrix.T
        low = np.clip(np.floor(reach.min(0)) - 2, 0, self.side_px - 1).astype(int)
        high = np.clip(np.ceil(reach.max(0)) + 2, low + 1, self.side_px).astype(int)
        moved = matrix.copy()
        moved[:, 2] -= low
        window = (int(high[0] - low[0]), int(high[1] - low[1]))
        laid = cv2.warpAffine(source, moved, window, borderMode=cv2.BORDER_REPLICATE)
        inside = np.full((height, width), 255, np.uint8)
        rim = int(0.06 * min(height, width)) if rng.random() < 0.5 else 0
        if rim:
            inside[:rim] = inside[-rim:] = inside[:, :rim] = inside[:, -rim:] = 0
        area = cv2.warpAffine(inside, moved, window).astype(np.float32) / 255
        if rim:
            scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
            area = cv2.GaussianBlur(area, (0, 0), max(rim * scale / 2, 0.5))
        part = canvas[low[1] : high[1], low[0] : high[0]]
        part += (laid.astype(np.float32) - part) * area

    def _hidden(self, box: Floats) -> bool:
        """Whether too much of it lies beyond the scene."""
        low, high = np.maximum(box[:2], 0), np.minimum(box[:2] + box[2:], self.side_px)
        return bool(np.prod(np.maximum(high - low, 0)) < _SEEN * np.prod(box[2:]))


def _touch(one: Floats, other: Floats) -> bool:
    """Whether two boxes, a third wider each, overlap: what surrounds a face must not hide one."""
    apart = np.abs(one[:2] + one[2:] / 2 - other[:2] - other[2:] / 2)
    return bool((apart < 0.67 * (one[2:] + other[2:])).all())


def square_part(picture: Grey, rng: _Rng) -> Grey:
    """A square part of a picture, a third of it at least."""
    shorter = min(picture.shape)
    side = int(rng.integers(max(shorter // 3, 8), shorter + 1))
    top, left = (int(rng.integers(0, length - side + 1)) for length in picture.shape)
    part = picture[top : top + side, left : left + side]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


def drawn_ground(rng: _Rng) -> Grey:
    """A picture without a face, grey, 400 pixels at most."""
    return _ground(int(rng.integers(_FACELESS)))


@lru_cache(maxsize=_FACELESS)
def _ground(number: int) -> Grey:
    (rgb,) = faceless_pictures(1, _FIRST + number)
    scale = min(_MOST_PX / max(rgb.shape[:2]), 1.0)
    size = [max(round(side * scale), 16) for side in rgb.shape[1::-1]]
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _developed(canvas: Floats, rng: _Rng) -> Grey:
    """As a camera gives it."""
    if rng.random() < 0.3:
        canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 1.2)), np.float32)
    if rng.random() < 0.6:
        levels = 255 * (np.arange(256) / 255) ** np.exp(rng.normal(0, 0.3))
        levels = levels * np.exp(rng.normal(-0.1, 0.3)) + rng.normal(0, 12)
        grey = cv2.LUT(canvas.clip(0, 255).astype(np.uint8), levels.clip(0, 255).astype(np.uint8))
        canvas = np.asarray(grey, np.float32)
    if rng.random() < 0.4:
        grain = rng.standard_normal(canvas.shape, np.float32)
        canvas = canvas + np.float32(rng.uniform(0, 8)) * grain
    return np.clip(canvas, 0, 255).astype(np.uint8)
