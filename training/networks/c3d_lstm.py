"""C3D-LSTM (paper 003, V-F, Table V): C3D on windows of 16 frames, then an LSTM over them.

B batch, W windows of L frames, S side of a frame.

Decided: the paper refers to Vielzeuf et al. (2017) and gives no sizes. The network is C3D as Tran
et al. (2015) made it, up to its first fully connected layer; the LSTM has 128 cells and what it
holds after the last window is classified.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from .heads import TreeScores
from .last_state import LastState

C3D = (1, 1, 2, 2, 2)
"""Convolutions of each stage; a stage ends with a pooling, the first one in space alone."""


@dataclass(frozen=True)
class C3dLstmSize:
    """How large it is; the default values are C3D's."""

    frames: int = 16
    """L of a window, a multiple of 16"""
    crop_px: int = 112
    """S, a multiple of 16"""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Kernels of the five stages"""
    full: int = 4096
    """The fully connected layer"""
    hidden: int = 128
    """Cells of the LSTM"""


class C3dLstm(nn.Module):
    """Windows (B, W, 3, L, S, S) of about zero mean and unit deviation to `TreeScores`.

    At the default size 27,655,936 parameters in the convolutions, as C3D has, and 33,558,528 in
    the fully connected layer. The last pooling pads its 7 x 7 maps to 8 x 8, as C3D does.
    """

    def __init__(
        self,
        leaves: int = 33,
        basic: int = 6,
        size: C3dLstmSize | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.size = size = size if size is not None else C3dLstmSize()
        stages: list[nn.Module] = []
        steps = zip(C3D, pairwise((3, *size.widths)), strict=True)
        for stage, (count, (before, width)) in enumerate(steps):
            for at in range(count):
                stages += [nn.Conv3d(width if at else before, width, 3, padding=1), nn.ReLU()]
            if stage == len(C3D) - 1:
                # C3D pads at the far edge; what is padded after a rectifier can be zero.
                stages.append(nn.ConstantPad3d((0, 1, 0, 1, 0, 0), 0.0))
            stages.append(nn.MaxPool3d(2 if stage else (1, 2, 2)))
        self.trunk = nn.Sequential(*stages)
        side = (size.crop_px // 16 + 1) // 2
        values = size.widths[-1] * (size.frames // 16) * side * side
        self.full = nn.Linear(values, size.full)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = LastState(size.full, size.hidden, leaves, basic, dropout)
        for layer in self.trunk:
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, clip: Tensor) -> TreeScores:
        batch, windows = clip.shape[:2]
        maps = self.trunk(clip.flatten(0, 1))
        feature = self.dropout(F.relu(self.full(maps.flatten(1))))
        scores: TreeScores = self.recurrent(feature.reshape(batch, windows, self.size.full))
        return scores
