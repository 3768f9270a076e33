"""Which code it was."""

from __future__ import annotations

import subprocess
from pathlib import Path


def current_commit() -> str:
    """The commit that the code is from; empty outside a repository."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip()
