"""The training of FaPE-GAN (paper 004, eq. 1 to 3), and its faces as a run keeps them.

M made faces, S side of the crop.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ferstream.engines.whole import written_whole

from .adversarial import AdversarialLearner
from .checkpoint import load_weights
from .data.learning_faces import LearningFaces
from .data.pose_images import PosePairs, held_out_pairs, made_faces, pairs_to_learn, with_made
from .data.pose_pairs import Wanted
from .data.task_faces import TaskFaces
from .errors import OptionsWrong
from .fit import processes
from .learner import Batch, Recipe
from .losses_gan import BETAS, discriminator_loss, generator_loss
from .networks.fape_gan import FaPEDiscriminator, FaPEGenerator
from .options import Options
from .run_folder import RunFolder
from .system import Stage

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
        self.maker = FaPEGenerator(width=width, blocks=blocks)
        self.judge = FaPEDiscriminator(width=width)


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

    def judge_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """L_D = -L_GAN (eq. 1 and 2)."""
        with torch.no_grad():
            made = self.maker(batch["face"], batch["pose"])
        return discriminator_loss(self.judge(batch["face"]), self.judge(made)), {}

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 3: L_GAN + lambda L_L1."""
        made = self.maker(batch["face"], batch["pose"])
        loss, adversarial, distance = generator_loss(
            self.judge(made), made, batch["wanted"], weight=self.l1_weight
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
        RunUnfinished, CheckpointDamaged, CheckpointForeign: see `training.checkpoint`.
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
            load_gan(network, run).maker.to(device), train, crop_px, most=most, seed=seed
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
