"""Files that appear whole and on disk, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A name beside `path` to write to within the block.

    At the block's end what was written is on disk and takes the place of `path`; a block that
    fails leaves nothing. What a kill leaves there is written over by the next one. `shared`:
    several processes may make the file at the same time. Raises OSError.
    """
    beside = path.with_name(f".{path.name}{f'.{os.getpid()}' * shared}.part")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
