"""The making of semantic neighbours: losses, learners and generator (paper 001, III-B).

The losses that teach the asymmetric autoencoder (paper 001, III-B and IV-B).

B batch, l scale, D of a critic's values.

Decided where the paper is silent: each squared distance is a mean over a batch's pictures; those
of eq. 5 are means over the values too, as eq. 4 states for its own and as in Johnson et al., whom
the paper follows. The weight of the pixels in eq. 5 is 1.

Semantic neighbours of faces, and how the autoencoder that makes them learns (paper 001, III-B).

B batch, S side of the picture, D values of the code.

First all layers together rebuild what the encoder sees (eq. 4); then the decoder alone is refined
by what a trained classifier sees (eq. 5) and by a critic (eq. 6 to 8).

Decided where the paper is silent: the encoder stays as it is while the decoder is refined, which
the paper's "learning rates of decoder and discriminator" says between the lines, and normalises
as after its own training. In the first epoch of the refinement the critic learns in every step,
later in every tenth ("once every 10 times the generator get trained except the first epoch").
The noise of eq. 9 is a share of how far the codes of training faces spread, value by value, as a
code has no scale of its own; the spread is the batch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import RunUnfinished
from ...learning.checkpoint import load_weights
from ...learning.learner import AdversarialLearner, Batch, Learner, Recipe
from ...learning.options import Options
from ...learning.run_folder import RunFolder
from ...learning.system import DONE
from ...networks.neighborhood import (
    AsymmetricAutoencoder,
    AutoencoderSize,
    Critic,
    TwoScale,
    grey_picture,
)

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


GENERATOR_STEPS = 10
"""Steps of the decoder for one of the critic, after the first epoch (IV-B)."""


class LayerwiseLearner(Learner):
    """Pre-training: the denoising stacked autoencoder, all layers together (eq. 2 to 4)."""

    network: AsymmetricAutoencoder

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 4: every scale and what the decoder recovers of it."""
        clean, recovered = self.network.rebuilt(grey_picture(batch["crop"]))
        return layerwise_loss(clean, recovered), {}

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        # The noise is part of the loss: let it be the same in every validation.
        torch.manual_seed(self.options.seed)


class Refinement(nn.Module):
    """The `generator`, of which only the decoder learns, and its `discriminator`."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        self.generator = AsymmetricAutoencoder(size)
        self.discriminator = Critic(size)
        self.generator.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Refinement:
        """The encoder keeps the statistics of its own training."""
        super().train(mode)
        self.generator.encoder.eval()
        return self


class RefiningLearner(AdversarialLearner):
    """Refinement: sharper, more lifelike pictures (eq. 5 to 8)."""

    network: Refinement

    def __init__(
        self,
        network: Refinement,
        options: Options,
        rates: tuple[float, float],
        classifier: TwoScale,
        clip: float,
        weights: RefiningWeights | None = None,
    ) -> None:
        """``rates`` of decoder and critic; ``classifier`` is trained and sees pictures for eq. 5;
        ``clip`` bounds the critic's weights."""
        generator, discriminator = (Recipe("rmsprop", rate) for rate in rates)
        super().__init__(network, options, generator, discriminator)
        self.classifier = classifier.requires_grad_(False).eval()
        self.clip = clip
        self.weights = weights if weights is not None else RefiningWeights()

    def train(self, mode: bool = True) -> RefiningLearner:
        """The classifier always sees as when it was trained to its end."""
        super().train(mode)
        self.classifier.eval()
        return self

    def discriminator_learns(self, index: int) -> bool:
        """The critic's turn: always in the first epoch, then once in ten steps of the decoder."""
        return self.current_epoch == 0 or (index + 1) % GENERATOR_STEPS == 0

    def discriminator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 6: rebuilt pictures against real ones of other people.

        I^u and I^v are both real faces: those rebuilt are the batch's, those judged as they are
        the same ones in another order.
        """
        picture = grey_picture(batch["crop"])
        with torch.no_grad():
            rebuilt = self.network.generator.decoder(self.network.generator.encoder(picture))
        discriminator = self.network.discriminator
        return critic_loss(discriminator(rebuilt), discriminator(picture.roll(1, 0))), {}

    def after_discriminator_step(self) -> None:
        self.network.discriminator.clip_weights(self.clip)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 8: layers (eq. 4), critic (eq. 7), pixels and perception (eq. 5)."""
        generator, picture = self.network.generator, grey_picture(batch["crop"])
        layers = layerwise_loss(*generator.rebuilt(picture))
        rebuilt = generator.decoder(generator.encoder(picture))
        adversarial = adversarial_loss(self.network.discriminator(rebuilt))
        seen = self.classifier.original.perceived(rebuilt)
        with torch.no_grad():
            wanted = self.classifier.original.perceived(picture)
        pictures = picture_loss(rebuilt, picture, seen, wanted, self.weights.perceived)
        loss = refining_loss(layers, adversarial, pictures, self.weights, self.current_epoch)
        return loss, {"layers": layers, "adversarial": adversarial, "picture": pictures}

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        torch.manual_seed(self.options.seed)


class NeighbourGenerator(nn.Module):
    """A trained autoencoder that makes neighbours; nothing of it learns any more."""

    def __init__(self, autoencoder: AsymmetricAutoencoder, scale: float) -> None:
        """``scale`` of the noise, in spreads of the codes."""
        super().__init__()
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        self.scale = scale

    def train(self, mode: bool = True) -> NeighbourGenerator:
        """It always makes pictures as when it was trained to its end."""
        return super().train(False)

    @torch.no_grad()
    def forward(
        self, picture: Tensor, draw: Callable[[Tensor], Tensor] = torch.randn_like
    ) -> Tensor:
        """Eq. 9: pictures (B, 1, S, S) to their neighbours, by Gaussian noise on the codes.

        ``draw`` gives standard normal values (B, D) in the shape of the codes.
        """
        code = self.autoencoder.encoder(picture)
        spread = code.std(0, keepdim=True) if len(code) > 1 else torch.ones_like(code)
        found: Tensor = self.autoencoder.decoder(code + self.scale * spread * draw(code))
        return found.clamp(-1, 1)


def neighbour_generator(size: AutoencoderSize, scale: float, run: RunFolder) -> NeighbourGenerator:
    """The autoencoder that a run refined, with noise of this scale.

    Raises:
        RunUnfinished: the run has not refined one.
        CheckpointForeign: it is of another size, or no run of this system.
    """
    return NeighbourGenerator(refined(size, run).generator, scale)


def refined(size: AutoencoderSize, run: RunFolder) -> Refinement:
    """What a run's refinement left; raises as `neighbour_generator`."""
    if not (run.stage("refine") / DONE).exists():
        raise RunUnfinished(
            f"{run.path} has no refined autoencoder: name a run of `ferstream train neighborhood` "
            "with a mask and without a teacher of its own, which has gone through its stage refine"
        )
    network = Refinement(size)
    load_weights(network, run.checkpoint("refine"), "neighborhood", "refine")
    return network.eval()


@torch.no_grad()
def asked_twice(
    network: TwoScale,
    generator: NeighbourGenerator,
    picture: Tensor,
    draw: Callable[[Tensor], Tensor] = torch.randn_like,
) -> tuple[Tensor, Tensor]:
    """Logits (B, K) of pictures and of their neighbours, as the network is now.

    In evaluation mode: what differs is the pictures alone, and no neighbour counts in the
    network's statistics.
    """
    was = network.training
    network.eval()
    logits = network(torch.cat([picture, generator(picture, draw)])).logits
    network.train(was)
    own, neighbours = logits.chunk(2)
    return own, neighbours
