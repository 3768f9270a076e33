"""A picture that stands alone is read in several views."""

from __future__ import annotations

import numpy as np
import pytest

from ferstream.engines.views import VIEWS, joined_views, with_views

RNG = np.random.default_rng(0)


def test_views_are_the_crop_moved_to_either_side() -> None:
    crops = RNG.integers(0, 256, (3, 1, 48, 48), np.uint8)
    alone = np.array([False, True, False])
    views = with_views(crops, alone)
    assert len(views) == 3 + VIEWS - 1 and np.array_equal(views[:3], crops)
    up, down = views[3:]
    assert np.array_equal(up[0, 1:, 1:], crops[1, 0, :-1, :-1]), (
        "what lay above comes from the edge"
    )
    assert np.array_equal(down[0, :-1, :-1], crops[1, 0, 1:, 1:])
    assert np.array_equal(up[0, 0, 1:], crops[1, 0, 0, :-1])


@pytest.mark.parametrize(("side", "px"), [(32, 1), (64, 1), (96, 2), (224, 5)])
def test_the_shift_grows_with_the_crop(side: int, px: int) -> None:
    crops = RNG.integers(0, 256, (1, 3, side, side), np.uint8)
    views = with_views(crops, np.array([True]))
    assert views.shape == (3, 3, side, side)
    assert np.array_equal(views[2][:, :-px, :-px], crops[0][:, px:, px:])


def test_each_crop_has_the_mean_of_its_own_views() -> None:
    alone = np.array([True, False, True])
    rows = np.array([1, 10, 100, 2, 200, 6, 300], np.float32)
    joined = joined_views({"a": rows, "b": np.stack([rows, -rows], axis=1)}, alone)
    assert joined["a"].tolist() == [3, 10, 200]
    assert joined["b"].tolist() == [[3, -3], [10, -10], [200, -200]]
    assert rows[0] == 1, "what the network gave stays as it is"


def test_frames_of_a_clip_are_read_once() -> None:
    crops, none = RNG.integers(0, 256, (2, 1, 48, 48), np.uint8), np.zeros(2, bool)
    assert with_views(crops, none) is crops
    outputs = {"a": np.ones((2, 4), np.float32)}
    assert joined_views(outputs, none)["a"] is outputs["a"]
