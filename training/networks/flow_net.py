"""The temporal stream's CNN on multi-frame optical flow (paper 003, IV-B).

B batch, F fields in a stack, S side of a field, D features.

Decided: the paper says only "CNN" and refers to two-stream networks, so this is the temporal
network of Simonyan and Zisserman (2014), CNN-M-2048 on stacks of ten fields at 224 pixels, with
batch normalisation where theirs normalises over neighbouring channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .heads import TreeHeads, TreeScores


@dataclass(frozen=True)
class FlowNetSize:
    """How large a flow stream is; the default values are those of CNN-M-2048."""

    fields: int = 10
    """F"""
    crop_px: int = 224
    """S"""
    widths: tuple[int, int, int] = (96, 256, 512)
    """Kernels of the first, the second and the other three convolutions"""
    full: tuple[int, int] = (4096, 2048)
    """The fully connected layers; the second gives the features"""


class FlowNet(nn.Module):
    """Stacks (B, 2F, S, S), x and y of each field in turn, to `TreeScores`.

    90.6 million parameters at the default size.
    """

    def __init__(
        self,
        leaves: int = 33,
        basic: int = 6,
        size: FlowNetSize | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.size = size = size if size is not None else FlowNetSize()
        first, second, rest = size.widths
        self.trunk = nn.Sequential(
            *_layer(2 * size.fields, first, 7, stride=2, padding=0),
            nn.MaxPool2d(3, 2),
            *_layer(first, second, 5, stride=2, padding=1),
            nn.MaxPool2d(3, 2, 1),
            *_layer(second, rest, 3),
            *_layer(rest, rest, 3),
            *_layer(rest, rest, 3),
            nn.MaxPool2d(3, 2),
        )
        with torch.no_grad():
            empty = torch.zeros(1, 2 * size.fields, size.crop_px, size.crop_px)
            values = self.trunk.eval()(empty).numel()
            self.trunk.train()
        self.features = size.full[1]
        self.embedding = nn.Sequential(
            nn.Linear(values, size.full[0]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(size.full[0], size.full[1]),
            nn.ReLU(),
        )
        self.heads = TreeHeads(self.features, leaves, basic, dropout)

    def forward(self, motion: Tensor) -> TreeScores:
        scores: TreeScores = self.heads(self.embedding(self.trunk(motion).flatten(1)))
        return scores


def _layer(
    channels_in: int, channels: int, kernel: int, *, stride: int = 1, padding: int = 1
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels_in, channels, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
