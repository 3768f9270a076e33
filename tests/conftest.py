"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

import engines.offline  # noqa: F401  before any test imports a library

REPOSITORY = Path(__file__).resolve().parents[1]
COSTLY = ("trained", "exported")
"""Fixtures of a session that take minutes: tests of all files that use them share a process."""


def pytest_configure() -> None:
    """A process of its own among several (pytest -n) has temporary files of its own."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["TMPDIR"] = tempfile.mkdtemp(prefix=f"{worker}-")
        tempfile.tempdir = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file stay in one process, in their order."""
    for item in items:
        costly = set(COSTLY) & set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group("costly" if costly else item.nodeid.split("::")[0]))


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
