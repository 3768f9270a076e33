"""The two networks of the project's own face front end.

The landmark network is a small residual network that regresses points directly. The detector is
fully convolutional, without anchors, at three scales.

B batch; landmarks: S side of the crop (64), P points (106); detector: H, W height and width
(multiples of 32), C cells of all scales, one after the other.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ferstream.stream.faces.own import CROP_PX, STRIDES
from ferstream.stream.faces.points import POINTS

from .backbones import ResidualBlock
from .compact_msau import normalised

_TURN_DEG = 45.0


class LandmarkOutput(NamedTuple):
    """points (B, P, 2), x and y in crop sides from the crop's middle; presence (B, 1) logit of a
    face being there; pose (B, 3) yaw, pitch and roll in degrees, as `angles_deg` of
    stream/faces/points.py has them; opening (B, 2) 0..1 of the person's right and left eye."""

    points: Tensor
    presence: Tensor
    pose: Tensor
    opening: Tensor


class LandmarkNet(nn.Module):
    """Grey crops (B, 1, S, S) uint8 to `LandmarkOutput`.

    Plain 3x3 convolutions: here they train three times as fast as depthwise ones and run in less
    time. The last map is read place by place, as where something is counts.

    Args:
        widths: channels of the stem and of the three stages.
        hidden: units between the last map and all answers.
    """

    def __init__(
        self, widths: tuple[int, int, int, int] = (32, 48, 96, 192), hidden: int = 320
    ) -> None:
        super().__init__()
        stem, first, second, third = widths
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
        )
        self.stages = nn.Sequential(
            ResidualBlock(stem, first, 2, False),
            ResidualBlock(first, first, 1, False),
            ResidualBlock(first, second, 2, False),
            ResidualBlock(second, second, 1, False),
            ResidualBlock(second, third, 2, False),
        )
        self.squeeze = nn.Conv2d(third, 64, 1)
        self.hidden = nn.Linear(64 * (CROP_PX // 16) ** 2, hidden)
        self.points = nn.Linear(hidden, 2 * len(POINTS))
        self.rest = nn.Linear(hidden, 6)
        nn.init.normal_(self.points.weight, std=0.003)

    def set_mean(self, points: Tensor) -> None:
        """Begin with this mean face (P, 2), in crop sides from the middle."""
        with torch.no_grad():
            self.points.bias.copy_(points.flatten())

    def forward(self, crop: Tensor) -> LandmarkOutput:
        maps = F.relu(self.squeeze(self.stages(self.stem(normalised(crop)))))
        seen = F.relu(self.hidden(maps.flatten(1)))
        presence, pose, opening = self.rest(seen).split([1, 3, 2], dim=1)
        points = self.points(seen).reshape(-1, len(POINTS), 2)
        return LandmarkOutput(points, presence, _TURN_DEG * pose, torch.sigmoid(opening))


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
