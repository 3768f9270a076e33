"""Crops as training shows them: where they are cut, how they are varied, what goes with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ferstream.stream.faces.align import ANCHOR_LANDMARKS
from ferstream.stream.faces.align import crop as run_time_crop
from ferstream.training.datasets.augment import CROP_PX, Augmentation, random_matrix, vary_light
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.fer import FerPlus
from ferstream.training.datasets.learning_faces import LearningFaces
from ferstream.training.datasets.synthetic.expressions import ARKIT_NAMES
from ferstream.training.learning.drawn_sets import MIRROR_IMAGES, FaceImages
from ferstream.training.learning.draws import Draw

Item = dict[str, torch.Tensor]

STILL = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0)
"""No change at all."""


def full_mesh(data: FerPlus, row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The photograph's landmarks at their places in MediaPipe's mesh, (478, 2)."""
    mesh = np.zeros((478, 2), np.float32)
    mesh[data.landmark_index] = data.landmarks_xy[row]
    return mesh


@pytest.fixture(scope="module")
def faces(tiny_dir: Path) -> LearningFaces:
    """The rated photographs of the training split, in the order of the files."""
    return load_splits("fer2013plus", str(tiny_dir)).train


def shown(faces: LearningFaces, row: int, key: int = 0, how: Augmentation | None = None) -> Item:
    """One showing, mirrored or not as the key has it where it is varied."""
    images = FaceImages(faces, CROP_PX, augmentation="rich" if how else None, blendshapes=True)
    images.augmentation = how
    return images[Draw(row, key)]


def assert_crops_match(data: FerPlus, faces: LearningFaces | None, rows: list[int]) -> None:
    measured = data.subset(np.array(rows)).crops(CROP_PX)
    for position, row in enumerate(rows):
        at_run_time = run_time_crop(data.pixels[row], full_mesh(data, row), CROP_PX)
        np.testing.assert_array_equal(measured[position, 0], at_run_time)
        if faces is not None:
            np.testing.assert_array_equal(shown(faces, row)["crop"][0].numpy(), at_run_time)


def test_a_training_crop_is_the_run_time_crop_bit_for_bit(
    tiny: FerPlus, faces: LearningFaces
) -> None:
    assert set(ANCHOR_LANDMARKS) <= set(tiny.landmark_index.tolist())
    rated = tiny.subset(tiny.rated)
    assert_crops_match(rated, faces, np.flatnonzero(rated.seen).tolist())


def test_real_crops_match_too(real: FerPlus) -> None:
    some = real.subset(np.arange(300))
    assert_crops_match(some, None, np.flatnonzero(some.seen).tolist())


def test_augmentation_of_no_size_changes_nothing_but_the_side(faces: LearningFaces) -> None:
    """Half of the showings are mirrored, picture and blendshapes together."""
    assert faces.blendshapes is not None
    mirrored = 0
    for key, row in enumerate(range(0, len(faces), 4)):
        plain, still = shown(faces, row), shown(faces, row, key, STILL)
        own, other = faces.blendshapes[row], faces.blendshapes[row][MIRROR_IMAGES]
        crop, varied = (item["crop"][0].numpy().astype(int) for item in (plain, still))
        np.testing.assert_array_equal(plain["blendshapes"], own)
        if np.array_equal(still["blendshapes"], own) and not np.array_equal(own, other):
            assert np.abs(varied - crop).max() <= 1
            continue
        np.testing.assert_array_equal(still["blendshapes"], other)
        difference = np.abs(varied[:, ::-1] - crop)[:, 2:-2]
        assert np.median(difference) <= 1 and difference.max() < 20
        mirrored += 1
    assert 4 < mirrored < 20


def test_the_mirror_swaps_left_and_right() -> None:
    names = ARKIT_NAMES
    np.testing.assert_array_equal(MIRROR_IMAGES[MIRROR_IMAGES], np.arange(52))
    assert names[MIRROR_IMAGES[names.index("mouthSmileLeft")]] == "mouthSmileRight"
    assert names[MIRROR_IMAGES[names.index("jawLeft")]] == "jawRight"
    assert names[MIRROR_IMAGES[names.index("mouthRight")]] == "mouthLeft"
    middle = [n for n in names if not n.endswith(("Left", "Right"))]
    assert len(middle) == 12
    assert all(names[MIRROR_IMAGES[names.index(name)]] == name for name in middle)


def test_blendshapes_stand_in_the_order_of_the_networks(
    tiny: FerPlus, faces: LearningFaces
) -> None:
    """The file has them in an order of its own; a face that the teacher did not see has none."""
    rated = tiny.subset(tiny.rated)
    assert faces.blendshapes is not None and rated.blendshape_names != ARKIT_NAMES
    for name in ("jawOpen", "mouthSmileLeft"):
        column = rated.blendshapes[:, rated.blendshape_names.index(name)] * rated.seen
        np.testing.assert_array_equal(faces.blendshapes[:, ARKIT_NAMES.index(name)], column)


def test_augmentation_keeps_shape_and_type(faces: LearningFaces) -> None:
    how = Augmentation(erase_share=1, noise_share=1)
    for row in range(len(faces)):
        item = shown(faces, row, row, how)
        assert item["crop"].shape == (1, CROP_PX, CROP_PX) and item["crop"].dtype == torch.uint8
        assert not torch.equal(item["crop"], shown(faces, row)["crop"])


def test_random_matrices_stay_within_their_ranges() -> None:
    rng, how = np.random.default_rng(0), Augmentation()
    for mirror in (False, True):
        found = np.stack([random_matrix(rng, how, mirror) for _ in range(300)])
        determinant = np.linalg.det(found[:, :2, :2])
        assert ((determinant < 0) == mirror).all()
        scale = np.sqrt(np.abs(determinant))
        assert scale.min() > np.exp(-how.scale) - 1e-9 and scale.max() < np.exp(how.scale) + 1e-9
        centre = np.array([23.5, 23.5, 1])
        moved = np.abs((found @ centre)[:, :2] - 23.5)
        assert moved.max() <= how.shift * CROP_PX + 1e-9


@pytest.mark.parametrize("grey", [0, 255])
def test_light_never_wraps_around(grey: int) -> None:
    crop = np.full((CROP_PX, CROP_PX), grey, np.uint8)
    how = replace(STILL, brightness=40, contrast=0.3)
    for seed in range(10):
        varied = vary_light(crop, np.random.default_rng(seed), how)
        assert np.abs(varied.astype(int) - grey).max() <= 41
