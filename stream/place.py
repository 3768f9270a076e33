"""Where the results of a source go, by the text that names it: a path, an address or -.

`{source}` in a name stands for the source; with several sources every file needs it, and its
folder is made. What exists is not overwritten unless that is asked for. `formats.py` says what is
written there.

No output takes the place of an input, of another output, or of another run's output: claims are
compared over all sources and all files that a sink will make, before anything is opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .errors import SinkError
from .formats import STANDARD_OUTPUT, Format, format_of
from .sinks.base import PART, check_writable, draft, is_segment, make_folder, write_failure
from .sources.base import is_address, with_variables, without_password

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
        """What people are told of it; free of passwords."""
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
        """Where this output stands until it is whole: beside its own name, `.part` added.

        Devices, pipes, addresses and live playlists are written directly.
        """
        path = Path(self.target)
        if not self.is_file or self.format.name == "hls" or (path.exists() and not path.is_file()):
            return self
        return self._replace(target=os.path.realpath(path) + PART)

    def finish(self) -> None:
        """Give the whole output its name. Raises `SinkError`."""
        written = Path(self.unfinished.target)
        if self.unfinished != self and written.exists():
            try:
                written.replace(os.path.realpath(self.target))
            except OSError as error:
                raise write_failure(Path(self.target), error) from error

    def discard(self) -> None:
        """Remove an output of which nothing came."""
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
    """Names for a source that tell ever more of it."""
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


_MOST_PLAYLIST_BYTES = 4 * 2**20


class Claim:
    """One file that this run alone writes, until the object goes or the process ends.

    Held by a socket's name in Linux's abstract namespace: it leaves nothing on disk, and the
    kernel lets go of it however the process ends. It holds among runs of one machine. Raises
    `SinkError` where another run has it.
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
    """What two names of one file share; None for what is no file, or not there."""
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
    """What a sink makes, replaces or deletes; devices and pipes are nobody's."""
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
