"""What a sink is: it is opened, given every frame with its result, and closed."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ferstream.engines.labels import BUILT_IN, Labels

from ..errors import SinkError, SinkLost
from ..frame import Frame
from ..result import Result
from ..sources.event import SourceEvent


@dataclass(frozen=True, slots=True)
class SinkInfo:
    """What a sink knows before the first frame."""

    source: str
    size: tuple[int, int] | None = None
    """Width and height in pixels, where the source knows them in advance."""
    rate_hz: float | None = None
    live: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    """Plain facts for a header: bundle, versions, how each head was supervised, the purpose."""
    labels: Labels = BUILT_IN
    """What the bundle's readings are of."""
    drops: Callable[[], Mapping[str, int]] = dict
    """Frames of this source not recognised so far, per cause; may be called from any thread."""


class Sink(Protocol):
    """Writes results down or shows them.

    `close` is called once, also after Ctrl-C or a failure, and leaves what was written complete.
    Every method raises `SinkError` where the output cannot be written.
    """

    def open(self, info: SinkInfo) -> None:
        """Begin; called before the first frame."""

    def write(self, frame: Frame, result: Result) -> None:
        """Take one frame and what was found in it; neither may be changed."""

    def close(self) -> None:
        """Finish."""


@runtime_checkable
class Listener(Protocol):
    """What a sink also is that wants to know how its live source fares."""

    def tell(self, event: SourceEvent) -> None:
        """Take a change of state; called between `open` and `close`, by the thread of `write`."""


PART = ".part"
"""What the name of a file ends with that is not whole yet."""


def suffix_of(path: Path) -> str:
    """The ending that tells what kind of file this is to be, in small letters."""
    return Path(path.name.removesuffix(PART)).suffix.lower()


def draft(path: Path) -> Path:
    """Where a document is written before it takes the place of the one before."""
    return path.with_name(f".{path.name}{PART}")


def is_segment(playlist: Path, file: Path) -> bool:
    """Whether a file in the folder of an HLS playlist has the name of one of its segments."""
    name = re.escape(playlist.stem) + r"-\d{6,}\.ts"
    return re.fullmatch(rf"{name}(\.tmp)?|\.{name}{re.escape(PART)}", file.name) is not None


def make_folder(folder: Path) -> None:
    """Make a folder where it is missing, and those that it is in. Raises `SinkError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SinkError(f"{folder} is a file: name a folder to write to") from error
    except OSError as error:
        raise SinkError(
            f"cannot make the folder {folder}: {(error.strerror or str(error)).lower()}"
        ) from error


def check_writable(path: Path) -> None:
    """Raise `SinkError` where no file can be made at `path`; changes nothing."""
    folder = path.parent
    if path.is_dir():
        raise SinkError(f"{path} is a folder: name a file in it to write to")
    if not folder.is_dir():
        raise SinkError(f"cannot write {path}: there is no folder {folder}; make it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise SinkError(f"cannot write {path}: no permission; name another place")


def write_failure(path: Path, error: OSError, lost: str = "") -> SinkError:
    """The operating system's reason, with the file it is about, and what is lost by it.

    It is a `SinkLost` where the file may be written later: a disk that is full now.
    """
    why = (error.strerror or str(error)).lower()
    words = f"cannot write {path}: {why}" + (f"; {lost}" if lost else "")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SinkLost(f"{words}; make room there")
    return SinkError(f"{words}; name another place")
