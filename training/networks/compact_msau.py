"""MSAU-Net's structure (paper 003, IV-A) on a compact backbone made for a CPU and INT8.

B batch, C channels, D and Dc features, Z side of the zoomed crop, R its reach in the crop, K
expressions, J parts of a face.

Two scales. The coarse one sees the whole crop: stem, region layer, residual stages; from its
last map come the fully connected feature, the MAC descriptor (each channel's maximum) and the
action units. The strongest of those maxima says where to look closer: that part of the crop is
magnified for the fine scale. Where the paper and this network differ,
docs/decisions/network.md says why.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import RegionLayer, StageMaps, bf16_is_quick, residual_stages
from .slfer import ComponentTask, ExpressionOutput, SegmentationTask

BLENDSHAPES, WORDS, FINE_CLASSES, AFFECT = 52, 135, 33, 3


class Sight(NamedTuple):
    """What both scales see, before any head: feature (B, D) of both and its beginning coarse
    (B, Dc) of the first; the first's maps at a quarter, third (B, 112, 12, 12), and an eighth of
    the crop's side, fourth (B, 176, 6, 6); zoom (B, 2), centre of the magnified part, x and y in
    0..1 of the crop."""

    feature: Tensor
    coarse: Tensor
    third: Tensor
    fourth: Tensor
    zoom: Tensor


class CompactOutput(NamedTuple):
    """feature (B, D), zoom (B, 2) as of `Sight`; logits (B, K) of both scales together and coarse
    (B, K) of the first alone, for the ranking loss; judged, blendshapes (B, 52), semantic
    (B, J, 48, 48) and components (B, J) logits, None where the network lacks them."""

    feature: Tensor
    logits: Tensor
    coarse: Tensor
    judged: JudgedOutput | None
    blendshapes: Tensor | None
    semantic: Tensor | None
    components: Tensor | None
    zoom: Tensor


class JudgedOutput(NamedTuple):
    """Of faces that a judge described: words (B, 135) and fine (B, 33) logits of each label on its
    own; affect (B, 3), valence and arousal -1..1, intensity 0..1."""

    words: Tensor
    fine: Tensor
    affect: Tensor


def affect_scales(x: Tensor) -> Tensor:
    """(B, 3) to valence and arousal -1..1 and intensity 0..1."""
    return torch.cat([torch.tanh(x[:, :2]), torch.sigmoid(x[:, 2:])], dim=1)


class JudgedHeads(nn.Module):
    """Features (B, D) to what a judge would say of the face.

    Words are not exclusive: each has a logit of its own, "how likely would a judge name it". One
    hidden layer serves all three, as what tells words apart within a family is no linear matter.
    """

    def __init__(self, features: int, hidden: int = 256, dropout: float = 0.3) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.words = nn.Linear(hidden, WORDS)
        self.fine = nn.Linear(hidden, FINE_CLASSES)
        self.affect = nn.Linear(hidden, AFFECT)
        for head in (self.words, self.fine):
            nn.init.constant_(head.bias, -3.5)  # a word is named of one face in thirty

    def forward(self, feature: Tensor) -> JudgedOutput:
        seen = self.dropout(F.relu(self.hidden(feature)))
        return JudgedOutput(self.words(seen), self.fine(seen), affect_scales(self.affect(seen)))


def normalised(crop: Tensor) -> Tensor:
    """uint8 crops (B, 1, H, W) to zero mean and unit deviation each: light does not matter."""
    x = crop.float()
    centred = x - x.mean((2, 3), keepdim=True)
    spread = (centred.square().mean((2, 3), keepdim=True) + 16.0).sqrt()
    return centred / spread


def strongest_cell(maps: Tensor) -> Tensor:
    """Where the largest of all activations lies: (B, C, h, w) to centres (B, 2), x y in 0..1."""
    height, width = maps.shape[2:]
    cell = maps.amax(1).flatten(1).argmax(1)
    x = (cell % width).float() + 0.5
    y = torch.div(cell, width, rounding_mode="floor").float() + 0.5
    return torch.stack([x / width, y / height], dim=1)


def zoom_in(x: Tensor, centre: Tensor, reach_px: int, out_px: int) -> Tensor:
    """Magnify a window of ``reach_px`` about ``centre`` (B, 2) to (B, 1, Z, Z).

    Bilinear sampling written as two matrix products, which every engine knows; the window is
    kept inside the crop.
    """
    size = x.shape[-1]
    half = reach_px / 2
    centre_px = (centre * size).clamp(half, size - half)
    steps = (torch.arange(out_px, device=x.device) + 0.5) * (reach_px / out_px) - half - 0.5
    pixels = torch.arange(size, device=x.device)
    at_B2Z = centre_px[:, :, None] + steps
    weight_B2ZH = F.relu(1 - (at_B2Z[..., None] - pixels).abs())
    rows, columns = weight_B2ZH[:, 1], weight_B2ZH[:, 0]
    return (rows @ x[:, 0] @ columns.transpose(1, 2))[:, None]


def descriptor(maps: Tensor) -> Tensor:
    """MAC descriptor beside the mean of each channel: (B, C, h, w) to (B, 2C)."""
    return torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], dim=1)


class CompactBody(nn.Module):
    """Crops (B, 1, 48, 48) uint8 to `Sight`; D = 672 and Dc = 480 as built."""

    def __init__(
        self,
        *,
        stem: int = 16,
        widths: tuple[int, ...] = (48, 112, 176),
        grid: int = 4,
        full: int = 128,
        fine_stem: int = 16,
        fine_widths: tuple[int, ...] = (32, 64, 96),
        reach_px: int = 24,
        zoom_px: int = 32,
    ) -> None:
        super().__init__()
        self.reach_px, self.zoom_px = reach_px, zoom_px
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
        )
        self.regions = RegionLayer(stem, grid)
        self.early = residual_stages(stem, widths[:-1], 2)
        self.late = residual_stages(widths[-2], widths[-1:], 2)
        self.squeeze = nn.Conv2d(widths[-1], 32, 1)
        self.full = nn.Sequential(
            nn.Linear(32 * 6 * 6, full, bias=False), nn.BatchNorm1d(full), nn.ReLU()
        )
        self.fine = nn.Sequential(
            nn.Conv2d(1, fine_stem, 3, padding=1, bias=False),
            nn.BatchNorm2d(fine_stem),
            nn.ReLU(),
            residual_stages(fine_stem, fine_widths, 1),
        )
        self.map_channels = (widths[-2], widths[-1])
        self.coarse_features = full + 2 * widths[-1]
        self.features = self.coarse_features + 2 * fine_widths[-1]

    def forward(self, crop: Tensor) -> Sight:
        x = normalised(crop)
        third = self.early(self.regions(self.stem(x)))
        fourth = self.late(third)
        full = self.full(self.squeeze(fourth).flatten(1))
        coarse = torch.cat([full, descriptor(fourth)], dim=1)
        zoom = strongest_cell(fourth.detach())
        fine = descriptor(self.fine(zoom_in(x, zoom, self.reach_px, self.zoom_px)))
        return Sight(torch.cat([coarse, fine], dim=1), coarse, third, fourth, zoom)


class CompactMSAU(nn.Module):
    """Crops (B, 1, 48, 48) uint8 to `CompactOutput`; with `judged` the default bundle's network.

    Args:
        expressions: K.
        judged: with `JudgedHeads`.
        blendshapes: with the intensities of ARKit's 52, which stand for action units.
        segmentation: with ST of paper 002, on the first scale's last two maps.
        components: with CT of paper 002, on the first scale's feature.
        width: of the first convolution of ST.
    """

    def __init__(
        self,
        expressions: int = 8,
        *,
        judged: bool = False,
        blendshapes: bool = True,
        segmentation: bool = False,
        components: bool = False,
        width: int = 64,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.body = CompactBody()
        self.features = self.body.features
        coarse = self.body.coarse_features
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.features, expressions)
        """Features (B, D) to the logits (B, K) of both scales."""
        self.coarse_head = nn.Linear(coarse, expressions)
        self.judged = JudgedHeads(self.features) if judged else None
        self.blendshapes = nn.Linear(coarse, BLENDSHAPES) if blendshapes else None
        self.segmentation = (
            SegmentationTask(width, channels=self.body.map_channels, doublings=2)
            if segmentation
            else None
        )
        self.components = ComponentTask(coarse) if components else None

    def forward(self, crop: Tensor) -> CompactOutput:
        seen: Sight = self.body(crop)
        kept, coarse = self.dropout(seen.feature), self.dropout(seen.coarse)
        judged, shapes = self.judged, self.blendshapes
        segmentation, components = self.segmentation, self.components
        return CompactOutput(
            feature=seen.feature,
            logits=self.head(kept),
            coarse=self.coarse_head(kept[:, : seen.coarse.shape[1]]),
            judged=judged(kept) if judged else None,
            blendshapes=shapes(coarse) if shapes else None,
            semantic=segmentation(StageMaps(seen.third, seen.fourth)) if segmentation else None,
            components=components(coarse) if components else None,
            zoom=seen.zoom,
        )

    def go_on_from(self, other: CompactMSAU) -> None:
        """Take over everything but the heads of expressions, whose labels may be others."""
        self.body, self.blendshapes = other.body, other.blendshapes
        self.judged = other.judged
        self.segmentation, self.components = other.segmentation, other.components

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        """What testing needs: features (B, D) and the logits (B, K) of both scales."""
        feature = self.body(crop).feature
        return ExpressionOutput(feature, self.head(feature))

    def look(self, crop: Tensor) -> tuple[ExpressionOutput, Tensor, Tensor]:
        """What `recognise` says, blendshapes (B, 52) 0..1, (B, 0) without, and the centre (B, 2)
        of what the second scale magnifies, x and y in crop sides."""
        seen: Sight = self.body(crop)
        found = ExpressionOutput(seen.feature, self.head(seen.feature))
        if self.blendshapes is None:
            return found, found.logits[:, :0], seen.zoom
        return found, torch.sigmoid(self.blendshapes(seen.coarse)), seen.zoom


@torch.no_grad()
def features_of(
    network: CompactMSAU, crops: npt.NDArray[np.uint8], *, exact: bool = False
) -> Tensor:
    """Crops (N, 48, 48) to features (N, D) float32, in evaluation mode.

    They are means over each crop and its mirror image, as in a bundle. Computed in bf16,
    where that is quick, unless ``exact``.
    """
    device = next(network.parameters()).device
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = []
    for part in torch.split(torch.from_numpy(crops)[:, None], 256):
        mixed = not exact and bf16_is_quick(device.type)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            both = network.body(torch.cat([part, part.flip(3)]).to(device)).feature
        parts.append(both.float().reshape(2, len(part), -1).mean(0).cpu())
    return torch.cat(parts)
