"""MSAU-Net (paper 003, images) and its two classifiers.

The two softmax losses' classifiers (paper 003, IV-A): leaves of the tree and basic classes.

B batch, D features, K leaves (33), P basic classes (6).

MSAU-Net (paper 003, IV-A; progressive erasing V-E) at the paper's own size.

B batch, S side of the crop, N regions looked at closely, K leaves, P basic classes, U units.

The first scale sees the whole face. The receptive field of its strongest activation is magnified
to the picture's size for the second scale, a network like the first with weights of its own.

Decided where the paper is silent:
- Stage one trains a branch by its action units; stage two fixes "the AU detection module". What
  the feature embedding module then has to learn is taken to be the fully connected layers, so
  fixed are the convolutions, the region layer and the head of the action units.
- Both scales answer in testing: the mean of their probabilities.
- Erasing (1 to 5 regions): on the first scale's last map, not in the picture, so that it runs
  once. Erased are the cells whose receptive field has its centre within a region taken before (of
  68 pixels each, no five would fit into 170 without touching). Each region has a network of its
  own, and their features are joined before the second scale's classifiers.
- "Plain CNN": one grid cell (an ordinary convolution), no action units, no second scale, one
  softmax.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backbones import three_channels
from .drml import Drml, DrmlSize, magnified, strongest_cells, window_corners
from .slfer import ExpressionOutput


class TreeScores(NamedTuple):
    """leaf (B, K) and basic (B, P) logits; basic is None where the second softmax is left out."""

    leaf: Tensor
    basic: Tensor | None


class TreeHeads(nn.Module):
    """Features (B, D) to `TreeScores`; ``basic`` 0 leaves the second softmax out."""

    def __init__(self, features: int, leaves: int, basic: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.leaf = nn.Linear(features, leaves)
        self.basic = nn.Linear(features, basic) if basic else None

    def forward(self, feature: Tensor) -> TreeScores:
        kept = self.dropout(feature)
        return TreeScores(self.leaf(kept), self.basic(kept) if self.basic is not None else None)


class LastState(nn.Module):
    """Features (B, T, D) through an LSTM; what it holds after the last step is classified."""

    def __init__(
        self, features: int, hidden: int, leaves: int, basic: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.heads = TreeHeads(hidden, leaves, basic, dropout)

    def forward(self, feature_BTD: Tensor) -> TreeScores:
        states, _ = self.lstm(feature_BTD)
        scores: TreeScores = self.heads(states[:, -1])
        return scores


MOST_REGIONS = 5


@dataclass(frozen=True)
class MsauVariant:
    """What a row of Table II has."""

    units: bool
    """The action-unit detection module"""
    zoom: bool
    """The second scale"""
    basic: bool
    """The softmax of the basic classes beside that of the leaves"""


VARIANTS = {
    "plain-cnn": MsauVariant(False, False, False),
    "au-cnn": MsauVariant(True, False, False),
    "au-z-cnn": MsauVariant(True, True, False),
    "msau": MsauVariant(True, True, True),
}
"""Table II, the rows of images that are this network."""


class Scale(NamedTuple):
    """One scale: feature (B, D), scores, and a branch's action units (B, U) each."""

    feature: Tensor
    scores: TreeScores
    units: tuple[Tensor, ...]


class MsauOutput(NamedTuple):
    """Both scales; fine is None without zoom. windows (B, N, 2) are the upper left pixels of the
    regions that were magnified, x and y, strongest first."""

    coarse: Scale
    fine: Scale | None
    windows: Tensor | None


