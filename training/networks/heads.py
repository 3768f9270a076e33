"""The two softmax losses' classifiers (paper 003, IV-A): leaves of the tree and basic classes.

B batch, D features, K leaves (33), P basic classes (6).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


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
