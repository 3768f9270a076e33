"""Fixtures of the training side: a small data folder, and what is read from it once."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.calibration.gate import Budget
from ferstream.calibration.lower import Options
from ferstream.engines.bundle import Bundle
from ferstream.training.data.fer import FerPlus, load_fer_plus
from ferstream.training.data.motion import FaceShape, fit_face_shape
from ferstream.training.export import export
from ferstream.training.run_folder import RunFolder
from ferstream.training.stages import (
    DEFAULT,
    train_attention,
    train_heads,
    train_spatial,
    train_temporal,
)
from ferstream.training.systems.attention import AttentionOptions
from ferstream.training.systems.heads import HeadsOptions
from ferstream.training.systems.temporal import TemporalOptions

from .judged_layout import rewritten, write_wild, write_words
from .layout import write_layout
from .toy_runs import train_toy

Exported = tuple[Bundle, dict[str, Any]]

SPATIAL = replace(
    DEFAULT, blendshape_epochs=1, epochs=1, batch=32, segmentation_weight=0.5, segmentation_width=8
)
TEMPORAL = TemporalOptions(stacks=64, epochs=2, batch=32)
ATTENTION = AttentionOptions(clips=16, validation_clips=16, views=4, epochs=1, batch=8)
HEADS = HeadsOptions(views=2, epochs=2, batch=32)


LENIENT = Options(rounds=0, sweep=False, budget=Budget(1.0, 1.0, 0.0, 9.0, 1.0))
"""A gate that networks which learned for a moment pass, whatever the machine is busy with."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are small and tests may share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Rendered faces are kept for the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERSTREAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as the real data, with 98 drawn faces a split."""
    return write_layout(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def judged_dir(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with judgements, and with wild faces of all splits."""
    folder = shutil.copytree(tiny_dir, tmp_path_factory.mktemp("judged") / "data")
    write_words(folder)
    rewritten(write_wild(folder), split=np.array([1, 0, 0, 0, 2, 2], np.uint8))
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_dir: Path) -> FerPlus:
    """Its training split."""
    return load_fer_plus("train", tiny_dir)


@pytest.fixture(scope="session")
def shape(tiny: FerPlus) -> FaceShape:
    """The map from blendshapes to landmarks fitted on it."""
    return fit_face_shape(tiny)


@pytest.fixture(scope="session")
def real(data_dir: Path) -> FerPlus:
    """The real test split; skips where the data is absent."""
    return load_fer_plus("test", data_dir)


@contextmanager
def lightning_warns() -> Iterator[None]:
    """Lightning warns of few workers, short epochs and folders that are there already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        yield


@pytest.fixture(scope="session")
def trained(judged_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with all stages, each trained for a few steps; tests leave it as it is."""
    run = tmp_path_factory.mktemp("run")
    with lightning_warns():
        train_spatial(run, str(judged_dir), SPATIAL)
        train_heads(run, str(judged_dir), HEADS)
        train_temporal(run, str(judged_dir), TEMPORAL)
        train_attention(run, str(judged_dir), ATTENTION)
    return run


@pytest.fixture(scope="session")
def exported(trained: Path, judged_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """That run as a bundle, and how it was put together; tests leave it as it is."""
    return export(trained, tmp_path_factory.mktemp("exported") / "bundle", str(judged_dir), LENIENT)


@pytest.fixture(scope="session")
def paper_run(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of slfer at toy size, never stopped; tests leave it as it is."""
    with lightning_warns():
        return train_toy(tmp_path_factory.mktemp("paper") / "run", str(tiny_dir))
