"""Faces that cannot be read, and the line that tells them from those that can.

Aligned crops of faces spoiled so that their expression cannot be read: covered, drawn, carved.

What the quality of a view learns to tell from faces. All is drawn on crops (64, 64) grey whose
landmarks are known, or from nothing.

The line that tells a whole living face from a covered, drawn or carved one (stream.quality).

`ferstream data clear OUT.npy` learns it anew; `stream/faces/clear_view.npy` is where it is read.
It is learned on wild's training faces and on two spoiled versions of each, all of them worn
in the same ways, by least squares with a ridge. FER+, fairface and wild's other parts play no part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import ANCHOR_TEMPLATE
from ferstream.stream.faces.quality import CLEAR_PX, clear_features, clear_line

from ..datasets.judged import load_wild
from ..datasets.readers.finder import FaceFinder

Crop = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]
_Rng = np.random.Generator

SIDE_PX = 64
_JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
_JAW_LEFT = (454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
_NOSE, _MOUTH, _CHIN = (195, 5, 4), (13, 14), 152
_EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
_OVERSAMPLED = 4


def masked(crop: Crop, landmarks_xy: Points, rng: _Rng) -> Crop:
    """A mask from the nose to under the chin, plain, pleated or patterned."""
    top = landmarks_xy[_NOSE[int(rng.integers(3))]] + rng.normal(0, 1, 2)
    right, left = landmarks_xy[list(_JAW)], landmarks_xy[list(_JAW_LEFT)]
    begin = int(rng.integers(0, 3))
    edge = np.concatenate([[top], left[begin:], right[begin:][::-1]])
    edge += np.array([0, rng.uniform(-1, 3)]) + rng.normal(0, 0.4, edge.shape)
    cloth = _cloth(rng)
    return _laid(crop, cloth, _filled(edge), rng)


def handed(crop: Crop, landmarks_xy: Points, rng: _Rng) -> Crop:
    """Something before the mouth: a hand, a cup, a microphone, a scarf."""
    mouth = landmarks_xy[list(_MOUTH)].mean(0) + rng.normal(0, 2.5, 2)
    reach = rng.uniform((11, 9), (26, 20))
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    power = rng.uniform(0.5, 1.0)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    edge = np.sign(circle) * np.abs(circle) ** power * reach
    turn = rng.uniform(0, np.pi)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    skin = crop[38:52, 12:52].mean() + rng.normal(0, 25)
    cloth = _cloth(rng, skin if rng.random() < 0.6 else None)
    if rng.random() < 0.5:  # fingers
        for at in range(1, 4):
            x = int(64 * at / 4 + rng.normal(0, 3))
            cv2.line(cloth, (x, 0), (x + int(rng.normal(0, 12)), 63), float(skin * 0.6), 1)
    return _laid(crop, cloth, _filled(edge @ spin.T + mouth), rng)


def carved(crop: Crop, landmarks_xy: Points, rng: _Rng) -> Crop:
    """As of stone: eyes without pupils, skin, lips and brows of one shade."""
    smooth = cv2.bilateralFilter(crop, 7, 40, 5).astype(np.float32)
    light = cv2.GaussianBlur(smooth, (0, 0), 6)
    stone = light + rng.uniform(0.4, 0.7) * (smooth - light)
    for eye in _EYES:
        area = _filled(landmarks_xy[list(eye)])[..., None][..., 0]
        level = float(np.percentile(smooth[20:50, 16:48], 60))
        stone = stone * (1 - 0.9 * area) + 0.9 * area * level
    stone += rng.normal(0, rng.uniform(1, 5), stone.shape)
    return _grey(stone)


def traced(crop: Crop, landmarks_xy: Points, rng: _Rng) -> Crop:
    """A photograph made a drawing: few shades, dark lines."""
    smooth = cv2.bilateralFilter(crop, 9, 60, 7)
    shades = int(rng.integers(2, 6))
    flat = np.round(smooth / 255 * shades) / shades * 255
    soft = cv2.GaussianBlur(crop, (0, 0), 1.0).astype(np.float32)
    lines = soft - cv2.GaussianBlur(crop, (0, 0), 2.2).astype(np.float32)
    ink = np.clip(-lines * rng.uniform(0.1, 0.3), 0, 1)
    paper = 245.0 if rng.random() < 0.4 else flat
    return _grey(paper * (1 - ink) + 20 * ink)


def drawn(crop: Crop, landmarks_xy: Points, rng: _Rng) -> Crop:
    """A cartoon from nothing, its features where the template has them."""
    scale = SIDE_PX * _OVERSAMPLED
    ground, skin = float(rng.uniform(120, 255)), float(rng.uniform(60, 255))
    page = np.full((scale, scale), ground, np.float32)
    ink, thick = float(rng.uniform(0, 70)), int(rng.integers(2, 9))
    at = ANCHOR_TEMPLATE * scale + rng.normal(0, 0.015 * scale, ANCHOR_TEMPLATE.shape)
    right, left = at[:2].mean(0), at[2:4].mean(0)
    middle = np.array([0.5, 0.55]) * scale + rng.normal(0, 4, 2)
    oval = (rng.uniform(0.36, 0.5) * scale, rng.uniform(0.46, 0.6) * scale)

    def ellipse(
        centre: npt.ArrayLike, axes: npt.ArrayLike, grey: float, line: int, arc: tuple[int, int]
    ) -> None:
        where = [int(v) for v in np.asarray(centre)]
        size = [max(int(v), 1) for v in np.asarray(axes)]
        cv2.ellipse(page, where, size, 0, *arc, grey, line, cv2.LINE_AA)

    whole = (0, 360)
    ellipse(middle, oval, skin, -1, whole)
    ellipse(middle, oval, ink, thick, whole)
    eye = rng.uniform((0.03, 0.02), (0.11, 0.1)) * scale
    for place in (right, left):
        if rng.random() < 0.8:
            ellipse(place, eye, float(rng.uniform(200, 255)), -1, whole)
            ellipse(place, eye, ink, max(thick // 2, 1), whole)
        ellipse(place, eye.min() * rng.uniform(0.3, 0.8, 2), ink, -1, whole)
        if rng.random() < 0.8:
            brow = place - (0, rng.uniform(0.06, 0.13) * scale)
            ellipse(brow, (0.09 * scale, rng.uniform(0.01, 0.05) * scale), ink, thick, (190, 350))
    nose = at[5]
    ellipse(nose, rng.uniform(0.02, 0.05, 2) * scale, ink, max(thick // 2, 1), (0, 180))
    mouth = np.array([nose[0], rng.uniform(0.76, 0.84) * scale])
    shape = (rng.uniform(0.06, 0.2) * scale, rng.uniform(0.01, 0.12) * scale)
    arc = ((0, 180), (180, 360), whole)[int(rng.integers(3))]
    if rng.random() < 0.5:
        ellipse(mouth, shape, float(rng.uniform(40, 200)), -1, arc)
    ellipse(mouth, shape, ink, thick, arc)
    if rng.random() < 0.5:
        page += cv2.resize(rng.normal(0, 8, (16, 16)).astype(np.float32), (scale, scale))
    return _grey(cv2.resize(page, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA))


SPOILERS: tuple[Callable[[Crop, Points, _Rng], Crop], ...] = (
    masked, handed, carved, traced, drawn,
)  # fmt: skip


def worn(crop: Crop, rng: _Rng) -> Crop:
    """As cameras give it: mirrored, small, blurred, noisy, packed, a little off; a third stays."""
    view = crop[:, ::-1] if rng.random() < 0.5 else crop
    if rng.random() < 1 / 3:
        return np.ascontiguousarray(view)
    spin = cv2.getRotationMatrix2D((31.5, 31.5), rng.normal(0, 4), rng.normal(1, 0.04))
    spin[:, 2] += rng.normal(0, 1.2, 2)
    view = cv2.warpAffine(
        np.ascontiguousarray(view), spin, (SIDE_PX, SIDE_PX), borderMode=cv2.BORDER_REPLICATE
    )
    side = int(rng.integers(18, SIDE_PX + 1))
    small = cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.2, 0.9))
    grey = (small - 128.0) * rng.uniform(0.5, 1.2) + 128 + rng.normal(0, 20)
    small = _grey(grey + rng.normal(0, rng.uniform(0, 6), grey.shape))
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
    packed = cv2.imdecode(cv2.imencode(".jpg", small, quality)[1], cv2.IMREAD_GRAYSCALE)
    return _grey(cv2.resize(packed, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR))


def _cloth(rng: _Rng, grey: float | None = None) -> npt.NDArray[np.float32]:
    """A piece of stuff (64, 64): a shade, folds, sometimes a pattern."""
    level = float(rng.uniform(10, 250)) if grey is None else float(grey)
    stuff = np.full((SIDE_PX, SIDE_PX), level, np.float32)
    folds = rng.normal(0, rng.uniform(0, 18), (int(rng.integers(2, 8)), int(rng.integers(2, 5))))
    stuff += cv2.resize(folds.astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.3:
        for row in range(int(rng.integers(30, 38)), SIDE_PX, int(rng.integers(4, 9))):
            cv2.line(stuff, (0, row), (63, row + int(rng.normal(0, 2))), level * 0.8, 1)
    return stuff + rng.normal(0, rng.uniform(0, 4), stuff.shape).astype(np.float32)


def _filled(edge: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """(64, 64) 1 inside of a polygon, soft at its edge."""
    large = np.zeros((SIDE_PX * _OVERSAMPLED,) * 2, np.float32)
    cv2.fillPoly(large, [np.round(edge * _OVERSAMPLED).astype(np.int32)], 1.0, cv2.LINE_AA)
    return np.asarray(cv2.resize(large, (SIDE_PX,) * 2, interpolation=cv2.INTER_AREA), np.float32)


def _laid(crop: Crop, stuff: npt.ArrayLike, area: npt.NDArray[np.float32], rng: _Rng) -> Crop:
    """Stuff over a part of the face, as sharp as the photograph."""
    soft = cv2.GaussianBlur(area, (0, 0), rng.uniform(0.3, 0.8))
    return _grey(crop * (1 - soft) + np.asarray(stuff) * soft)


def _grey(values: npt.ArrayLike) -> Crop:
    return np.clip(values, 0, 255).astype(np.uint8)


_RIDGE = 30.0
_SPOILED, _WHOLE = 2, 2
"""Spoiled and whole versions of each face."""


def wild_crops(
    split: str, data: Path | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Crops (N, 64, 64) of the faces found in a split of wild, and their landmarks (N, 468, 2)."""
    finder, faces = FaceFinder(), load_wild(split, data)
    found = [
        crop
        for picture, box in zip(faces.pictures(), faces.boxes, strict=True)
        if (crop := finder.crop(picture, CLEAR_PX, tuple(box.tolist()))) is not None
    ]
    return np.stack([one.pixels for one in found]), np.stack([one.landmarks_xy for one in found])


