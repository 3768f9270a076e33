"""JSON lines, schema 1: a header, then one row per frame, also where no face is.

Each row is handed to the operating system as a whole before the next frame is looked at, so the
file holds complete rows whenever and however the run ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..frame import Frame
from ..result import Result
from .base import SinkInfo
from .whole import WholeLines

SCHEMA = 1


class JsonlSink:
    """Writes a .jsonl file; `top` words per face."""

    def __init__(self, path: Path, top: int = 10) -> None:
        self._path = path
        self._top = top
        self._file: WholeLines | None = None

    def open(self, info: SinkInfo) -> None:
        """Make the file and write its header line."""
        self._file = WholeLines(self._path)
        self._write_line(header(info))

    def write(self, frame: Frame, result: Result) -> None:
        """Append one row."""
        self._write_line(result.to_json(self._top))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_line(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            raise ValueError("open the sink before writing to it")
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._file.write(line + "\n")


def header(info: SinkInfo) -> dict[str, Any]:
    """The first line of a .jsonl file."""
    return {
        "schema": SCHEMA,
        "kind": "header",
        "source": info.source,
        "size": None if info.size is None else list(info.size),
        "rate_hz": info.rate_hz,
        "live": info.live,
        **info.about,
    }
