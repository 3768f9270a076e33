"""NumPy's files as data sets bring them: whatever is wrong with one is one kind of error.

NumPy reads headers as Python's literals, by way of zip, zlib, ast and tokenize, and raises what
those raise: a stranger's or a damaged file ends in a dozen kinds of exceptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.errors import FerstreamError


class ArraysUnreadable(FerstreamError, ValueError):
    """A file that is no arrays of NumPy's, or damaged."""


def stored_arrays(path: Path, names: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz by name, those of `names` or all.

    Nothing is unpickled. Raises FileNotFoundError, ArraysUnreadable.
    """
    with _loaded(path) as archive:
        if isinstance(archive, np.ndarray):
            raise TypeError("it is a single array")
        return {name: archive[name] for name in names or archive.files}


def stored_array(path: Path) -> npt.NDArray[Any]:
    """The array of an .npy; raises as `stored_arrays`."""
    with _loaded(path) as array:
        if not isinstance(array, np.ndarray):
            raise TypeError("it is an archive of arrays")
        return array


@contextmanager
def _loaded(path: Path) -> Iterator[Any]:
    """What NumPy makes of a file, open for the block; all that goes wrong is of one kind."""
    try:
        # Opened here: NumPy leaves a file that is no archive open.
        with path.open("rb") as file:
            yield np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArraysUnreadable(f"{path} cannot be read: {why}") from error
