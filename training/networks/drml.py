"""DRML, deep region and multi-label learning (Zhao et al. 2016), as paper 003 uses it (IV-A).

B batch, S side of the picture, C channels of the last map, h its side, U action units.

A branch of MSAU-Net is one of these. Paper 003 names the first convolution (32 x 11 x 11 x 3), the
region layer with weights of its own per region, the last convolution (Conv 7) and the sizes of the
two features (2048 and 256); the rest is DRML's: 170 pixels, pooling by two, 8x8, 8x8, 6x6 by
stride two, 5x5.

Decided: DRML's Conv 7 has 16 channels, the paper's MAC descriptor 256 values, so Conv 7 has 256
here. Fully connected on 27 x 27 x 256 that would be 764 million weights, so the map is pooled to
the 6 x 6 grid into which the paper says it is "roughly divided" (V-E).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import RegionLayer
from .receptive_field import ReceptiveField, receptive_field


@dataclass(frozen=True)
class DrmlSize:
    """How large a DRML is; the default values are the paper's."""

    crop_px: int = 170
    """S; S - 10 is a multiple of twice the grid"""
    grid: int = 8
    """Regions a side, each with its own weights; 1 is an ordinary convolution (Plain CNN)"""
    stem: int = 32
    """Kernels of Conv 1 and the region layer"""
    middle: int = 16
    """Kernels of Conv 4 to 6"""
    last: int = 256
    """Kernels of Conv 7, C"""
    hidden: int = 4096
    """First fully connected layer"""
    full: int = 2048
    """Second fully connected layer: the global feature"""
    units: int = 12
    """Action units, U; 0 leaves their head out"""

    def __post_init__(self) -> None:
        if (self.crop_px - 10) % (2 * self.grid) or self.crop_px < 66:
            raise ValueError(
                f"crop_px is {self.crop_px}: less 10 it must be a multiple of {2 * self.grid} "
                f"(twice the grid), from 66 on"
            )

    @property
    def features(self) -> int:
        """Values of a branch's feature: 2304 at the paper's size."""
        return self.full + self.last


class DrmlOutput(NamedTuple):
    """feature (B, full + C): the fully connected feature and the MAC descriptor; maps
    (B, C, h, h) of Conv 7; units (B, U) logits of the action units, None without a head."""

    feature: Tensor
    maps: Tensor
    units: Tensor | None


class Drml(nn.Module):
    """Pictures (B, 3, S, S) of about zero mean and unit deviation to `DrmlOutput`.

    Grey ones may come as (B, 1, S, S), which is the same at a third of the first layer's cost.

    46.9 million parameters at the paper's size; h = 27.
    """

    def __init__(self, size: DrmlSize | None = None, dropout: float = 0.5) -> None:
        super().__init__()
        self.size = size = size if size is not None else DrmlSize()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, size.stem, 11),
            nn.ReLU(),
            RegionLayer(size.stem, size.grid),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(size.stem),
            nn.Conv2d(size.stem, size.middle, 8),
            nn.ReLU(),
            nn.Conv2d(size.middle, size.middle, 8),
            nn.ReLU(),
            nn.Conv2d(size.middle, size.middle, 6, 2),
            nn.ReLU(),
            nn.Conv2d(size.middle, size.last, 5),
            nn.ReLU(),
        )
        self.field: ReceptiveField = receptive_field(self.trunk)
        """What one cell of the last map sees: 68 pixels, 4 apart"""
        self.map_side = ((size.crop_px - 10) // 2 - 14 - 6) // 2 + 1 - 4
        step = max(self.map_side // 6, 1)
        side = min(self.map_side, 6)
        self.pool = nn.MaxPool2d(self.map_side - (side - 1) * step, step)
        self.embedding = nn.Sequential(
            nn.Linear(size.last * side * side, size.hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(size.hidden, size.full),
            nn.ReLU(),
        )
        for layer in (*self.trunk, *self.embedding):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                _begin(layer)
        self.units = nn.Linear(size.full, size.units) if size.units else None
        """DRML's last layer: action units from the fully connected feature"""

    def forward(self, picture: Tensor) -> DrmlOutput:
        maps = self.trunk[1:](self._first(picture))
        full = self.embedding(self.pool(maps).flatten(1))
        feature = torch.cat([full, maps.amax((2, 3))], dim=1)
        return DrmlOutput(feature, maps, self.units(full) if self.units is not None else None)

    def _first(self, picture: Tensor) -> Tensor:
        """Conv 1: of three channels alike, the sum of the kernels' three parts sees the one."""
        first = self.trunk[0]
        assert isinstance(first, nn.Conv2d)
        if picture.shape[1] == 3:
            return first(picture)  # type: ignore[no-any-return]
        return F.conv2d(picture, first.weight.sum(1, keepdim=True), first.bias)

    def unit_parameters(self) -> Iterator[nn.Parameter]:
        """The action-unit detection module's own, fixed in MSAU-Net's second stage."""
        yield from self.trunk.parameters()
        if self.units is not None:
            yield from self.units.parameters()


def _begin(layer: nn.Conv2d | nn.Linear) -> None:
    """Weights by He et al. (2015), so that nine rectified layers, one of them normalised, do not
    weaken the signal: with PyTorch's usual ones the network stayed at chance on few pictures."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
