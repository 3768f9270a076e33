"""How steady a network is about a picture, and what that is worth (paper 001, III-C).

B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .losses import focal_loss


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
