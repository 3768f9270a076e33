from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ferstream.stream.clip import MOTION_CROP_PX
from ferstream.training.datasets.augment import CROP_PX, SPOILS, ViewMaker
from ferstream.training.datasets.fer import FerPlus
from ferstream.training.datasets.motion import Crop, FaceShape, MovingFace, aligned_landmarks

ROWS = range(12, 96, 5)


def distance(view: Crop, other: Crop) -> float:
    """Mean squared difference of two pictures, their light evened out."""
    a, b = ((image - image.mean()) / image.std() for image in (view.astype(float), other))
    return float(np.square(a - b).mean())


def edges(view: Crop) -> float:
    return float(np.abs(np.diff(view.astype(float))).mean())


@pytest.mark.parametrize("how", [how for how in SPOILS if how != "halfway"])
def test_a_clean_view_is_nearer_to_the_crop(tiny: FerPlus, shape: FaceShape, how: str) -> None:
    maker, plain = ViewMaker(tiny, shape, seed=0), tiny.crops(CROP_PX)[:, 0]
    clean = [distance(maker.clean(row), plain[row]) for row in ROWS]
    spoiled = [distance(maker.spoiled(row, how), plain[row]) for row in ROWS]
    assert 0 < np.mean(clean) < 0.7 * np.mean(spoiled)


@pytest.mark.parametrize("how", [None, *SPOILS])
def test_every_view_is_a_crop(tiny: FerPlus, shape: FaceShape, how: str | None) -> None:
    maker = ViewMaker(tiny, shape, seed=0)
    for row in ROWS:
        view = maker.spoiled(row, how) if how else maker.clean(row)
        assert view.shape == (CROP_PX, CROP_PX) and view.dtype == np.uint8


def test_dark_is_dark_and_blur_has_no_edges(tiny: FerPlus, shape: FaceShape) -> None:
    maker, plain = ViewMaker(tiny, shape, seed=0), tiny.crops(CROP_PX)[:, 0]
    for row in ROWS:
        crop = plain[row]
        assert maker.spoiled(row, "dark").mean() < 0.4 * crop.mean()
        assert edges(maker.spoiled(row, "blur")) < 0.7 * edges(crop)


def test_halfway_is_nearer_to_rest_than_to_the_expression(tiny: FerPlus, shape: FaceShape) -> None:
    maker, plain = ViewMaker(tiny, shape, seed=0), tiny.crops(CROP_PX)[:, 0]
    matrices, landmarks = tiny.matrices(MOTION_CROP_PX), aligned_landmarks(tiny)
    nearer = []
    for row in np.flatnonzero(tiny.seen & (tiny.majority > 0))[::4]:
        face = MovingFace(tiny.pixels[row], matrices[row], landmarks[row])
        rest = face.render(-shape.expression(tiny.blendshapes[row]), crop_px=CROP_PX)
        view = maker.spoiled(int(row), "halfway")
        nearer.append(distance(view, rest) < distance(view, plain[int(row)]))
    assert np.mean(nearer) > 0.9


def test_a_hand_covers_a_part(tiny: FerPlus, shape: FaceShape) -> None:
    maker = ViewMaker(tiny, shape, seed=0)
    for _ in range(30):
        view = maker.clean(12)
        before = view.copy()
        covered = maker._occluded(view)
        share = (covered != before).mean()
        assert 0.2 < share < 0.65
        np.testing.assert_array_equal(view, before)


def test_halfway_needs_landmarks_and_blurs_without(tiny: FerPlus, shape: FaceShape) -> None:
    blind = replace(tiny, seen=np.zeros(len(tiny), bool))
    view = ViewMaker(blind, shape, seed=0).spoiled(20, "halfway")
    assert edges(view) < 0.7 * edges(blind.crops(CROP_PX)[20, 0])


def test_a_clip_marks_its_spoiled_views(tiny: FerPlus, shape: FaceShape) -> None:
    maker = ViewMaker(tiny, shape, seed=0)
    places = []
    for spoiled in (0, 3, 6):
        views, marks = maker.clip(30, 6, spoiled)
        assert views.shape == (6, CROP_PX, CROP_PX) and marks.sum() == spoiled
        places.append(marks)
    assert any(maker.clip(30, 6, 3)[1].tolist() != places[1].tolist() for _ in range(5))


def test_an_unknown_spoil_is_named(tiny: FerPlus, shape: FaceShape) -> None:
    with pytest.raises(ValueError, match=r"'rain'.*blur, dark"):
        ViewMaker(tiny, shape, seed=0).spoiled(0, "rain")
