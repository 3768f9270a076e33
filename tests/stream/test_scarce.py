"""Little memory, few file handles: one line that says so, or it works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def scored(repository: Path, limit: str, value: int) -> subprocess.CompletedProcess[str]:
    """The sample under one of the shell's limits."""
    bounded = f'ulimit {limit} {value}; exec "$@"'
    return subprocess.run(
        ["sh", "-c", bounded, "sh", sys.executable, "-m", "ferstream", "score", "sample", "--json"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("megabytes", [250, 400, 600, 1000])
def test_too_little_address_space_is_said(repository: Path, megabytes: int) -> None:
    done = scored(repository, "-v", megabytes * 1000)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ferstream: ") and "see `ulimit" in line


@pytest.mark.parametrize("handles", [8, 16])
def test_few_file_handles_are_enough_or_said(repository: Path, handles: int) -> None:
    done = scored(repository, "-n", handles)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or len(done.stderr.splitlines()) == 1
