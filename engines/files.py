"""Files that appear whole, and folders of one process.

Files that appear whole and on disk, or not at all.

Folders of one process: nobody else reads them, and nothing of them outlives their owner.

A folder is made under the system's temporary one, with rights for its user alone. Its owner holds
a lock on it, which the kernel lets go of however the process ends. Whoever makes such a folder
next removes those whose owners are gone.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
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


_PREFIX = "ferstream-"
_NEW = ".ferstream-new-"
"""What a folder is called before it is locked; only then may others look at it."""
_OLD_S = 3600.0


class PrivateFolder:
    """A folder that this process owns until `close`, or until it ends in whatever way.

    Args:
        purpose: a word for its name.
    """

    def __init__(self, purpose: str) -> None:
        sweep()
        made = Path(tempfile.mkdtemp(prefix=f"{_NEW}{purpose}-"))
        # Held open, and not inherited by programs that are started.
        self._lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = made.rename(made.with_name(_PREFIX + made.name.removeprefix(_NEW)))
        self._owner = os.getpid()
        atexit.register(self.close)

    def close(self) -> None:
        """Remove it with all that is in it; in a forked child it is left to its owner."""
        if self._lock < 0 or os.getpid() != self._owner:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1
        atexit.unregister(self.close)


def is_private(path: Path) -> bool:
    """Whether a path has the name of such a folder, there or not."""
    return path.parent == Path(tempfile.gettempdir()) and path.name.startswith(_PREFIX)


def sweep() -> None:
    """Remove this user's private folders whose owners are gone."""
    place = Path(tempfile.gettempdir())
    for folder in (*place.glob(f"{_PREFIX}*-*"), *place.glob(f"{_NEW}*-*")):
        with contextlib.suppress(OSError):
            _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    found = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(found)
        mine = about.st_uid == os.geteuid() and stat.S_IMODE(about.st_mode) == 0o700
        young = folder.name.startswith(_NEW) and time.time() - about.st_mtime < _OLD_S
        if mine and not young:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where its owner lives
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(found)
