"""JSON lines, schema 2, in a file or on standard output: a header, then a row per line.

Each row is written as a whole before the next frame is processed, so the file holds complete rows
however the run ends.
"""

from __future__ import annotations

from pathlib import Path

from .base import STANDARD_OUTPUT, WholeLines, check_writable
from .rows import BaseRowWriter, Row, line


class JsonlFile(BaseRowWriter):
    """Writes rows to a file; the path `-` is standard output."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: WholeLines | None = None

    def open(self, header: Row) -> None:
        """Make the file and write its header line."""
        self._file = WholeLines(self._path, line(header))

    def write(self, row: Row) -> None:
        """Append one row."""
        if self._file is None:
            raise ValueError("open the sink before writing to it")
        self._file.write(line(row))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def make(target: str) -> JsonlFile:
    """For `stream.formats`. Raises `SinkError` where no file can be made."""
    path = Path(target)
    if path != STANDARD_OUTPUT:
        check_writable(path)
    return JsonlFile(path)
