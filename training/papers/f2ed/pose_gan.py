"""FaPE-GAN's losses, training and faces (paper 004, section 4.2).

FaPE-GAN's losses (paper 004, eq. 1 to 3).  B batch, S side.

The training of FaPE-GAN (paper 004, eq. 1 to 3), and its faces as a run keeps them.

M made faces, S side of the crop.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ferstream.engines.files import written_whole

from ...datasets.learning_faces import LearningFaces
from ...datasets.task_faces import TaskFaces
from ...errors import OptionsWrong
from ...learning.checkpoint import load_weights
from ...learning.fit import processes
from ...learning.learner import AdversarialLearner, Batch, Recipe
from ...learning.options import Options
from ...learning.run_folder import RunFolder
from ...learning.system import Stage
from ...networks.f2ed import FaPEDiscriminator, FaPEGenerator
from .pose_images import PosePairs, Wanted, held_out_pairs, made_faces, pairs_to_learn, with_made

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


STAGE = "gan"
HELD_OUT = 128
"""Pairs at most on which the generator is validated."""
MADE = "made.npz"
"""Made faces and which face was turned to whose pose, in the stage's folder: a run that is taken
up goes on with the same ones."""


class FaPEGan(nn.Module):
    """The generator, which makes, and the discriminator, which judges."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.generator = FaPEGenerator(width=width, blocks=blocks)
        self.discriminator = FaPEDiscriminator(width=width)


class FaPELearner(AdversarialLearner):
    """Trains FaPE-GAN with Adam, beta 0.5 and 0.999 for both networks (section 5).

    Args:
        network: what learns.
        options: those of the run.
        rate: of both networks.
        l1_weight: lambda of eq. 3.
    """

    def __init__(self, network: FaPEGan, options: Options, rate: float, l1_weight: float) -> None:
        recipe = Recipe("adam", rate, betas=BETAS)
        super().__init__(network, options, recipe, recipe)
        self.l1_weight = l1_weight

    def discriminator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """L_D = -L_GAN (eq. 1 and 2)."""
        with torch.no_grad():
            made = self.generator(batch["face"], batch["pose"])
        return discriminator_loss(self.discriminator(batch["face"]), self.discriminator(made)), {}

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 3: L_GAN + lambda L_L1."""
        made = self.generator(batch["face"], batch["pose"])
        loss, adversarial, distance = generator_loss(
            self.discriminator(made), made, batch["wanted"], weight=self.l1_weight
        )
        return loss, {"adversarial": adversarial, "l1": distance}


def pose_stage(
    learner: Callable[[], FaPELearner],
    data: TaskFaces,
    crop_px: int,
    seed: int,
    epochs: int,
    batch: int,
) -> Stage:
    """The training of FaPE-GAN on pairs of the training faces alone; what it makes of held-out
    ones is watched."""

    def train() -> PosePairs:
        return PosePairs(data.train, pairs_to_learn(data.train, seed), crop_px)

    def validation() -> PosePairs:
        held = held_out_pairs(data.train, data.validation, HELD_OUT, seed)
        if held is None:
            raise OptionsWrong(
                "no validation face has the same person and expression in another pose: give "
                "more faces or a larger --validation-share"
            )
        return PosePairs(*held, crop_px)

    return Stage(STAGE, learner, train, validation, epochs, batch)


def load_gan(network: FaPEGan, run: RunFolder) -> FaPEGan:
    """FaPE-GAN as its stage left it, on the CPU.

    Raises:
        RunUnfinished, CheckpointDamaged, CheckpointForeign: see `training.learning.run_folder`.
    """
    load_weights(network, run.checkpoint(STAGE), run.system, STAGE)
    return network.eval()


def balanced_faces(
    run: RunFolder,
    network: FaPEGan,
    train: LearningFaces,
    crop_px: int,
    *,
    most: int | None,
    seed: int,
) -> LearningFaces:
    """The training faces, and FaPE-GAN's where a pose of an expression is rare (Fig. 5)."""
    path = run.stage(STAGE) / MADE
    if not path.exists():
        device = "cuda" if torch.cuda.is_available() else "cpu"
        made, wanted = made_faces(
            load_gan(network, run).generator.to(device), train, crop_px, most=most, seed=seed
        )
        if processes()[1]:
            return with_made(train, made, wanted)
        _write(path, made, wanted)
    return with_made(train, *kept_faces(run))


def kept_faces(run: RunFolder) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], Wanted]:
    """The faces that a run made, (M, S, S), and which face was turned to whose pose."""
    with np.load(run.stage(STAGE) / MADE) as stored:
        return stored["pixels"], Wanted(stored["source"], stored["target"])


def _write(path: Path, made: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], of: Wanted) -> None:
    with written_whole(path) as fresh, fresh.open("wb") as file:
        np.savez_compressed(file, pixels=made, source=of.source, target=of.target)
