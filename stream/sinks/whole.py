"""A text file that only ever holds whole lines."""

from __future__ import annotations

import select
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from ..errors import SinkError
from .base import write_failure

STANDARD_OUTPUT = Path("-")
"""The path that stands for standard output."""

# Several sources may share standard output; a pipe takes long lines in pieces.
_SHARED = threading.Lock()


class WholeLines:
    """Hands each piece of text to the operating system at once, unbuffered.

    The path `-` is standard output. Every method raises `SinkError` where the file cannot be
    written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _SHARED if path == STANDARD_OUTPUT else threading.Lock()
        try:
            self._file = _standard_output() if path == STANDARD_OUTPUT else _raw(path)
        except OSError as error:
            raise write_failure(path, error) from error

    def write(self, text: str) -> None:
        """Append `text`, which ends a line."""
        rest = memoryview(text.encode())
        try:
            with self._lock:
                while rest:
                    # None: the reader of a pipe that does not block has had enough for now.
                    taken: int | None = self._file.write(rest)
                    if taken is None:
                        select.select([], [self._file], [])
                    rest = rest[taken or 0 :]
        except BrokenPipeError as error:
            raise SinkError(f"nobody reads {self._name} any more; the rows end here") from error
        except OSError as error:
            raise write_failure(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def _name(self) -> str:
        return "standard output" if self._path == STANDARD_OUTPUT else str(self._path)


def _raw(path: Path) -> BinaryIO:
    return path.open("wb", buffering=0)


def _standard_output() -> BinaryIO:
    """Standard output without Python's buffer, after what already is in that."""
    sys.stdout.flush()
    return open(1, "wb", buffering=0, closefd=False)
