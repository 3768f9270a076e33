"""TMSAU-Net (paper 003, IV-B): MSAU's frames under attention beside a stream of motion.

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

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .fusion import CascadedAttention
from .heads import TreeHeads, TreeScores

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
