"""Synthetic pictures kept between runs, so that each set is rendered once.

They lie in the folder that FERSTREAM_CACHE names, else in .cache/ferstream of the user's home; it
may be removed at any time. Nobody real is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.whole import written_whole

from . import synthetic
from .synthetic import SyntheticHead

Arrays = dict[str, npt.NDArray[Any]]


def rendered(
    kind: str, head: SyntheticHead, about: dict[str, Any], make: Callable[[], Arrays]
) -> Arrays:
    """What ``make`` renders, or what it rendered before.

    Args:
        kind: first part of the file's name, such as "faces".
        head: whose face is rendered.
        about: plain values that, with the head and the code that renders, decide every pixel.
        make: renders; its arrays hold no objects.
    """
    key = json.dumps([about, _head_mark(head), _code_mark()], sort_keys=True, default=str)
    path = cache_folder() / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # not there, or cut short: it is rendered (again)
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, shared=True) as fresh, fresh.open("wb") as written:
        np.savez(written, **made)
    return made


def cache_folder() -> Path:
    """Where rendered sets are kept."""
    named = os.environ.get("FERSTREAM_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ferstream"


def _head_mark(head: SyntheticHead) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(head.rest).tobytes())
    digest.update("".join([*head.expression_names, str(head.people)]).encode())
    return digest.hexdigest()[:12]


@cache
def _code_mark() -> str:
    """Changes with the code that renders, so that what another version made is not taken."""
    folder = Path(synthetic.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")) + sorted(folder.glob("*.json")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
