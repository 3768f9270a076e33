"""A text file that only ever holds whole lines."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from .base import write_failure


class WholeLines:
    """Hands each piece of text to the operating system at once, unbuffered.

    Every method raises `SinkError` where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: BinaryIO = path.open("wb", buffering=0)
        except OSError as error:
            raise write_failure(path, error) from error

    def write(self, text: str) -> None:
        """Append `text`, which ends a line."""
        rest = memoryview(text.encode())
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise write_failure(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
