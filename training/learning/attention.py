"""The attention over frames, learned on clips of one face's views under a head that stays as it is.

B batch, T frames, D features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor, nn

from ..datasets.motion import FaceShape, movable
from ..datasets.views import ViewMaker
from ..networks.compact_msau import CompactMSAU, features_of
from ..networks.fusion import CascadedAttention
from .draws import sampling_weights
from .learner import CLIMB, Batch, Learner, Recipe
from .losses import vote_cross_entropy

Columns = dict[str, npt.NDArray[np.float32]]


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


def view_clips(
    network: CompactMSAU,
    shape: FaceShape,
    split: str,
    folder: str | None,
    options: AttentionOptions,
) -> Columns:
    """Clips of views of photographs of one split: feature (N, T, D), spoiled (N, T) 1 or 0,
    target (N, 8).

    Photographs are drawn, rarer emotions more often. In training 1 to T - 1 views of a clip are
    spoiled, in validation half of them.
    """
    data = movable(split, folder)
    maker = ViewMaker(data, shape, options.seed + len(split))
    weights = sampling_weights(data.votes, options.balance).numpy()
    training = split == "train"
    clips = options.clips if training else options.validation_clips
    rows = maker.rng.choice(len(data), clips, p=weights / weights.sum())
    made, marks = [], []
    for row in track(rows, f"Making clips of {split} photographs"):
        spoiled = int(maker.rng.integers(1, options.views)) if training else options.views // 2
        views, mark = maker.clip(int(row), options.views, spoiled, maker.any_way())
        made.append(views)
        marks.append(mark.astype(np.float32))
    feature = features_of(network, np.concatenate(made)).numpy()
    return {
        "feature": feature.reshape(len(rows), options.views, -1),
        "spoiled": np.stack(marks),
        "target": data.votes[rows],
    }


class AttentionLearner(Learner):
    """`CascadedAttention` over features (B, T, D) under ``head``, which does not learn.

    It is made with a head of its own: the moving average of weights goes through the head's too,
    and rounds them.
    """

    network: CascadedAttention
    options: AttentionOptions

    def __init__(
        self, network: CascadedAttention, head: nn.Module, options: AttentionOptions, classes: int
    ) -> None:
        decay = options.weight_decay
        recipe = Recipe("adamw", options.peak_rate, weight_decay=decay, one_cycle=CLIMB)
        super().__init__(network, options, recipe)
        self.head, self.classes = head.requires_grad_(False), classes

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The expression's loss of the attended clip, and what uneven weights cost."""
        clip, attention = self._attended(batch)
        expression = vote_cross_entropy(self.head(clip), batch["target"], batch["counts"])
        frames = attention.shape[1]
        peaked = (attention * (attention * frames + 1e-6).log()).sum(1).mean()
        loss = expression + self.options.flatness * peaked
        return loss, {"expression": expression, "peaked": peaked}

    def scores(self, batch: Batch) -> Tensor:
        logits: Tensor = self.head(self._attended(batch)[0])
        return logits

    def extra_figures(self, batch: Batch) -> dict[str, Tensor]:
        """How often the mean of the frames is right, and the weight on spoiled frames."""
        averaged = self.head(batch["feature"].mean(1)).argmax(1) == batch["target"].argmax(1)
        on_spoiled = (self._attended(batch)[1] * batch["spoiled"]).sum(1)
        return {"averaging": averaged.float(), "on_spoiled": on_spoiled}

    def _attended(self, batch: Batch) -> tuple[Tensor, Tensor]:
        feature = batch["feature"]
        clip, attention = self.network(feature, torch.ones_like(feature[:, :, 0]))
        return clip, attention
