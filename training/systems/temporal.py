"""The temporal stream: motion stacks made from photographs, and the network that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.fer import FerPlus, load_fer_plus
from ..data.judged import JudgedColumns, judged_columns
from ..data.motion import FIELDS, FaceShape, fit_face_shape
from ..data.motion_set import MotionSet, load_motion_set, make_motion_set, save_motion_set
from ..draws import sampling_weights
from ..learner import CLIMB, Recipe, optimized
from ..losses import affect_loss, label_loss, vote_cross_entropy
from ..networks.motion_net import MotionNet


@dataclass(frozen=True)
class TemporalOptions:
    """What one training of the temporal network is made of."""

    stacks: int = 24_000
    """made from the training photographs"""
    epochs: int = 14
    batch: int = 128
    peak_rate: float = 0.002
    weight_decay: float = 0.02
    balance: float = 0.3
    word_weight: float = 0.12
    """of the judged words' loss, summed over words"""
    affect_weight: float = 0.5
    seed: int = 0


def movable(split: str, folder: str | None) -> FerPlus:
    """Photographs of a split that can be set in motion: rated, and with landmarks."""
    data = load_fer_plus(split, folder)
    return data.subset(data.rated & data.seen)


def face_shape(folder: str | None) -> FaceShape:
    """The map from blendshapes to landmarks, from the training photographs."""
    return fit_face_shape(movable("train", folder))


def make_motion_sets(options: TemporalOptions, run: Path, folder: str | None) -> None:
    """Make what is not there yet: train.npz and validation.npz mixed, test.npz onsets only."""
    cv2.setNumThreads(1)
    run.mkdir(parents=True, exist_ok=True)
    shape = face_shape(folder)
    for split in ("validation", "test", "train"):
        path = run / f"{split}.npz"
        if path.exists():
            continue
        data = movable(split, folder)
        rows = np.arange(len(data))
        if split == "train":
            weights = sampling_weights(data.votes, options.balance).numpy()
            rng = np.random.default_rng(options.seed)
            rows = rng.choice(len(data), options.stacks, p=weights / weights.sum())
        made = make_motion_set(
            data,
            shape,
            track(rows, f"Setting {split} photographs in motion"),
            seed=options.seed + len(split),
            kind="onset" if split == "test" else None,
        )
        save_motion_set(path, made)


class MotionDataset(Dataset[dict[str, Tensor]]):
    """Stacks with their targets; training mirrors half of them and reverses none.

    Items: motion (2F, 32, 32), votes (8,), and words (135,), affect (3,) and judged () of faces
    that a judge described: as far as the expression is on, a resting face having none.
    """

    def __init__(
        self, made: MotionSet, judged: JudgedColumns, *, mirror: bool, seed: int = 0
    ) -> None:
        self.made = made
        self.words, self.affect, judge = (column[made.photograph] for column in judged)
        self.known = judge.sum(axis=1)
        self.mirror = mirror
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.made.target)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        motion = self.made.motion[index].astype(np.float32)
        if self.mirror and self.rng.random() < 0.5:
            motion = motion[:, :, ::-1].copy()
            motion[0::2] *= -1
        if self.mirror and self.rng.random() < 0.2:  # a face that has only just been found
            motion[: 2 * self.rng.integers(1, FIELDS - 2)] = 0
        if self.mirror:
            motion = np.roll(motion, self.rng.integers(-1, 2, 2), axis=(1, 2))
            motion *= np.float32(np.exp(self.rng.uniform(-0.3, 0.3)))
        return {
            "motion": torch.from_numpy(motion),
            "votes": torch.from_numpy(self.made.target[index]),
            "words": torch.from_numpy(self.words[index] * self.made.level[index]),
            "affect": torch.from_numpy(self.affect[index] * self.made.level[index]),
            "judged": torch.tensor(self.known[index]),
        }


class TemporalTraining(lightning.LightningModule):
    """`MotionNet` on votes and judgements, weighed by how far the expression is on."""

    def __init__(self, options: TemporalOptions, steps_per_epoch: int) -> None:
        super().__init__()
        self.options = options
        self.steps = steps_per_epoch * options.epochs
        self.network = MotionNet()

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        out, votes, known = self.network(batch["motion"]), batch["votes"], batch["judged"]
        options = self.options
        loss = vote_cross_entropy(out.basic8, votes, torch.ones_like(votes[:, 0]))
        loss = loss + options.word_weight * label_loss(out.emo135, batch["words"], known)
        loss = loss + options.affect_weight * affect_loss(out.affect, batch["affect"], known)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        out, votes = self.network(batch["motion"]), batch["votes"]
        hit = (out.basic8.argmax(1) == votes.argmax(1)).float().mean()
        loss = vote_cross_entropy(out.basic8, votes, torch.ones_like(votes[:, 0]))
        words = label_loss(out.emo135, batch["words"], batch["judged"])
        found = {"top1": hit, "nll": loss, "words": words}
        self.log_dict(found, prog_bar=True, batch_size=len(votes))

    def configure_optimizers(self) -> Any:
        options = self.options
        recipe = Recipe(
            "adamw", options.peak_rate, weight_decay=options.weight_decay, one_cycle=CLIMB
        )
        return optimized(self, recipe, self.steps)


def temporal_loaders(
    options: TemporalOptions, run: Path, folder: str | None
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training and validation batches from the sets that `make_motion_sets` left in ``run``."""
    sets = {split: load_motion_set(run / f"{split}.npz") for split in ("train", "validation")}
    judged = {split: judged_columns(movable(split, folder), folder, split) for split in sets}
    train = MotionDataset(sets["train"], judged["train"], mirror=True, seed=options.seed)
    validation = MotionDataset(sets["validation"], judged["validation"], mirror=False)
    return (
        DataLoader(train, options.batch, shuffle=True, drop_last=True),
        DataLoader(validation, 256),
    )
