"""Faces and clips as the sets of `Draw` that training and validation go through.

Crops of labelled faces as networks take them, varied by the draw that asks for them.

Clips as the streams of TMSAU-Net take them, varied by the draw that asks for them.

T frames, F motion fields, P side of a field, S side of a crop, D values of a feature, K labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ferstream.engines.views import other_sides
from ferstream.stream.faces.align import warp

from ..datasets.augment import CORNER_CROPS, RANDOM_CROPS, Augmentation, random_matrix, vary_light
from ..datasets.learning_clips import LearningClips
from ..datasets.learning_faces import LearningFaces
from ..datasets.parsing import IGNORED, Parsing, dominant
from ..datasets.synthetic.expressions import ARKIT_NAMES
from .draws import Draw

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


MIRROR_IMAGES = np.array(other_sides(ARKIT_NAMES))
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


SHIFT = 0.06
"""How far a clip is moved sideways and up or down in training, in sides: the paper's crops from
corners and centre (V-B) without the loss of size."""
LEAST_FRAMES = 0.5
"""Share of a clip's frames that training shows at least."""


class FlowStacks(Dataset[dict[str, torch.Tensor]]):
    """Items: motion (2F, P, P) float32, target (K,), counts (). Training begins the stack
    anywhere in the clip, mirrors it and moves it a little; else it is the clip's middle."""

    weights: torch.Tensor | None = None

    def __init__(self, clips: LearningClips, fields: int, *, training: bool) -> None:
        self.clips, self.fields, self.training = clips, fields, training

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        there = int(self.clips.mask[draw.row].sum()) - 1
        room, rng = max(there - self.fields, 0), draw.rng()
        start = int(rng.integers(0, room + 1)) if self.training else room // 2
        stack = middle_stack(self.clips.motion[draw.row], start, self.fields)
        if self.training:
            if rng.random() < 0.5:
                stack = stack[..., ::-1] * np.array([-1, 1], np.float32)[:, None, None]
            stack = _moved(stack, rng)
        motion = np.ascontiguousarray(stack).reshape(-1, *stack.shape[2:])
        return _item(motion, "motion", self.clips, draw)


class CropClips(Dataset[dict[str, torch.Tensor]]):
    """Items: motion (T, 1, S, S) uint8, the clip's crops; target (K,), counts (). Training mirrors
    them, moves them a little and varies the light, all frames alike."""

    weights: torch.Tensor | None = None

    def __init__(self, clips: LearningClips, crop_px: int, *, training: bool) -> None:
        self.clips, self.crop_px, self.training = clips, crop_px, training

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        crops = whole_clip(self.clips, draw.row, self.crop_px)
        if self.training:
            rng = draw.rng()
            if rng.random() < 0.5:
                crops = crops[..., ::-1]
            gain, offset = rng.uniform(0.8, 1.25), rng.uniform(-20, 20)
            crops = np.clip(_moved(crops, rng) * gain + offset, 0, 255).astype(np.uint8)
        return _item(np.ascontiguousarray(crops), "motion", self.clips, draw)


class FrameFeatures(Dataset[dict[str, torch.Tensor]]):
    """Items: feature (T, D) and mask (T,) of a clip; target (K,), counts ().

    Args:
        clips: N clips.
        feature: (V, N, T, D) of V views of every frame: as it is, and mirrored.
        training: shows any view, and only a stretch of the clip that holds its key frame.
    """

    weights: torch.Tensor | None = None

    def __init__(
        self, clips: LearningClips, feature: npt.NDArray[np.float16], *, training: bool
    ) -> None:
        self.clips, self.feature, self.training = clips, feature, training

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> dict[str, torch.Tensor]:
        view, mask = 0, self.clips.mask[draw.row].copy()
        if self.training:
            rng, there, peak = draw.rng(), int(mask.sum()), int(self.clips.peak[draw.row])
            view = int(rng.integers(len(self.feature)))
            length = int(rng.integers(max(1, round(LEAST_FRAMES * there)), there + 1))
            low, high = max(peak - length + 1, 0), min(peak, there - length)
            start = int(rng.integers(low, high + 1))
            mask[:start] = mask[start + length :] = 0
        feature = self.feature[view, draw.row].astype(np.float32)
        item = _item(feature, "feature", self.clips, draw)
        return {**item, "mask": torch.from_numpy(mask)}


def middle_stack(
    fields: npt.NDArray[np.float16], start: int, count: int
) -> npt.NDArray[np.float32]:
    """(count, 2, P, P) of a clip's fields; where it has fewer, zeros come first, as in run time's
    stacks."""
    stack = np.zeros((count, *fields.shape[1:]), np.float32)
    found = fields[start : start + count]
    stack[count - len(found) :] = found
    return stack


def whole_clip(clips: LearningClips, row: int, crop_px: int) -> npt.NDArray[np.uint8]:
    """(T, 1, S, S): a clip's crops; behind its end the last one stays."""
    crops = clips.crops(np.array([row]), crop_px)[0]
    there = int(clips.mask[row].sum())
    return np.asarray(crops[np.minimum(np.arange(len(crops)), there - 1)], np.uint8)


def _moved(stack: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    """All pictures (..., S, S) moved by up to SHIFT; the rim is repeated."""
    side = stack.shape[-1]
    reach = max(round(SHIFT * side), 1)
    x, y = rng.integers(-reach, reach + 1, 2)
    rows, columns = (np.clip(np.arange(side) + by, 0, side - 1) for by in (y, x))
    return np.asarray(stack[..., rows[:, None], columns[None]])


def _item(
    array: npt.NDArray[Any], name: str, clips: LearningClips, draw: Draw
) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(array),
        "target": torch.from_numpy(clips.target[draw.row]),
        "counts": torch.tensor(float(draw.counts)),
    }
