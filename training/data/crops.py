"""Aligned crops, augmented: one resampling from photograph to network input.

Alignment and augmentation are composed into one matrix and applied by the very function that
cuts crops at run time.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from stream.align import warp

from .fer import FerPlus
from .words import word_targets

CROP_PX = 48


@dataclass(frozen=True)
class Augmentation:
    """How far crops are varied; ranges are symmetric about no change."""

    shift: float = 0.07
    """in crop sides"""
    rotation_deg: float = 12.0
    scale: float = 0.12
    aspect: float = 0.06
    contrast: float = 0.35
    brightness: float = 30.0
    blur_share: float = 0.15
    noise_share: float = 0.2
    erase_share: float = 0.5
    erase_side: float = 0.4
    """largest side of the erased rectangle in crop sides"""


def random_matrix(
    rng: np.random.Generator, how: Augmentation, mirror: bool
) -> npt.NDArray[np.float64]:
    """A random similarity with a little stretch about the crop's centre, (3, 3)."""
    angle = np.deg2rad(rng.uniform(-how.rotation_deg, how.rotation_deg))
    scale = np.exp(rng.uniform(-how.scale, how.scale))
    stretch = np.exp(rng.uniform(-how.aspect, how.aspect))
    centre = (CROP_PX - 1) / 2
    shift = rng.uniform(-how.shift, how.shift, 2) * CROP_PX
    linear = (
        scale
        * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        @ np.diag([stretch * (-1 if mirror else 1), 1 / stretch])
    )
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + shift - linear @ [centre, centre]
    return matrix


def vary_light(
    crop: npt.NDArray[np.uint8], rng: np.random.Generator, how: Augmentation
) -> npt.NDArray[np.uint8]:
    """Contrast, brightness, blur, noise and an erased rectangle."""
    image = crop.astype(np.float32)
    mean = image.mean()
    image = (image - mean) * np.exp(rng.uniform(-how.contrast, how.contrast)) + mean
    image += rng.uniform(-how.brightness, how.brightness)
    if rng.random() < how.blur_share:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < how.noise_share:
        image += rng.normal(0, rng.uniform(2, 10), image.shape).astype(np.float32)
    if rng.random() < how.erase_share:
        h, w = (rng.uniform(0.1, how.erase_side, 2) * CROP_PX).astype(int)
        y, x = rng.integers(0, CROP_PX - h + 1), rng.integers(0, CROP_PX - w + 1)
        image[y : y + h, x : x + w] = rng.uniform(0, 255)
    return np.asarray(np.clip(image + 0.5, 0, 255), dtype=np.uint8)


def mirrored_blendshapes(names: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """For each blendshape the number of its mirror image: Left and Right swapped."""
    position = {name: i for i, name in enumerate(names)}
    swap = {"Left": "Right", "Right": "Left"}

    def mirror(name: str) -> str:
        for side, other in swap.items():
            if name.endswith(side):
                return name.removesuffix(side) + other
            if name in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
                return name.replace(side, other) if side in name else name
        return name

    return np.array([position[mirror(name)] for name in names])


class CropDataset(Dataset[dict[str, torch.Tensor]]):
    """Crops (1, 48, 48) uint8 with votes (8,), word target (135,) and weight, AUs (52,), seen."""

    def __init__(
        self, data: FerPlus, *, augmentation: Augmentation | None = None, seed: int = 0
    ) -> None:
        self.data = data
        self.matrices = data.matrices(CROP_PX)
        self.words, self.word_weight = word_targets(data)
        self.mirror = mirrored_blendshapes(data.blendshape_names)
        self.augmentation = augmentation
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.data)

    def crop(self, index: int, mirror: bool = False) -> npt.NDArray[np.uint8]:
        """One aligned crop (48, 48), augmented where the set is."""
        matrix = self.matrices[index]
        if self.augmentation is None:
            return warp(self.data.pixels[index], matrix, CROP_PX)
        varied = random_matrix(self.rng, self.augmentation, mirror)[:2] @ np.vstack(
            [matrix, [0, 0, 1]]
        )
        return vary_light(
            warp(self.data.pixels[index], varied, CROP_PX), self.rng, self.augmentation
        )

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        mirror = self.augmentation is not None and bool(self.rng.random() < 0.5)
        crop = self.crop(index, mirror)
        units = self.data.blendshapes[index]
        return {
            "crop": torch.from_numpy(crop)[None],
            "votes": torch.from_numpy(self.data.votes[index]),
            "words": torch.from_numpy(self.words[index]),
            "word_weight": torch.tensor(self.word_weight[index]),
            "au": torch.from_numpy(units[self.mirror] if mirror else units),
            "seen": torch.tensor(float(self.data.seen[index])),
            "rated": torch.tensor(float(self.data.rated[index])),
        }
