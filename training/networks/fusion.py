"""Attention over a clip's frames and the fusion of both streams (paper 003, IV-B).

B batch, T frames, D features, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

EMOTION_FLOOR = 0.01
"""Emotions this rare in a clip are not told apart when the words follow them."""


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

    The heads are the spatial network's own, so a clip of one frame gives that frame's basic8.
    Class scores are fused as in the paper, ``weight`` of the spatial and the rest of the
    temporal probability, both calibrated before; a mixture is less sure than its parts deserve,
    so it is sharpened by ``mixture_temperature``. The words then can follow the fused emotions:
    each word's probability is scaled by how much more of its emotions the fused scores hold
    than the words themselves do, to the power ``coupling``.

    Args:
        features: D.
        words: word affinity (135, 8), see training.data.words.
        weight: share of the spatial stream, 0..1.
        mixture_temperature: of the fused scores where there is motion.
        coupling: 0 leaves the words alone, 1 makes them agree with the fused emotions.
    """

    word_share: Tensor

    def __init__(
        self,
        features: int,
        words: Tensor,
        weight: float = 1.0,
        mixture_temperature: float = 1.0,
        coupling: float = 0.0,
    ) -> None:
        super().__init__()
        self.attend = CascadedAttention(features)
        self.basic8 = nn.Linear(features, 8)
        self.emo135 = nn.Linear(features, 135)
        self.weight = weight
        self.mixture_temperature = mixture_temperature
        self.coupling = coupling
        self.register_buffer("word_share", words / words.sum(1, keepdim=True).clamp(min=1e-6))

    def forward(
        self, feature: Tensor, mask: Tensor, temporal: Tensor, has_motion: Tensor
    ) -> FusionOutput:
        """feature (B, T, D), mask (B, T), temporal (B, 8) logits, has_motion (B, 1) 0..1."""
        clip, attention = self.attend(feature, mask)
        spatial = torch.softmax(self.basic8(clip), dim=1)
        share = (1 - self.weight) * has_motion
        mixture = torch.log((1 - share) * spatial + share * torch.softmax(temporal, 1) + 1e-9)
        fused = mixture * (1 + has_motion * (1 / self.mixture_temperature - 1))
        return FusionOutput(fused, self._words(clip, torch.softmax(fused, dim=1)), attention)

    def _words(self, clip: Tensor, fused: Tensor) -> Tensor:
        """Word logits (B, 135) that follow the fused emotions (B, 8)."""
        log_word = torch.log_softmax(self.emo135(clip), dim=1)
        in_words = log_word.exp() @ self.word_share
        shown = fused[:, 1:] / (fused[:, 1:].sum(1, keepdim=True) + 1e-6)
        ratio = ((shown + EMOTION_FLOOR) / (in_words[:, 1:] + EMOTION_FLOOR)) ** self.coupling
        return log_word + torch.log(ratio @ self.word_share[:, 1:].T + 1e-6)
