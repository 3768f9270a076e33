"""A small bundle and a small data folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ferstream.engines.bundle import Bundle, load_bundle
from tests.training.layout import write_layout

from . import small


@pytest.fixture(scope="session")
def faces_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as the real data, with some 520 drawn faces a split."""
    return write_layout(tmp_path_factory.mktemp("faces"), per_class=65)


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.bundle(tmp_path_factory.mktemp("small") / "bundle").path


@pytest.fixture
def bundle(_made: Path, tmp_path: Path) -> Bundle:
    """The small bundle, in a folder of its own."""
    return load_bundle(shutil.copytree(_made, tmp_path / "bundle"))
