"""Image and clip systems as the networks of their bundles, under the contract.

An image system under a bundle's contract: spatial stream, no temporal one, frames aggregated.

B batch, T frames, D features, K the system's labels.

The streams of TMSAU-Net with what stands before them (paper 003, IV-B and V-F).

B batch, T frames, S side of a crop, F motion fields, P side of a field, D values of a frame's
feature, K leaves, P basic classes.

Decided: motion fields are those of run time (32 cells a side, in face widths per second),
enlarged to the side that the flow network was made for; frames of the recurrent back ends are
resized to theirs. Where a clip is shorter than a window of C3D, its frames are repeated evenly.
``width`` scales every layer of a back end, so that it can be tried without a GPU.

TMSAU-Net under a bundle's contract: its three networks as run time plays them.

B batch, T frames, S side of a crop, F motion fields, P side of a field, R reduced values of a
frame, K leaves.

The streams' probabilities are fused leaf by leaf, as in training, and only then shared out among
the eight basic expressions and the words; so the temporal network gives its leaves besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import GoogLeNet, three_channels
from .fusion import CascadedAttention
from .msau import TreeHeads, TreeScores
from .slfer import ExpressionOutput
from .tmsau import (
    C3dLstm,
    C3dLstmSize,
    FlowNet,
    FlowNetSize,
    SpatialStream,
    Tmsau,
    Vgg16Lstm,
    Vgg16LstmSize,
)

CENTRE = 0.5
FLOOR = 1e-6
"""The least probability of a label, before its logarithm is taken; half precision, in which
bundles keep constants, still tells it from nothing (6e-8)."""


class LabelRollUp(nn.Module):
    """Logits (B, K) to logits of the basic expressions (B, 8) and of the words (B, 135), or of as
    many as the bundle has.

    Both are logarithms of the labels' probabilities shared out; what the words leave over (a
    neutral face has none) is divided away.
    """

    basic8: Tensor
    words: Tensor

    def __init__(self, basic8_K8: Tensor, words_KW: Tensor) -> None:
        super().__init__()
        self.register_buffer("basic8", basic8_K8)
        self.register_buffer("words", words_KW)

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        probability = torch.softmax(logits.float(), dim=1)
        basic8 = torch.log(probability @ self.basic8 + FLOOR)
        words = probability @ self.words + FLOOR
        return basic8, torch.log(words / words.sum(1, keepdim=True))


class ImageSpatial(nn.Module):
    """Crops (B, 1, S, S) uint8 to the contract's feature, basic8, emo135, au and zoom.

    A network with a `look` (see networks.msau) tells action units and where it looked closely;
    without, au is (B, 0) and zoom the centre.
    """

    def __init__(self, network: Any, roll_up: LabelRollUp) -> None:
        super().__init__()
        self.network, self.roll_up = network, roll_up

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        if hasattr(self.network, "look"):
            out, units, zoom = self.network.look(crop)
            return (out.feature, *self.roll_up(out.logits), units, zoom)
        out = self.network.recognise(crop)
        basic8, words = self.roll_up(out.logits)
        zoom = torch.full_like(basic8[:, :2], CENTRE)
        return out.feature, basic8, words, basic8[:, :0], zoom


class NoMotion(nn.Module):
    """The temporal network of a system without one: stacks (B, 2F, P, P) to even logits (B, K)."""

    def __init__(self, labels: int = 8) -> None:
        super().__init__()
        self.labels = labels

    def forward(self, motion: Tensor) -> Tensor:
        still = motion.mean((1, 2, 3)) * 0.0
        return still[:, None].expand(-1, self.labels).clone()


class FrameAggregation(nn.Module):
    """The fusion network of an image system: a clip's features under weights, then its own head.

    The weights are even ("mean") or those of two attention blocks (paper 003). The temporal
    scores are not heard.
    """

    def __init__(
        self, head: nn.Module, roll_up: LabelRollUp, attend: CascadedAttention | None = None
    ) -> None:
        super().__init__()
        self.head, self.roll_up, self.attend = head, roll_up, attend

    def forward(
        self, feature: Tensor, mask: Tensor, temporal: Tensor, has_motion: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """feature (B, T, D), mask (B, T), temporal (B, 8), has_motion (B, 1) to basic8 (B, 8),
        emo135 (B, 135) and attention (B, T), which sums to 1."""
        if self.attend is None:
            attention = mask / mask.sum(1, keepdim=True).clamp(min=1.0)
            clip = (attention[:, None] @ feature)[:, 0]
        else:
            clip, attention = self.attend(feature, mask)
        unheard = (temporal.sum(1, keepdim=True) + has_motion) * 0.0
        basic8, words = self.roll_up(self.head(clip) + unheard)
        return basic8, words, attention


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


class ClipSpatial(nn.Module):
    """Crops (B, 1, S, S) uint8 to the contract's feature (B, R), basic8, emo135, au and zoom.

    The feature is what the attention reads; the scores are the frames' network's own answer, and
    so are MSAU-Net's action units and the region that it magnifies. GoogLeNet has neither: au is
    (B, 0) then and zoom the centre.
    """

    def __init__(self, frames: Any, reduce: nn.Module, roll_up: LabelRollUp) -> None:
        super().__init__()
        self.frames, self.reduce, self.roll_up = frames, reduce, roll_up

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        if hasattr(self.frames, "look"):
            out, units, zoom = self.frames.look(crop)
            basic8, words = self.roll_up(out.logits)
        else:
            out = self.frames.recognise(crop)
            basic8, words = self.roll_up(out.logits)
            units, zoom = basic8[:, :0], torch.full_like(basic8[:, :2], CENTRE)
        return self.reduce(out.feature), basic8, words, units, zoom


class ClipMotion(nn.Module):
    """Stacks (B, 2F, P, P) to the flow's leaves shared out among the eight, basic8 (B, 8), and
    its leaves themselves, own (B, K)."""

    def __init__(self, stream: FlowStream, roll_up: LabelRollUp) -> None:
        super().__init__()
        self.stream, self.roll_up = stream, roll_up

    def forward(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        leaf = self.stream(motion).leaf
        return self.roll_up(leaf)[0], leaf


class NoClipMotion(nn.Module):
    """The same of a run without a stream of motion: even logits."""

    def __init__(self, leaves: int, basic: int = 8) -> None:
        super().__init__()
        self.leaves, self.none = leaves, NoMotion(basic)

    def forward(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        even = self.none(motion)
        return even, even[:, :1].expand(-1, self.leaves).clone()


class ClipFusion(nn.Module):
    """The cascaded attention (or the mean) over reduced features, and late fusion.

    Args:
        spatial: the trained stream of frames.
        roll_up: leaves to the eight and to the words.
        weight: the spatial stream's share of the probabilities where motion is heard in full.
    """

    def __init__(self, spatial: SpatialStream, roll_up: LabelRollUp, weight: float) -> None:
        super().__init__()
        self.attend, self.heads = spatial.attend, spatial.heads
        self.roll_up, self.weight = roll_up, weight

    def forward(
        self,
        feature: Tensor,
        mask: Tensor,
        temporal: Tensor,
        has_motion: Tensor,
        temporal_own: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """feature (B, T, R), mask (B, T), temporal_own (B, K) logits, has_motion (B, 1) 0..1 to
        basic8 (B, 8), emo135 (B, 135) and attention (B, T), which sums to 1; temporal (B, 8) is
        the same as temporal_own, shared out, and not needed."""
        clip, attention = self.attend(feature, mask)
        share = (1 - self.weight) * has_motion
        seen = torch.softmax(self.heads(clip).leaf, dim=1)
        moved = torch.softmax(temporal_own, dim=1)
        unheard = temporal.sum(1, keepdim=True) * 0.0
        mixed = (1 - share) * seen + share * moved + unheard
        basic8, words = self.roll_up(torch.log(mixed + FLOOR))
        return basic8, words, attention
