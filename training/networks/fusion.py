"""The temporal network, the attention over frames and the fusion (paper 003, IV-B).

The temporal stream's network (paper 003, IV-B) on stacks of motion fields.

B batch, F fields in a stack (8, oldest first), P side of a field (32).

Attention over a clip's frames and the fusion of both streams (paper 003, IV-B).

B batch, T frames, D features, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backbones import residual_stages
from .compact_msau import AFFECT, WORDS, JudgedHeads, affect_scales


class MotionScores(NamedTuple):
    """basic8 (B, 8) and emo135 (B, 135) logits, each word's on its own; affect (B, 3), valence and
    arousal -1..1, intensity 0..1."""

    basic8: Tensor
    emo135: Tensor
    affect: Tensor


class MotionNet(nn.Module):
    """Stacks (B, 2F, P, P) float32 in face widths per second to `MotionScores`.

    Velocities are compressed first: an estimator's outlier must not outshout the face, and a
    quick blink is not ten times as telling as a slow smile.
    """

    def __init__(
        self,
        fields: int = 8,
        stem: int = 48,
        widths: tuple[int, ...] = (64, 96, 128),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.fields = fields
        self.stem = nn.Sequential(
            nn.Conv2d(2 * fields, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
        )
        self.stages = residual_stages(stem, widths, 1)
        self.dropout = nn.Dropout(dropout)
        self.basic8 = nn.Linear(2 * widths[-1], 8)
        self.emo135 = nn.Linear(2 * widths[-1], WORDS)
        self.affect = nn.Linear(2 * widths[-1], AFFECT)

    def forward(self, motion: Tensor) -> MotionScores:
        compressed = motion / (motion.abs() + 0.25)
        maps = self.stages(self.stem(compressed))
        pooled = torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], dim=1)
        seen = self.dropout(pooled)
        return MotionScores(self.basic8(seen), self.emo135(seen), affect_scales(self.affect(seen)))


LEAST = 1e-6
"""A frame that counts less is not there; a word is never surer, or less sure, than this."""
_FLOOR = 1e-7


class FusionOutput(NamedTuple):
    """basic8 (B, 8), emo135 (B, 135) and fg33 (B, 33) logits of the clip; attention (B, T) sums to
    1; affect (B, 3), its valence and arousal -1..1 and intensity 0..1."""

    basic8: Tensor
    emo135: Tensor
    attention: Tensor
    affect: Tensor
    fg33: Tensor


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
        """Features and how far each frame counts (0: is not there) to the clip's feature and
        attention.

        (B, T, D), (B, T) to (B, D), (B, T). Eq. 3 and 4 with the first kernel, eq. 5 for the
        second, eq. 3 and 4 again; each frame's weight multiplies the softmax's.
        """
        empty = torch.log(mask_BT.clamp(min=LEAST)) - 1e4 * (mask_BT < LEAST).float()
        first_BT = torch.softmax(feature_BTD @ self.kernel + empty, dim=1)
        first_BD = (first_BT[:, None] @ feature_BTD)[:, 0]
        kernel_BD = torch.tanh(self.transfer(first_BD))
        score_BT = (feature_BTD @ kernel_BD[:, :, None])[:, :, 0]
        attention_BT = torch.softmax(score_BT + empty, dim=1)
        return (attention_BT[:, None] @ feature_BTD)[:, 0], attention_BT


class Fusion(nn.Module):
    """A clip's features and its motion's scores to what the clip expresses.

    The heads are the spatial network's own, so a clip of one frame gives that frame's scores.
    Probabilities are fused as in the paper, ``weight`` of the spatial and the rest of the temporal
    one, both calibrated before; a mixture is less sure than its parts deserve, so it is sharpened
    by ``mixture_temperature``. Words, each on its own, and affect are mixed with weights of their
    own; the 33 classes are the frames' alone.

    Args:
        features: D.
        weight, word_weight, affect_weight: shares of the spatial stream, 0..1.
        mixture_temperature: of the fused basic expressions where there is motion.
    """

    def __init__(
        self,
        features: int,
        weight: float = 1.0,
        mixture_temperature: float = 1.0,
        word_weight: float = 1.0,
        affect_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.attend = CascadedAttention(features)
        self.basic8 = nn.Linear(features, 8)
        self.judged = JudgedHeads(features)
        self.weight, self.word_weight, self.affect_weight = weight, word_weight, affect_weight
        self.mixture_temperature = mixture_temperature

    def forward(
        self,
        feature: Tensor,
        mask: Tensor,
        temporal: Tensor,
        has_motion: Tensor,
        temporal_emo135: Tensor,
        temporal_affect: Tensor,
    ) -> FusionOutput:
        """feature (B, T, D), mask (B, T) 0..1, temporal (B, 8) and temporal_emo135 (B, 135) logits,
        temporal_affect (B, 3), has_motion (B, 1) 0..1."""
        clip, attention = self.attend(feature, mask)
        spatial = torch.softmax(self.basic8(clip), dim=1)
        share = (1 - self.weight) * has_motion
        mixture = torch.log((1 - share) * spatial + share * torch.softmax(temporal, 1) + _FLOOR)
        fused = mixture * (1 + has_motion * (1 / self.mixture_temperature - 1))
        judged = self.judged(clip)
        share = (1 - self.word_weight) * has_motion
        words = (1 - share) * torch.sigmoid(judged.words) + share * torch.sigmoid(temporal_emo135)
        words = words.clamp(LEAST, 1 - LEAST)
        share = (1 - self.affect_weight) * has_motion
        affect = (1 - share) * judged.affect + share * temporal_affect
        return FusionOutput(
            fused, torch.log(words) - torch.log1p(-words), attention, affect, judged.fine
        )
