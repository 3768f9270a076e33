"""Files that only ever hold whole pieces, also where the disk is full for a while."""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import SinkError
from .base import write_failure

STANDARD_OUTPUT = Path("-")
"""The path that stands for standard output."""

# Several sources may share standard output; a pipe takes long lines in pieces.
_SHARED = threading.Lock()


class WholePieces:
    """Hands each piece of a file to the operating system at once, whole or not at all.

    A piece that fails halfway is taken back, so that the next one can follow. Pipes and devices
    take nothing back. The path `-` is standard output. Every method raises `SinkError` where the
    file cannot be written, which is `SinkLost` where it may be possible later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _SHARED if path == STANDARD_OUTPUT else threading.Lock()
        try:
            self._file = _standard_output() if path == STANDARD_OUTPUT else _raw(path)
        except OSError as error:
            raise write_failure(path, error) from error
        self._takes_back = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self._length = self._file.tell() if self._takes_back else 0

    def append(self, piece: bytes | bytearray) -> None:
        """Add a piece to the end."""
        rest = memoryview(piece)
        try:
            with self._lock:
                while rest:
                    # None: the reader of a pipe that does not block has had enough for now.
                    taken: int | None = self._file.write(rest)
                    if taken is None:
                        select.select([], [self._file], [])
                    rest = rest[taken or 0 :]
                self._length += len(piece)
        except BrokenPipeError as error:
            raise SinkError(f"nobody reads {self._name} any more; the rows end here") from error
        except OSError as error:
            self._take_back()
            raise write_failure(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take_back(self) -> None:
        if self._takes_back:
            with suppress(OSError):
                self._file.truncate(self._length)
                self._file.seek(self._length)

    @property
    def _name(self) -> str:
        return "standard output" if self._path == STANDARD_OUTPUT else str(self._path)


class WholeLines(WholePieces):
    """A text file that only ever holds whole lines; it is made with its first ones, `head`."""

    def __init__(self, path: Path, head: str = "") -> None:
        super().__init__(path)
        try:
            self.write(head)
        except SinkError:
            self.close()
            raise

    def write(self, text: str) -> None:
        """Append `text`, which ends a line."""
        self.append(text.encode())


def _raw(path: Path) -> BinaryIO:
    return path.open("wb", buffering=0)


def _standard_output() -> BinaryIO:
    """Standard output without Python's buffer, after what already is in that."""
    sys.stdout.flush()
    return open(1, "wb", buffering=0, closefd=False)
