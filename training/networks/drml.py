"""A branch of MSAU-Net (DRML), and where the second branch looks closer (paper 003, IV-A and V-E).

What part of a picture one cell of a network's map sees, worked out from the layers.

The closer look (paper 003, IV-A and V-E): where the face tells most, and that part magnified.

B batch, C channels, H W height and width, h w those of a map, N regions, Z side of the result.

Only operations that every engine knows: a maximum's place, comparisons, matrix products.

DRML, deep region and multi-label learning (Zhao et al. 2016), as paper 003 uses it (IV-A).

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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import RegionLayer

_SAME_PLACE = (nn.BatchNorm2d, nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Dropout, nn.Identity)
"""Layers that look at nothing but the cell itself."""


@dataclass(frozen=True)
class ReceptiveField:
    """A square of ``size_px``, moved by ``step_px`` from cell to cell.

    Cell i of a row sees the pixels from ``first_px`` + i * ``step_px`` on; where the layers pad,
    the first ones lie outside of the picture.
    """

    size_px: int
    step_px: int
    first_px: int


def receptive_field(layers: Iterable[nn.Module]) -> ReceptiveField:
    """The field of a chain of square layers, from the picture on.

    A layer (kernel k, stride s, padding p) on maps whose cells lie j pixels apart adds (k - 1) j
    to the size, moves the first field by -p j and spaces the cells s j apart. A region layer is
    its 3x3 convolution; at a region's border it sees less.

    Raises:
        TypeError: a layer whose reach is not known.
    """
    size, step, first = 1, 1, 0
    for layer in _flat(layers):
        if isinstance(layer, _SAME_PLACE):
            continue
        kernel, stride, padding = _window(layer)
        size += (kernel - 1) * step
        first -= padding * step
        step *= stride
    return ReceptiveField(size, step, first)


def _flat(layers: Iterable[nn.Module]) -> Iterable[nn.Module]:
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            yield from _flat(layer)
        else:
            yield layer


def _window(layer: nn.Module) -> tuple[int, int, int]:
    """Kernel, stride and padding in cells; dilation is part of the kernel."""
    if isinstance(layer, RegionLayer):
        return 3, 1, 1
    if isinstance(layer, nn.Conv2d):
        kernel = layer.dilation[0] * (layer.kernel_size[0] - 1) + 1
        return kernel, layer.stride[0], int(layer.padding[0])
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        sizes = (layer.kernel_size, layer.stride, layer.padding)
        return tuple(s if isinstance(s, int) else s[0] for s in sizes)  # type: ignore[return-value]
    raise TypeError(f"the reach of a {type(layer).__name__} is not known: add it to _window")


def strongest_cells(maps: Tensor, count: int, reach: int) -> Tensor:
    """The ``count`` strongest cells, each found after the regions of those before it were erased.

    Maps (B, C, h, w) to cells (B, N, 2), x and y, strongest first. A cell is as strong as the
    largest of its channels: the largest of all is the largest element of the MAC descriptor.
    Erased are the cells at most ``reach`` from one that was taken; where nothing else is left, the
    cells that were erased least often come next, never one that was taken before.
    """
    height, width = maps.shape[2:]
    strength = maps.amax(1)
    flat = strength.flatten(1)
    penalty = (flat.amax(1) - flat.amin(1) + 1.0)[:, None, None]
    rows = torch.arange(height, device=maps.device)[None, :, None]
    columns = torch.arange(width, device=maps.device)[None, None, :]
    cells = []
    for _ in range(count):
        cell = strength.flatten(1).argmax(1)
        x, y = cell % width, torch.div(cell, width, rounding_mode="floor")
        cells.append(torch.stack([x, y], dim=1))
        away_x = (columns - x[:, None, None]).abs()
        away_y = (rows - y[:, None, None]).abs()
        near = ((away_x <= reach) & (away_y <= reach)).to(maps.dtype)
        itself = ((away_x + away_y) == 0).to(maps.dtype)
        strength = strength - penalty * (near + count * itself)
    return torch.stack(cells, dim=1)


def window_corners(cells: Tensor, field: ReceptiveField, side_px: int) -> Tensor:
    """The upper left pixel of what cells (..., 2) see, moved into a picture of ``side_px``."""
    corner_px = cells.float() * field.step_px + field.first_px
    return corner_px.clamp(0, max(side_px - field.size_px, 0))


def magnified(x: Tensor, corner_px: Tensor, reach_px: int, out_px: int) -> Tensor:
    """Windows of ``reach_px`` from their upper left pixels (B, 2) on, bilinearly enlarged.

    Pictures (B, C, H, W) to (B, C, Z, Z); written as two matrix products.
    """
    height, width = x.shape[2:]
    steps = (torch.arange(out_px, device=x.device) + 0.5) * (reach_px / out_px) - 0.5
    rows = _weights(corner_px[:, 1, None] + steps, height)
    columns = _weights(corner_px[:, 0, None] + steps, width)
    return rows[:, None] @ x @ columns[:, None].transpose(2, 3)


def _weights(at_BZ: Tensor, size: int) -> Tensor:
    """Each pixel's share in each sample (B, Z, size)."""
    pixels = torch.arange(size, device=at_BZ.device)
    return F.relu(1 - (at_BZ.clamp(0, size - 1)[..., None] - pixels).abs())


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
