"""What a run writes, decided and checked before anything is loaded, and the sinks that do it.

No output takes the place of an input, of another output, or of another run's output: claims are
compared over all sources and all files that a sink will make, before anything is opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .errors import SinkError
from .formats import FORMATS, SOURCE, STANDARD_OUTPUT, Place, named, place_of, places_for, stems
from .sinks.base import Sink, SinkOptions, draft, make_folder
from .sinks.rows import FrameRows, RowMaker, RowSink
from .sinks.table import Columns
from .sources.base import is_address

if TYPE_CHECKING:
    from .sinks.table import SharedTable


Rows = Literal["frames", "events", "windows"]
Notify = Callable[[str], None]

_FINISH_S = 120.0
_FOLDERS = ("jsonl", "csv", "video")
"""Formats that may be asked for by a file or a folder of their own."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The places asked for, and how results are written there.

    `jsonl`, `csv` and `video` name a file, or a folder with more than one source, for which `csv`
    may also be one table; `to` holds any places that `stream.formats` knows.
    """

    jsonl: Path | None = None
    csv: Path | None = None
    video: Path | None = None
    to: tuple[str, ...] = ()
    summary: Path | None = None
    """A table with a row for each face of each clip."""
    top: int = 10
    """Words per face."""
    columns: tuple[Columns, ...] = ()
    """Columns added to tables and rows of frames."""
    rows: Rows = "frames"
    """What a row of JSON is about."""
    window_s: float = 10.0
    """Length of a window, for rows of windows, seconds."""
    blur: bool = False
    """Whether faces are masked in every picture that is written or shown."""
    aggregate_only: bool = False
    """Whether nothing is written that is about one person: rows of windows alone."""
    overwrite: bool = False
    """Whether files that exist are written anew."""
    inputs: tuple[str | Path, ...] = ()
    """What is read beside the sources, and not to be replaced: lists, the bundle's folder."""

    _tables: dict[str, SharedTable] = field(default_factory=dict, init=False, repr=False)
    _claims: list[Claim] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def any(self) -> bool:
        """Whether any output is asked for."""
        return any((self.jsonl, self.csv, self.video, self.to))

    @property
    def on_standard_output(self) -> bool:
        """Whether standard output belongs to rows."""
        return STANDARD_OUTPUT in (*self.to, str(self.jsonl))

    def beside(self, name: str) -> Path | None:
        """The path of a further file of this run: in the folder of its outputs, or beside their
        table; None where nothing is written to files."""
        files = (self.jsonl, self.csv, self.video, self.summary)
        for text in (*self.to, *(str(path) for path in files if path)):
            if text == STANDARD_OUTPUT or is_address(text):
                continue
            path = Path(text)
            if SOURCE in text:
                folders = [one for one in path.parents if SOURCE not in str(one)]
                return folders[0] / f"ferstream.{name}"
            if path.suffix:
                return path.with_name(f"{path.name}.{name}")
            return path / f"ferstream.{name}"
        return None

    def for_sources(
        self, sources: Sequence[str], again: bool = False, share: slice | None = None
    ) -> list[list[Place]]:
        """The places of each source; makes folders and checks that files can be written.

        The files are reserved for this object from then on: see `Claim`.

        Args:
            sources: names of all sources.
            again: whether a run is resumed, so that existing files may be replaced.
            share: of a batch in shards, the sources whose places are returned; files that are
                written once for all sources are then not reserved.

        Raises `SinkError`.
        """
        each = places_for(self.to, sources)
        several = len(sources) > 1
        for name, path in zip(_FOLDERS, (self.jsonl, self.csv, self.video), strict=True):
            if path is None:
                continue
            form = named(name)
            suffix = form.suffixes[0]
            in_folder = several and str(path) != STANDARD_OUTPUT
            if in_folder and form.table and path.suffix.lower() == suffix and not path.is_dir():
                table = Place(form, str(path), shared=True)
                for places in each:
                    places.append(table)
                continue
            if in_folder:
                make_folder(path)
            for places, stem in zip(each, stems(sources), strict=True):
                target = path / f"{stem}{suffix}" if in_folder else path
                places.append(Place(form, str(target)))
        for places in each:
            if len(set(places)) < len(places):
                raise SinkError(f"the same place twice: {', '.join(p.name for p in places)}")
            for place in places:
                if self.aggregate_only and not place.format.rows:
                    raise SinkError(
                        f"{place.name} would tell of single people: with --aggregate-only only "
                        "rows are written, to .jsonl, -, tcp, http or mqtt"
                    )
        if share is not None:
            each = each[share]
        summary = self.summary_place
        written = each if summary is None else [*each, [summary]]
        files = files_of(written, sources, self.inputs)
        for places in written:
            for place in places:
                place.check(self.overwrite or again)
                place.format.require()
        if share is not None:
            own = [[place for place in places if not place.shared] for places in each]
            files = files_of(own, sources, self.inputs)
        self._claims.clear()
        self._claims.extend(map(Claim, files))
        return each

    def sinks(
        self,
        places: Sequence[Place],
        say: Notify,
        *,
        live: bool,
        on_hang_up: Notify | None = None,
        sound_of: Path | None = None,
    ) -> list[Sink]:
        """The sinks for one source's places.

        Those of a live source and those over the network run in threads of their own and never
        delay the capture.

        Args:
            places: as `for_sources` gives them.
            say: called with one line where an output fails, and when it is back.
            live: whether the source is live.
            on_hang_up: called instead of `say` where the reader of standard output has gone.
            sound_of: the clip whose sound is added to annotated video.
        """
        hung_up = on_hang_up or say
        return [
            self._sink(place, hung_up if place.target == STANDARD_OUTPUT else say, live, sound_of)
            for place in places
        ]

    def masked(self, sink: Sink) -> Sink:
        """A sink of pictures, given masked ones where that was asked for."""
        if not self.blur:
            return sink
        from .sinks.blur import BlurSink

        return BlurSink(sink)

    def maker(self) -> RowMaker:
        """What makes the rows."""
        if self.aggregate_only or self.rows == "windows":
            from .sinks.spans import AT_LEAST, WindowRows

            # Rows of frames would tell of single people anyway where they are not forbidden.
            return WindowRows(self.window_s, AT_LEAST if self.aggregate_only else 1)
        if self.rows == "events":
            from .sinks.spans import EventRows

            return EventRows(min(self.top, 3))
        return FrameRows(self.top, self.columns)

    @property
    def summary_place(self) -> Place | None:
        """Where the table of clips goes. Raises `SinkError` for what is no table."""
        if self.summary is None:
            return None
        place = place_of(str(self.summary))
        if not place.format.table or self.aggregate_only:
            kinds = " or ".join(s for one in FORMATS if one.table for s in one.suffixes)
            raise SinkError(
                f"{place.name}: a summary tells of single people, which --aggregate-only forbids"
                if place.format.table
                else f"{place.name}: a summary is a table, {kinds}"
            )
        return place

    def finish(self, tables: Sequence[Place]) -> None:
        """Close the tables of several sources, whole as they are by now, and give them their
        names. Raises `SinkError`."""
        for place in dict.fromkeys(place for place in tables if place.shared):
            for written in (place.unfinished, place):
                table = self._tables.pop(written.target, None)
                if table is not None:
                    table.close()
                    if written != place:
                        place.finish()

    def _sink(self, place: Place, say: Notify, live: bool, sound_of: Path | None) -> Sink:
        from .sinks.background import CLOSE_S, BackgroundSink

        form = place.format
        if form.rows:
            from .sinks.background import row_writer

            writer = row_writer(place.target, on_failure=say, on_return=say)
            sink: Sink = RowSink(self.maker(), writer)
            if not (live and place.is_file):
                return sink
        else:
            tables = self._tables if place.shared else None
            sink = form.make(SinkOptions(place.target, self.top, self.columns, sound_of, tables))
            if form.pictures:
                sink = self.masked(sink)
            if not (live or form.served):
                return sink
        # Pictures that the encoder still holds are written at the end, and a file is finished,
        # which takes as long as copying it.
        within_s = _FINISH_S if form.pictures and place.is_file else CLOSE_S
        return BackgroundSink(
            sink,
            name=place.name,
            pixels=form.pictures,
            on_failure=say,
            on_return=say,
            close_s=within_s,
        )


