"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import ferstream.engines.offline  # noqa: F401  before any test imports a library

REPOSITORY = Path(__file__).resolve().parents[1]


def _folder(variable: str, beside: str) -> Path:
    """The folder an environment variable names, or its usual place beside the repository."""
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / beside))
    if not folder.is_dir():
        pytest.skip(f"no {beside} at {folder}; set {variable} to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Training and test data (FERSTREAM_DATA, else ../shared/data); skips where absent."""
    return _folder("FERSTREAM_DATA", "data")


@pytest.fixture(scope="session")
def clips_dir() -> Path:
    """Real video clips (FERSTREAM_CLIPS, else ../shared/clips); skips where absent."""
    return _folder("FERSTREAM_CLIPS", "clips")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY
