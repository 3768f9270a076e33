"""Semantic neighbours of faces, and how the autoencoder that makes them learns (paper 001, III-B).

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

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .adversarial import AdversarialLearner
from .checkpoint import load_weights
from .errors import RunUnfinished
from .learner import Batch, Learner, Recipe
from .networks.asymmetric_autoencoder import (
    AsymmetricAutoencoder,
    AutoencoderSize,
    Critic,
    grey_picture,
)
from .networks.two_scale import TwoScale
from .options import Options
from .reconstruction import (
    RefiningWeights,
    adversarial_loss,
    critic_loss,
    layerwise_loss,
    picture_loss,
    refining_loss,
)
from .run_folder import RunFolder
from .system import DONE

MAKER_STEPS = 10
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
    """The two that learn against each other: `maker`, of which only the decoder learns, `judge`."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        self.maker = AsymmetricAutoencoder(size)
        self.judge = Critic(size)
        self.maker.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Refinement:
        """The encoder keeps the statistics of its own training."""
        super().train(mode)
        self.maker.encoder.eval()
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
        maker, judge = (Recipe("rmsprop", rate) for rate in rates)
        super().__init__(network, options, maker, judge)
        self.classifier = classifier.requires_grad_(False).eval()
        self.clip = clip
        self.weights = weights if weights is not None else RefiningWeights()

    def train(self, mode: bool = True) -> RefiningLearner:
        """The classifier always sees as when it was trained to its end."""
        super().train(mode)
        self.classifier.eval()
        return self

    def judge_learns(self, index: int) -> bool:
        """The critic's turn: always in the first epoch, then once in ten steps of the decoder."""
        return self.current_epoch == 0 or (index + 1) % MAKER_STEPS == 0

    def judge_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 6: rebuilt pictures against real ones of other people.

        I^u and I^v are both real faces: those rebuilt are the batch's, those judged as they are
        the same ones in another order.
        """
        picture = grey_picture(batch["crop"])
        with torch.no_grad():
            rebuilt = self.network.maker.decoder(self.network.maker.encoder(picture))
        judge = self.network.judge
        return critic_loss(judge(rebuilt), judge(picture.roll(1, 0))), {}

    def after_judge_step(self) -> None:
        self.network.judge.clip_weights(self.clip)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 8: layers (eq. 4), critic (eq. 7), pixels and perception (eq. 5)."""
        maker, picture = self.network.maker, grey_picture(batch["crop"])
        layers = layerwise_loss(*maker.rebuilt(picture))
        rebuilt = maker.decoder(maker.encoder(picture))
        adversarial = adversarial_loss(self.network.judge(rebuilt))
        seen = self.classifier.original.perceived(rebuilt)
        with torch.no_grad():
            wanted = self.classifier.original.perceived(picture)
        pictures = picture_loss(rebuilt, picture, seen, wanted, self.weights.perceived)
        loss = refining_loss(layers, adversarial, pictures, self.weights, self.current_epoch)
        return loss, {"layers": layers, "adversarial": adversarial, "picture": pictures}

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        torch.manual_seed(self.options.seed)


class NeighbourMaker(nn.Module):
    """A trained autoencoder that makes neighbours; nothing of it learns any more."""

    def __init__(self, autoencoder: AsymmetricAutoencoder, scale: float) -> None:
        """``scale`` of the noise, in spreads of the codes."""
        super().__init__()
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        self.scale = scale

    def train(self, mode: bool = True) -> NeighbourMaker:
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


def neighbour_maker(size: AutoencoderSize, scale: float, run: RunFolder) -> NeighbourMaker:
    """The autoencoder that a run refined, with noise of this scale.

    Raises:
        RunUnfinished: the run has not refined one.
        CheckpointForeign: it is of another size, or no run of this system.
    """
    return NeighbourMaker(refined(size, run).maker, scale)


def refined(size: AutoencoderSize, run: RunFolder) -> Refinement:
    """What a run's refinement left; raises as `neighbour_maker`."""
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
    maker: NeighbourMaker,
    picture: Tensor,
    draw: Callable[[Tensor], Tensor] = torch.randn_like,
) -> tuple[Tensor, Tensor]:
    """Logits (B, K) of pictures and of their neighbours, as the network is now.

    In evaluation mode: what differs is the pictures alone, and no neighbour counts in the
    network's statistics.
    """
    was = network.training
    network.eval()
    logits = network(torch.cat([picture, maker(picture, draw)])).logits
    network.train(was)
    own, neighbours = logits.chunk(2)
    return own, neighbours
