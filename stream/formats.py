"""The table of output formats: what is written, told by a name's suffix or an address's scheme.

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
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .errors import SinkError
from .sinks.base import Making, Sink
from .sinks.rows import RowWriter
from .sinks.table import Opener
from .sources.base import is_address, without_password

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

    def make(self, making: Making) -> Sink:
        """The sink. Raises `SinkError` for a name that it cannot have, ModuleNotFoundError where a
        library is missing."""
        sink: Sink = self._module.make(making)
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
