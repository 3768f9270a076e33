"""Output formats, and the places that results go to: a path, an address, or -.

| suffix or scheme | format | what |
|---|---|---|
| -, .jsonl, .ndjson | jsonl | rows of JSON: of frames, events or windows |
| tcp:// | tcp | the same, over TCP |
| http://, https:// | http | the same, some rows in a POST every half second |
| mqtt://, mqtts:// | mqtt | the same, to an MQTT broker |
| .csv | csv | a table: a row per face and frame |
| .parquet | parquet | the same table |
| .vtt, .srt | subtitles | the leading words |
| .eaf | elan | for ELAN |
| .boris | boris | for BORIS |
| .mp4, .mkv, .mov | video | annotated video |
| .m3u8 | hls | annotated, the last seconds, for players |
| rtsp:// | rtsp | annotated, served at that address |

A new format is a file in `stream/sinks` with a function `make` and a line in `FORMATS`.

`{source}` in a name stands for the source; with several sources every file needs it, and its
folder is made. What exists is not overwritten unless that is asked for.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .errors import SinkError
from .sinks.base import (
    PART,
    Sink,
    SinkOptions,
    check_writable,
    is_segment,
    make_folder,
    write_failure,
)
from .sinks.rows import RowWriter
from .sinks.table import Opener
from .sources.base import is_address, with_variables, without_password

STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write results."""

    name: str
    suffixes: tuple[str, ...] = ()
    """Of files, in small letters, with the dot."""
    schemes: tuple[str, ...] = ()
    """Of addresses."""
    rows: bool = False
    """Whether rows of JSON are written, of frames, events or windows; else a sink of its own."""
    pictures: bool = False
    """Whether pictures are written, in which faces can be masked."""
    table: bool = False
    """Whether several sources can share a file: a table, its module has `open_table`."""
    needs: str = ""
    """A library that the base installation lacks."""
    drafted: bool = False
    """Whether it is written beside its name first, as `sinks.base.draft` says."""
    served: bool = False
    """Whether it is served at an address of one source each, from a thread of its own."""

    def make(self, options: SinkOptions) -> Sink:
        """The sink. Raises `SinkError` for a name that it cannot have, ModuleNotFoundError where a
        library is missing."""
        sink: Sink = self._module.make(options)
        return sink

    def make_writer(self, target: str) -> RowWriter:
        """What writes rows there, of a format of rows. Raises as `make`."""
        writer: RowWriter = self._module.make(target)
        return writer

    def join(self, parts: Sequence[Path], path: Path) -> None:
        """One table of several, written to the disk. Raises OSError and `SinkError`."""
        self._module.join(parts, path)

    def opener(self, path: Path) -> Opener:
        """What opens a table of any columns there."""
        return partial(self._module.open_table, path)

    def require(self) -> None:
        """Raises ModuleNotFoundError where its library is missing."""
        if self.needs:
            importlib.import_module(self.needs)

    @property
    def _module(self) -> Any:
        return importlib.import_module(f".sinks.{self.name}", __package__)


FORMATS = (
    Format("jsonl", suffixes=(".jsonl", ".ndjson"), rows=True),
    Format("tcp", schemes=("tcp",), rows=True),
    Format("http", schemes=("http", "https"), rows=True),
    Format("mqtt", schemes=("mqtt", "mqtts"), rows=True),
    Format("csv", suffixes=(".csv",), table=True),
    Format("parquet", suffixes=(".parquet",), table=True, drafted=True, needs="pyarrow"),
    Format("subtitles", suffixes=(".vtt", ".srt")),
    Format("elan", suffixes=(".eaf",), drafted=True),
    Format("boris", suffixes=(".boris",), drafted=True),
    Format("video", suffixes=(".mp4", ".mkv", ".mov"), pictures=True, drafted=True),
    Format("hls", suffixes=(".m3u8",), pictures=True),
    Format("rtsp", schemes=("rtsp",), pictures=True, served=True),
)
LINES = FORMATS[0]
SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)
SCHEMES = tuple(scheme for one in FORMATS for scheme in one.schemes)


def named(name: str) -> Format:
    """The format of that name."""
    return next(one for one in FORMATS if one.name == name)


def format_of(target: str) -> Format:
    """The format of a path, an address or -. Raises `SinkError` where it cannot be told."""
    if target == STANDARD_OUTPUT:
        return LINES
    if is_address(target):
        scheme = target.partition("://")[0].lower()
        for one in FORMATS:
            if scheme in one.schemes:
                return one
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise SinkError(f"nothing can be sent to {without_password(target)}: there is {known}")
    suffix = Path(target).suffix.lower()
    for one in FORMATS:
        if suffix in one.suffixes:
            return one
    raise SinkError(
        f"{target}: what to write there is told by the ending: {', '.join(SUFFIXES)}, "
        "or - for standard output"
    )


SOURCE = "{source}"
"""Stands for the source in the name of an output."""


