"""Expression embedding on the 16-dimensional unit sphere (paper 000, sections 3.2 and 3.3).

B batch, C channels of the crop, S its side, F features of the trunk, D = 16.

Decisions: paper 000 takes its embedding from another network trained on triplets (its [33], Zhang
et al. 2021) and tells nothing of its size but D = 16 and pictures of 224 pixels. Here the trunk is
as deep and wide as a ResNet18 with excitation; crops are grey as at run time (``channels`` 3 for
colour). As in [33], what an identity network sees of the person can be taken away from what the
trunk sees of the face; such weights are not shipped, so by default nothing is taken away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.learning_faces import LearningFaces
from .blocks import residual_stages

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
