"""The streams of TMSAU-Net with what stands before them (paper 003, IV-B and V-F).

B batch, T frames, S side of a crop, F motion fields, P side of a field, D values of a frame's
feature, K leaves, P basic classes.

Decided: motion fields are those of run time (32 cells a side, in face widths per second),
enlarged to the side that the flow network was made for; frames of the recurrent back ends are
resized to theirs. Where a clip is shorter than a window of C3D, its frames are repeated evenly.
``width`` scales every layer of a back end, so that it can be tried without a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .c3d_lstm import C3dLstm, C3dLstmSize
from .flow_net import FlowNet, FlowNetSize
from .googlenet import GoogLeNet
from .heads import TreeHeads, TreeScores
from .resnet_se import three_channels
from .slfer import ExpressionOutput
from .tmsau import Tmsau
from .vgg16_lstm import Vgg16Lstm, Vgg16LstmSize

USUAL_PX = {"flow": 224, "vgg16-lstm": 224, "c3d-lstm": 112}
"""Side of a back end's input as its authors made it."""
SIDES = {"flow": (51, 1), "vgg16-lstm": (32, 32), "c3d-lstm": (16, 16)}
"""The least side that leaves something of the maps, and what it must be a multiple of."""
WINDOW = 16
"""Frames of a C3D window."""


class FlowStream(nn.Module):
    """Stacks of motion fields (B, 2F, P, P) to `TreeScores`."""

    def __init__(self, net: FlowNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, motion: Tensor) -> TreeScores:
        side = self.net.size.crop_px
        larger = F.interpolate(motion, (side, side), mode="bilinear", align_corners=False)
        scores: TreeScores = self.net(larger)
        return scores


class FrameStream(nn.Module):
    """Clips' crops (B, T, 1, S, S) uint8 to `TreeScores` by VGG16-LSTM."""

    def __init__(self, net: Vgg16Lstm) -> None:
        super().__init__()
        self.net = net

    def forward(self, motion: Tensor) -> TreeScores:
        scores: TreeScores = self.net(_pictures(motion, self.net.size.crop_px))
        return scores


class WindowStream(nn.Module):
    """Clips' crops (B, T, 1, S, S) uint8 to `TreeScores` by C3D-LSTM, in windows that follow
    each other; the last one ends with the clip."""

    def __init__(self, net: C3dLstm) -> None:
        super().__init__()
        self.net = net

    def forward(self, motion: Tensor) -> TreeScores:
        frames, length = motion.shape[1], self.net.size.frames
        if frames < length:
            rows = torch.linspace(0, frames - 1, length).round().long()
            starts = [0]
        else:
            rows = torch.arange(frames)
            starts = [*range(0, frames - length, length), frames - length]
        pictures = _pictures(motion[:, rows.to(motion.device)], self.net.size.crop_px)
        windows = torch.stack([pictures[:, at : at + length] for at in starts], dim=1)
        scores: TreeScores = self.net(windows.transpose(2, 3))
        return scores


class GoogLeNetFrames(nn.Module):
    """The plain two-stream baseline's frames: crops (B, 1, S, S) uint8 to GoogLeNet's features
    and `TreeScores`."""

    def __init__(self, leaves: int, basic: int, width: float = 1.0, dropout: float = 0.5) -> None:
        super().__init__()
        self.net = GoogLeNet(width)
        self.features = self.net.features
        self.heads = TreeHeads(self.features, leaves, basic, dropout)

    def forward(self, crop: Tensor) -> tuple[Tensor, TreeScores]:
        feature = self.net(three_channels(crop))
        return feature, self.heads(feature)

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        feature, scores = self(crop)
        return ExpressionOutput(feature, scores.leaf)


class ClipNetwork(nn.Module):
    """What a run of TMSAU-Net leaves: the frames' network and the streams over it.

    Args:
        frames: MSAU-Net or `GoogLeNetFrames`; a frame's feature is what its `recognise` gives.
        streams: over those features and the motion.
    """

    def __init__(self, frames: nn.Module, streams: Tmsau) -> None:
        super().__init__()
        self.frames, self.streams = frames, streams

    def train(self, mode: bool = True) -> ClipNetwork:
        """As a module's, but what another stage taught stays as it is in use: no dropout, no
        statistics of batches."""
        super().train(mode)
        for part in (self.frames, self.streams.temporal):
            if part is not None and not any(p.requires_grad for p in part.parameters()):
                part.eval()
        return self


def temporal_stream(
    back_end: str, leaves: int, basic: int, *, fields: int, px: int, width: float, dropout: float
) -> nn.Module:
    """A back end of Table V; ``px`` 0 is its authors' own side."""
    px = px or USUAL_PX[back_end]
    if back_end == "flow":
        own = FlowNetSize()
        first, second, rest = _scaled(own.widths, width)
        full = _scaled(own.full, width)
        size = FlowNetSize(fields, px, (first, second, rest), (full[0], full[1]))
        return FlowStream(FlowNet(leaves, basic, size, dropout))
    if back_end == "vgg16-lstm":
        vgg = Vgg16LstmSize()
        full = _scaled((vgg.full, vgg.hidden), width)
        vgg = Vgg16LstmSize(px, _scaled(vgg.widths, width), *full)
        return FrameStream(Vgg16Lstm(leaves, basic, vgg, dropout))
    c3d = C3dLstmSize()
    full = _scaled((c3d.full, c3d.hidden), width)
    c3d = C3dLstmSize(WINDOW, px, _scaled(c3d.widths, width), *full)
    return WindowStream(C3dLstm(leaves, basic, c3d, dropout))


def _scaled(widths: Sequence[int], width: float) -> tuple[int, ...]:
    return tuple(max(round(one * width), 2) for one in widths)


def _pictures(crops: Tensor, px: int) -> Tensor:
    """(B, T, 1, S, S) uint8 to (B, T, 3, px, px) of about zero mean and unit deviation."""
    flat = three_channels(crops.flatten(0, 1))
    if flat.shape[-1] != px:
        flat = F.interpolate(flat, (px, px), mode="bilinear", align_corners=False, antialias=True)
    return flat.reshape(*crops.shape[:2], *flat.shape[1:])
