"""The attention over frames, learned on clips of one face's views, and the weight of fusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ..data.augment import CROP_PX
from ..data.motion import FIELDS, FaceShape, MotionMaker, motion_target
from ..data.views import ViewMaker
from ..draws import sampling_weights
from ..learner import CLIMB, Recipe, optimized
from ..losses import vote_cross_entropy
from ..networks.compact_msau import CompactMSAU
from ..networks.fusion import CascadedAttention
from .temporal import movable

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AttentionOptions:
    """What one training of the attention is made of."""

    clips: int = 4_000
    validation_clips: int = 1_000
    views: int = 8
    """a clip"""
    epochs: int = 20
    batch: int = 128
    peak_rate: float = 0.001
    weight_decay: float = 0.1
    flatness: float = 0.03
    """What a nat of departure from equal weights costs: attention only where it pays"""
    balance: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class FeatureClips:
    """feature (N, T, D), spoiled (N, T) 1 or 0, votes (N, 8)."""

    feature: Tensor
    spoiled: Tensor
    votes: Tensor


@torch.no_grad()
def features_of(
    network: CompactMSAU, crops: npt.NDArray[np.uint8], *, exact: bool = False
) -> Tensor:
    """Crops (N, 48, 48) to features (N, D) float32, in evaluation mode.

    As exported: means over each crop and its mirror image.

    In bf16, which is several times faster on a CPU, unless ``exact``.
    """
    device = next(network.parameters()).device
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = []
    for part in torch.split(torch.from_numpy(crops)[:, None], 256):
        with torch.autocast(device.type, torch.bfloat16, enabled=not exact):
            both = network.body(torch.cat([part, part.flip(3)]).to(device)).feature
        parts.append(both.float().reshape(2, len(part), -1).mean(0).cpu())
    return torch.cat(parts)


def view_clips(
    network: CompactMSAU,
    shape: FaceShape,
    split: str,
    folder: str | None,
    options: AttentionOptions,
    *,
    clips: int | None,
    spoiled: int | None,
) -> FeatureClips:
    """Clips of views of photographs of one split.

    ``clips`` None takes every photograph once, in order; else so many are drawn, the rarer
    emotions more often. ``spoiled`` None spoils 1 to T - 1 views of each.
    """
    data = movable(split, folder)
    maker = ViewMaker(data, shape, options.seed + len(split))
    rows = np.arange(len(data))
    if clips is not None:
        weights = sampling_weights(data.votes, options.balance).numpy()
        rows = maker.rng.choice(len(data), clips, p=weights / weights.sum())
    clips_made, marks = [], []
    for row in track(rows, f"Making clips of {split} photographs"):
        bad = int(maker.rng.integers(1, options.views)) if spoiled is None else spoiled
        views, mark = maker.clip(int(row), options.views, bad, maker.any_way())
        clips_made.append(views)
        marks.append(torch.from_numpy(mark).float())
    features = features_of(network, np.concatenate(clips_made))
    return FeatureClips(
        features.reshape(len(rows), options.views, -1),
        torch.stack(marks),
        torch.from_numpy(data.votes[rows]),
    )


class AttentionTraining(lightning.LightningModule):
    """`CascadedAttention` over features (D) under the spatial network's own, fixed head."""

    def __init__(
        self, head: torch.nn.Module, features: int, options: AttentionOptions, steps: int
    ) -> None:
        super().__init__()
        self.options = options
        self.steps = steps
        self.network = CascadedAttention(features)
        self.head = head.requires_grad_(False)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        feature, _, votes = batch
        clip, attention = self.network(feature, torch.ones_like(feature[:, :, 0]))
        loss = vote_cross_entropy(self.head(clip), votes, torch.ones_like(votes[:, 0]))
        self.log("loss", loss, prog_bar=True)
        frames = attention.shape[1]
        peaked: Tensor = (attention * (attention * frames + 1e-6).log()).sum(1).mean()
        total: Tensor = loss + self.options.flatness * peaked
        return total

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        feature, spoiled, votes = batch
        clip, attention = self.network(feature, torch.ones_like(feature[:, :, 0]))
        label = votes.argmax(1)
        hit = (self.head(clip).argmax(1) == label).float().mean()
        plain = (self.head(feature.mean(1)).argmax(1) == label).float().mean()
        on_spoiled = (attention * spoiled).sum(1).mean()
        self.log_dict(
            {"top1": hit, "averaging": plain, "on_spoiled": on_spoiled},
            prog_bar=True,
            batch_size=len(votes),
        )

    def configure_optimizers(self) -> Any:
        options = self.options
        recipe = Recipe(
            "adamw", options.peak_rate, weight_decay=options.weight_decay, one_cycle=CLIMB
        )
        return optimized(self.network, recipe, self.steps)


def clip_loader(clips: FeatureClips, batch: int, shuffle: bool) -> DataLoader[Any]:
    """Batches of (feature, spoiled, votes)."""
    made = TensorDataset(clips.feature, clips.spoiled, clips.votes)
    return DataLoader(made, batch, shuffle=shuffle)


@dataclass(frozen=True)
class StreamClips:
    """Photographs set in motion as both streams see them.

    crops (N, T, 48, 48) uint8, motion (N, 2F, 32, 32), target (N, 8), level (N,) 0..1.
    """

    crops: npt.NDArray[np.uint8]
    motion: Array
    target: Array
    level: Array


def stream_clips(
    shape: FaceShape, split: str, folder: str | None, *, seed: int, kind: str | None = None
) -> StreamClips:
    """Every photograph of a split set in motion once; of one kind, or the usual mixture."""
    data = movable(split, folder)
    maker = MotionMaker(data, shape, seed)
    crops, motion, target, level = [], [], [], []
    for row in track(range(len(data)), f"Setting {split} photographs in motion"):
        clip = maker.clip(row, kind or maker.any_kind(), CROP_PX)
        crops.append(np.stack(clip.crops))
        motion.append(maker.motion(clip))
        target.append(motion_target(data.votes[row], clip.level))
        level.append(clip.level)
    assert crops[0].shape[0] == FIELDS + 1
    return StreamClips(
        np.stack(crops), np.stack(motion), np.stack(target), np.array(level, np.float32)
    )
