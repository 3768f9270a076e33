"""A paper's system at toy size: in this process, or by the command line in one of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from training.run_folder import RunFolder
from training.system import open_system, train_system

TOY: dict[str, Any] = {
    "epochs": 2,
    "batch": 16,
    "accumulate": 2,
    "crop_px": 32,
    "rate": 1e-3,
    "decay_epochs": (1,),
    "segmentation_width": 8,
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
    words = ["ferstream", "train", "slfer", "--run", str(path), "--data", data]
    for name, value in {**TOY, **changes}.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return words


def one_thread() -> dict[str, str]:
    """The environment in which a process computes as the tests' own does."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def python() -> str:
    """The interpreter of the tests."""
    return sys.executable
