"""Features in a row to scores by an LSTM (paper 003, V-F).  B batch, T steps, D features."""

from __future__ import annotations

from torch import Tensor, nn

from .heads import TreeHeads, TreeScores


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
