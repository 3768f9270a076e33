"""Paper 001's networks: the two-scale classifier, and the autoencoder with its critic.

Paper 001's prediction model: five stages on two scales (IV-B, Table II).

B batch, S side of the picture, K classes.

Decided where the paper is silent or slips:
- Table II lists pooling by two in every row, which its own output shapes rule out: a stage pools
  once, after its first convolution, and Conv 5 not at all.
- The half scale is the mean over two by two pixels.
- "Both branches can produce a probability vector": each has a classifier of its own on its fully
  connected layer, beside Fuse-FC on both of them. None has a rectifier before it, as listed.
- The three losses weigh the same and are added.

Paper 001's asymmetric autoencoder (III-B, Table I) and the critic it is refined against.

B batch, S side of the picture, D values of the code, l scale: 0 the picture, 1 to 4 the maps.

Pictures are grey, -1 to 1. Encoder: four convolutions by stride two and a fully connected layer.
Decoder: the way back, every layer thickened to residual blocks, nine in all.

Decided where the paper is silent or slips:
- The first residual block of a row holds its transposed convolution, the second follows it; the
  shortcut of the first is enlarged to the nearest pixel and mapped by 1x1.
- D-TConv-o is listed with stride 2 and 112 pixels in and out: its stride is 1. It ends without
  normalisation or rectifier.
- D-FC recovers the map before E-FC (l = 4), the rows c, b, a those of l = 3, 2, 1, the last row
  the picture: five scales, as IV-B counts them.
- Noise is dropout alone (2), as in Table I; the decoder rebuilds what the encoder sees without
  noise (as in the clustering autoencoder that the paper follows).
- The critic: the encoder's convolutions without normalisation, since its weights are clipped, and
  one output.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .slfer import ExpressionOutput


@dataclass(frozen=True)
class TwoScaleSize:
    """How large it is; the default values are the paper's."""

    crop_px: int = 112
    """S, a multiple of 16 from 32 on"""
    widths: tuple[int, ...] = (64, 128, 256, 512, 128)
    """Kernels of Conv 1 to Conv 5"""
    full: tuple[int, int] = (64, 32)
    """Ori-FC and Half-FC"""

    def __post_init__(self) -> None:
        if self.crop_px % 16 or self.crop_px < 32:
            raise ValueError(f"crop_px is {self.crop_px}: it must be a multiple of 16 from 32 on")


class TwoScaleOutput(NamedTuple):
    """logits (B, K) of Fuse-FC, which are the answer; original and half (B, K), each branch's."""

    logits: Tensor
    original: Tensor
    half: Tensor


