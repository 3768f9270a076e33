"""A paper's system at toy size: in this process, or by the command line in one of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ferstream
from ferstream.training.learning.checkpoint import read_checkpoint
from ferstream.training.learning.run_folder import RunFolder, open_run
from ferstream.training.learning.system import open_system, train_system

TOY: dict[str, Any] = {
    "epochs": 2,
    "batch": 16,
    "accumulate": 2,
    "crop_px": 32,
    "rate": 1e-3,
    "decay_epochs": (1,),
    "segmentation_width": 8,
    "backbone_width": 16,
    "average_decay": 0.9,
    "augmentation": "rich",
}


def toy_options(**changes: Any) -> Any:
    """Options of slfer: two epochs of six steps on faces of 32 pixels."""
    return open_system("slfer").options(**{**TOY, **changes})


def train_toy(path: Path, data: str, **changes: Any) -> RunFolder:
    """Train slfer in this process."""
    return train_system(open_system("slfer"), toy_options(**changes), path, data)


def toy_command(path: Path, data: str, **changes: Any) -> list[str]:
    """The same by the command line, after `python -m`."""
    return ["ferstream", *command_of("slfer", path, data, {**TOY, **changes})]


def command_of(system: str, path: Path, data: Path | str, options: dict[str, Any]) -> list[str]:
    """The words of the command line that train a system with these options."""
    words = ["train", system, "--run", str(path), "--data", str(data)]
    for name, value in options.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return words


def train_by_command(
    system: str, path: Path, data: Path | str, options: dict[str, Any]
) -> RunFolder:
    """Train a system by those words, in this process."""
    with pytest.raises(SystemExit) as ended:
        ferstream.main(command_of(system, path, data, options))
    assert ended.value.code == 0
    return open_run(path)


def stage_weights(run: RunFolder, stage: str) -> dict[str, torch.Tensor]:
    """The weights that a stage's training left, by their names in its learner."""
    state: dict[str, torch.Tensor] = read_checkpoint(run.checkpoint(stage))["state_dict"]
    return state


def one_thread() -> dict[str, str]:
    """The environment in which a process computes as the tests' own does."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def python() -> str:
    """The interpreter of the tests."""
    return sys.executable
