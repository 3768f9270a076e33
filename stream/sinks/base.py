"""The protocol of sinks, and files that only ever hold whole pieces: lines, fragments."""

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
    """The bundle's labels."""
    drops: Callable[[], Mapping[str, int]] = dict
    """Returns the frames of this source dropped so far, by cause; safe from any thread."""


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What one source's sink is made with; `stream.formats` passes it to `make`."""

    target: str
    """A path or an address."""
    top: int = 10
    """Words per face."""
    columns: tuple[Columns, ...] = ()
    """Columns added on request: see `sinks.table.COLUMNS`."""
    sound_of: Path | None = None
    """The clip whose sound is added to annotated video."""
    tables: dict[str, Any] | None = None
    """Open tables by target, where several sources share a file; else None."""

    @property
    def path(self) -> Path:
        """The target as a path."""
        return Path(self.target)

    @property
    def shown(self) -> int:
        """Words per face drawn into a picture."""
        return min(self.top, 10)


class Delivery(Protocol):
    """The state of an output that writes in a thread of its own."""

    @property
    def name(self) -> str:
        """Its name in reports, without passwords."""

    @property
    def dropped(self) -> int:
        """Items dropped so far."""

    @property
    def lost(self) -> int:
        """Those of them that were dropped because writing failed, not because it was slow."""

    @property
    def failure(self) -> str:
        """Why nothing is written at the moment; "" while all is well."""


class Sink(Protocol):
    """Writes results or shows them.

    `close` is called once, also after Ctrl-C or a failure, and leaves what was written complete.
    Every method raises `SinkError` where the output cannot be written.
    """

    def open(self, info: SinkInfo) -> None:
        """Open the output; called before the first frame."""

    def write(self, frame: Frame, result: Result) -> None:
        """Write one frame and its result; both are read-only."""

    def on_event(self, event: SourceEvent) -> None:
        """Handle a change of a live source's state; called between `open` and `close`, in the
        thread of `write`."""

    def close(self) -> None:
        """Finish the output."""

    @property
    def delivery(self) -> Delivery | None:
        """The state of its thread; None where it writes in the caller's thread and raises."""


class BaseSink:
    """Defaults of a sink: nothing to open or finish, events are ignored, and it writes in the
    caller's thread."""

    def open(self, info: SinkInfo) -> None:
        """Nothing to open."""

    def on_event(self, event: SourceEvent) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to finish."""

    @property
    def delivery(self) -> Delivery | None:
        """None: it writes in the caller's thread and raises."""
        return None


PART = ".part"
"""Suffix of a file that is not complete yet."""


def suffix_of(path: Path) -> str:
    """The suffix that says what kind of file this is, in lower case, without `PART`."""
    return Path(path.name.removesuffix(PART)).suffix.lower()


def draft(path: Path) -> Path:
    """Where a file is written before it replaces the one of its name."""
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
    """Create a folder and its parents where they are missing. Raises `SinkError`."""
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
    """A `SinkError` that names the file, the system's reason, and what is lost.

    It is a `SinkLost` where writing may succeed later, as on a disk that is full now.
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
"""The notice that every output carries, one line."""
SHORT_NOTICE = "Estimated expressions, not feelings"
"""The notice where there is little room."""


def notice_lines(info: SinkInfo) -> list[str]:
    """Lines for the header of an output: notice, source, bundle, supervision, purpose."""
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
    """A file to which pieces are appended whole or not at all, each at once.

    A piece that fails halfway is removed again, so that the next one can follow; on pipes and
    devices that is not possible. The path `-` is standard output. Every method raises `SinkError`
    where the file cannot be written: a `SinkLost` where that may succeed later.
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
        """Append a piece."""
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
    """A text file that only ever holds whole lines; it is created with `head`, its first ones."""

    def __init__(self, path: Path, head: str = "") -> None:
        super().__init__(path)
        try:
            self.write(head)
        except SinkError:
            self.close()
            raise

    def write(self, text: str) -> None:
        """Append `text`, which ends with a line break."""
        self.append(text.encode())


def _raw(path: Path) -> BinaryIO:
    return path.open("wb", buffering=0)


def _standard_output() -> BinaryIO:
    """Standard output without Python's buffer, after what already is in that."""
    sys.stdout.flush()
    return open(1, "wb", buffering=0, closefd=False)
