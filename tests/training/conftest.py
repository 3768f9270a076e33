"""Fixtures of the training side: a small data folder, and what is read from it once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.data.fer import FerPlus, load_fer_plus
from training.data.motion import FaceShape, fit_face_shape

from .layout import write_layout


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are small and tests may share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as the real data, with 98 drawn faces a split."""
    return write_layout(tmp_path_factory.mktemp("data"))


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