def examples(
    crops: npt.NDArray[np.uint8], landmarks_xy: npt.NDArray[np.float32], seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Features of N crops and of spoiled ones, and which of SPOILERS each is, -1 for none."""
    rng = np.random.default_rng(seed)
    features, kinds = [], []
    for crop, points in zip(crops, landmarks_xy, strict=True):
        for kind in [-1] * _WHOLE + rng.choice(len(SPOILERS), _SPOILED, replace=False).tolist():
            view = crop if kind < 0 else SPOILERS[kind](crop, points, rng)
            features.append(clear_features(worn(view, rng)))
            kinds.append(kind)
    return np.stack(features), np.array(kinds)


def fit(features: npt.NDArray[np.float32], kinds: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The line, as `stream/faces/clear_view.npy` holds it: weights and then the constant; about 1
    for a face, -1 for what is spoiled."""
    weight = np.where(kinds < 0, 1 / _WHOLE, 1 / _SPOILED).astype(np.float32)
    target = np.where(kinds < 0, 1.0, -1.0).astype(np.float32)
    mean, middle = np.average(features, 0, weight), np.average(target, weights=weight)
    centred = features - mean
    gram = (centred * weight[:, None]).T @ centred + _RIDGE * np.eye(features.shape[1])
    line = np.linalg.solve(gram, centred.T @ (weight * (target - middle)))
    return np.append(line, middle - mean @ line).astype(np.float32)


def separation(
    line: npt.NDArray[np.float32], features: npt.NDArray[np.float32], kinds: npt.NDArray[np.int64]
) -> float:
    """How often a line gives a whole face more than a spoiled one, 0..1."""
    along = features @ line[:-1]
    whole, spoiled = along[kinds < 0], np.sort(along[kinds >= 0])
    return float(np.searchsorted(spoiled, whole).mean() / len(spoiled))


def learned(out: Path, data: Path | None = None) -> tuple[float, float]:
    """Write the line learned on wild's training part to `out`; its `separation` on the validation
    part, and that of the line in use.

    Raises DataMissing and LabelsWrong as the set's reader does.
    """
    line = fit(*examples(*wild_crops("train", data)))
    np.save(out, line.astype(np.float16))
    held_out = examples(*wild_crops("validation", data), seed=1)
    return separation(line, *held_out), separation(clear_line(), *held_out)
