"""TMSAU-Net (paper 003, IV-B) and the back ends of its temporal stream (Table V).

The temporal stream's CNN on multi-frame optical flow (paper 003, IV-B).

B batch, F fields in a stack, S side of a field, D features.

Decided: the paper says only "CNN" and refers to two-stream networks, so this is the temporal
network of Simonyan and Zisserman (2014), CNN-M-2048 on stacks of ten fields at 224 pixels, with
batch normalisation where theirs normalises over neighbouring channels.

C3D-LSTM (paper 003, V-F, Table V): C3D on windows of 16 frames, then an LSTM over them.

B batch, W windows of L frames, S side of a frame.

Decided: the paper refers to Vielzeuf et al. (2017) and gives no sizes. The network is C3D as Tran
et al. (2015) made it, up to its first fully connected layer; the LSTM has 128 cells and what it
holds after the last window is classified.

VGG16-LSTM (paper 003, V-F, Table V): every frame's VGG16 feature, then an LSTM over them.

B batch, T frames, S side of a frame.

Decided: the paper refers to Ouyang et al. (2017) and gives no sizes. The feature is VGG16's first
fully connected layer's, the LSTM has 128 cells, and what it holds after the last frame is
classified.

TMSAU-Net (paper 003, IV-B): MSAU's frames under attention beside a stream of motion.

B batch, T frames, D values of a frame's MSAU feature, K leaves, P basic classes.

The weights of MSAU-Net stay as its own training left them, so frames come in as its features.

Decided where the paper contradicts itself or is silent:
- Frame features of 2304 (IV-A) and of 256 (IV-B; there "from GoogleNet", a slip from the paper it
  follows): both scales' 2304 values are joined, and a learned linear layer reduces the 4608 to
  the 256 that the attention reads.
- Both streams have their two softmax losses; what is fused are the streams' probabilities.
- Plain two-stream: the mean over the frames of GoogLeNet's features instead of attention over
  MSAU's. NAN: the attention alone, without the stream of motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .fusion import CascadedAttention
from .msau import LastState, TreeHeads, TreeScores


@dataclass(frozen=True)
class FlowNetSize:
    """How large a flow stream is; the default values are those of CNN-M-2048."""

    fields: int = 10
    """F"""
    crop_px: int = 224
    """S"""
    widths: tuple[int, int, int] = (96, 256, 512)
    """Kernels of the first, the second and the other three convolutions"""
    full: tuple[int, int] = (4096, 2048)
    """The fully connected layers; the second gives the features"""


class FlowNet(nn.Module):
    """Stacks (B, 2F, S, S), x and y of each field in turn, to `TreeScores`.

    90.6 million parameters at the default size.
    """

    def __init__(
        self,
        leaves: int = 33,
        basic: int = 6,
        size: FlowNetSize | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.size = size = size if size is not None else FlowNetSize()
        first, second, rest = size.widths
        self.trunk = nn.Sequential(
            *_layer(2 * size.fields, first, 7, stride=2, padding=0),
            nn.MaxPool2d(3, 2),
            *_layer(first, second, 5, stride=2, padding=1),
            nn.MaxPool2d(3, 2, 1),
            *_layer(second, rest, 3),
            *_layer(rest, rest, 3),
            *_layer(rest, rest, 3),
            nn.MaxPool2d(3, 2),
        )
        with torch.no_grad():
            empty = torch.zeros(1, 2 * size.fields, size.crop_px, size.crop_px)
            values = self.trunk.eval()(empty).numel()
            self.trunk.train()
        self.features = size.full[1]
        self.embedding = nn.Sequential(
            nn.Linear(values, size.full[0]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(size.full[0], size.full[1]),
            nn.ReLU(),
        )
        self.heads = TreeHeads(self.features, leaves, basic, dropout)

    def forward(self, motion: Tensor) -> TreeScores:
        scores: TreeScores = self.heads(self.embedding(self.trunk(motion).flatten(1)))
        return scores


def _layer(
    channels_in: int, channels: int, kernel: int, *, stride: int = 1, padding: int = 1
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels_in, channels, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


C3D = (1, 1, 2, 2, 2)
"""Convolutions of each stage; a stage ends with a pooling, the first one in space alone."""


@dataclass(frozen=True)
class C3dLstmSize:
    """How large it is; the default values are C3D's."""

    frames: int = 16
    """L of a window, a multiple of 16"""
    crop_px: int = 112
    """S, a multiple of 16"""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Kernels of the five stages"""
    full: int = 4096
    """The fully connected layer"""
    hidden: int = 128
    """Cells of the LSTM"""


class C3dLstm(nn.Module):
    """Windows (B, W, 3, L, S, S) of about zero mean and unit deviation to `TreeScores`.

    At the default size 27,655,936 parameters in the convolutions, as C3D has, and 33,558,528 in
    the fully connected layer. The last pooling pads its 7 x 7 maps to 8 x 8, as C3D does.
    """

    def __init__(
        self,
        leaves: int = 33,
        basic: int = 6,
        size: C3dLstmSize | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.size = size = size if size is not None else C3dLstmSize()
        stages: list[nn.Module] = []
        steps = zip(C3D, pairwise((3, *size.widths)), strict=True)
        for stage, (count, (before, width)) in enumerate(steps):
            for at in range(count):
                stages += [nn.Conv3d(width if at else before, width, 3, padding=1), nn.ReLU()]
            if stage == len(C3D) - 1:
                # C3D pads at the far edge; what is padded after a rectifier can be zero.
                stages.append(nn.ConstantPad3d((0, 1, 0, 1, 0, 0), 0.0))
            stages.append(nn.MaxPool3d(2 if stage else (1, 2, 2)))
        self.trunk = nn.Sequential(*stages)
        side = (size.crop_px // 16 + 1) // 2
        values = size.widths[-1] * (size.frames // 16) * side * side
        self.full = nn.Linear(values, size.full)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = LastState(size.full, size.hidden, leaves, basic, dropout)
        for layer in self.trunk:
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, clip: Tensor) -> TreeScores:
        batch, windows = clip.shape[:2]
        maps = self.trunk(clip.flatten(0, 1))
        feature = self.dropout(F.relu(self.full(maps.flatten(1))))
        scores: TreeScores = self.recurrent(feature.reshape(batch, windows, self.size.full))
        return scores


VGG16 = (2, 2, 3, 3, 3)
"""Convolutions of each stage; a stage ends with a pooling."""


@dataclass(frozen=True)
class Vgg16LstmSize:
    """How large it is; the default values are VGG16's."""

    crop_px: int = 224
    """S, a multiple of 32"""
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    """Kernels of the five stages"""
    full: int = 4096
    """The fully connected layer"""
    hidden: int = 128
    """Cells of the LSTM"""


