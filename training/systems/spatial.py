"""The spatial network of the default bundle: stages, losses and hyper-parameters put together.

Stage 1 learns action units from the teacher's blendshapes; stage 2 adds the emotions: basic8 on
the crowd's vote distributions and emo135 by the transformed cross entropy of paper 000, with
paper 003's ranking loss between the scales. The paper then fixes the action units' weights; here
one small backbone serves both, so they keep learning at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, WeightedRandomSampler

from ..data.augment import Augmentation
from ..data.crops import CropDataset
from ..data.fer import load_fer_plus
from ..losses import action_unit_loss, ranking_loss, vote_cross_entropy
from ..networks.compact_msau import CompactMSAU, SpatialOutput


@dataclass(frozen=True)
class SpatialOptions:
    """What one training of the spatial network is made of."""

    epochs: int = 51
    """of stage 2"""
    unit_epochs: int = 3
    """of stage 1"""
    batch: int = 128
    peak_rate: float = 0.1
    weight_decay: float = 5e-4
    warmup_share: float = 0.15
    """of the steps, in which the rate climbs to its peak"""
    balance: float = 0.4
    """0 samples as the data is, 1 shows every emotion equally often"""
    unit_weight: float = 2.0
    coarse_weight: float = 0.5
    word_weight: float = 0.5
    rank_weight: float = 0.5
    rank_margin: float = 0.05
    seed: int = 0


class SpatialTraining(lightning.LightningModule):
    """Both stages of `CompactMSAU`; the stage follows from the epoch."""

    def __init__(self, options: SpatialOptions, steps_per_epoch: int) -> None:
        super().__init__()
        self.options = options
        self.steps = steps_per_epoch * (options.unit_epochs + options.epochs)
        self.network = CompactMSAU()

    def forward(self, crop: Tensor) -> SpatialOutput:
        output: SpatialOutput = self.network(crop)
        return output

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        options = self.options
        out = self(batch["crop"])
        units = action_unit_loss(out.au, batch["au"], batch["seen"])
        self.log("units", units, prog_bar=True)
        if self.current_epoch < options.unit_epochs:
            return options.unit_weight * units
        loss = (
            vote_cross_entropy(out.basic8, batch["votes"], batch["rated"])
            + options.coarse_weight
            * vote_cross_entropy(out.coarse_basic8, batch["votes"], batch["rated"])
            + options.word_weight
            * vote_cross_entropy(out.emo135, batch["words"], batch["word_weight"] * batch["rated"])
            + options.rank_weight
            * ranking_loss(out.coarse_basic8, out.basic8, batch["votes"], options.rank_margin)
            + options.unit_weight * units
        )
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._logits: list[Tensor] = []
        self._votes: list[Tensor] = []

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        out = self(batch["crop"])
        self._logits.append(out.basic8.float())
        self._votes.append(batch["votes"])

    def on_validation_epoch_end(self) -> None:
        logits, votes = torch.cat(self._logits), torch.cat(self._votes)
        label, guess = votes.argmax(1), logits.argmax(1)
        recall = torch.stack([(guess[label == k] == k).float().mean() for k in range(8)])
        self.log("top1", (guess == label).float().mean(), prog_bar=True)
        self.log("macro_recall", recall.nanmean(), prog_bar=True)
        self.log("nll", vote_cross_entropy(logits, votes, torch.ones_like(votes[:, 0])))

    def configure_optimizers(self) -> Any:
        options = self.options
        optimizer = torch.optim.SGD(
            self.parameters(),
            lr=options.peak_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=options.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=options.peak_rate,
            total_steps=self.steps,
            pct_start=options.warmup_share,
            cycle_momentum=False,
            final_div_factor=1e3,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def sampling_weights(votes: npt.NDArray[np.float32], balance: float) -> Tensor:
    """How often each photograph is shown, (N,): the rarer its emotions, the more often."""
    share = votes.mean(axis=0)
    per_class = (1 / np.maximum(share, 1e-6)) ** balance
    return torch.from_numpy(votes @ per_class).double()


def spatial_loaders(
    options: SpatialOptions, folder: str | None
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training and validation batches; only photographs with at least five usable votes."""
    train = load_fer_plus("train", folder)
    train = train.subset(train.rated)
    validation = load_fer_plus("validation", folder)
    validation = validation.subset(validation.rated)
    sampler = WeightedRandomSampler(
        list(sampling_weights(train.votes, options.balance)),
        len(train),
        generator=torch.Generator().manual_seed(options.seed),
    )
    augmented = CropDataset(train, augmentation=Augmentation(), seed=options.seed)
    return (
        DataLoader(augmented, options.batch, sampler=sampler, drop_last=True),
        DataLoader(CropDataset(validation), 256),
    )
