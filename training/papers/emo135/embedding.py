"""Paper 000's losses, and the learner of the embedding.

Losses of paper 000: triplets for the embedding, transformed cross entropy for the words.

B batch, D dimensions, K emotions.

How an expression embedding learns (paper 000, section 3.3), and how well it has.

B batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ...learning.learner import Batch, Learner, Recipe
from ...learning.options import Options
from ...networks.emo135 import ExpressionEmbedding
from .triplets import ONE_CLASS_MARGIN, OTHER_MARGIN, batch_distance


def triplet_loss(a_BD: Tensor, b_BD: Tensor, odd_BD: Tensor, margin_B: Tensor) -> Tensor:
    """The pair should be nearer than either is to the odd one, by the margin: a scalar.

    Squared distances on the unit sphere; both comparisons count, as in Vemulapalli and Agarwala
    2019, whose training the paper's embedding follows.
    """
    pair_B = _square(a_BD, b_BD)
    over_a_B = F.relu(pair_B - _square(a_BD, odd_BD) + margin_B)
    over_b_B = F.relu(pair_B - _square(b_BD, odd_BD) + margin_B)
    return (over_a_B + over_b_B).mean()


def all_triplets_loss(
    points_BD: Tensor, wanted_BB: Tensor, label_B: Tensor, gap: float, margins: tuple[float, float]
) -> Tensor:
    """The same loss, averaged over every triplet of a batch whose odd one is clear: a scalar.

    So each picture that goes through the network stands in thousands of triplets.

    Args:
        wanted_BB: distances that say which of three is the odd one, by more than ``gap``; infinite
            where nobody knows.
        label_B: main emotion of each face.
        margins: where all three show the same emotion, and elsewhere.
    """
    known_BB = torch.isfinite(wanted_BB)
    wanted_BB = torch.where(known_BB, wanted_BB, 0.0)
    distance_BB = (2 - 2 * points_BD.float() @ points_BD.float().T).clamp(min=0)
    # For a pair (a, b) and an odd one: [a, b, odd]. An odd one that is a or b is no farther away.
    farther_BBB = wanted_BB[:, :, None] + gap < wanted_BB[:, None, :]
    known_BBB = known_BB[:, :, None] & known_BB[:, None, :] & known_BB[None, :, :]
    same_BB = label_B[:, None] == label_B[None, :]
    margin_BBB = torch.where(same_BB[:, :, None] & same_BB[:, None, :], *margins)
    clear_BBB = farther_BBB & farther_BBB.transpose(0, 1) & known_BBB
    clear_BBB &= ~torch.eye(len(label_B), dtype=torch.bool, device=label_B.device)[:, :, None]
    over_BBB = F.relu(distance_BB[:, :, None] - distance_BB[:, None, :] + margin_BBB)
    # Each pair stands there twice, as (a, b) and as (b, a), once against either of the two.
    return 2 * (over_BBB * clear_BBB).sum() / clear_BBB.sum().clamp(min=1)


def triplet_accuracy(a_BD: Tensor, b_BD: Tensor, odd_BD: Tensor) -> Tensor:
    """The share of triplets whose pair is the nearest of the three: a scalar 0..1."""
    pair_B = _square(a_BD, b_BD)
    right_B = (pair_B < _square(a_BD, odd_BD)) & (pair_B < _square(b_BD, odd_BD))
    return right_B.float().mean()


def transformed_cross_entropy(
    logits_BK: Tensor,
    target_BK: Tensor,
    word_KK: Tensor,
    probability: Literal["softmax", "sigmoid"] = "softmax",
) -> Tensor:
    """TCE (eq. 6): binary cross entropy of P to F_word Y, summed over the emotions, averaged over
    the batch: a scalar.

    Args:
        target_BK: Y, one-hot or a vote distribution.
        word_KK: F_word, rows summing to 1; the column of Y's word is what the label becomes.
        probability: how P comes of the logits. The paper calls P a distribution, so by default
            softmax, as at run time; sigmoid judges each emotion for itself.
    """
    wanted_BK = target_BK.float() @ word_KK.T.float()
    logits_BK = logits_BK.float()
    if probability == "sigmoid":
        loss_BK = F.binary_cross_entropy_with_logits(logits_BK, wanted_BK, reduction="none")
    else:
        log_p_BK = F.log_softmax(logits_BK, dim=1)
        loss_BK = -(wanted_BK * log_p_BK + (1 - wanted_BK) * _log_rest(log_p_BK))
    return loss_BK.sum(1).mean()


def _log_rest(log_p: Tensor) -> Tensor:
    """log(1 - p) from log p, as exact near p = 1 as single precision is."""
    return torch.log((-torch.expm1(log_p)).clamp(min=1e-7))


def _square(a_BD: Tensor, b_BD: Tensor) -> Tensor:
    return (a_BD.float() - b_BD.float()).square().sum(1)


class EmbeddingLearner(Learner):
    """Learns which of three faces is the odd one out; nobody's word for them is asked."""

    network: ExpressionEmbedding

    def __init__(
        self,
        network: ExpressionEmbedding,
        options: Options,
        recipe: Recipe,
        *,
        blendshape_share: float,
        gap: float,
    ) -> None:
        super().__init__(network, options, recipe)
        self.blendshape_share, self.gap = blendshape_share, gap

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The triplet loss of the paper's [33]: of judged triplets, or of all in the batch."""
        if "margin" in batch:
            return triplet_loss(*self._points(batch), batch["margin"]), {}
        points, label = self.network(batch["crop"]), batch["target"].argmax(1)
        wanted = batch_distance(batch, self.blendshape_share)
        margins = (ONE_CLASS_MARGIN, OTHER_MARGIN)
        return all_triplets_loss(points, wanted, label, self.gap, margins), {}

    def _points(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        crop = batch["crop"]
        points = self.network(crop.flatten(0, 1)).unflatten(0, crop.shape[:2])
        return points[:, 0], points[:, 1], points[:, 2]

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self._right = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, index: int) -> None:
        counts = batch["counts"] > 0
        a, b, odd = (points[counts] for points in self._points(batch))
        count = counts.sum()
        loss = triplet_loss(a, b, odd, batch["margin"][counts])
        self._loss += torch.stack([loss * count, count]).double()
        self._right += torch.stack([triplet_accuracy(a, b, odd) * count, count]).double()

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        right, count = self.trainer.strategy.reduce(self._right, reduce_op="sum").tolist()
        share = right / max(count, 1.0)
        self.log("triplet_accuracy", share, prog_bar=True, rank_zero_only=True)
