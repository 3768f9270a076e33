"""Attention over a clip's frames and the fusion of both streams (paper 003, IV-B).

B batch, T frames, D features, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class FusionOutput(NamedTuple):
    """basic8 (B, 8) and emo135 (B, 135) logits of the clip; attention (B, T) sums to 1."""

    basic8: Tensor
    emo135: Tensor
    attention: Tensor


class CascadedAttention(nn.Module):
    """Two attention blocks: what the clip shows decides what the second one looks for.

    Starts as plain averaging: both kernels are zero.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(features))
        self.transfer = nn.Linear(features, features)
        nn.init.zeros_(self.transfer.weight)
        nn.init.zeros_(self.transfer.bias)

    def forward(self, feature_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Features and which frames are there (1 or 0) to the clip's feature and attention.

        (B, T, D), (B, T) to (B, D), (B, T). Eq. 3 and 4 with the first kernel, eq. 5 for the
        second, eq. 3 and 4 again.
        """
        empty = (1 - mask_BT) * -1e4
        first_BT = torch.softmax(feature_BTD @ self.kernel + empty, dim=1)
        first_BD = (first_BT[:, None] @ feature_BTD)[:, 0]
        kernel_BD = torch.tanh(self.transfer(first_BD))
        score_BT = (feature_BTD @ kernel_BD[:, :, None])[:, :, 0]
        attention_BT = torch.softmax(score_BT + empty, dim=1)
        return (attention_BT[:, None] @ feature_BTD)[:, 0], attention_BT


class Fusion(nn.Module):
    """A clip's features and its motion scores to the clip's emotions.

    The heads are the spatial network's own, so a clip of one frame gives that frame's scores.
    Class scores are fused as in the paper, ``weight`` of the spatial and the rest of the
    temporal probability, both calibrated before; the words follow the emotions that motion
    raised or lowered.

    Args:
        features: D.
        words: word affinity (135, 8), see training.data.words.
        weight: share of the spatial stream, 0..1.
    """

    word_share: Tensor

    def __init__(self, features: int, words: Tensor, weight: float) -> None:
        super().__init__()
        self.attend = CascadedAttention(features)
        self.basic8 = nn.Linear(features, 8)
        self.emo135 = nn.Linear(features, 135)
        self.weight = weight
        share = words / words.sum(1, keepdim=True).clamp(min=1e-6)
        self.register_buffer("word_share", share)

    def forward(
        self, feature: Tensor, mask: Tensor, temporal: Tensor, has_motion: Tensor
    ) -> FusionOutput:
        """feature (B, T, D), mask (B, T), temporal (B, 8) logits, has_motion (B, 1) 0 or 1."""
        clip, attention = self.attend(feature, mask)
        spatial = torch.softmax(self.basic8(clip), dim=1)
        moving = torch.softmax(temporal, dim=1)
        share = (1 - self.weight) * has_motion
        fused = torch.log((1 - share) * spatial + share * moving + 1e-9)
        raised = fused - torch.log(spatial + 1e-9)
        words = self.emo135(clip) + raised @ self.word_share.T
        return FusionOutput(fused, words, attention)