class Msau(nn.Module):
    """Crops (B, 1, S, S) uint8 to `MsauOutput`; S = 170.

    Args:
        leaves: K, the classes that are told apart.
        basic: P, their parents; without the second softmax it does not matter.
        size: of each scale's network.
        variant: a row of Table II.
        regions: N, 1 to 5.
    """

    def __init__(
        self,
        leaves: int = 33,
        basic: int = 6,
        *,
        size: DrmlSize | None = None,
        variant: str = "msau",
        regions: int = 1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant {variant!r}: there are {', '.join(VARIANTS)}")
        if not 1 <= regions <= MOST_REGIONS:
            raise ValueError(f"regions is {regions}: it must be 1 to {MOST_REGIONS}")
        size, has = size if size is not None else DrmlSize(), VARIANTS[variant]
        if not has.units:
            size = replace(size, grid=1, units=0)
        self.crop_px, basic = size.crop_px, basic if has.basic else 0
        self.coarse = Drml(size, dropout)
        self.coarse_heads = TreeHeads(size.features, leaves, basic, dropout)
        self.fine = nn.ModuleList(Drml(size, dropout) for _ in range(regions if has.zoom else 0))
        fine_features = size.features * len(self.fine)
        self.fine_heads = TreeHeads(fine_features, leaves, basic, dropout) if self.fine else None
        self.features = size.features + fine_features
        """Values of both scales' features together"""
        cells = self.coarse.field.size_px // (2 * self.coarse.field.step_px)
        self.erased_cells = min(cells, max(self.coarse.map_side // 3, 1))

    def forward(self, crop: Tensor) -> MsauOutput:
        picture = three_channels(crop)[:, :1]
        whole = self.coarse(picture)
        coarse = Scale(whole.feature, self.coarse_heads(whole.feature), _units(whole.units))
        if self.fine_heads is None:
            return MsauOutput(coarse, None, None)
        windows = self.windows(whole.maps.detach())
        closer = [
            branch(magnified(picture, windows[:, at], self.coarse.field.size_px, self.crop_px))
            for at, branch in enumerate(self.fine)
        ]
        feature = torch.cat([look.feature for look in closer], dim=1)
        units = tuple(unit for look in closer for unit in _units(look.units))
        return MsauOutput(coarse, Scale(feature, self.fine_heads(feature), units), windows)

    def windows(self, maps: Tensor) -> Tensor:
        """Where to look closely: maps (B, C, h, h) to upper left pixels (B, N, 2)."""
        cells = strongest_cells(maps, len(self.fine), self.erased_cells)
        return window_corners(cells, self.coarse.field, self.crop_px)

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        """Crops to both scales' features (B, D) and the logits (B, K) of their mean probability."""
        return answer(self(crop))

    def look(self, crop: Tensor) -> tuple[ExpressionOutput, Tensor, Tensor]:
        """What `recognise` says, the first scale's action units (B, U) as probabilities, U 0
        without detection, and the centre (B, 2) of the first region, x and y in crop sides."""
        out = self(crop)
        found = answer(out)
        units = torch.sigmoid(out.coarse.units[0]) if out.coarse.units else found.logits[:, :0]
        if out.windows is None:
            return found, units, torch.full_like(found.logits[:, :2], 0.5)
        return found, units, (out.windows[:, 0] + self.coarse.field.size_px / 2) / self.crop_px

    @property
    def head(self) -> JoinedHead:
        """Features (B, D), as `recognise` gives them, to its logits (B, K); shares the weights."""
        head = JoinedHead(self.coarse_heads, self.fine_heads, self.coarse.size.features)
        return head.train(self.training)

    @property
    def branches(self) -> tuple[Drml, ...]:
        """The first scale's network, then those of the regions."""
        return tuple(b for b in (self.coarse, *self.fine) if isinstance(b, Drml))

    def unit_parameters(self) -> Iterator[nn.Parameter]:
        """What stage two leaves as stage one made it."""
        for branch in self.branches:
            yield from branch.unit_parameters()


class JoinedHead(nn.Module):
    """Both scales' features joined (B, D) to the logits (B, K) of their mean probability."""

    def __init__(self, coarse: TreeHeads, fine: TreeHeads | None, features: int) -> None:
        super().__init__()
        self.coarse, self.fine, self.features = coarse, fine, features

    def forward(self, feature: Tensor) -> Tensor:
        coarse = self.coarse(feature[:, : self.features]).leaf
        if self.fine is None:
            return coarse  # type: ignore[no-any-return]
        return mean_logits(coarse, self.fine(feature[:, self.features :]).leaf)


def answer(out: MsauOutput) -> ExpressionOutput:
    """Both scales as one: features joined, probabilities of the leaves averaged."""
    coarse, fine, _ = out
    if fine is None:
        return ExpressionOutput(coarse.feature, coarse.scores.leaf)
    feature = torch.cat([coarse.feature, fine.feature], dim=1)
    return ExpressionOutput(feature, mean_logits(coarse.scores.leaf, fine.scores.leaf))


def mean_logits(coarse_BK: Tensor, fine_BK: Tensor) -> Tensor:
    """The logarithm of both scales' mean probability, (B, K)."""
    both = torch.softmax(coarse_BK, dim=1) + torch.softmax(fine_BK, dim=1)
    return torch.log(both / 2 + 1e-9)


def _units(units: Tensor | None) -> tuple[Tensor, ...]:
    return () if units is None else (units,)
