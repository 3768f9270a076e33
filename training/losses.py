"""Losses of the papers.  B batch, K classes, A action units."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def vote_cross_entropy(logits_BK: Tensor, votes_BK: Tensor, weight_B: Tensor) -> Tensor:
    """Cross entropy to the raters' vote distribution, averaged by weight: a scalar."""
    loss_B = -(votes_BK * F.log_softmax(logits_BK.float(), dim=1)).sum(1)
    return (loss_B * weight_B).sum() / weight_B.sum().clamp(min=1e-6)


def action_unit_loss(logits_BA: Tensor, units_BA: Tensor, seen_B: Tensor) -> Tensor:
    """Multi-label cross entropy (paper 003, eq. 2) with soft labels 0..1.

    Where ``seen`` is 0 the teacher saw no face: the paper's label 0, "says nothing".
    """
    loss_BA = F.binary_cross_entropy_with_logits(logits_BA.float(), units_BA, reduction="none")
    return (loss_BA.mean(1) * seen_B).sum() / seen_B.sum().clamp(min=1.0)


def ranking_loss(coarse_BK: Tensor, fine_BK: Tensor, votes_BK: Tensor, margin: float) -> Tensor:
    """Paper 003, eq. 1: the finer scale should be surer of the raters' choice than the coarser.

    The probability of "the correct class" is the probability of the votes' majority.
    """
    label_B1 = votes_BK.argmax(1, keepdim=True)
    coarse_B = coarse_BK.float().softmax(1).gather(1, label_B1)
    fine_B = fine_BK.float().softmax(1).gather(1, label_B1)
    return F.relu(coarse_B - fine_B + margin).mean()


def unit_label_loss(logits_NC: Tensor, labels_NC: Tensor) -> Tensor:
    """Multi-label sigmoid cross entropy (paper 003, eq. 2) with labels -1, 0 and 1: a scalar.

    Summed over the units and averaged over the pictures. A label 0 says nothing: it costs nothing
    and teaches nothing, which is also how the paper evens out rare and common units.
    """
    logits_NC = logits_NC.float()
    shown = (labels_NC > 0).float() * F.logsigmoid(logits_NC)
    absent = (labels_NC < 0).float() * F.logsigmoid(-logits_NC)
    return -(shown + absent).sum() / max(len(logits_NC), 1)


def focal_loss(logits_BK: Tensor, votes_BK: Tensor, focus: float = 2.0) -> Tensor:
    """Focal loss (Lin et al. 2017), which paper 001 trains with: a value for each picture (B,).

    Cross entropy whose terms count (1 - p) ** focus: what is known already teaches little.
    ``focus`` 0 is cross entropy; the paper names no value, 2 is that of Lin et al.
    """
    log_p_BK = F.log_softmax(logits_BK.float(), dim=1)
    return -(votes_BK * (1 - log_p_BK.exp()) ** focus * log_p_BK).sum(1)
