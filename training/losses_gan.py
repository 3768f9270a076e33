"""FaPE-GAN's losses (paper 004, eq. 1 to 3) and one step of training it.  B batch, S side."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

LAMBDA = 10.0
"""Weight of L1 in eq. 3 (section 5, implementation details)."""
RATE = 2e-4
BETAS = (0.5, 0.999)
EPOCHS = 100
"""Adam's, of both networks, and how often the set is seen."""


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """L_D = -L_GAN = -E[log D(I)] - E[log(1 - D(G))] from logits of any shape: a scalar."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def generator_loss(
    fake: Tensor, made: Tensor, wanted: Tensor, *, weight: float = LAMBDA, saturating: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 3: L_GAN + lambda L1 and its two parts, scalars.

    Args:
        fake: the discriminator's logits of what was made.
        made: faces made, -1..1.
        wanted: I_t, the real faces in that pose.
        weight: lambda.
        saturating: minimise log(1 - D(G)) as eq. 2 stands. Its gradient vanishes exactly where the
            discriminator is sure, so by default -log D(G) is minimised, which has the same aim.

    L1 is the mean over pixels, so that lambda does not depend on the picture's size.
    """
    logits = fake.float()
    adversarial = -F.softplus(logits).mean() if saturating else F.softplus(-logits).mean()
    distance = (made.float() - wanted.float()).abs().mean()
    return adversarial + weight * distance, adversarial, distance


def gan_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizers: tuple[Optimizer, Optimizer],
    face: Tensor,
    pose: Tensor,
    wanted: Tensor,
    *,
    weight: float = LAMBDA,
    saturating: bool = False,
) -> dict[str, float]:
    """One update of the discriminator, then one of the generator; gives the losses before each.

    Args:
        optimizers: of generator and discriminator.
        face: I_i (B, C, S, S) in -1..1, which also are the real faces of eq. 1.
        pose: I_P (B, P, S, S) in -1..1.
        wanted: I_t (B, C, S, S) in -1..1.
    """
    for_generator, for_discriminator = optimizers
    made = generator(face, pose)
    judged = discriminator_loss(discriminator(face), discriminator(made.detach()))
    for_discriminator.zero_grad(set_to_none=True)
    torch.autograd.backward(judged)
    for_discriminator.step()

    discriminator.requires_grad_(False)
    total, adversarial, distance = generator_loss(
        discriminator(made), made, wanted, weight=weight, saturating=saturating
    )
    for_generator.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    for_generator.step()
    discriminator.requires_grad_(True)
    parts = {"discriminator": judged, "adversarial": adversarial, "l1": distance}
    return {name: float(part.detach()) for name, part in parts.items()}
