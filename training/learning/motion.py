"""The temporal stream: motion stacks made from photographs, and the network that reads them.

N stacks, B batch, F fields of a stack, W words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor

from ..datasets.judged import judged_columns
from ..datasets.motion import FIELDS, face_shape, make_motion_set, movable
from ..networks.fusion import MotionNet
from .draws import Draw, KeptRows, sampling_weights
from .learner import CLIMB, Batch, Learner, Recipe
from .losses import affect_loss, label_loss, vote_cross_entropy


@dataclass(frozen=True)
class MotionOptions:
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


class MotionRows(KeptRows):
    """Motion stacks of a split's photographs with their targets, a `MotionSet` kept in ``path``.

    Training draws photographs of rarer emotions more often, mirrors half of the stacks and
    reverses none; validation has each photograph once, as it is.

    Items: motion (2F, 32, 32), target (8,), and words (W,), affect (3,) and judged () of faces
    that a judge described: as far as the expression is on, a resting face having none.
    """

    def __init__(self, path: Path, split: str, folder: str | None, options: MotionOptions) -> None:
        self.photographs, self.split = movable(split, folder), split
        self.folder, self.options = folder, options
        self.varied = split == "train"
        judged = judged_columns(self.photographs, folder, split)
        self.words, self.affect, judge = (torch.from_numpy(column) for column in judged)
        self.known = judge.sum(1)
        rows = options.stacks if self.varied else len(self.photographs)
        super().__init__(rows, self._made, path)

    def _made(self) -> Mapping[str, npt.NDArray[Any]]:
        cv2.setNumThreads(1)
        data, options = self.photographs, self.options
        rows = np.arange(len(data))
        if self.varied:
            weights = sampling_weights(data.votes, options.balance).numpy()
            rng = np.random.default_rng(options.seed)
            rows = rng.choice(len(data), options.stacks, p=weights / weights.sum())
        shown = track(rows, f"Setting {self.split} photographs in motion")
        seed = options.seed + len(self.split)
        return make_motion_set(data, face_shape(self.folder), shown, seed=seed).__dict__

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        item = super().__getitem__(draw)
        motion = item["motion"].numpy().astype(np.float32)
        photograph, level = int(item["photograph"]), item["level"]
        return {
            "motion": torch.from_numpy(varied(motion, draw.rng()) if self.varied else motion),
            "target": item["target"],
            "words": self.words[photograph] * level,
            "affect": self.affect[photograph] * level,
            "judged": self.known[photograph],
            "counts": item["counts"],
        }


def varied(motion: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A stack (2F, 32, 32) as training shows it: half of them mirrored, some of faces that have
    only just been found, moved by a pixel, faster or slower."""
    if rng.random() < 0.5:
        motion = motion[:, :, ::-1].copy()
        motion[0::2] *= -1
    if rng.random() < 0.2:
        motion[: 2 * rng.integers(1, FIELDS - 2)] = 0
    motion = np.roll(motion, rng.integers(-1, 2, 2), axis=(1, 2))
    return motion * np.float32(np.exp(rng.uniform(-0.3, 0.3)))


class MotionLearner(Learner):
    """`MotionNet` on votes and judgements, weighed by how far the expression is on."""

    network: MotionNet
    options: MotionOptions

    def __init__(self, network: MotionNet, options: MotionOptions, classes: int) -> None:
        decay = options.weight_decay
        recipe = Recipe("adamw", options.peak_rate, weight_decay=decay, one_cycle=CLIMB)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(network, options, recipe)
        self.classes = classes

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the expressions', the words' and affect's losses."""
        out, options = self.network(batch["motion"]), self.options
        known = batch["judged"] * batch["counts"]
        parts = {
            "expression": vote_cross_entropy(out.basic8, batch["target"], batch["counts"]),
            "words": label_loss(out.emo135, batch["words"], known),
            "affect": affect_loss(out.affect, batch["affect"], known),
        }
        loss = (
            parts["expression"]
            + options.word_weight * parts["words"]
            + options.affect_weight * parts["affect"]
        )
        return loss, parts

    def scores(self, batch: Batch) -> Tensor:
        logits: Tensor = self.network(batch["motion"]).basic8
        return logits
