"""The network of paper 002 (SLFER): a backbone, the expression task and two auxiliary tasks.

B batch, S side of the crop, K expressions, J = 8 semantic classes.

The paper leaves the widths of its heads open; here they halve from layer to layer.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import WIDTH, ResNet18, StageMaps, three_channels

SEMANTIC_CLASSES = 8


class ExpressionOutput(NamedTuple):
    """feature (B, D) and logits (B, K); what testing and run time need of an image network."""

    feature: Tensor
    logits: Tensor


class SlferOutput(NamedTuple):
    """logits (B, K) of ECT; semantic (B, J, S, S) logits of ST and components (B, J) logits of
    CT, None where the task is left out."""

    logits: Tensor
    semantic: Tensor | None
    components: Tensor | None


class SegmentationTask(nn.Module):
    """ST: which part of the face each pixel belongs to, from two stages' maps.

    `StageMaps` of an S x S picture to logits (B, J, S, S). The fourth stage's map is enlarged to
    the third's and joined with it; convolution, normalisation, ReLU, enlarging; then pairs of
    enlarging and convolution (three behind a ResNet18), the last of which classifies, so without
    normalisation.

    Args:
        width: of the first convolution.
        channels: of the third and the fourth stage's maps.
        doublings: how often the third's side must be doubled to be the picture's, 2 or more.
    """

    def __init__(
        self,
        width: int = 256,
        classes: int = SEMANTIC_CLASSES,
        *,
        channels: tuple[int, int] = (256, 512),
        doublings: int = 4,
    ) -> None:
        super().__init__()
        self.joined = _conv_norm_relu(sum(channels), width)
        halved = [width >> step for step in range(doublings - 1)]
        pairs: list[nn.Module] = [
            _conv_norm_relu(wide, narrow) for wide, narrow in itertools.pairwise(halved)
        ]
        self.pairs = nn.ModuleList([*pairs, nn.Conv2d(halved[-1], classes, 3, padding=1)])

    def forward(self, maps: StageMaps) -> Tensor:
        coarse = F.interpolate(
            maps.fourth, size=maps.third.shape[2:], mode="bilinear", align_corners=False
        )
        x = _enlarged(self.joined(torch.cat([coarse, maps.third], dim=1)))
        for convolution in self.pairs:
            x = convolution(_enlarged(x))
        return x


class ComponentTask(nn.Module):
    """CT: which parts dominate the picture, by two fully connected layers.

    Feature (B, 512), the averaged map, to logits (B, J).
    """

    def __init__(self, features: int = 512, classes: int = SEMANTIC_CLASSES) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, features // 2), nn.ReLU(), nn.Linear(features // 2, classes)
        )

    def forward(self, feature: Tensor) -> Tensor:
        logits: Tensor = self.layers(feature)
        return logits


class Slfer(nn.Module):
    """Crops (B, 1, S, S) uint8, S a multiple of 16, to `SlferOutput`; D is 8 times the backbone's
    width, 512 in the paper.

    Args:
        expressions: K.
        excite: squeeze-and-excitation in the backbone ("attention mechanism").
        segmentation: with ST.
        components: with CT.
        width: of the first convolution of ST.
        backbone_width: channels of the backbone's first stage.
    """

    def __init__(
        self,
        expressions: int,
        *,
        excite: bool = True,
        segmentation: bool = True,
        components: bool = True,
        width: int = 256,
        backbone_width: int = WIDTH,
    ) -> None:
        super().__init__()
        self.backbone = ResNet18(excite=excite, width=backbone_width)
        self.features = self.backbone.features
        self.head = nn.Sequential(
            nn.Linear(self.features, 256),
            nn.ReLU(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, expressions),
        )
        """ECT: three fully connected layers on the averaged map, (B, D) to (B, K)."""
        maps = (self.features // 2, self.features)
        self.segmentation = SegmentationTask(width, channels=maps) if segmentation else None
        self.components = ComponentTask(self.features) if components else None

    def forward(self, crop: Tensor) -> SlferOutput:
        maps = self.backbone(three_channels(crop))
        feature = maps.fourth.mean((2, 3))
        return SlferOutput(
            self.head(feature),
            self.segmentation(maps) if self.segmentation is not None else None,
            self.components(feature) if self.components is not None else None,
        )

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        """The testing stage: the backbone and ECT alone."""
        feature = self.backbone(three_channels(crop)).fourth.mean((2, 3))
        return ExpressionOutput(feature, self.head(feature))


def _conv_norm_relu(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
