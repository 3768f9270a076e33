"""TMSAU-Net under a bundle's contract: its three networks as run time plays them.

B batch, T frames, S side of a crop, F motion fields, P side of a field, R reduced values of a
frame, K leaves.

The streams' probabilities are fused leaf by leaf, as in training, and only then shared out among
the eight basic expressions and the words; so the temporal network gives its leaves besides.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .clip_streams import FlowStream
from .image_stream import CENTRE, FLOOR, LabelRollUp, NoMotion
from .tmsau import SpatialStream


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
