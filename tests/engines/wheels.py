"""Wheels that only some tests need, fetched by pip once and unpacked; skipped where that fails."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

_LIMIT_S = 120


def unpacked(requirement: str) -> Path:
    """The folder with the wheel's packages, for PYTHONPATH; skips the test with pip's reason.

    Kept under FERSTREAM_WHEELS, else in the user's cache: nothing is installed anywhere.
    """
    folder, problem = _unpacked(requirement)
    if folder is None:
        pytest.skip(f"{requirement} cannot be had: {problem}")
    return folder


@cache
def _unpacked(requirement: str) -> tuple[Path | None, str]:
    version = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    cache = Path(
        os.environ.get("FERSTREAM_WHEELS", Path.home() / ".cache" / "ferstream" / "wheels")
    )
    place = cache / version / requirement.replace("==", "-")
    if (place / ".whole").is_file():
        return place, ""
    try:
        place.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"),
            *("--disable-pip-version-check", "-d", str(place), requirement),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S)
        wheels = list(place.glob("*.whl"))
        if done.returncode or not wheels:
            return None, (done.stderr.strip().splitlines() or ["pip gives no reason"])[-1]
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(place)
            wheel.unlink()
        (place / ".whole").touch()
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
        return None, str(error)
    return place, ""
