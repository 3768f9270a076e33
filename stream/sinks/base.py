"""What a sink is, and files of results that only ever hold whole pieces."""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ferstream.engines.labels import BUILT_IN, Labels

from ..errors import SinkError, SinkLost
from ..frame import Frame
from ..result import Result
from ..sources.base import SourceEvent

if TYPE_CHECKING:
    from .table import Columns


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


@dataclass(frozen=True, slots=True)
class Making:
    """What a sink of one source is made of, as `stream.formats` asks for it."""

    target: str
    """A path or an address."""
    top: int = 10
    """Words per face."""
    columns: tuple[Columns, ...] = ()
    """What is told beside."""
    sound_of: Path | None = None
    """The clip whose sound belongs to the pictures."""
    tables: dict[str, Any] | None = None
    """Where the source is one of several that share a file: the tables that are open, by target."""

    @property
    def path(self) -> Path:
        """The target as a path."""
        return Path(self.target)

    @property
    def shown(self) -> int:
        """Words per face in a picture."""
        return min(self.top, 10)


class Delivery(Protocol):
    """How an output that works in a thread of its own gets on."""

    @property
    def name(self) -> str:
        """What reports call it; free of passwords."""

    @property
    def dropped(self) -> int:
        """Items that it was not given, so far."""

    @property
    def lost(self) -> int:
        """Those of them that were lost because it could not write, not for want of time."""

    @property
    def failure(self) -> str:
        """Why nothing is written at the moment; "" while all is well."""


class Sink(Protocol):
    """Writes results down or shows them.

    `close` is called once, also after Ctrl-C or a failure, and leaves what was written complete.
    Every method raises `SinkError` where the output cannot be written.
    """

    def open(self, info: SinkInfo) -> None:
        """Begin; called before the first frame."""

    def write(self, frame: Frame, result: Result) -> None:
        """Take one frame and what was found in it; neither may be changed."""

    def on_event(self, event: SourceEvent) -> None:
        """Take a change of a live source's state; called between `open` and `close`, by the thread
        of `write`."""

    def close(self) -> None:
        """Finish."""

    @property
    def delivery(self) -> Delivery | None:
        """How it gets on; None where it writes in the caller's thread and raises."""


class BaseSink:
    """What most sinks have in common: they begin with nothing, do not care how their source fares,
    and write in the caller's thread."""

    def open(self, info: SinkInfo) -> None:
        """Nothing to begin."""

    def on_event(self, event: SourceEvent) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to finish."""

    @property
    def delivery(self) -> Delivery | None:
        """None: it raises where it cannot write."""
        return None


PART = ".part"
"""What the name of a file ends with that is not whole yet."""


def suffix_of(path: Path) -> str:
    """The ending that tells what kind of file this is to be, in small letters."""
    return Path(path.name.removesuffix(PART)).suffix.lower()


def draft(path: Path) -> Path:
    """Where a document is written before it takes the place of the one before."""
    return path.with_name(f".{path.name}{PART}")


def write_whole(path: Path, data: bytes | bytearray) -> None:
    """Write a file that appears whole or not at all: a reader never sees half of it.

    It is written beside its name (`draft`) and moved into place. Raises OSError, with the file
    of that name as it was.
    """
    beside = draft(path)
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


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


NOTICE = (
    "Estimated facial expressions: how a face would read to people who see it, "
    "not what anybody feels."
)
"""One line; the least that goes with every reading."""
SHORT_NOTICE = "Estimated expressions, not feelings"
"""For where a line must be short."""


def notice_lines(info: SinkInfo) -> list[str]:
    """Lines for the head of an output: notice, source, bundle, supervision, purpose."""
    lines = [NOTICE, f"Source: {info.source}"]
    bundle = info.about.get("bundle")
    if bundle:
        lines.append(" ".join(["Bundle:", *(str(value) for value in bundle.values())]))
    heads = info.about.get("heads") or {}
    if heads:
        taught = ", ".join(f"{name} {head['supervision']}" for name, head in heads.items())
        lines.append(f"How the labels were learned: {taught}")
    purpose = info.about.get("purpose")
    if purpose:
        lines.append(f"Purpose: {purpose}")
    return [" ".join(line.split()) for line in lines]


def package_version() -> str:
    """The version of ferstream that is installed; "unknown" in a checkout that is not."""
    try:
        return version("ferstream")
    except PackageNotFoundError:
        return "unknown"


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
