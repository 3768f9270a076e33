"""Losses of the papers.  B batch, K classes, A action units."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..networks.compact_msau import JudgedOutput


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


def label_loss(logits_BW: Tensor, graded_BW: Tensor, weight_B: Tensor) -> Tensor:
    """Binary cross entropy of labels that do not exclude each other, summed over them and averaged
    over the faces by weight: a scalar. A grade 0..1 says how much the naming of a label counts."""
    loss_BW = F.binary_cross_entropy_with_logits(logits_BW.float(), graded_BW, reduction="none")
    return (loss_BW.sum(1) * weight_B).sum() / weight_B.sum().clamp(min=1e-6)


def affect_loss(said_BA: Tensor, judged_BA: Tensor, weight_B: Tensor) -> Tensor:
    """One minus the concordance correlation of each scale within the batch, their mean, and the
    mean squared error, which steadies small batches: a scalar. All over faces by weight."""
    total = weight_B.sum().clamp(min=1e-6)

    def mean(value_BA: Tensor) -> Tensor:
        return (value_BA * weight_B[:, None]).sum(0) / total

    said, judged = said_BA.float(), judged_BA
    said_mean, judged_mean = mean(said), mean(judged)
    together = mean((said - said_mean) * (judged - judged_mean))
    spread = mean((said - said_mean).square()) + mean((judged - judged_mean).square())
    concordance = 2 * together / (spread + (said_mean - judged_mean).square() + 1e-6)
    return (1 - concordance).mean() + mean((said - judged).square()).mean()


def judged_loss(
    out: JudgedOutput, words_BW: Tensor, affect_BA: Tensor, known_B: Tensor, classes_WC: Tensor
) -> dict[str, Tensor]:
    """What a judge's graded words and affect teach `JudgedHeads`: words, fine (a class counts as
    much as the best of its words) and affect, scalars."""
    fine_BC = (words_BW[:, :, None] * classes_WC).amax(1)
    return {
        "words": label_loss(out.words, words_BW, known_B),
        "fine": label_loss(out.fine, fine_BC, known_B),
        "affect": affect_loss(out.affect, affect_BA, known_B),
    }


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
