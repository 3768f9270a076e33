"""The project's own landmark network: a small residual network that regresses points directly.

B batch, S side of the crop (64), P points (106).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ferstream.stream.faces.own import CROP_PX
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
