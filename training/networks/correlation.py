"""The correlation-guided classifier of paper 000 (section 3.4, Fig. 6).

B batch, K emotions, D dimensions of the embedding, F features of the trunk.

Decisions where the text is silent (the detailed design stands in an appendix that is not at hand):
"several alternative fully connected and correlation layers", three of the latter, is read as
fully connected, correlation, three times over, every fully connected layer K wide; normalisation
and a rectifier follow the first two fully connected layers, none the third, whose correlated sums
are the logits. The embedding is trained along ("the entire framework"). Without correlation layers
each is a fully connected one of the same size; without embedding the classifier reads the trunk's
features, which is the paper's plain backbone in the embedding's place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .expression_embedding import ExpressionEmbedding
from .slfer import ExpressionOutput

CORRELATION_LAYERS = 3


class CorrelationLayer(nn.Module):
    """Every emotion gets a share of those that look like it: (B, K) to (B, K), x F^T.

    The weights start as F_exp (K, K), rows summing to 1, and are trained from there.
    """

    def __init__(self, similarity_KK: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(similarity_KK.detach().clone().float())

    def forward(self, x_BK: Tensor) -> Tensor:
        return F.linear(x_BK, self.weight)


class CorrelationClassifier(nn.Sequential):
    """Features (B, D) to logits (B, K).

    Args:
        features: D.
        similarity_KK: F_exp.
        correlated: False puts a fully connected layer in each correlation layer's place.
        layers: how many times.
    """

    def __init__(
        self,
        features: int,
        similarity_KK: Tensor,
        *,
        correlated: bool = True,
        layers: int = CORRELATION_LAYERS,
    ) -> None:
        classes = len(similarity_KK)
        parts: list[nn.Module] = []
        for number in range(layers):
            last = number == layers - 1
            parts.append(nn.Linear(features, classes, bias=last))
            if not last:
                parts += [nn.BatchNorm1d(classes), nn.ReLU()]
            if correlated:
                parts.append(CorrelationLayer(similarity_KK))
            else:
                parts.append(nn.Linear(classes, classes))
            features = classes
        super().__init__(*parts)


class CorrelationNet(nn.Module):
    """Crops (B, 1, S, S) uint8 to `ExpressionOutput`: a feature, on the unit sphere where there
    is an embedding, and logits (B, K); S is 224 in the paper.

    Args:
        embedding: trained on triplets before.
        similarity_KK: F_exp, of these K emotions.
        embedded: False is the ablation without embedding: the trunk's F features instead.
        correlated: False is the ablation without correlation layers.
    """

    def __init__(
        self,
        embedding: ExpressionEmbedding,
        similarity_KK: Tensor,
        *,
        embedded: bool = True,
        correlated: bool = True,
    ) -> None:
        super().__init__()
        self.backbone: nn.Module = embedding if embedded else embedding.trunk
        self.features = embedding.features if embedded else embedding.trunk.features
        self.classifier = CorrelationClassifier(self.features, similarity_KK, correlated=correlated)

    @property
    def head(self) -> nn.Module:
        """Features (B, D) to logits (B, K), also of the mean of a clip's features. That lies
        within the sphere, the deeper the more its frames differ, and the answer is less sure."""
        return self.classifier

    def recognise(self, crop: Tensor) -> ExpressionOutput:
        """Feature and logits of a crop."""
        feature = self.backbone(crop)
        return ExpressionOutput(feature, self.classifier(feature))

    def forward(self, crop: Tensor) -> Tensor:
        """Logits (B, K) alone, for training."""
        return torch.as_tensor(self.recognise(crop).logits)
