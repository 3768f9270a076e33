"""What part of a picture one cell of a network's map sees, worked out from the layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from .blocks import RegionLayer

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
