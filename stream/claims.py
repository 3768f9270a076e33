"""That no output takes the place of an input, of another output, or of another run's output.

Looked at over all sources and all files that a sink will make, before anything is opened.
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

from .errors import SinkError
from .place import Place
from .sinks.base import draft
from .sources.base import is_address

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
    if place.kind == "hls":
        # The name counts, not whether it is there: another playlist's segments would be the same.
        yield target.with_suffix("")
        yield from place.segments
        return
    unfinished = Path(place.unfinished.target)
    yield unfinished
    if place.kind in ("elan", "boris", "video"):
        yield from (draft(target), draft(unfinished))
