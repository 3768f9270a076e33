"""Paper 001's prediction model: five stages on two scales (IV-B, Table II).

B batch, S side of the picture, K classes.

Decided where the paper is silent or slips:
- Table II lists pooling by two in every row, which its own output shapes rule out: a stage pools
  once, after its first convolution, and Conv 5 not at all.
- The half scale is the mean over two by two pixels.
- "Both branches can produce a probability vector": each has a classifier of its own on its fully
  connected layer, beside Fuse-FC on both of them. None has a rectifier before it, as listed.
- The three losses weigh the same and are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .asymmetric_autoencoder import grey_picture
from .slfer import ExpressionOutput


@dataclass(frozen=True)
class TwoScaleSize:
    """How large it is; the default values are the paper's."""

    crop_px: int = 112
    """S, a multiple of 16 from 32 on"""
    widths: tuple[int, ...] = (64, 128, 256, 512, 128)
    """Kernels of Conv 1 to Conv 5"""
    full: tuple[int, int] = (64, 32)
    """Ori-FC and Half-FC"""

    def __post_init__(self) -> None:
        if self.crop_px % 16 or self.crop_px < 32:
            raise ValueError(f"crop_px is {self.crop_px}: it must be a multiple of 16 from 32 on")


class TwoScaleOutput(NamedTuple):
    """logits (B, K) of Fuse-FC, which are the answer; original and half (B, K), each branch's."""

    logits: Tensor
    original: Tensor
    half: Tensor


class ScaleBranch(nn.Module):
    """One column of Table II: pictures (B, 1, S, S) to features (B, full)."""

    def __init__(self, side_px: int, widths: tuple[int, ...], full: int, dropout: float) -> None:
        super().__init__()
        one, two, three, four, five = widths
        self.stages = nn.Sequential(
            _layer(1, one, 5, pooled=True),
            _layer(one, one, 5),
            _layer(one, two, 3, pooled=True),
            _layer(two, two, 3),
            _layer(two, three, 3, pooled=True),
            _layer(three, three, 3),
            _layer(three, four, 3, pooled=True),
            _layer(four, five, 1),
        )
        self.dropout = nn.Dropout(dropout)
        self.full = nn.Linear(five * (side_px // 16) ** 2, full)

    def perceived(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of Conv 3-b, Conv 4 and Conv 5, what the perceptual loss compares (eq. 5)."""
        third = self.stages[:6](picture)
        fourth = self.stages[6](third)
        return third, fourth, self.stages[7](fourth)

    def forward(self, picture: Tensor) -> Tensor:
        maps = self.stages(picture)
        feature: Tensor = self.full(self.dropout(maps).flatten(1))
        return feature


class TwoScale(nn.Module):
    """Pictures (B, 1, S, S), -1 to 1, to `TwoScaleOutput`.

    5.4 million parameters at the paper's size and seven classes.
    """

    def __init__(
        self, classes: int = 7, *, size: TwoScaleSize | None = None, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.size = size = size if size is not None else TwoScaleSize()
        self.original = ScaleBranch(size.crop_px, size.widths, size.full[0], dropout)
        self.smaller = ScaleBranch(size.crop_px // 2, size.widths, size.full[1], dropout)
        self.features = sum(size.full)
        self.classify_original = nn.Linear(size.full[0], classes)
        self.classify_half = nn.Linear(size.full[1], classes)
        self.fuse = nn.Linear(self.features, classes)

    @property
    def head(self) -> nn.Module:
        """Fuse-FC: both branches' features (B, 96) to logits (B, K)."""
        return self.fuse

    def feature(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Ori-FC (B, 64) and Half-FC (B, 32)."""
        return self.original(picture), self.smaller(F.avg_pool2d(picture, 2))

    def forward(self, picture: Tensor) -> TwoScaleOutput:
        original, smaller = self.feature(picture)
        return TwoScaleOutput(
            self.fuse(torch.cat([original, smaller], dim=1)),
            self.classify_original(original),
            self.classify_half(smaller),
        )

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        """Crops (B, 1, S, S) uint8 to both branches' features (B, 96) and the fused logits."""
        feature = torch.cat(self.feature(grey_picture(crop)), dim=1)
        return ExpressionOutput(feature, self.fuse(feature))


def _layer(channels_in: int, channels: int, kernel: int, *, pooled: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(2) if pooled else nn.Identity(),
    )
