"""The project's own face detector: fully convolutional, without anchors, three scales.

B batch, H, W height and width (multiples of 32), C cells of all scales, one after the other.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ferstream.stream.faces.own import STRIDES

from .backbones import ResidualBlock

_ANSWERS = 15
_SELDOM = -4.5
"""Logit of a face at a cell before anything is learned."""


class DetectorOutput(NamedTuple):
    """score (B, C) logit of a face whose middle is near the cell's; box (B, C, 4) its middle's
    offset from the cell's centre, x and y in units of UNIT strides (`stream.faces.own`), and the
    logarithms of width and height in those; points (B, C, 5, 2) offsets in those too."""

    score: Tensor
    box: Tensor
    points: Tensor


class DetectorNet(nn.Module):
    """Grey pictures (B, 1, H, W) uint8 to `DetectorOutput`, C = HW/64 + HW/256 + HW/1024.

    Faces from 8 pixels on; the coarser maps are added to the finer ones, so that a small face is
    told from a button by what is about it.
    """

    def __init__(
        self, widths: tuple[int, int, int, int, int] = (16, 24, 40, 64, 80), side: int = 40
    ) -> None:
        super().__init__()
        stem, *stages = widths
        self.stem = nn.Sequential(_convolution(1, stem, 2), _convolution(stem, stages[0], 2))
        self.stages = nn.ModuleList(
            ResidualBlock(before, width, 2, False) for before, width in itertools.pairwise(stages)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, side, 1) for width in stages[1:])
        self.towers = nn.ModuleList(_convolution(side, side, 1) for _ in STRIDES)
        self.answers = nn.ModuleList(nn.Conv2d(side, _ANSWERS, 1) for _ in STRIDES)
        for head in self.answers:
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
            nn.init.constant_(head.bias[:1], _SELDOM)

    def forward(self, picture: Tensor) -> DetectorOutput:
        x = self.stem((picture.float() - 127.5) / 64)
        maps = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        for finer in (1, 0):
            maps[finer] = maps[finer] + F.interpolate(maps[finer + 1], scale_factor=2.0)
        told = []
        for tower, answer, seen in zip(self.towers, self.answers, maps, strict=True):
            told.append(answer(tower(F.relu(seen))).flatten(2))
        every_BCA = torch.cat(told, dim=2).transpose(1, 2)
        points = every_BCA[..., 5:]
        return DetectorOutput(
            every_BCA[..., 0], every_BCA[..., 1:5], points.reshape(*points.shape[:2], 5, 2)
        )


def _convolution(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )
