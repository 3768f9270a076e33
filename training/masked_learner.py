"""The training of paper 001's prediction model, with or without masks (III-C, Algorithm 1).

B batch, K classes, S side of the picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .learner import Batch, Learner, Recipe
from .neighborhood import MaskTally, answers_loss, masked_mean, reliable
from .networks.asymmetric_autoencoder import grey_picture
from .networks.two_scale import TwoScale
from .options import Options
from .semantic_neighbours import NeighbourMaker, asked_twice


class ExpressionLearner(Learner):
    """The two-scale network, under masks where there is a maker of neighbours (Algorithm 1).

    Beside the usual figures each epoch logs "masked", the share of the faces that taught nothing,
    and "masked_LABEL" for every class.
    """

    network: TwoScale
    weight_K: Tensor | None

    def __init__(
        self,
        network: TwoScale,
        options: Options,
        recipe: Recipe,
        labels: tuple[str, ...],
        *,
        focus: float = 2.0,
        maker: NeighbourMaker | None = None,
        threshold: float | None = None,
        weight_K: Tensor | None = None,
    ) -> None:
        """``focus`` of the focal loss, 0 for cross entropy; no masks without ``maker``; the
        ``threshold`` of eq. 11, None for the batch's own; ``weight_K`` (K,) of a weighted loss."""
        super().__init__(network, options, recipe)
        self.classes, self.maker, self.focus = len(labels), maker, focus
        self.threshold, self.masked = threshold, MaskTally(labels)
        self.register_buffer("weight_K", weight_K, persistent=False)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 11 over all three answers (IV-B), or their plain mean without a mask."""
        picture, label_B = grey_picture(batch["crop"]), batch["target"].argmax(1)
        loss_B = answers_loss(self.network(picture), batch["target"], self.focus)
        if self.weight_K is not None:
            loss_B = loss_B * self.weight_K[label_B]
        if self.maker is None:
            return loss_B.mean(), {}
        mask_B = self.mask(picture)
        self.masked.add(self.current_epoch + 1, label_B, mask_B)
        return masked_mean(loss_B, mask_B), {}

    @torch.no_grad()
    def mask(self, picture: Tensor) -> Tensor:
        """Algorithm 1, steps 4 to 13: 1 for the faces that may teach, else 0 (B,).

        The batch of eq. 14 is what this process goes through at once.
        """
        assert self.maker is not None
        return reliable(*asked_twice(self.network, self.maker, picture), self.threshold)

    def scores(self, batch: Batch) -> Tensor:
        return self.network.recognise(batch["crop"]).logits

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if self.maker is not None:
            counts = self.masked.state[1:].to(self.device)
            counts = self.trainer.strategy.reduce(counts, reduce_op="sum")
            self.log_dict(self.masked.figures(counts), rank_zero_only=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["masked"] = self.masked.state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The counts of an epoch that was stopped go on."""
        self.masked.state = checkpoint["masked"]
