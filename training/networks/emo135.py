"""Paper 000's networks: expression embedding and correlation-guided classifier.

Expression embedding on the 16-dimensional unit sphere (paper 000, sections 3.2 and 3.3).

B batch, C channels of the crop, S its side, F features of the trunk, D = 16.

Decisions: paper 000 takes its embedding from another network trained on triplets (its [33], Zhang
et al. 2021) and tells nothing of its size but D = 16 and pictures of 224 pixels. Here the trunk is
as deep and wide as a ResNet18 with excitation; crops are grey as at run time (``channels`` 3 for
colour). As in [33], what an identity network sees of the person can be taken away from what the
trunk sees of the face; such weights are not shipped, so by default nothing is taken away.

The correlation-guided classifier of paper 000 (section 3.4, Fig. 6).

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

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..datasets.learning_faces import LearningFaces
from .backbones import residual_stages
from .slfer import ExpressionOutput

WIDTHS = (64, 128, 256, 512)
DIMENSIONS = 16


class FaceTrunk(nn.Module):
    """Crops (B, C, S, S) uint8 to features (B, F), F the last width; S from 64 on, 224 in the
    paper.

    Stem of 7x7, then residual stages, each of which halves the side; the mean over the last map.
    """

    def __init__(
        self, *, channels: int = 1, widths: tuple[int, ...] = WIDTHS, blocks: int = 2
    ) -> None:
        super().__init__()
        self.features = widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 7, 2, 3, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        self.stages = residual_stages(widths[0], widths, blocks)

    def forward(self, crop: Tensor) -> Tensor:
        x = (crop.float() - 127.5) / 64.0
        return torch.as_tensor(self.stages(self.stem(x)).mean((2, 3)))


class ExpressionEmbedding(nn.Module):
    """Crops (B, C, S, S) uint8 to points (B, D) on the unit sphere: like expressions lie near.

    Args:
        trunk: gives (B, F) and has ``features``.
        identity: a network trained to tell people apart, crops to (B, F); it stays as it is and
            its features are subtracted ([33]). None: nothing is.
        dimensions: D.
    """

    def __init__(
        self,
        trunk: FaceTrunk | None = None,
        *,
        identity: nn.Module | None = None,
        dimensions: int = DIMENSIONS,
    ) -> None:
        super().__init__()
        self.trunk = trunk if trunk is not None else FaceTrunk()
        self.identity = identity
        if identity is not None:
            identity.requires_grad_(False).eval()
        features = self.trunk.features
        self.features = dimensions
        self.project = nn.Sequential(
            nn.Linear(features, features, bias=False),
            nn.BatchNorm1d(features),
            nn.ReLU(),
            nn.Linear(features, dimensions),
        )

    def train(self, mode: bool = True) -> ExpressionEmbedding:
        """The identity network never trains."""
        super().train(mode)
        if self.identity is not None:
            self.identity.eval()
        return self

    def forward(self, crop: Tensor) -> Tensor:
        face = self.trunk(crop)
        if self.identity is not None:
            face = face - self.identity(crop)
        return F.normalize(self.project(face), dim=1, eps=1e-6)


@torch.no_grad()
def embedded(
    network: nn.Module, crops_NCSS: npt.NDArray[np.uint8], *, batch: int = 128
) -> npt.NDArray[np.float32]:
    """Embeddings (N, D) of crops, in evaluation mode on the network's device: what cleaning and
    F_exp take."""
    network.eval()
    device: Any = next(network.parameters()).device
    parts = [
        network(torch.from_numpy(crops_NCSS[start : start + batch]).to(device)).float().cpu()
        for start in range(0, len(crops_NCSS), batch)
    ]
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def embedded_faces(
    network: nn.Module, faces: LearningFaces, crop_px: int, *, block: int = 2048
) -> npt.NDArray[np.float32]:
    """Embeddings (N, D) of a set's faces, on a GPU where there is one; so many crops are held at
    a time."""
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    parts = []
    for start in range(0, len(faces), block):
        rows = range(start, min(start + block, len(faces)))
        crops = np.stack([faces.crop(row, crop_px) for row in rows])[:, None]
        parts.append(embedded(network, crops))
    network.cpu()
    return np.concatenate(parts)


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
