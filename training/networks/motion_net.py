"""The temporal stream's network (paper 003, IV-B) on stacks of motion fields.

B batch, F fields in a stack (8, oldest first), P side of a field (32).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .blocks import residual_stages
from .compact_msau import AFFECT, WORDS, affect_scales


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
