"""Where results go, by the text that names it.

| text | kind | what |
|---|---|---|
| -, x.jsonl, x.ndjson, tcp://, http(s)://, mqtt(s):// | rows | JSON, of frames, events, windows |
| x.csv | csv | a row per face and frame |
| x.vtt, x.srt | subtitles | the leading words |
| x.eaf, x.boris | annotation | for ELAN, for BORIS |
| x.mp4, x.mkv, x.mov | video | annotated |
| x.m3u8 | hls | annotated, the last seconds, for players |
| rtsp://HOST:PORT/NAME | rtsp | annotated, served there |

`{source}` in a name stands for the source; with several sources every file needs it, and its
folder is made. What exists is not overwritten unless that is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from .errors import SinkError
from .sinks.base import PART, check_writable, is_segment, make_folder, write_failure
from .sources.base import is_address, with_variables, without_password

Kind = Literal["rows", "csv", "subtitles", "elan", "boris", "video", "hls", "rtsp"]

BY_SUFFIX: dict[str, Kind] = {
    ".jsonl": "rows",
    ".ndjson": "rows",
    ".csv": "csv",
    ".vtt": "subtitles",
    ".srt": "subtitles",
    ".eaf": "elan",
    ".boris": "boris",
    ".mp4": "video",
    ".mkv": "video",
    ".mov": "video",
    ".m3u8": "hls",
}
BY_SCHEME: dict[str, Kind] = {
    **dict.fromkeys(("tcp", "http", "https", "mqtt", "mqtts"), "rows"),
    "rtsp": "rtsp",
}
STANDARD_OUTPUT = "-"
_SOURCE = "{source}"


class Place(NamedTuple):
    """One place that results of one source go to."""

    kind: Kind
    target: str
    """A path, an address, or -."""
    shared: bool = False
    """Whether it is one table of several sources."""

    @property
    def is_file(self) -> bool:
        """Whether it is on disk."""
        return self.target != STANDARD_OUTPUT and not is_address(self.target)

    @property
    def has_pictures(self) -> bool:
        """Whether pictures are written to it."""
        return self.kind in ("video", "hls", "rtsp")

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
        old = path.is_file() or (self.kind == "hls" and self.segments)
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
        if not self.is_file or self.kind == "hls" or (path.exists() and not path.is_file()):
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
    """The place that a text names. Raises `SinkError` where its kind cannot be told.

    In an address `${NAME}` stands for an environment variable: see `with_variables`.
    """
    text = with_variables(text)
    if text == STANDARD_OUTPUT:
        return Place("rows", text)
    if is_address(text):
        scheme = text.partition("://")[0].lower()
        if scheme in BY_SCHEME:
            return Place(BY_SCHEME[scheme], text)
        known = ", ".join(f"{name}://" for name in BY_SCHEME)
        raise SinkError(f"nothing can be sent to {without_password(text)}: there is {known}")
    suffix = Path(text).suffix.lower()
    if suffix in BY_SUFFIX:
        return Place(BY_SUFFIX[suffix], text)
    raise SinkError(
        f"{text}: what to write there is told by the ending: {', '.join(BY_SUFFIX)}, "
        "or - for standard output"
    )


def places_for(texts: Sequence[str], sources: Sequence[str]) -> list[list[Place]]:
    """The places of each source; a folder of a name with `{source}` is made where it is missing.

    Several sources share a table of CSV, whose rows name them. Raises `SinkError` for another file
    that several would share.
    """
    places = [place_of(text) for text in texts]
    if len(sources) > 1:
        places = [
            place._replace(shared=place.kind == "csv" and _SOURCE not in place.target)
            for place in places
        ]
        for place in places:
            alone = (place.is_file and not place.shared) or place.kind == "rtsp"
            if alone and _SOURCE not in place.target:
                raise SinkError(
                    f"{place.name} cannot hold {len(sources)} sources: put {_SOURCE} into its name"
                )
    return [[_filled(place, stem) for place in places] for stem in stems(sources)]


def _filled(place: Place, stem: str) -> Place:
    """The place of the source that this stem stands for."""
    if _SOURCE not in place.target:
        return place
    filled = place._replace(target=place.target.replace(_SOURCE, stem))
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
