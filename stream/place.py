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
from .sources.base import is_address, without_password

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
        if self.unfinished != self:
            Path(self.unfinished.target).unlink(missing_ok=True)


def place_of(text: str) -> Place:
    """The place that a text names. Raises `SinkError` where its kind cannot be told."""
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

    Raises `SinkError` for a file that several would share.
    """
    places = [place_of(text) for text in texts]
    if len(sources) > 1:
        for place in places:
            if (place.is_file or place.kind == "rtsp") and _SOURCE not in place.target:
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
    """A file name without suffix for each source, all different and free of passwords."""
    plain = [re.sub(r"[^\w.-]+", "_", _name(source)).strip("_.") or "source" for source in sources]
    # An address has no suffix to lose: what follows its last dot may be half of its host.
    short = [
        name if is_address(source) else Path(name).stem
        for name, source in zip(plain, sources, strict=True)
    ]
    chosen: list[str] = []
    for name, stem in zip(plain, short, strict=True):
        candidate = stem if short.count(stem) == 1 else name
        number = 2
        while candidate in chosen:
            candidate = f"{name}-{number}"
            number += 1
        chosen.append(candidate)
    return chosen


def _name(source: str) -> str:
    """The last part of a path; host and path of an address, without user and password."""
    if source.startswith("gst:"):
        source = without_password(source)
    if "://" in source and not source.startswith("gst:"):
        return re.sub(r"^\w+://(?:[^@/]*@)?|[?#].*$", "", source)
    return Path(source).name or source
