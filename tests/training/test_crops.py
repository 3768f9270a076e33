from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from stream.align import ANCHOR_LANDMARKS
from stream.align import crop as run_time_crop
from training.data.augment import CROP_PX, Augmentation, random_matrix, vary_light
from training.data.crops import CropDataset, mirrored_blendshapes
from training.data.fer import FerPlus
from training.evaluate import crops_of

STILL = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0)
"""No change at all."""


def full_mesh(data: FerPlus, row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The photograph's landmarks at their places in MediaPipe's mesh, (478, 2)."""
    mesh = np.zeros((478, 2), np.float32)
    mesh[data.landmark_index] = data.landmarks_xy[row]
    return mesh


def assert_crops_match(data: FerPlus, rows: list[int]) -> None:
    dataset, measured = CropDataset(data), crops_of(data.subset(np.array(rows)), CROP_PX)
    for position, row in enumerate(rows):
        at_run_time = run_time_crop(data.pixels[row], full_mesh(data, row), CROP_PX)
        np.testing.assert_array_equal(dataset[row]["crop"][0].numpy(), at_run_time)
        np.testing.assert_array_equal(measured[position, 0], at_run_time)


def test_a_training_crop_is_the_run_time_crop_bit_for_bit(tiny: FerPlus) -> None:
    assert set(ANCHOR_LANDMARKS) <= set(tiny.landmark_index.tolist())
    assert_crops_match(tiny, np.flatnonzero(tiny.seen).tolist())


def test_real_crops_match_too(real: FerPlus) -> None:
    assert_crops_match(real.subset(np.arange(300)), np.flatnonzero(real.seen[:300]).tolist())


def test_augmentation_of_no_size_changes_nothing(tiny: FerPlus) -> None:
    plain, still = CropDataset(tiny), CropDataset(tiny, augmentation=STILL)
    for row in range(0, len(tiny), 7):
        difference = still.crop(row).astype(int) - plain.crop(row)
        assert np.abs(difference).max() <= 1


def test_a_mirrored_crop_is_the_mirror_image(tiny: FerPlus) -> None:
    plain, still = CropDataset(tiny), CropDataset(tiny, augmentation=STILL)
    mirrored = still.crop(0, mirror=True).astype(int)
    difference = np.abs(mirrored[:, ::-1] - plain.crop(0))[:, 2:-2]
    assert np.median(difference) <= 1 and difference.max() < 20


def test_mirroring_blendshapes_swaps_left_and_right(tiny: FerPlus) -> None:
    names = tiny.blendshape_names
    mirror = mirrored_blendshapes(names)
    np.testing.assert_array_equal(mirror[mirror], np.arange(52))
    assert sorted(mirror.tolist()) == list(range(52))
    assert names[mirror[names.index("mouthSmileLeft")]] == "mouthSmileRight"
    assert names[mirror[names.index("jawLeft")]] == "jawRight"
    assert names[mirror[names.index("mouthRight")]] == "mouthLeft"
    middle = [n for n in names if not n.endswith(("Left", "Right"))]
    assert len(middle) == 12
    assert all(names[mirror[names.index(name)]] == name for name in middle)


def test_mirroring_knows_the_real_names(real: FerPlus) -> None:
    mirror = mirrored_blendshapes(real.blendshape_names)
    np.testing.assert_array_equal(mirror[mirror], np.arange(52))
    assert (mirror != np.arange(52)).sum() == 40


def test_a_mirrored_sample_mirrors_its_units(tiny: FerPlus) -> None:
    """Half of the samples are mirrored, picture and units together."""
    dataset = CropDataset(tiny, augmentation=STILL, seed=1)
    plain = CropDataset(tiny).crop(3).astype(int)
    mirrored_units = torch.from_numpy(tiny.blendshapes[3][dataset.mirror])
    seen = []
    for _ in range(20):
        sample = dataset[3]
        mirrored = bool(torch.equal(sample["au"], mirrored_units))
        assert mirrored or torch.equal(sample["au"], torch.from_numpy(tiny.blendshapes[3]))
        shown = sample["crop"][0].numpy().astype(int)
        straight = np.abs(shown - plain).mean() < np.abs(shown[:, ::-1] - plain).mean()
        assert straight != mirrored
        seen.append(mirrored)
    assert 0 < sum(seen) < 20


def test_augmentation_keeps_shape_and_type(tiny: FerPlus) -> None:
    dataset = CropDataset(tiny, augmentation=Augmentation(erase_share=1, noise_share=1))
    plain = CropDataset(tiny)
    for row in range(len(tiny)):
        sample = dataset[row]
        assert sample["crop"].shape == (1, CROP_PX, CROP_PX)
        assert sample["crop"].dtype == torch.uint8
        assert not torch.equal(sample["crop"], plain[row]["crop"])
        assert torch.equal(sample["votes"], plain[row]["votes"])


def test_a_seed_repeats_the_augmentation(tiny: FerPlus) -> None:
    first, again, other = (
        CropDataset(tiny, augmentation=Augmentation(), seed=seed)[5]["crop"] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_samples_stack_into_batches(tiny: FerPlus) -> None:
    batch = next(iter(DataLoader(CropDataset(tiny), 16)))
    shapes = {name: tuple(value.shape[1:]) for name, value in batch.items()}
    assert shapes == {
        "crop": (1, CROP_PX, CROP_PX),
        "votes": (8,),
        "words": (135,),
        "word_weight": (),
        "au": (52,),
        "seen": (),
        "rated": (),
    }
    assert all(v.dtype == torch.float32 for name, v in batch.items() if name != "crop")


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
