"""VGG16-LSTM (paper 003, V-F, Table V): every frame's VGG16 feature, then an LSTM over them.

B batch, T frames, S side of a frame.

Decided: the paper refers to Ouyang et al. (2017) and gives no sizes. The feature is VGG16's first
fully connected layer's, the LSTM has 128 cells, and what it holds after the last frame is
classified.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from .heads import TreeScores
from .last_state import LastState

VGG16 = (2, 2, 3, 3, 3)
"""Convolutions of each stage; a stage ends with a pooling."""


@dataclass(frozen=True)
class Vgg16LstmSize:
    """How large it is; the default values are VGG16's."""

    crop_px: int = 224
    """S, a multiple of 32"""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Kernels of the five stages"""
    full: int = 4096
    """The fully connected layer"""
    hidden: int = 128
    """Cells of the LSTM"""


class Vgg16Lstm(nn.Module):
    """Clips (B, T, 3, S, S) of about zero mean and unit deviation to `TreeScores`.

    At the default size 14,714,688 parameters in the convolutions, as VGG16 has, and 102,764,544
    in the fully connected layer.
    """

    def __init__(
        self,
        leaves: int = 33,
        basic: int = 6,
        size: Vgg16LstmSize | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.size = size = size if size is not None else Vgg16LstmSize()
        stages: list[nn.Module] = []
        for count, (before, width) in zip(VGG16, pairwise((3, *size.widths)), strict=True):
            for at in range(count):
                stages += [nn.Conv2d(width if at else before, width, 3, padding=1), nn.ReLU()]
            stages.append(nn.MaxPool2d(2))
        self.trunk = nn.Sequential(*stages)
        self.full = nn.Linear(size.widths[-1] * (size.crop_px // 32) ** 2, size.full)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = LastState(size.full, size.hidden, leaves, basic, dropout)
        for layer in self.trunk:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, clip: Tensor) -> TreeScores:
        batch, frames = clip.shape[:2]
        maps = self.trunk(clip.flatten(0, 1))
        feature = self.dropout(F.relu(self.full(maps.flatten(1))))
        scores: TreeScores = self.recurrent(feature.reshape(batch, frames, self.size.full))
        return scores
