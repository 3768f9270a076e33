"""Aligned crops, augmented: one resampling from photograph to network input.

Alignment and augmentation are composed into one matrix and applied by the very function that
cuts crops at run time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from stream.align import warp

from .augment import CROP_PX, Augmentation, random_matrix, vary_light
from .fer import FerPlus
from .words import word_targets


def mirrored_blendshapes(names: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """For each blendshape the number of its mirror image: Left and Right swapped."""
    position = {name: i for i, name in enumerate(names)}
    swap = {"Left": "Right", "Right": "Left"}

    def mirror(name: str) -> str:
        for side, other in swap.items():
            if name.endswith(side):
                return name.removesuffix(side) + other
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
