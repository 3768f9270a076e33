"""An image system under a bundle's contract: spatial stream, no temporal one, frames aggregated.

B batch, T frames, D features, K the system's labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .fusion import CascadedAttention

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