_MOST_PLAYLIST_BYTES = 4 * 2**20


class Claim:
    """Reserves a file for this run, until the object is deleted or the process ends.

    It is a socket name in Linux's abstract namespace, which leaves nothing on disk and which the
    kernel frees however the process ends. It holds among runs on one machine. Raises `SinkError`
    where another run has reserved the file.
    """

    def __init__(self, path: Path) -> None:
        self._handle = -1
        if not sys.platform.startswith("linux"):
            return
        folder = path.parent.stat()
        key = f"{folder.st_dev} {folder.st_ino} {path.name}".encode("utf-8", "surrogateescape")
        name = hashlib.sha256(key).hexdigest()
        with socket.socket(socket.AF_UNIX) as held:
            try:
                held.bind(f"\0ferstream-output-{name}")
            except OSError:
                raise SinkError(
                    f"{path} is being written by another run: wait for it, or name another file"
                ) from None
            self._handle = held.detach()

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


def files_of(
    each: Sequence[Sequence[Place]], sources: Sequence[str], inputs: Sequence[str | Path] = ()
) -> list[Path]:
    """The files of all places, `each` holding those of one of the sources.

    Raises `SinkError` where one that would be made or deleted is a source or a part of one, or one
    of `inputs` (files that are read beside; of folders, all in them), or would be made twice.
    """
    read = [path for name in inputs for path in _within(Path(name))]
    taken_by = {_identity(path): f"{path}, which is read" for path in read}
    sourced = [path for source in sources for path in _parts(source)]
    taken_by |= {_identity(path): f"the source {path}" for path in sourced}
    taken_by.pop(None, None)
    made: dict[Path, Place] = {}
    files = []
    for place in (place for places in each for place in places if place.is_file):
        for path in _made_by(place):
            taken = taken_by.get(_identity(path))
            if taken is not None:
                raise SinkError(f"{place.name} would replace {taken}: name another file")
            if path in made and made[path] is not place:
                raise SinkError(f"{place.name} and {made[path].name} are the same file: name two")
            if place not in made.values():
                files.append(path)
            made[path] = place
    return files


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file; None where there is no file."""
    with suppress(OSError, ValueError):
        found = path.stat()
        if path.is_file():
            return found.st_dev, found.st_ino
    return None


def _within(path: Path) -> Iterator[Path]:
    """A file, or the files in a folder."""
    with suppress(OSError, ValueError):
        yield from path.iterdir() if path.is_dir() else (path,)


def _parts(source: str) -> Iterator[Path]:
    """The files of a source: itself, and what a playlist names."""
    path = Path(source)
    if is_address(source) or _identity(path) is None:
        return
    yield path
    if path.suffix.lower() in (".m3u8", ".m3u") and path.stat().st_size < _MOST_PLAYLIST_BYTES:
        for line in path.read_text("utf-8", "replace").splitlines():
            named = re.search(r'URI="([^"]*)"', line) if line.startswith("#") else None
            part = named[1] if named else "" if line.startswith("#") else line.strip()
            if part and not is_address(part):
                yield path.parent / part


def _made_by(place: Place) -> Iterator[Path]:
    """Files that a sink creates, replaces or deletes; none for devices and pipes."""
    target = Path(os.path.realpath(place.target))
    if target.exists() and not target.is_file():
        return
    yield target
    if place.format.name == "hls":
        # The name counts, not whether it is there: another playlist's segments would be the same.
        yield target.with_suffix("")
        yield from place.segments
        return
    unfinished = Path(place.unfinished.target)
    yield unfinished
    if place.format.drafted:
        yield from (draft(target), draft(unfinished))
