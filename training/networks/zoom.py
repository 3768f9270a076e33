"""The closer look (paper 003, IV-A and V-E): where the face tells most, and that part magnified.

B batch, C channels, H W height and width, h w those of a map, N regions, Z side of the result.

Only operations that every engine knows: a maximum's place, comparisons, matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .receptive_field import ReceptiveField


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
