"""One resumable Lightning run: the same for every network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader


def fit(
    module: lightning.LightningModule,
    train: DataLoader[Any],
    validation: DataLoader[Any],
    *,
    run: Path,
    epochs: int,
    seed: int,
    average_decay: float = 0.998,
) -> Path:
    """Train, or go on from ``run``/last.ckpt, and return that checkpoint's path.

    Weights are averaged over steps (EMA) and validated so; bf16 on CPU and GPU alike. A
    checkpoint is written after every epoch, so that a stopped run loses one epoch at most.
    """
    lightning.seed_everything(seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    checkpoint = ModelCheckpoint(dirpath=run, save_last=True, filename="epoch")
    trainer = lightning.Trainer(
        default_root_dir=run,
        max_epochs=epochs,
        precision="bf16-mixed",
        logger=CSVLogger(run, name="log"),
        callbacks=[
            checkpoint,
            EMAWeightAveraging(decay=average_decay),
            TQDMProgressBar(refresh_rate=20),
        ],
        log_every_n_steps=50,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
    last = run / "last.ckpt"
    trainer.fit(module, train, validation, ckpt_path=str(last) if last.exists() else None)
    trainer.save_checkpoint(last)
    return last
