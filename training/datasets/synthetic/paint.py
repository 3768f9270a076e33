"""Persons of the 3D face: appearance and painted skin.

Who a synthetic person is: shape weights, skin, hair, brows, eyes, and how they move.

A person is a number: the same number gives the same person in every set. Colours are linear
light, not what a screen shows. Simple and made up; nobody is meant by it.

Where on the face's front there are brows, lips, lid rims, nose and furrows.

A painted front view of the resting head: what a pixel's skin shows is looked up by the resting
place of the point it sees, so that the paint moves with the skin.

C pixels, K layers; the canvas is (rows, columns, K), CANVAS_PX_PER_CM fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
import numpy.typing as npt

from .expressions import ACTION_UNITS
from .head import SyntheticHead
from .kit import BROWS, EYES, OUTER_LIPS

Floats = npt.NDArray[np.float32]

_SKINS = np.array(
    [
        [0.62, 0.42, 0.33],
        [0.52, 0.33, 0.24],
        [0.40, 0.24, 0.16],
        [0.26, 0.14, 0.09],
        [0.12, 0.065, 0.04],
    ],
    np.float32,
)
_HAIRS = np.array(
    [
        [0.012, 0.010, 0.009],
        [0.035, 0.022, 0.015],
        [0.09, 0.05, 0.028],
        [0.30, 0.19, 0.09],
        [0.26, 0.25, 0.24],
    ],
    np.float32,
)
_IRISES = np.array(
    [[0.05, 0.025, 0.012], [0.11, 0.055, 0.025], [0.10, 0.12, 0.05], [0.10, 0.18, 0.28]],
    np.float32,
)
_CLOTHES = np.array(
    [
        [0.02, 0.02, 0.03],
        [0.30, 0.30, 0.30],
        [0.04, 0.07, 0.20],
        [0.25, 0.04, 0.04],
        [0.05, 0.15, 0.08],
    ],
    np.float32,
)
_PEOPLE_STREAM = 7_001
"""Keeps the random numbers of people apart from those of pictures."""


@dataclass(frozen=True)
class SyntheticPerson:
    """What stays with a person from picture to picture.

    shape (I,) identity weights; skin, lips, hair, brow, iris, clothes (3,) albedo in linear
    light; hair_cm its thickness, hairline_cm how far it has moved up, long_cm how far it falls
    below the ears, 0 where it is short; brow_cm the brows' thickness; stubble, furrows 0..1;
    habits (A,) what the face at rest shows; vividness (A,) how strongly each unit moves.
    """

    number: int
    shape: Floats
    skin: Floats
    lips: Floats
    hair: Floats
    brow: Floats
    iris: Floats
    clothes: Floats
    hair_cm: float
    hairline_cm: float
    long_cm: float
    brow_cm: float
    stubble: float
    furrows: float
    habits: Floats
    vividness: Floats


def person_of(number: int, shapes: int) -> SyntheticPerson:
    """The person of this number for a head with this many identity shapes."""
    rng = np.random.default_rng([_PEOPLE_STREAM, number])
    shape = np.clip(rng.normal(0, 0.9, shapes), -2, 2).astype(np.float32)
    skin = _between(_SKINS, rng) * rng.uniform(0.9, 1.1)
    dark = float(skin.mean()) < 0.2
    hair = _HAIRS[int(rng.integers(0, 2 if dark else len(_HAIRS)))] * rng.uniform(0.7, 1.3)
    habits = np.where(rng.random(len(ACTION_UNITS)) < 0.2, rng.uniform(0, 0.12), 0.0)
    long_cm = float(rng.uniform(2, 11)) if rng.random() < 0.45 else 0.0
    return SyntheticPerson(
        number=number,
        shape=shape,
        skin=skin,
        lips=(skin * [1.0, 0.55, 0.6] + [0.05, 0, 0]).astype(np.float32) * rng.uniform(0.75, 1.0),
        hair=hair.astype(np.float32),
        brow=np.minimum(hair * rng.uniform(0.6, 1.0), 0.12).astype(np.float32),
        iris=_IRISES[int(rng.integers(0, 2 if dark else len(_IRISES)))],
        clothes=_CLOTHES[int(rng.integers(0, len(_CLOTHES)))],
        hair_cm=float(rng.uniform(0.3, 1.6)),
        hairline_cm=float(rng.uniform(-0.6, 1.2)),
        brow_cm=float(rng.uniform(0.28, 0.6)),
        long_cm=long_cm,
        stubble=0.0 if long_cm else float(max(rng.uniform(-0.8, 0.7), 0.0)),
        furrows=float(rng.uniform(0.3, 1.0)),
        habits=_without_mouth_and_eyes(habits),
        vividness=np.clip(rng.normal(1, 0.12, len(ACTION_UNITS)), 0.7, 1.3).astype(np.float32),
    )


def _between(palette: Floats, rng: np.random.Generator) -> Floats:
    """A colour between two neighbours of a palette."""
    at = rng.uniform(0, len(palette) - 1)
    low = int(at)
    return np.asarray(
        palette[low] + (palette[min(low + 1, len(palette) - 1)] - palette[low]) * (at - low)
    )


def _without_mouth_and_eyes(habits: npt.NDArray[np.float64]) -> Floats:
    """At rest a mouth is not open, eyes are not shut or turned, the jaw is straight."""
    for column, name in enumerate(ACTION_UNITS):
        if int(name[2:]) in (
            10,
            11,
            16,
            18,
            20,
            22,
            25,
            26,
            27,
            29,
            30,
            33,
            43,
            45,
            61,
            62,
            63,
            64,
        ):
            habits[column] = 0.0
    return habits.astype(np.float32)


CANVAS_PX_PER_CM = 24
_LEFT, _TOP, _WIDE, _HIGH = -9.0, 12.5, 18.0, 23.0
_FRACTION_BITS = 4


class Layer(IntEnum):
    """What is painted, each 0..1."""

    BROW = 0
    LIPS = 1
    LIDS = 2
    NOSE = 3
    BLUSH = 4
    BEARD = 5
    FROWN = 6
    FOREHEAD = 7
    CROWS_FEET = 8
    NASOLABIAL = 9
    SNARL = 10
    CHIN = 11
    MOTTLE = 12
    NOSTRIL = 13


FURROWS: tuple[tuple[Layer, tuple[tuple[str, float], ...]], ...] = (
    (Layer.FROWN, (("AU4", 1.0),)),
    (Layer.FOREHEAD, (("AU1", 0.6), ("AU2", 0.6))),
    (Layer.CROWS_FEET, (("AU6", 0.9), ("AU12", 0.2))),
    (Layer.NASOLABIAL, (("AU12", 0.7), ("AU9", 0.5), ("AU10", 0.5), ("AU11", 0.5))),
    (Layer.SNARL, (("AU9", 1.0),)),
    (Layer.CHIN, (("AU17", 0.8),)),
)
"""Furrows of the skin, which the mesh is too coarse for, and the action units that make them."""


class FacePaint:
    """The canvas of one head; its brows are drawn per person."""

    def __init__(self, head: SyntheticHead) -> None:
        self._marks = head.rest[head.landmarks][:, :2].astype(np.float64)
        size = (round(_HIGH * CANVAS_PX_PER_CM), round(_WIDE * CANVAS_PX_PER_CM))
        self._canvas = np.zeros((*size, len(Layer)), np.float32)
        self._features()
        self._folds()
        noise = np.random.default_rng(11).normal(0, 1, size).astype(np.float32)
        mottle = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (3.0, 9.0))
        self._canvas[..., Layer.MOTTLE] = np.clip(np.asarray(mottle), -3, 3) / 3
        self._last: tuple[float, Floats] | None = None

    def layers(self, brow_cm: float) -> Floats:
        """The canvas with brows of this thickness; overwritten by the next call."""
        if self._last is None or self._last[0] != brow_cm:
            self._canvas[..., Layer.BROW] = self._brows(brow_cm)
            self._last = (brow_cm, self._canvas)
        return self._canvas

    @staticmethod
    def look_up(layers: Floats, rest_xy: Floats) -> Floats:
        """Layers (C, K) at resting places (C, 2), cm."""
        column = ((rest_xy[:, 0] - _LEFT) * CANVAS_PX_PER_CM).astype(np.int32)
        row = ((_TOP - rest_xy[:, 1]) * CANVAS_PX_PER_CM).astype(np.int32)
        np.clip(column, 0, layers.shape[1] - 1, out=column)
        np.clip(row, 0, layers.shape[0] - 1, out=row)
        return np.asarray(layers[row, column])

    def _features(self) -> None:
        marks = self._marks
        self._fill(Layer.LIPS, _smooth(marks[list(OUTER_LIPS)]), soft_cm=0.08)
        bridge, base, wing = marks[27], marks[33], abs(marks[35, 0] - marks[31, 0]) * 0.74
        drop = bridge[1] - base[1]
        right = [(0.28, 0.1), (0.45, 0.5), (0.95, 0.78), (1.0, 0.95), (0.6, 1.06), (0, 1.1)]
        half = [(base[0] + wing * x, bridge[1] - drop * y) for x, y in right]
        other = [(2 * base[0] - x, y) for x, y in half[::-1]]
        self._fill(Layer.NOSE, np.array(half + other), soft_cm=0.05)
        for side in (-1, 1):
            where = (base[0] + side * wing * 0.42, base[1] + 0.05 * drop)
            self._blot(Layer.NOSTRIL, where, (0.38, 0.2))
            self._blot(Layer.BLUSH, (side * 4.2, base[1] + 0.4 * drop), (1.9, 1.5))
        self._blot(Layer.BLUSH, (base[0], base[1] + 0.25 * drop), (1.1, 1.0))
        mouth = marks[list(OUTER_LIPS)].mean(0)
        self._blot(Layer.BEARD, (mouth[0], mouth[1] - 1.5), (4.2, 2.6), sharp=3.0)
        for eye in EYES:
            outline = _smooth(marks[list(eye)])
            self._line(Layer.LIDS, outline, 0.13, 0.6, closed=True)
            upper = marks[list(eye)][:4] + np.array([0, 0.06])
            self._line(Layer.LIDS, _smooth(upper, closed=False), 0.2, 1.0)
        self._soften(Layer.LIDS, 0.05)

    def _folds(self) -> None:
        marks = self._marks
        between, mouth = (marks[21] + marks[22]) / 2, marks[list(OUTER_LIPS)]
        inner = abs(marks[22, 0])
        for side in (-1, 1):
            x = between[0] + side * inner * 0.5
            self._line(Layer.FROWN, [(x, between[1] - 1.2), (x * 1.15, between[1] + 0.7)], 0.2)
            corner = mouth[6] if side > 0 else mouth[0]
            wing = marks[35] if side > 0 else marks[31]
            fold = [
                (wing[0] * 1.5, wing[1] + 0.5),
                ((wing[0] * 1.5 + corner[0] * 1.35) / 2, (wing[1] + corner[1]) / 2 + 0.1),
                (corner[0] * 1.42, corner[1] + 0.1),
            ]
            self._line(Layer.NASOLABIAL, _smooth(np.array(fold), closed=False), 0.22)
            eye = marks[45] if side > 0 else marks[36]
            for slope in (0.35, 0.0, -0.35):
                start = (eye[0] + side * 0.5, eye[1] + 0.8 * slope)
                self._line(
                    Layer.CROWS_FEET, [start, (start[0] + side * 1.1, start[1] + slope)], 0.1
                )
            for down in (0.5, 1.0, 1.5):
                y = marks[27, 1] - down
                self._line(Layer.SNARL, [(side * 0.3, y), (side * 0.9, y + 0.45)], 0.1)
        for up in (1.3, 2.2, 3.1):
            arc = [(x, between[1] + up - 0.02 * x * x) for x in np.linspace(-4, 4, 9)]
            self._line(Layer.FOREHEAD, np.array(arc), 0.14)
        self._line(
            Layer.CHIN, [(x, mouth[9, 1] - 0.9 - 0.06 * x * x) for x in (-1, -0.5, 0, 0.5, 1)], 0.2
        )
        for layer, soft_cm in (
            (Layer.FROWN, 0.09),
            (Layer.NASOLABIAL, 0.12),
            (Layer.CROWS_FEET, 0.06),
            (Layer.SNARL, 0.06),
            (Layer.FOREHEAD, 0.09),
            (Layer.CHIN, 0.1),
        ):
            self._soften(layer, soft_cm)

    def _brows(self, brow_cm: float) -> Floats:
        canvas = np.zeros(self._canvas.shape[:2], np.uint8)
        for brow in BROWS:
            outline = _smooth(self._marks[list(brow)], closed=False)
            inward = -np.abs(outline[:, :1])
            share = (inward - inward.min()) / max(float(np.ptp(inward)), 1e-6)
            middle = outline - np.array([0, 0.5 * brow_cm])
            for start, end, thick in zip(middle, middle[1:], share[1:, 0], strict=False):
                cv2.line(
                    canvas,
                    *(self._pixel(point) for point in (start, end)),
                    255,
                    max(round(brow_cm * (0.45 + 0.75 * thick) * CANVAS_PX_PER_CM), 1),
                    cv2.LINE_AA,
                    _FRACTION_BITS,
                )
        result = np.zeros(canvas.shape, np.float32)
        rows = np.flatnonzero(canvas.any(1))
        if rows.size:
            part = slice(max(int(rows[0]) - 8, 0), int(rows[-1]) + 8)
            soft = cv2.GaussianBlur(canvas[part], (0, 0), 0.08 * CANVAS_PX_PER_CM)
            result[part] = soft.astype(np.float32) / 255
        return result

    def _pixel(self, point: npt.ArrayLike) -> tuple[int, int]:
        x, y = np.asarray(point, np.float64)
        scale = CANVAS_PX_PER_CM * (1 << _FRACTION_BITS)
        return round((x - _LEFT) * scale), round((_TOP - y) * scale)

    def _fill(self, layer: Layer, outline: npt.NDArray[np.float64], soft_cm: float) -> None:
        canvas = np.zeros(self._canvas.shape[:2], np.uint8)
        polygon = np.array([self._pixel(point) for point in outline], np.int32)
        cv2.fillPoly(canvas, [polygon], 255, cv2.LINE_AA, _FRACTION_BITS)
        self._canvas[..., layer] = canvas.astype(np.float32) / 255
        self._soften(layer, soft_cm)

    def _line(
        self,
        layer: Layer,
        points: npt.ArrayLike,
        wide_cm: float,
        strength: float = 1.0,
        closed: bool = False,
    ) -> None:
        canvas = np.zeros(self._canvas.shape[:2], np.uint8)
        line = np.array([self._pixel(point) for point in np.asarray(points)], np.int32)
        width = max(round(wide_cm * CANVAS_PX_PER_CM), 1)
        cv2.polylines(canvas, [line], closed, 255, width, cv2.LINE_AA, _FRACTION_BITS)
        drawn = canvas.astype(np.float32) * (strength / 255)
        np.maximum(self._canvas[..., layer], drawn, out=self._canvas[..., layer])

    def _blot(
        self,
        layer: Layer,
        centre: tuple[float, float],
        radii_cm: tuple[float, float],
        sharp: float = 1.0,
    ) -> None:
        rows, columns = self._canvas.shape[:2]
        x = (_LEFT + np.arange(columns) / CANVAS_PX_PER_CM - centre[0]) / radii_cm[0]
        y = (_TOP - np.arange(rows) / CANVAS_PX_PER_CM - centre[1]) / radii_cm[1]
        distance = (x[None] ** 2 + y[:, None] ** 2) ** sharp
        blot = np.exp(-distance).astype(np.float32)
        np.maximum(self._canvas[..., layer], blot, out=self._canvas[..., layer])

    def _soften(self, layer: Layer, soft_cm: float) -> None:
        plane = np.ascontiguousarray(self._canvas[..., layer])
        self._canvas[..., layer] = cv2.GaussianBlur(plane, (0, 0), soft_cm * CANVAS_PX_PER_CM)


def _smooth(points: npt.NDArray[np.float64], closed: bool = True) -> npt.NDArray[np.float64]:
    """A Catmull-Rom curve through the points, six steps from each to the next."""
    before = np.roll(points, 1, 0) if closed else np.vstack([points[:1], points[:-1]])
    after = np.roll(points, -1, 0) if closed else np.vstack([points[1:], points[-1:]])
    beyond = np.roll(points, -2, 0) if closed else np.vstack([points[2:], points[-1:], points[-1:]])
    pieces = []
    for t in np.arange(6) / 6:
        pieces.append(
            0.5
            * (
                2 * points
                + (after - before) * t
                + (2 * before - 5 * points + 4 * after - beyond) * t**2
                + (3 * points - before - 3 * after + beyond) * t**3
            )
        )
    curve: npt.NDArray[np.float64] = np.stack(pieces, 1).reshape(-1, 2)
    return curve if closed else curve[: -5 or None]
