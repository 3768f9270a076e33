"""The heads of a spatial network, learned on features that are computed once.

Basic expressions by votes, or by the judge where nobody voted; words, classes and affect by the
judge (training.data.judged). The joint training shapes features for all tasks at once, by a rate
that suits convolutions, and a bundle that is learned on from has no such heads: here they alone are
learned, on features of faces as they are and varied.

N faces, V views of each, D features, K expressions, W words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from ferstream.engines.taxonomy import roll_up
from ferstream.engines.whole import written_whole

from ..data.augment import CROP_PX
from ..data.face_images import FaceImages
from ..data.learning_faces import LearningFaces
from ..draws import Draw
from ..learner import CLIMB, Recipe, optimized
from ..losses import judged_loss, vote_cross_entropy
from ..networks.compact_msau import CompactMSAU
from .attention import features_of

TOP = 10


@dataclass(frozen=True)
class HeadsOptions:
    """What one training of the heads is made of."""

    views: int = 2
    """of each face, the first as it is"""
    epochs: int = 12
    """times that as many features are drawn as there are"""
    batch: int = 256
    peak_rate: float = 0.002
    weight_decay: float = 0.05
    feature_dropout: float = 0.3
    word_weight: float = 0.12
    affect_weight: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class FaceFeatures:
    """feature (V * N, D), target (V * N, K), words (V * N, W) graded, affect (V * N, 3), judged
    (V * N,) 1 where the last two are known."""

    feature: Tensor
    target: Tensor
    words: Tensor
    affect: Tensor
    judged: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """All columns, in order."""
        return self.feature, self.target, self.words, self.affect, self.judged


def face_features(
    network: CompactMSAU, faces: LearningFaces, views: int, seed: int
) -> FaceFeatures:
    """Features of faces, as they are and varied, as exported: means over each crop and its mirror
    image.

    Raises:
        ValueError: none of the faces was judged.
    """
    if faces.words is None or faces.affect is None or faces.judge is None:
        raise ValueError(f"none of {faces.name} was judged: there is nothing to learn words from")
    features = []
    for view in range(views):
        images = FaceImages(faces, CROP_PX, augmentation="varied" if view else None)
        keys = np.random.default_rng([seed, view]).integers(2**62, size=len(faces))
        crops = [
            images[Draw(row, int(key))]["crop"].numpy()[0]
            for row, key in enumerate(track(keys, f"Features, view {view + 1} of {views}"))
        ]
        features.append(features_of(network, np.stack(crops), exact=True))
    columns = (faces.target, faces.words, faces.affect, faces.judge.sum(axis=1, keepdims=True))
    target, words, affect, judged = (torch.from_numpy(c).repeat(views, 1) for c in columns)
    return FaceFeatures(torch.cat(features), target, words, affect, judged[:, 0])


def kept_features(path: Path, make: Callable[[], FaceFeatures]) -> FaceFeatures:
    """What stands in ``path``, an .npz file, or else is made and kept there."""
    if not path.exists():
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as fresh, fresh.open("wb") as file:
            np.savez(file, **{name: value.numpy() for name, value in made.__dict__.items()})
    with np.load(path) as stored:
        return FaceFeatures(**{name: torch.from_numpy(stored[name]) for name in stored.files})


class HeadsTraining(lightning.LightningModule):
    """A network's expressions' head and its `JudgedHeads` on features (B, D)."""

    roll_up: Tensor

    def __init__(self, network: CompactMSAU, options: HeadsOptions, steps: int) -> None:
        super().__init__()
        assert network.judged is not None, "a network of judged faces"
        self.options, self.steps = options, steps
        self.network = nn.ModuleDict({"head": network.head, "judged": network.judged})
        self.network.requires_grad_(True)
        self.dropout = nn.Dropout(options.feature_dropout)
        classes = torch.from_numpy(roll_up("emo135", "fg33"))
        self.register_buffer("roll_up", classes, persistent=False)

    def losses(self, batch: list[Tensor], feature: Tensor) -> dict[str, Tensor]:
        """Each task's."""
        _, target, words, affect, judged = batch
        told = judged_loss(self.network["judged"](feature), words, affect, judged, self.roll_up)
        everyone = torch.ones_like(judged)
        logits = self.network["head"](feature)
        return {"expression": vote_cross_entropy(logits, target, everyone), **told}

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        parts, options = self.losses(batch, self.dropout(batch[0])), self.options
        loss: Tensor = (
            parts["expression"]
            + options.word_weight * (parts["words"] + parts["fine"])
            + options.affect_weight * parts["affect"]
        )
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """Losses, top-1, and how often the judge's first word is among the ten likeliest."""
        feature, target, words, _, _ = batch
        named = words.amax(1) > 0
        ten = self.network["judged"](feature).words.topk(TOP, dim=1).indices
        first = (ten == words.argmax(1, keepdim=True)).any(1)[named].float().mean()
        top1 = (self.network["head"](feature).argmax(1) == target.argmax(1)).float().mean()
        found = {**self.losses(batch, feature), "top1": top1, "first_in_top10": first}
        self.log_dict(found, prog_bar=True, batch_size=len(feature))

    def configure_optimizers(self) -> Any:
        options = self.options
        recipe = Recipe(
            "adamw", options.peak_rate, weight_decay=options.weight_decay, one_cycle=CLIMB
        )
        return optimized(self, recipe, self.steps)


def feature_loader(
    features: FaceFeatures, batch: int, *, weights: Tensor | None = None, seed: int = 0
) -> DataLoader[Any]:
    """Batches of `FaceFeatures.tensors`: drawn by weights (N,), which all views share, or all of
    them in order."""
    made = TensorDataset(*features.tensors())
    if weights is None:
        return DataLoader(made, batch)
    every = weights.repeat(len(features.feature) // len(weights))
    generator = torch.Generator().manual_seed(seed)
    drawn = WeightedRandomSampler(every.tolist(), len(every), generator=generator)
    return DataLoader(made, batch, sampler=drawn, drop_last=True)
