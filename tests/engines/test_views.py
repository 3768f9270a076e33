"""Frames take turns as they are and mirrored; a picture that stands alone is read in all views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.engines.bundle import load_bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.manifest import Manifest
from ferstream.engines.views import Reading, Views, other_sides

RNG = np.random.default_rng(0)
ALL = tuple(Reading)


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return load_bundle().manifest


@pytest.fixture(scope="module")
def views(manifest: Manifest) -> Views:
    assert manifest.mirrored
    return Views(manifest)


def crops(count: int = 2, side: int = 48, channels: int = 1) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (count, channels, side, side), np.uint8)


def test_views_are_the_crop_moved_to_either_side_and_mirrored(views: Views) -> None:
    shown = crops(4)
    seen = views.crops(shown, ALL)
    assert len(seen) == 1 + 1 + 2 + 6
    as_is, mirrored, both, alone = seen[:1], seen[1:2], seen[2:4], seen[4:]
    assert np.array_equal(as_is[0], shown[0])
    assert np.array_equal(mirrored[0], shown[1][..., ::-1])
    assert np.array_equal(both[0], shown[2]) and np.array_equal(both[1], shown[2][..., ::-1])
    own, up, down = alone[:3]
    assert np.array_equal(own, shown[3])
    assert np.array_equal(up[0, :-1, :-1], shown[3, 0, 1:, 1:])
    assert np.array_equal(down[0, 1:, 1:], shown[3, 0, :-1, :-1])
    assert np.array_equal(up[0, -1, :-1], shown[3, 0, -1, 1:]), "what comes in repeats the edge"
    assert np.array_equal(alone[3:], alone[:3, ..., ::-1])


@pytest.mark.parametrize(("side", "px"), [(32, 1), (64, 1), (96, 2), (224, 5)])
def test_the_shift_grows_with_the_crop(views: Views, side: int, px: int) -> None:
    shown = crops(1, side, 3)
    up = views.crops(shown, [Reading.ALONE])[1]
    assert np.array_equal(up[:, :-px, :-px], shown[0][:, px:, px:])


def test_each_crop_has_the_mean_of_its_own_views(views: Views) -> None:
    readings = [Reading.BOTH, Reading.AS_IS, Reading.ALONE]
    rows = np.array([2, 4, 10, 1, 2, 3, 4, 5, 9], np.float32)
    joined = views.joined({"a": rows, "b": np.stack([rows, -rows], axis=1)}, readings)
    assert joined["a"].tolist() == [3, 10, 4]
    assert joined["b"].tolist() == [[3, -3], [10, -10], [4, -4]]


def test_what_knows_left_from_right_is_turned_back(manifest: Manifest, views: Views) -> None:
    names = manifest.head("au").labels
    units = np.zeros((3, len(names)), np.float32)
    units[0, names.index("mouthSmileLeft")] = 0.8  # a mirrored crop of a smile on the right
    units[0, names.index("jawOpen")] = 0.5
    units[1, names.index("mouthSmileRight")] = 0.6
    units[2, names.index("mouthSmileLeft")] = 0.4
    place = np.array([[0.2, 0.7], [0.3, 0.6], [0.9, 0.6]], np.float32)
    readings = [Reading.MIRRORED, Reading.BOTH]
    joined = views.joined({"au": units, "zoom": place}, readings)
    right = joined["au"][:, names.index("mouthSmileRight")]
    assert right.tolist() == pytest.approx([0.8, 0.5])
    assert not joined["au"][:, names.index("mouthSmileLeft")].any()
    assert joined["au"][0, names.index("jawOpen")] == pytest.approx(0.5)
    np.testing.assert_allclose(joined["zoom"], [[0.8, 0.7], [0.3, 0.6]], atol=1e-6)
    assert units[0, names.index("mouthSmileLeft")] == np.float32(0.8), "outputs are not written to"
    assert other_sides(["a", "eyeLeft", "eyeRight"]) == [0, 2, 1]


def test_frames_read_as_they_are_cost_nothing_more(views: Views) -> None:
    shown, readings = crops(2), [Reading.AS_IS] * 2
    assert views.crops(shown, readings) is shown
    outputs = {"a": np.ones((2, 4), np.float32)}
    assert views.joined(outputs, readings)["a"] is outputs["a"]


def test_a_network_not_made_for_it_is_never_shown_a_mirrored_crop(manifest: Manifest) -> None:
    """Those of older bundles mirror crops themselves."""
    plain, shown = Views(replace(manifest, mirrored=False)), crops(4)
    seen = plain.crops(shown, ALL)
    assert np.array_equal(seen[:4], shown)
    assert len(seen) == 3 + 3
    rows = {"a": np.array([1, 2, 3, 1, 2, 6], np.float32)}
    assert plain.joined(rows, ALL)["a"].tolist() == [1, 2, 3, 3]


def test_a_mirrored_face_is_read_the_same(views: Views, manifest: Manifest) -> None:
    """The mean over both sides does not know which one it was; blendshapes change theirs."""
    shown = crops(3)
    other = np.ascontiguousarray(shown[..., ::-1])
    engine, readings = open_engine(load_bundle(), "spatial", precision="fp32"), [Reading.BOTH] * 3
    one, two = (
        views.joined(engine.run({"crop": views.crops(side, readings)}), readings)
        for side in (shown, other)
    )
    engine.close()
    for name in ("feature", "basic8", "emo135", "affect"):
        np.testing.assert_allclose(one[name], two[name], atol=1e-4)
    turned = two["au"][:, other_sides(manifest.head("au").labels)]
    np.testing.assert_allclose(one["au"], turned, atol=1e-5)
