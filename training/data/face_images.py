"""Crops of labelled faces as networks take them, varied by the draw that asks for them."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from ferstream.stream.align import warp

from ..draws import Draw
from .augment import CORNER_CROPS, RANDOM_CROPS, Augmentation, random_matrix, vary_light
from .learning_faces import LearningFaces
from .parsing import IGNORED, Parsing, dominant
from .synthetic.action_units import ARKIT_NAMES

AUGMENTATIONS = {
    "crops": RANDOM_CROPS,
    "rich": Augmentation(),
    "varied": Augmentation(gamma=0.4, coarse_share=0.2),
    "corners": CORNER_CROPS,
}
"""By the name that options give them."""
JUDGED = ("words", "affect", "judge")
"""Columns that judged faces bring."""
MIRRORING = ("rich", "varied", "corners")
"""Those that also mirror half of the crops."""


def _mirrored(name: str) -> str:
    """The blendshape of the other side; a middle one is its own."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


MIRROR_IMAGES = np.array([ARKIT_NAMES.index(_mirrored(name)) for name in ARKIT_NAMES])
"""For each blendshape the number of its mirror image, (52,)."""


class FaceImages(Dataset[dict[str, torch.Tensor]]):
    """Items: crop (1, S, S) uint8, target (K,), counts (); with parsing also semantic (S, S)
    int64, components (8,) and parsed (), 1 where the two are known; with blendshapes also those
    (52,), left and right changed over where the crop is mirrored, and seen (), 1 where known; with
    judged also words (135,), affect (3,) and judge (8,).

    Args:
        faces: N faces.
        crop_px: S.
        augmentation: a name of AUGMENTATIONS; None shows what run time would.
        parsing: where pixels' labels come from; None leaves them out.
        components: so many parts of a face count as dominant.
        weights: (N,) how often each face is drawn in training; None: once an epoch.
        blendshapes, judged: with these columns of the faces.
    """

    def __init__(
        self,
        faces: LearningFaces,
        crop_px: int,
        *,
        augmentation: str | None = None,
        parsing: Parsing | None = None,
        components: int = 4,
        weights: torch.Tensor | None = None,
        blendshapes: bool = False,
        judged: bool = False,
    ) -> None:
        self.faces, self.crop_px, self.parsing = faces, crop_px, parsing
        self.augmentation = AUGMENTATIONS[augmentation] if augmentation else None
        self.mirrors = augmentation in MIRRORING
        self.components, self.weights = components, weights
        self.blendshapes = faces.blendshapes if blendshapes else None
        self.judged = JUDGED if judged and faces.judge is not None else ()
        if parsing is not None:
            parsing.check(faces)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        row, rng = draw.row, draw.rng()
        matrix = self.faces.matrix(row, self.crop_px)
        mirror = False
        if self.augmentation is not None:
            mirror = self.mirrors and bool(rng.random() < 0.5)
            varied = random_matrix(rng, self.augmentation, mirror, self.crop_px)
            matrix = varied[:2] @ np.vstack([matrix, [0, 0, 1]])
        crop = warp(self.faces.pixels[row], matrix, self.crop_px)
        if self.augmentation is not None:
            crop = vary_light(crop, rng, self.augmentation)
        item = {
            "crop": torch.from_numpy(crop)[None],
            "target": torch.from_numpy(self.faces.target[row]),
            "counts": torch.tensor(float(draw.counts)),
        }
        if self.parsing is not None:
            labels = self.parsing.crop(self.faces, row, matrix, self.crop_px)
            item |= {
                "semantic": torch.from_numpy(labels.astype(np.int64)),
                "components": torch.from_numpy(dominant(labels, self.components)),
                "parsed": torch.tensor(float((labels != IGNORED).any())),
            }
        if self.blendshapes is not None:
            shapes = self.blendshapes[row]
            item |= {
                "blendshapes": torch.from_numpy(shapes[MIRROR_IMAGES] if mirror else shapes),
                "seen": torch.tensor(float(self.faces.seen[row])),
            }
        for name in self.judged:
            item[name] = torch.from_numpy(getattr(self.faces, name)[row])
        return item
