"""Blocks and backbones that networks share: regions, residual stages, ResNet18, GoogLeNet.

Blocks shared by the networks.  B batch, C channels, H W height and width.

ResNet18 (He et al. 2016) with squeeze-and-excitation (Hu et al. 2018), as paper 002 uses it.

B batch, C channels, S side of the picture.

GoogLeNet (Szegedy et al. 2015), the plain two-stream baseline's frame network (paper 003, V-C).

B batch, S side of the picture, D features.

Decided: without the auxiliary classifiers, and with batch normalisation after every convolution,
without which a network this deep does not train from scratch.

Weights that somebody else's training left, put into a backbone; nothing in the file is run.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CheckpointDamaged, CheckpointForeign


def bf16_is_quick(device: str) -> bool:
    """Whether a type of device multiplies in bf16 no slower than in fp32. A CPU without the
    instructions for it emulates them: nine times slower on one that has AVX2 alone."""
    return device != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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


WIDTH = 64
"""Channels of the first stage in the paper; each further stage has twice as many."""


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

    Args:
        width: channels of the first stage, a multiple of 16; maps then have 4 and 8 times as many.
    """

    def __init__(self, *, excite: bool, width: int = WIDTH) -> None:
        super().__init__()
        self.features = 8 * width
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        channels_in, stages = width, []
        for number in range(4):
            channels, stride = width << number, 1 if number == 0 else 2
            stages.append(
                nn.Sequential(
                    BasicBlock(channels_in, channels, stride, excite),
                    BasicBlock(channels, channels, 1, excite),
                )
            )
            channels_in = channels
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


_NEW = ("excite.",)
"""Parts that a plain backbone's weights cannot have."""


def load_pretrained(backbone: nn.Module, path: Path) -> None:
    """Weights of a backbone by their usual names (conv1, bn1, layer1.0.conv1 ...).

    A "state_dict" within and a prefix "module." are taken off; a classifier (fc) is left out;
    what the usual network lacks, the excitation, stays as it is.

    Raises:
        CheckpointDamaged: the file cannot be read, or not safely.
        CheckpointForeign: these are another network's weights.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointDamaged(
            f"{path} cannot be read as weights ({reason}): save a plain state_dict"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    wanted = backbone.state_dict()
    given = {
        name.removeprefix("module."): value
        for name, value in content.items()
        if not name.removeprefix("module.").startswith("fc.")
    }
    missing = [
        name
        for name in wanted.keys() - given.keys()
        if not any(part in name for part in _NEW) and not name.endswith("num_batches_tracked")
    ]
    strange = sorted(given.keys() - wanted.keys())
    other = [n for n in given.keys() & wanted.keys() if given[n].shape != wanted[n].shape]
    for what, names in (("lacks", sorted(missing)), ("adds", strange), ("differs in", other)):
        if names:
            raise CheckpointForeign(
                f"{path} holds weights of another network than {type(backbone).__name__} (it "
                f"{what} {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''})"
            )
    backbone.load_state_dict(given, strict=False)