class ScaleBranch(nn.Module):
    """One column of Table II: pictures (B, 1, S, S) to features (B, full)."""

    def __init__(self, side_px: int, widths: tuple[int, ...], full: int, dropout: float) -> None:
        super().__init__()
        one, two, three, four, five = widths
        self.stages = nn.Sequential(
            _layer(1, one, 5, pooled=True),
            _layer(one, one, 5),
            _layer(one, two, 3, pooled=True),
            _layer(two, two, 3),
            _layer(two, three, 3, pooled=True),
            _layer(three, three, 3),
            _layer(three, four, 3, pooled=True),
            _layer(four, five, 1),
        )
        self.dropout = nn.Dropout(dropout)
        self.full = nn.Linear(five * (side_px // 16) ** 2, full)

    def perceived(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of Conv 3-b, Conv 4 and Conv 5, what the perceptual loss compares (eq. 5)."""
        third = self.stages[:6](picture)
        fourth = self.stages[6](third)
        return third, fourth, self.stages[7](fourth)

    def forward(self, picture: Tensor) -> Tensor:
        maps = self.stages(picture)
        feature: Tensor = self.full(self.dropout(maps).flatten(1))
        return feature


class TwoScale(nn.Module):
    """Pictures (B, 1, S, S), -1 to 1, to `TwoScaleOutput`.

    5.4 million parameters at the paper's size and seven classes.
    """

    def __init__(
        self, classes: int = 7, *, size: TwoScaleSize | None = None, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.size = size = size if size is not None else TwoScaleSize()
        self.original = ScaleBranch(size.crop_px, size.widths, size.full[0], dropout)
        self.smaller = ScaleBranch(size.crop_px // 2, size.widths, size.full[1], dropout)
        self.features = sum(size.full)
        self.classify_original = nn.Linear(size.full[0], classes)
        self.classify_half = nn.Linear(size.full[1], classes)
        self.fuse = nn.Linear(self.features, classes)

    @property
    def head(self) -> nn.Module:
        """Fuse-FC: both branches' features (B, 96) to logits (B, K)."""
        return self.fuse

    def feature(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Ori-FC (B, 64) and Half-FC (B, 32)."""
        return self.original(picture), self.smaller(F.avg_pool2d(picture, 2))

    def forward(self, picture: Tensor) -> TwoScaleOutput:
        original, smaller = self.feature(picture)
        return TwoScaleOutput(
            self.fuse(torch.cat([original, smaller], dim=1)),
            self.classify_original(original),
            self.classify_half(smaller),
        )

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        """Crops (B, 1, S, S) uint8 to both branches' features (B, 96) and the fused logits."""
        feature = torch.cat(self.feature(grey_picture(crop)), dim=1)
        return ExpressionOutput(feature, self.fuse(feature))


def _layer(channels_in: int, channels: int, kernel: int, *, pooled: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.MaxPool2d(2) if pooled else nn.Identity(),
    )


NOISE = 0.1
"""Probability that a value is dropped, Table I."""
SLOPE = 0.01
"""Of the leaky rectifiers, Table I."""


@dataclass(frozen=True)
class AutoencoderSize:
    """How large it is; the default values are the paper's."""

    crop_px: int = 112
    """S, a multiple of 16"""
    widths: tuple[int, ...] = (16, 32, 64, 80)
    """Kernels of E-Conv-a to d"""
    code: int = 64
    """D"""

    def __post_init__(self) -> None:
        if self.crop_px % 16:
            raise ValueError(f"crop_px is {self.crop_px}: it must be a multiple of 16")

    @property
    def last_px(self) -> int:
        """Side of the last map: 7."""
        return self.crop_px // 16


def grey_picture(crop: Tensor) -> Tensor:
    """uint8 crops (B, 1, S, S) to pictures of -1 to 1."""
    return crop.float() / 127.5 - 1.0


class Encoder(nn.Module):
    """Pictures (B, 1, S, S) to codes (B, D); with ``noise`` it is the corrupted encoder (eq. 2)."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        channels = (1, *size.widths)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, width, 3, 2, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.Tanh() if width_at == len(size.widths) - 1 else nn.LeakyReLU(SLOPE),
            )
            for width_at, (before, width) in enumerate(pairwise(channels))
        )
        self.full = nn.Linear(size.widths[-1] * size.last_px**2, size.code)

    def maps(self, picture: Tensor, *, noise: bool = False) -> list[Tensor]:
        """z of every scale, the picture first; dropped values where there is noise."""
        x = F.dropout(picture, NOISE, noise)
        found = [x]
        for at, layer in enumerate(self.layers):
            x = layer(x)
            if at < len(self.layers) - 1:
                x = F.dropout(x, NOISE, noise)
            found.append(x)
        return found

    def code(self, last: Tensor) -> Tensor:
        """The last map (B, C, S/16, S/16) to codes (B, D)."""
        found: Tensor = self.full(last.flatten(1))
        return found

    def forward(self, picture: Tensor) -> Tensor:
        return self.code(self.maps(picture)[-1])


class EnlargingBlock(nn.Module):
    """A residual block that doubles the side: (B, C, H, W) to (B, C', 2H, 2W)."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(channels_in, channels, 3, 2, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm2(self.conv(F.relu(self.norm1(self.enlarge(x)))))
        return y + F.interpolate(self.shortcut(x), scale_factor=2, mode="nearest")


class SmoothingBlock(nn.Module):
    """A residual block of the same side; ``last`` maps to one channel without normalisation."""

    def __init__(self, channels: int, *, last: bool = False) -> None:
        super().__init__()
        out = 1 if last else channels
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, out, 3, padding=1, bias=last)
        self.norm2: nn.Module = nn.Identity() if last else nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Conv2d(channels, 1, 1) if last else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        out: Tensor = y + self.shortcut(x)
        return out


class Decoder(nn.Module):
    """Codes (B, D) to pictures (B, 1, S, S) (eq. 3)."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        self.shape = (size.widths[-1], size.last_px, size.last_px)
        self.full = nn.Linear(size.code, size.widths[-1] * size.last_px**2)
        # Rows c, b, a, t of Table I; t keeps the width of a.
        channels = (*reversed(size.widths), size.widths[0])
        self.rows = nn.ModuleList(
            nn.Sequential(
                EnlargingBlock(before, width), nn.ReLU(), SmoothingBlock(width), nn.ReLU()
            )
            for before, width in pairwise(channels)
        )
        self.last = SmoothingBlock(size.widths[0], last=True)

    def maps(self, code: Tensor) -> list[Tensor]:
        """What is recovered of every scale, the picture first, as `Encoder.maps` gives them."""
        x = self.full(code).reshape(-1, *self.shape)
        found = [x]
        for row in self.rows:
            x = row(x)
            found.append(x)
        # Row t has the picture's side; the picture itself takes its place.
        found[-1] = self.last(x)
        return found[::-1]

    def forward(self, code: Tensor) -> Tensor:
        return self.maps(code)[0]


class AsymmetricAutoencoder(nn.Module):
    """Pictures (B, 1, S, S) and noise on their codes (B, D) to semantic neighbours (eq. 9)."""

    def __init__(self, size: AutoencoderSize | None = None) -> None:
        super().__init__()
        self.size = size = size if size is not None else AutoencoderSize()
        self.encoder = Encoder(size)
        self.decoder = Decoder(size)

    def forward(self, picture: Tensor, noise: Tensor) -> Tensor:
        """(B, 1, S, S), (B, D) to (B, 1, S, S), in -1..1 as pictures are."""
        neighbour: Tensor = self.decoder(self.encoder(picture) + noise)
        return neighbour.clamp(-1, 1)

    def rebuilt(self, picture: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """z and what is recovered of it, every scale, for eq. 4.

        The recovered maps come from the corrupted encoder's code; z, seen without noise, is a
        target and takes no gradient.
        """
        noisy = self.decoder.maps(self.encoder.code(self.encoder.maps(picture, noise=True)[-1]))
        with torch.no_grad():
            clean = self.encoder.maps(picture)
        return clean, noisy


class Critic(nn.Module):
    """The discriminator of eq. 6 and 7: pictures (B, 1, S, S) to one value each (B,)."""

    def __init__(self, size: AutoencoderSize | None = None) -> None:
        super().__init__()
        size = size if size is not None else AutoencoderSize()
        layers: list[nn.Module] = []
        for before, width in pairwise((1, *size.widths)):
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers)
        self.judge = nn.Linear(size.widths[-1] * size.last_px**2, 1)

    def forward(self, picture: Tensor) -> Tensor:
        value: Tensor = self.judge(self.layers(picture).flatten(1))
        return value[:, 0]

    @torch.no_grad()
    def clip_weights(self, limit: float = 0.01) -> None:
        """What makes the critic's value a distance (Arjovsky et al. 2017): small weights."""
        for parameter in self.parameters():
            parameter.clamp_(-limit, limit)
