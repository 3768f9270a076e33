"""What trainings of the face front end share: one network, one run folder, one stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import torch
from torch import nn

from ...datasets.point_faces import PointFaces, load_point_faces
from ...errors import OptionsWrong
from ...learning.checkpoint import load_weights
from ...learning.draws import DrawnSet
from ...learning.fit import fit
from ...learning.learner import CLIMB, Learner, Recipe
from ...learning.options import PRECISIONS, Options, option
from ...learning.run_folder import RunFolder, open_run, start_run
from ...learning.system import DONE, loader_of

STAGE = "network"


@dataclass(frozen=True)
class FrontOptions(Options):
    """What trainings of the front end have in common."""

    faces: str = option("runs/front/faces", "folder that `ferstream data landmarks` made")
    start: str = option("", "run whose weights it begins with; none: from nothing")
    # The fastest of the three for these small convolutions on a CPU.
    precision: str = option("fp32", "bf16 or fp16 (mixed), or fp32")
    average_decay: float = option(0.998, "Of the moving average of weights; 0: no average")
    save_every_min: float = option(5.0, "Minutes between checkpoints within an epoch")
    peak_rate: float = option(0.002, "Highest learning rate")
    weight_decay: float = option(0.02, "Of AdamW")

    @property
    def recipe(self) -> Recipe:
        """One cycle of AdamW."""
        return Recipe("adamw", self.peak_rate, weight_decay=self.weight_decay, one_cycle=CLIMB)


def train_network(
    name: str,
    run: Path,
    options: FrontOptions,
    learner: Callable[[DrawnSet], Learner],
    views: Callable[[PointFaces, bool], DrawnSet],
) -> RunFolder:
    """Train, or go on where it was stopped; `trained_network` reads the run.

    Args:
        name: of the network, which checkpoints carry.
        learner: made for the set that is learned.
        views: the faces of a split as they are shown, in training or else.

    Raises:
        OptionsWrong: there are no faces where the options say.
        RunMismatch: the folder holds another training.
    """
    cv2.setNumThreads(1)
    train, validation = (faces_of(options.faces, split) for split in ("train", "validation"))
    about = {"name": options.faces, "train": len(train), "validation": len(validation)}
    started = start_run(run, name, options, {**about, "fingerprint": train.fingerprint})
    stage = started.stage(STAGE)
    if (stage / DONE).exists():
        return started
    shown = views(train, True)
    module = learner(shown)
    module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.mark = {"system": name, "stage": STAGE, "options": asdict(options)}
    loader = loader_of(shown, options, training=True)
    held = loader_of(views(validation, False), options, training=False)
    module.steps = len(loader) * options.epochs
    started.begin()
    stage.mkdir(parents=True, exist_ok=True)
    fit(
        module,
        loader,
        held,
        run=stage,
        epochs=options.epochs,
        seed=options.seed,
        average_decay=options.average_decay,
        precision=PRECISIONS[options.precision],
        save_every_min=options.save_every_min,
    )
    (stage / DONE).touch()
    return started


def with_weights(network: nn.Module, name: str, run: str | Path) -> nn.Module:
    """A network with what a run's last checkpoint holds, in evaluation mode.

    Raises:
        RunUnfinished, CheckpointDamaged, CheckpointForeign: see `training.learning.checkpoint`.
    """
    load_weights(network, open_run(run).checkpoint(STAGE), name, STAGE)
    return network.eval()


def faces_of(folder: str, split: str) -> PointFaces:
    """A split of the faces in a folder. Raises OptionsWrong where they are not there."""
    try:
        return load_point_faces(Path(folder) / f"{split}.npz")
    except FileNotFoundError as error:
        raise OptionsWrong(
            f"{error.filename} is missing: make it with `ferstream data landmarks {folder}`"
        ) from error
