"""Checkpoints: written so that a kill cannot spoil them, read so that they cannot run code."""

from __future__ import annotations

import os
import pickle
import re
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from ..errors import CheckpointDamaged, CheckpointForeign, RunUnfinished
from .draws import DrawLoader

LAST = "last.ckpt"
MARK = "ferstream"
"""Key of what a checkpoint says of itself: system, stage, options."""
_NAMES = {"maker": "generator", "judge": "discriminator"}
_OLD_NAME = re.compile(r"^(network\.|)(maker|judge)\.")
_ASK_EVERY = 20
"""Batches between two times that several processes agree on whether a checkpoint is due."""


class Checkpoints(Callback):
    """Writes ``folder``/last.ckpt after every epoch and, where the loader can be taken up in the
    middle of one, every so many minutes.

    A new file is complete and on disk before it takes the old one's name.
    """

    def __init__(self, folder: Path, every_min: float | None = None) -> None:
        self.folder, self.every_min = folder, every_min
        self._saved_s = time.monotonic()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loader = trainer.train_dataloader
        if not isinstance(loader, DrawLoader):
            return
        loader.place = (trainer.current_epoch, batch_idx + 1)
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if self.every_min is None or not stepped or batch_idx + 1 == len(loader):
            return
        if trainer.world_size > 1 and (batch_idx + 1) % _ASK_EVERY:
            return
        due = time.monotonic() - self._saved_s >= 60 * self.every_min
        if trainer.strategy.broadcast(due):
            self.write(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if isinstance(trainer.train_dataloader, DrawLoader):
            trainer.train_dataloader.place = (trainer.current_epoch + 1, 0)
        self.write(trainer)

    def write(self, trainer: lightning.Trainer) -> None:
        """Every process calls it; the first one writes."""
        fresh = self.folder / f".{LAST}.fresh"
        trainer.save_checkpoint(fresh, weights_only=False)
        if trainer.is_global_zero:
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(fresh, self.folder / LAST)
        trainer.strategy.barrier()
        self._saved_s = time.monotonic()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; weights and plain values only, nothing in it is ever run.

    Raises:
        RunUnfinished: it is not there.
        CheckpointDamaged: it is no checkpoint, cut short, or holds other objects.
    """
    if not path.is_file():
        raise RunUnfinished(f"{path} is missing: the training it would come from has not run")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["state_dict"]
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointDamaged(
            f"{path} cannot be read as a checkpoint ({first[:120]}): remove it to train this "
            "stage anew"
        ) from error
    return with_present_names(content)


def check_origin(path: Path, content: dict[str, Any], system: str, stage: str) -> None:
    """Raises CheckpointForeign unless the checkpoint was written by this system and stage."""
    mark = content.get(MARK, {})
    got = f"{mark.get('system', 'unknown')}/{mark.get('stage', 'unknown')}"
    if got != f"{system}/{stage}":
        raise CheckpointForeign(
            f"{path} is a checkpoint of {got}, not of {system}/{stage}: name the run folder that "
            f"`ferstream train {system}` made"
        )


def with_present_names(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint whose modules have the names of today: older ones call a generator ``maker`` and
    a discriminator ``judge``."""
    for part in ("state_dict", "current_model_state"):
        if isinstance(weights := content.get(part), dict):
            content[part] = {
                _OLD_NAME.sub(lambda old: f"{old[1]}{_NAMES[old[2]]}.", name): value
                for name, value in weights.items()
            }
    return content


def load_weights(network: nn.Module, path: Path, system: str, stage: str) -> None:
    """Put the weights that a stage's training left into its network.

    Raises:
        RunUnfinished, CheckpointDamaged: see `read_checkpoint`.
        CheckpointForeign: another system, stage or size.
    """
    content = read_checkpoint(path)
    check_origin(path, content, system, stage)
    weights = {
        name.removeprefix("network."): value
        for name, value in content["state_dict"].items()
        if name.startswith("network.")
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointForeign(
            f"{path} does not fit this network ({reason[:160]}): it was trained with other "
            "options; give those of its run"
        ) from error
