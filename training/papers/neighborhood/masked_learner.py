"""Reliable faces teach: masks, divergences and the classifier's learner (paper 001, III-C).

How steady a network is about a picture, and what that is worth (paper 001, III-C).

B batch, K classes.

The training of paper 001's prediction model, with or without masks (III-C, Algorithm 1).

B batch, K classes, S side of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...learning.learner import Batch, Learner, Recipe
from ...learning.losses import focal_loss
from ...learning.options import Options
from ...networks.neighborhood import TwoScale, grey_picture
from .neighbours import NeighbourGenerator, asked_twice


def symmetric_divergence(logits_BK: Tensor, neighbour_BK: Tensor) -> Tensor:
    """Eq. 12 and 13: the mean of both Kullback-Leibler divergences, in nats: (B,).

    From logits, so that a probability of nothing costs no infinity that is none.
    """
    log_p = F.log_softmax(logits_BK.float(), dim=1)
    log_q = F.log_softmax(neighbour_BK.float(), dim=1)
    # KL(P||Q) + KL(Q||P) = sum of (p - q)(log p - log q)
    return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)


def steady_mask(divergence_B: Tensor, threshold: float | Tensor) -> Tensor:
    """The indicator of eq. 11: 1 where the divergence lies below the threshold, else 0: (B,)."""
    return (threshold - divergence_B > 0).float()


def batch_threshold(divergence_B: Tensor) -> Tensor:
    """Eq. 14: the mean of a batch's divergences, a scalar."""
    return divergence_B.mean()


@torch.no_grad()
def reliable(logits_BK: Tensor, neighbour_BK: Tensor, threshold: float | None = None) -> Tensor:
    """Algorithm 1, steps 8 to 13: which pictures of a batch may teach, 1 or 0: (B,).

    By a threshold, or by the batch's own where it is None. Where every divergence is the same, as
    when both networks' answers are equal, eq. 14 would let none pass; then all do.
    """
    divergence_B = symmetric_divergence(logits_BK, neighbour_BK)
    if threshold is not None:
        return steady_mask(divergence_B, threshold)
    mask_B = steady_mask(divergence_B, batch_threshold(divergence_B))
    return mask_B if bool(mask_B.any()) else torch.ones_like(mask_B)


def answers_loss(answers: Sequence[Tensor], votes_BK: Tensor, focus: float = 2.0) -> Tensor:
    """IV-B: what the two-scale network's three answers (B, K) cost together, all alike: (B,).

    Focal loss; ``focus`` 0 is the cross entropy of the ablation (Table VIII).
    """
    return torch.stack([focal_loss(logits_BK, votes_BK, focus) for logits_BK in answers]).sum(0)


def masked_mean(loss_B: Tensor, mask_B: Tensor) -> Tensor:
    """Eq. 11 over a batch: unreliable pictures add nothing to the sum, which is divided by B."""
    return (loss_B * mask_B).sum() / max(len(loss_B), 1)


class MaskTally:
    """Counts, class by class, how many faces were masked in an epoch."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.state = torch.zeros(3, len(labels))
        """Rows: of which epoch it is, faces masked, faces shown; a checkpoint keeps it."""

    def add(self, epoch: int, label_B: Tensor, mask_B: Tensor) -> None:
        """A batch's labels (B,) and masks (B,); another epoch begins anew."""
        if self.state[0, 0] != epoch:
            self.state = torch.zeros_like(self.state)
            self.state[0] = epoch
        label_B = label_B.cpu()
        self.state[1].index_add_(0, label_B, 1 - mask_B.float().cpu())
        self.state[2].index_add_(0, label_B, torch.ones(len(label_B)))

    def figures(self, counts_2K: Tensor) -> dict[str, float]:
        """ "masked", the share of all faces, and "masked_LABEL" of the classes that were shown.

        Of the state's last two rows, added up over all processes.
        """
        masked_K, shown_K = counts_2K.cpu()
        found = {"masked": float(masked_K.sum() / shown_K.sum().clamp(min=1))}
        for name, masked, shown in zip(self.labels, masked_K, shown_K, strict=True):
            if shown:
                found[f"masked_{name}"] = float(masked / shown)
        return found


class ExpressionLearner(Learner):
    """The two-scale network, under masks where there is a generator of neighbours (Algorithm 1).

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
        generator: NeighbourGenerator | None = None,
        threshold: float | None = None,
        weight_K: Tensor | None = None,
    ) -> None:
        """``focus`` of the focal loss, 0 for cross entropy; no masks without ``generator``; the
        ``threshold`` of eq. 11, None for the batch's own; ``weight_K`` (K,) of a weighted loss."""
        super().__init__(network, options, recipe)
        self.classes, self.generator, self.focus = len(labels), generator, focus
        self.threshold, self.masked = threshold, MaskTally(labels)
        self.register_buffer("weight_K", weight_K, persistent=False)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 11 over all three answers (IV-B), or their plain mean without a mask."""
        picture, label_B = grey_picture(batch["crop"]), batch["target"].argmax(1)
        loss_B = answers_loss(self.network(picture), batch["target"], self.focus)
        if self.weight_K is not None:
            loss_B = loss_B * self.weight_K[label_B]
        if self.generator is None:
            return loss_B.mean(), {}
        mask_B = self.mask(picture)
        self.masked.add(self.current_epoch + 1, label_B, mask_B)
        return masked_mean(loss_B, mask_B), {}

    @torch.no_grad()
    def mask(self, picture: Tensor) -> Tensor:
        """Algorithm 1, steps 4 to 13: 1 for the faces that may teach, else 0 (B,).

        The batch of eq. 14 is what this process goes through at once.
        """
        assert self.generator is not None
        return reliable(*asked_twice(self.network, self.generator, picture), self.threshold)

    def scores(self, batch: Batch) -> Tensor:
        return self.network.recognise(batch["crop"]).logits

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if self.generator is not None:
            counts = self.masked.state[1:].to(self.device)
            counts = self.trainer.strategy.reduce(counts, reduce_op="sum")
            self.log_dict(self.masked.figures(counts), rank_zero_only=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["masked"] = self.masked.state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The counts of an epoch that was stopped go on."""
        self.masked.state = checkpoint["masked"]
