"""GoogLeNet (Szegedy et al. 2015), the plain two-stream baseline's frame network (paper 003, V-C).

B batch, S side of the picture, D features.

Decided: without the auxiliary classifiers, and with batch normalisation after every convolution,
without which a network this deep does not train from scratch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

INCEPTIONS: tuple[tuple[int, int, int, int, int, int], ...] = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)
"""Table 1 of Szegedy et al., 3a to 5b: 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after
the pooling."""
POOLED_AFTER = (1, 6)
"""3b and 4e."""


class Inception(nn.Module):
    """Four views of the same map side by side: (B, C, H, W) to (B, C', H, W)."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, before3, three, before5, five, pooled = widths
        self.one = _layer(channels, one, 1)
        self.three = nn.Sequential(_layer(channels, before3, 1), _layer(before3, three, 3))
        self.five = nn.Sequential(_layer(channels, before5, 1), _layer(before5, five, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), _layer(channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], dim=1)


class GoogLeNet(nn.Module):
    """Pictures (B, 3, S, S) of about zero mean and unit deviation to features (B, D).

    ``width`` scales every layer; at 1, D = 1024 and there are 5,980,832 parameters.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(int(channels * width), 1)

        layers: list[nn.Module] = [
            _layer(3, scaled(64), 7, 2),
            nn.MaxPool2d(3, 2, 1),
            _layer(scaled(64), scaled(64), 1),
            _layer(scaled(64), scaled(192), 3),
            nn.MaxPool2d(3, 2, 1),
        ]
        channels = scaled(192)
        for at, widths in enumerate(INCEPTIONS):
            own = tuple(scaled(value) for value in widths)
            layers.append(Inception(channels, own))
            channels = own[0] + own[2] + own[4] + own[5]
            if at in POOLED_AFTER:
                layers.append(nn.MaxPool2d(3, 2, 1))
        self.trunk = nn.Sequential(*layers)
        self.features = channels

    def forward(self, picture: Tensor) -> Tensor:
        maps: Tensor = self.trunk(picture)
        return maps.mean((2, 3))


def _layer(channels_in: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
