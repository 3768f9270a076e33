"""The losses that teach the asymmetric autoencoder (paper 001, III-B and IV-B).

B batch, l scale, D of a critic's values.

Decided where the paper is silent: each squared distance is a mean over a batch's pictures; those
of eq. 5 are means over the values too, as eq. 4 states for its own and as in Johnson et al., whom
the paper follows. The weight of the pixels in eq. 5 is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SCALE_WEIGHTS = (4.0, 1.0, 1.0, 1.0, 1.0)
"""Alpha of eq. 4: the picture and the four maps (IV-B)."""
PERCEIVED_WEIGHTS = (100.0, 0.1, 0.001)
"""Of Conv 3, Conv 4 and Conv 5 of the trained classifier (IV-B)."""


@dataclass(frozen=True)
class RefiningWeights:
    """Lambdas of eq. 8 and what eq. 5 weighs; the default values are the paper's."""

    layers: float = 1e-3
    """Of eq. 4; a tenth of it after every 20 epochs"""
    layers_decay_epochs: int = 20
    adversarial: float = 5.0
    """Of eq. 7"""
    picture: float = 1.0
    """Of eq. 5"""
    perceived: tuple[float, ...] = PERCEIVED_WEIGHTS
    """Of what the classifier sees in it, layer by layer"""

    def layers_at(self, epoch: int) -> float:
        """Lambda AE in an epoch, counted from 0."""
        return float(self.layers * 0.1 ** (epoch // self.layers_decay_epochs))


def layerwise_loss(
    clean: Sequence[Tensor], recovered: Sequence[Tensor], weights: Sequence[float] = SCALE_WEIGHTS
) -> Tensor:
    """Eq. 4: how far every scale is from what was recovered of it, per value: a scalar."""
    parts = [
        weight * (z - found).square().mean()
        for weight, z, found in zip(weights, clean, recovered, strict=True)
    ]
    return torch.stack(parts).sum()


def perceptual_loss(
    perceived: Sequence[Tensor],
    wanted: Sequence[Tensor],
    weights: Sequence[float] = PERCEIVED_WEIGHTS,
) -> Tensor:
    """The second term of eq. 5: how differently a trained classifier sees two pictures."""
    return layerwise_loss(wanted, perceived, weights)


def picture_loss(
    rebuilt: Tensor,
    picture: Tensor,
    perceived: Sequence[Tensor],
    wanted: Sequence[Tensor],
    weights: Sequence[float] = PERCEIVED_WEIGHTS,
) -> Tensor:
    """Eq. 5: pixels and what the classifier sees: a scalar."""
    pixels = (rebuilt - picture).square().mean()
    return pixels + perceptual_loss(perceived, wanted, weights)


def critic_loss(rebuilt_B: Tensor, real_B: Tensor) -> Tensor:
    """Eq. 6: the critic's values of rebuilt and of real pictures, lower the better told apart."""
    return rebuilt_B.mean() - real_B.mean()


def adversarial_loss(rebuilt_B: Tensor) -> Tensor:
    """Eq. 7: what the decoder wants of the critic."""
    return -rebuilt_B.mean()


def refining_loss(
    layers: Tensor, adversarial: Tensor, picture: Tensor, weights: RefiningWeights, epoch: int = 0
) -> Tensor:
    """Eq. 8: eq. 4, 7 and 5 together."""
    return (
        weights.layers_at(epoch) * layers
        + weights.adversarial * adversarial
        + weights.picture * picture
    )