class Vgg16Lstm(nn.Module):
    """Clips (B, T, 3, S, S) of about zero mean and unit deviation to `TreeScores`.

    At the default size 14,714,688 parameters in the convolutions, as VGG16 has, and 102,764,544
    in the fully connected layer.
    """

    def __init__(
        self,
        leaves: int = 33,
        basic: int = 6,
        size: Vgg16LstmSize | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.size = size = size if size is not None else Vgg16LstmSize()
        stages: list[nn.Module] = []
        for count, (before, width) in zip(VGG16, pairwise((3, *size.widths)), strict=True):
            for at in range(count):
                stages += [nn.Conv2d(width if at else before, width, 3, padding=1), nn.ReLU()]
            stages.append(nn.MaxPool2d(2))
        self.trunk = nn.Sequential(*stages)
        self.full = nn.Linear(size.widths[-1] * (size.crop_px // 32) ** 2, size.full)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = LastState(size.full, size.hidden, leaves, basic, dropout)
        for layer in self.trunk:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, clip: Tensor) -> TreeScores:
        batch, frames = clip.shape[:2]
        maps = self.trunk(clip.flatten(0, 1))
        feature = self.dropout(F.relu(self.full(maps.flatten(1))))
        scores: TreeScores = self.recurrent(feature.reshape(batch, frames, self.size.full))
        return scores


BACK_ENDS = ("flow", "vgg16-lstm", "c3d-lstm")
"""Table V."""
BASELINES = ("two-stream", "nan")
"""Table II, rows of videos: Plain TSNet and NAN."""


class TmsauOutput(NamedTuple):
    """Each stream's scores, temporal None without that stream; attention (B, T) sums to 1 over
    the frames that are there; logits (B, K) of the leaves' fused probabilities."""

    spatial: TreeScores
    temporal: TreeScores | None
    attention: Tensor
    logits: Tensor


class EvenAttention(nn.Module):
    """Every frame that is there counts alike: what the plain two-stream baseline does."""

    def forward(self, feature_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        attention_BT = mask_BT / mask_BT.sum(1, keepdim=True).clamp(min=1)
        return (attention_BT[:, None] @ feature_BTD)[:, 0], attention_BT


class SpatialStream(nn.Module):
    """Frames' features (B, T, D) and which frames are there (B, T) to a clip's scores.

    Args:
        features: D.
        leaves: K.
        basic: P.
        reduced: values that the attention reads, 256.
        attention: the two cascaded blocks (eq. 3 to 5); without, the mean.
    """

    def __init__(
        self,
        features: int = 4608,
        leaves: int = 33,
        basic: int = 6,
        *,
        reduced: int = 256,
        attention: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.reduce = nn.Linear(features, reduced)
        self.attend = CascadedAttention(reduced) if attention else EvenAttention()
        self.heads = TreeHeads(reduced, leaves, basic, dropout)

    def forward(self, feature: Tensor, mask: Tensor) -> tuple[TreeScores, Tensor]:
        """The clip's scores and the attention (B, T)."""
        clip, attention = self.attend(self.reduce(feature), mask)
        return self.heads(clip), attention


class Tmsau(nn.Module):
    """A clip's frame features and its motion to `TmsauOutput`.

    Args:
        spatial: the stream of frames.
        temporal: a back end: `FlowNet`, `Vgg16Lstm` or `C3dLstm`; None is the NAN baseline.
        weight: the spatial stream's share of the fused probabilities; the paper's 0.5, best 0.7.
    """

    def __init__(
        self, spatial: SpatialStream, temporal: nn.Module | None, weight: float = 0.5
    ) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f"weight is {weight}: the spatial stream's share is 0 to 1")
        self.spatial, self.temporal, self.weight = spatial, temporal, weight

    def forward(self, feature: Tensor, mask: Tensor, motion: Tensor | None = None) -> TmsauOutput:
        """feature (B, T, D), mask (B, T) of 0 and 1, motion: what the back end takes."""
        spatial, attention = self.spatial(feature, mask)
        if self.temporal is None:
            return TmsauOutput(spatial, None, attention, spatial.leaf)
        if motion is None:
            raise ValueError("the stream of motion is given nothing: pass motion, or build NAN")
        temporal = self.temporal(motion)
        logits = fused_logits(spatial.leaf, temporal.leaf, self.weight)
        return TmsauOutput(spatial, temporal, attention, logits)


def fused_logits(spatial_BK: Tensor, temporal_BK: Tensor, weight: float) -> Tensor:
    """Class score fusion: the log of both streams' probabilities, mixed by ``weight``."""
    mixed = weight * torch.softmax(spatial_BK, 1) + (1 - weight) * torch.softmax(temporal_BK, 1)
    return torch.log(mixed + 1e-9)
