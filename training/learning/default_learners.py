"""What the default bundle learns beside its spatial network: heads, attention and motion.

Heads: learned on features that are computed once. Basic expressions by votes, or by the judge where
nobody voted; words, classes and affect by the judge (training.datasets.judged). The joint training
shapes features for all tasks at once, by a rate that suits convolutions, and a bundle that is
learned on from has no such heads: here they alone are learned, on features of faces as they are
and varied.

Attention: over the frames of clips of one face's views, under a head that stays as it is.

Motion: stacks made from photographs, and the network that reads them.

N faces or stacks, V views of each, B batch, T frames, F fields of a stack, D features, K
expressions, W words.
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
from torch import Tensor, nn

from ferstream.engines.taxonomy import roll_up

from ..datasets.augment import CROP_PX, ViewMaker
from ..datasets.judged import judged_columns
from ..datasets.learning_faces import LearningFaces
from ..datasets.motion import FIELDS, FaceShape, face_shape, make_motion_set, movable
from ..networks.compact_msau import CompactMSAU, features_of
from ..networks.fusion import CascadedAttention, MotionNet
from .drawn_sets import FaceImages
from .draws import Draw, KeptRows, sampling_weights
from .learner import CLIMB, Batch, Learner, Recipe
from .losses import affect_loss, judged_loss, label_loss, vote_cross_entropy

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


def face_features(
    network: CompactMSAU, faces: LearningFaces, views: int, seed: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Features of faces, as they are and varied, as exported: means over each crop and its mirror
    image.

    Returns:
        feature (V * N, D), target (V * N, K), words (V * N, W) graded, affect (V * N, 3), and
        judged (V * N,), 1 where the last two are known.

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
        features.append(features_of(network, np.stack(crops), exact=True).numpy())
    return {
        "feature": np.concatenate(features),
        "target": np.tile(faces.target, (views, 1)),
        "words": np.tile(faces.words, (views, 1)),
        "affect": np.tile(faces.affect, (views, 1)),
        "judged": np.tile(faces.judge.sum(axis=1), views),
    }


class HeadsLearner(Learner):
    """A network's expressions' head and its `JudgedHeads` on features (B, D)."""

    network: nn.ModuleDict
    options: HeadsOptions
    roll_up: Tensor

    def __init__(self, network: nn.ModuleDict, options: HeadsOptions, classes: int) -> None:
        decay = options.weight_decay
        recipe = Recipe("adamw", options.peak_rate, weight_decay=decay, one_cycle=CLIMB)
        super().__init__(network.requires_grad_(True), options, recipe)
        self.classes = classes
        self.dropout = nn.Dropout(options.feature_dropout)
        fine = torch.from_numpy(roll_up("emo135", "fg33"))
        self.register_buffer("roll_up", fine, persistent=False)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the expressions', the words', the classes' and affect's losses."""
        heads, options, feature = self.network, self.options, self.dropout(batch["feature"])
        words, affect, known = batch["words"], batch["affect"], batch["judged"] * batch["counts"]
        parts = judged_loss(heads["judged"](feature), words, affect, known, self.roll_up)
        parts["expression"] = vote_cross_entropy(
            heads["head"](feature), batch["target"], batch["counts"]
        )
        loss = (
            parts["expression"]
            + options.word_weight * (parts["words"] + parts["fine"])
            + options.affect_weight * parts["affect"]
        )
        return loss, parts

    def scores(self, batch: Batch) -> Tensor:
        logits: Tensor = self.network["head"](batch["feature"])
        return logits

    def extra_figures(self, batch: Batch) -> dict[str, Tensor]:
        """How often the judge's first word is among the ten likeliest."""
        words = batch["words"]
        ten = self.network["judged"](batch["feature"]).words.topk(TOP, dim=1).indices
        found = (ten == words.argmax(1, keepdim=True)).any(1).float()
        return {"first_in_top10": found.where(words.amax(1) > 0, torch.nan)}


def heads_of(network: CompactMSAU) -> nn.ModuleDict:
    """The heads of a network of judged faces that are learned on its features."""
    assert network.judged is not None, "a network of judged faces"
    return nn.ModuleDict({"head": network.head, "judged": network.judged})


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
