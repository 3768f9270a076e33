"""How an expression embedding learns (paper 000, section 3.3), and how well it has.

B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .data.face_triplets import batch_distance
from .data.triplets import ONE_CLASS_MARGIN, OTHER_MARGIN
from .learner import Batch, Learner, Recipe
from .losses_emo135 import all_triplets_loss, triplet_accuracy, triplet_loss
from .networks.expression_embedding import ExpressionEmbedding
from .options import Options


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