class Place(NamedTuple):
    """One place that results of one source go to."""

    format: Format
    target: str
    """A path, an address, or -."""
    shared: bool = False
    """Whether it is one table of several sources."""

    @property
    def is_file(self) -> bool:
        """Whether it is on disk."""
        return self.target != STANDARD_OUTPUT and not is_address(self.target)

    @property
    def name(self) -> str:
        """Its name in messages, without passwords."""
        if self.target == STANDARD_OUTPUT:
            return "standard output"
        return without_password(self.target)

    def check(self, overwrite: bool = False) -> None:
        """Raise `SinkError` where it is a file that cannot be written, or exists and is not to be
        overwritten; changes nothing."""
        if not self.is_file:
            return
        path = Path(self.target)
        check_writable(path)
        # Devices and pipes hold nothing that could be lost.
        old = path.is_file() or (self.format.name == "hls" and self.segments)
        if old and not overwrite:
            raise SinkError(f"{path} exists: name another file, or say --overwrite")

    @property
    def segments(self) -> list[Path]:
        """What lies beside an HLS playlist under the names of its segments."""
        path = Path(self.target)
        return [file for file in path.parent.iterdir() if is_segment(path, file)]

    @property
    def unfinished(self) -> Place:
        """Where this output is written until it is complete: its name with `.part` added.

        Devices, pipes, addresses and live playlists are written directly.
        """
        path = Path(self.target)
        if not self.is_file or self.format.name == "hls" or (path.exists() and not path.is_file()):
            return self
        return self._replace(target=os.path.realpath(path) + PART)

    def finish(self) -> None:
        """Give the complete output its name. Raises `SinkError`."""
        written = Path(self.unfinished.target)
        if self.unfinished != self and written.exists():
            try:
                written.replace(os.path.realpath(self.target))
            except OSError as error:
                raise write_failure(Path(self.target), error) from error

    def discard(self) -> None:
        """Remove an incomplete output."""
        if self.unfinished != self and not self.shared:
            Path(self.unfinished.target).unlink(missing_ok=True)


def place_of(text: str) -> Place:
    """The place that a text names. Raises `SinkError` where its format cannot be told.

    In an address `${NAME}` stands for an environment variable: see `with_variables`.
    """
    target = with_variables(text)
    return Place(format_of(target), target)


def places_for(texts: Sequence[str], sources: Sequence[str]) -> list[list[Place]]:
    """The places of each source; a folder of a name with `{source}` is made where it is missing.

    Several sources share a table of CSV, whose rows name them. Raises `SinkError` for another file
    that several would share.
    """
    places = [place_of(text) for text in texts]
    if len(sources) > 1:
        places = [
            place._replace(shared=place.format.table and SOURCE not in place.target)
            for place in places
        ]
        for place in places:
            alone = (place.is_file and not place.shared) or place.format.served
            if alone and SOURCE not in place.target:
                raise SinkError(
                    f"{place.name} cannot hold {len(sources)} sources: put {SOURCE} into its name"
                )
    return [[_filled(place, stem) for place in places] for stem in stems(sources)]


def _filled(place: Place, stem: str) -> Place:
    """The place of the source that this stem stands for."""
    if SOURCE not in place.target:
        return place
    filled = place._replace(target=place.target.replace(SOURCE, stem))
    if filled.is_file:
        make_folder(Path(filled.target).parent)
    return filled


def stems(sources: Sequence[str]) -> list[str]:
    """A file name without suffix for each source, all different and free of passwords.

    Of clips that share a stem each is called by what tells them apart: its ending, or the folders
    that it is in.
    """
    levels = [_levels(source) for source in sources]
    shared: dict[str, list[int]] = {}
    for at, names in enumerate(levels):
        shared.setdefault(names[0].casefold(), []).append(at)
    chosen = [""] * len(sources)
    for places in shared.values():
        depth = max(len(levels[at]) for at in places)
        rounds = ([_at_level(levels[at], level) for at in places] for level in range(depth))
        apart = (names for names in rounds if len({n.casefold() for n in names}) == len(names))
        for at, name in zip(places, next(apart, [levels[at][0] for at in places]), strict=True):
            chosen[at] = name
    taken: set[str] = set()
    for at, name in enumerate(chosen):
        number, candidate = 2, name
        while candidate.casefold() in taken:
            candidate = f"{name}-{number}"
            number += 1
        taken.add(candidate.casefold())
        chosen[at] = candidate
    return chosen


def _at_level(names: Sequence[str], level: int) -> str:
    """One of `_levels`; with or without its ending like the others where there is no more."""
    return names[level] if level < len(names) else names[(len(names) > 1) * (level % 2)]


def _levels(source: str) -> list[str]:
    """Names for a source, each longer than the one before."""
    if is_address(source) or source.startswith("gst:"):
        # An address has no suffix to lose: what follows its last dot may be half of its host.
        return [_plain(_name(source))]
    path = Path(source)
    folders = [part for part in path.parent.parts if part not in (path.anchor, "..")]
    names = [_plain(path.stem), _plain(path.name)]
    for depth in range(1, len(folders) + 1):
        inside = "_".join(folders[-depth:])
        names += [_plain(f"{inside}_{path.stem}"), _plain(f"{inside}_{path.name}")]
    return names


def _plain(name: str) -> str:
    """A name of letters, numbers, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "source"


def _name(source: str) -> str:
    """The last part of a path; host and path of an address, without user and password."""
    if source.startswith("gst:"):
        source = without_password(source)
    if "://" in source and not source.startswith("gst:"):
        return re.sub(r"^\w+://(?:[^@/]*@)?|[?#].*$", "", source)
    return Path(source).name or source
