"""ResNet18 (He et al. 2016) with squeeze-and-excitation (Hu et al. 2018), as paper 002 uses it.

B batch, C channels, S side of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import SqueezeExcite

STAGES = (64, 128, 256, 512)


class StageMaps(NamedTuple):
    """Outputs of the third and the fourth stage: (B, 256, S/16, S/16), (B, 512, S/32, S/32)."""

    third: Tensor
    fourth: Tensor


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, C, H, W) to (B, C', H/stride, W/stride).

    Excitation, where asked for, weighs the channels before the shortcut is added (Hu et al.,
    figure 3). Names are those that checkpoints of this network usually have.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, excite: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.excite = SqueezeExcite(channels, 16) if excite else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.excite(self.bn2(self.conv2(y)))
        return F.relu(y + self.downsample(x))


class ResNet18(nn.Module):
    """Pictures (B, 3, S, S), S a multiple of 16, to `StageMaps`.

    11,176,512 parameters without the classifier, 89,080 more with excitation in every block.
    """

    features = STAGES[-1]

    def __init__(self, *, excite: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        channels_in, stages = 64, []
        for number, width in enumerate(STAGES):
            stride = 1 if number == 0 else 2
            stages.append(
                nn.Sequential(
                    BasicBlock(channels_in, width, stride, excite),
                    BasicBlock(width, width, 1, excite),
                )
            )
            channels_in = width
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> StageMaps:
        third = self.layer3(self.layer2(self.layer1(self.pool(F.relu(self.bn1(self.conv1(x)))))))
        return StageMaps(third, self.layer4(third))


def three_channels(crop: Tensor) -> Tensor:
    """Grey crops (B, 1, S, S) uint8 to (B, 3, S, S) of about zero mean and unit deviation.

    Pretrained networks want three channels; the three are alike.
    """
    x = (crop.float() - 127.5) / 64.0
    return torch.cat([x, x, x], dim=1)
