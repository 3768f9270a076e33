"""What runs the fast tests on other Pythons ends with all that it started."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.pythons import TIMED_OUT, found, within

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(child.pid))
{then}
"""


@pytest.mark.parametrize(
    ("then", "status"), [("time.sleep(600)", TIMED_OUT), ("sys.exit(3)", 3), ("sys.exit(0)", 0)]
)
def test_nothing_outlives_the_limit(tmp_path: Path, then: str, status: int) -> None:
    note, began_s = tmp_path / "pid", time.monotonic()
    command = [sys.executable, "-c", _PARENT.format(then=then), str(note)]
    limit_s = 3 if status == TIMED_OUT else 60
    assert within(limit_s, command, dict(os.environ)) == status
    assert time.monotonic() - began_s < 60
    child = int(note.read_text())
    deadline_s = time.monotonic() + 60
    while _runs(child) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_this_python_is_among_those_found() -> None:
    assert sys.version_info[:2] in found()
