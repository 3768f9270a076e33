"""The default bundle's network for any labels, with paper 002's tasks as company in training.

B batch, D and Dc features of both scales and of the first, K expressions, J = 8 parts of a face.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .compact_msau import CompactBody, Sight
from .resnet_se import StageMaps
from .slfer import SEMANTIC_CLASSES, ComponentTask, ExpressionOutput, SegmentationTask

BLENDSHAPES = 52


class CompactOutput(NamedTuple):
    """logits (B, K) of both scales together, coarse (B, K) of the first alone;
    blendshapes (B, 52), semantic (B, J, 48, 48) and components (B, J) logits, None where the
    network lacks them."""

    logits: Tensor
    coarse: Tensor
    blendshapes: Tensor | None
    semantic: Tensor | None
    components: Tensor | None


class CompactExpressions(nn.Module):
    """Crops (B, 1, 48, 48) uint8 to `CompactOutput`; D = 672, Dc = 480.

    Args:
        expressions: K.
        blendshapes: with the intensities of ARKit's 52, which stand for action units.
        segmentation: with ST of paper 002, on the first scale's last two maps.
        components: with CT of paper 002, on the first scale's feature.
        width: of the first convolution of ST.
    """

    def __init__(
        self,
        expressions: int,
        *,
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
        self.blendshapes = nn.Linear(coarse, BLENDSHAPES) if blendshapes else None
        self.coarse_head = nn.Linear(coarse, expressions)
        self.head = nn.Linear(self.features, expressions)
        """Features (B, D) to the logits (B, K) of both scales."""
        self.segmentation = (
            SegmentationTask(width, channels=self.body.map_channels, doublings=2)
            if segmentation
            else None
        )
        self.components = ComponentTask(coarse, SEMANTIC_CLASSES) if components else None

    def forward(self, crop: Tensor) -> CompactOutput:
        seen: Sight = self.body(crop)
        kept = self.dropout(seen.feature)
        coarse = self.dropout(seen.coarse)
        shapes, segmentation, components = self.blendshapes, self.segmentation, self.components
        return CompactOutput(
            logits=self.head(kept),
            coarse=self.coarse_head(kept[:, : seen.coarse.shape[1]]),
            blendshapes=shapes(coarse) if shapes else None,
            semantic=segmentation(StageMaps(seen.third, seen.fourth)) if segmentation else None,
            components=components(coarse) if components else None,
        )

    def go_on_from(self, other: CompactExpressions) -> None:
        """Take over everything but the heads of expressions, whose labels may be others."""
        self.body, self.blendshapes = other.body, other.blendshapes
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
