"""One resumable Lightning run: the same for every network."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from ..errors import DoesNotFit, LossNotFinite
from ..networks.backbones import bf16_is_quick
from .checkpoint import LAST, Checkpoints, read_checkpoint

MIXED = "bf16-mixed"
"""Lightning's name for products in bf16, weights in fp32."""
LOG = "log"
"""Folder of the logs within a stage's: one version a start, so that nothing is overwritten."""
_MEMORY = ("out of memory", "can't allocate memory", "DefaultCPUAllocator", "bad_alloc")


def fit(
    module: lightning.LightningModule,
    train: DataLoader[Any],
    validation: DataLoader[Any],
    *,
    run: Path,
    epochs: int,
    seed: int,
    average_decay: float = 0.998,
    precision: str = MIXED,
    accumulate: int = 1,
    save_every_min: float | None = None,
) -> Path:
    """Train, or go on from ``run``/last.ckpt, and return that checkpoint's path.

    A checkpoint follows every epoch and, with a `DrawLoader`, every ``save_every_min`` minutes; a
    stopped run that goes on from it ends as if it had never been stopped. Weights are averaged
    over steps where ``average_decay`` is above 0, and validated so. Mixed precision of bf16 is fp32
    on a CPU that only emulates it. Under torchrun all processes train together.

    Raises:
        LossNotFinite: the loss is infinite or not a number; the last checkpoint is from before.
        DoesNotFit: the memory does not suffice.
        CheckpointDamaged: last.ckpt cannot be read, or not safely.
    """
    if precision == MIXED and not (torch.accelerator.is_available() or bf16_is_quick("cpu")):
        precision = "32-true"
    last = run / LAST
    if last.exists():
        read_checkpoint(last)
    lightning.seed_everything(seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # Learner puts together what several processes found before it logs it.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    checkpoints = Checkpoints(run, save_every_min)
    callbacks: list[Callback] = [ChanceBySteps(seed), FiniteLoss(), TQDMProgressBar(20)]
    if average_decay > 0:
        callbacks.append(EMAWeightAveraging(decay=average_decay))
    trainer = lightning.Trainer(
        default_root_dir=run,
        max_epochs=epochs,
        precision=precision,  # type: ignore[arg-type]
        accumulate_grad_batches=accumulate,
        logger=_loggers(run),
        callbacks=[*callbacks, checkpoints],
        log_every_n_steps=max(1, min(50, len(train))),
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        **_machines(),
    )
    with _memory_named(f"{type(module).__name__} in {run}"):
        trainer.fit(
            module, train, validation, ckpt_path=last if last.exists() else None, weights_only=True
        )
    checkpoints.write(trainer)
    return last


class ChanceBySteps(Callback):
    """Seeds PyTorch anew before every batch, so that dropout and the like do not depend on what
    was drawn before: a run that goes on in the middle draws what it would have drawn."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        place = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        mixed = 0
        for number in place:
            mixed = (mixed * 1_000_003 + number + 1) % (2**63)
        torch.manual_seed(mixed)


class FiniteLoss(Callback):
    """Stops a training whose loss is lost, before a checkpoint can be.

    Raises:
        LossNotFinite: with epoch, step and what to try.
    """

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and not bool(torch.isfinite(loss)):
            raise LossNotFinite(
                f"the loss became {float(loss)} in epoch {trainer.current_epoch + 1}, step "
                f"{trainer.global_step}: try a lower --rate or --precision fp32; the last "
                f"checkpoint is from before, so remove {trainer.default_root_dir} to start anew"
            )


def _loggers(run: Path) -> list[Logger]:
    loggers: list[Logger] = [CSVLogger(run, name=LOG, flush_logs_every_n_steps=1)]
    if importlib.util.find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(run, name="tensorboard"))
    return loggers


def processes() -> tuple[int, int]:
    """How many processes torchrun started, and which of them this is; (1, 0) without it."""
    return int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))


def _machines() -> dict[str, Any]:
    """The Trainer's devices: this process's own, or all that torchrun started."""
    world, here = processes()[0], int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if world == 1:
        return {"devices": 1}
    return {"devices": here, "num_nodes": world // here, "strategy": "ddp"}


@contextmanager
def _memory_named(what: str) -> Iterator[None]:
    """Turns the several ways to run out of memory into one error."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(word in str(error) for word in _MEMORY):
            raise DoesNotFit(
                f"{what} does not fit in memory: go through each batch in more parts "
                "(--accumulate), or choose a smaller --batch or picture"
            ) from error
        raise
