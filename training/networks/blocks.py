"""Blocks shared by the networks.  B batch, C channels, H W height and width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SqueezeExcite(nn.Module):
    """Weighs each channel by a look at all of them: (B, C, H, W) to the same."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        weight_BC = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * weight_BC[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; (B, C, H, W) to (B, C', H/stride, W/stride)."""

    def __init__(self, channels_in: int, channels: int, stride: int, excite: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.excite = SqueezeExcite(channels) if excite else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
                nn.Conv2d(channels_in, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.excite(self.norm2(self.conv2(y)))
        return F.relu(y + self.shortcut(x))


def residual_stages(channels_in: int, widths: tuple[int, ...], blocks: int) -> nn.Sequential:
    """Stages that each halve the size, ``blocks`` blocks a stage, excitation in the last one."""
    layers: list[nn.Module] = []
    for width in widths:
        for block in range(blocks):
            stride = 2 if block == 0 else 1
            layers.append(ResidualBlock(channels_in, width, stride, block == blocks - 1))
            channels_in = width
    return nn.Sequential(*layers)


class RegionLayer(nn.Module):
    """DRML's region layer (paper 003, IV-A): weights of its own for every region of the face.

    The map is cut into ``grid`` x ``grid`` equal patches, each with its own 3x3 convolution
    (one grouped convolution over all patches) and added back to the input.
    (B, C, H, W) to the same; H and W are multiples of ``grid``.
    """

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(
            channels * grid * grid, channels * grid * grid, 3, padding=1, groups=grid * grid
        )

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        n, h, w = self.grid, height // self.grid, width // self.grid
        patches = F.relu(self.norm(x)).reshape(-1, channels, n, h, n, w).permute(0, 2, 4, 1, 3, 5)
        local = self.conv(patches.reshape(-1, n * n * channels, h, w))
        local = local.reshape(-1, n, n, channels, h, w).permute(0, 3, 1, 4, 2, 5)
        return F.relu(x + local.reshape(-1, channels, height, width))
