"""The heads of a spatial network, learned on features that are computed once.

Basic expressions by votes, or by the judge where nobody voted; words, classes and affect by the
judge (training.datasets.judged). The joint training shapes features for all tasks at once, by a
rate that suits convolutions, and a bundle that is learned on from has no such heads: here they
alone are learned, on features of faces as they are and varied.

N faces, V views of each, B batch, D features, K expressions, W words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor, nn

from ferstream.engines.taxonomy import roll_up

from ..datasets.augment import CROP_PX
from ..datasets.learning_faces import LearningFaces
from ..networks.compact_msau import CompactMSAU, features_of
from .drawn_sets import FaceImages
from .draws import Draw
from .learner import CLIMB, Batch, Learner, Recipe
from .losses import judged_loss, vote_cross_entropy

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
