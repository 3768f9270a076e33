"""Rows of JSON: what they tell (a frame, an event, a window of time) and where they go.

`stream/rows.schema.json` is their JSON Schema (`stream/row_schema.py`: for a bundle's own labels).

A `RowSink` joins a maker of rows with a writer of rows: any of the makers can go to a file, to
standard output, over TCP or HTTP, or to an MQTT broker.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..frame import Frame
from ..result import SCHEMA, Result
from ..sources.event import SourceEvent
from .base import SinkInfo
from .columns import Columns, more

Row = Mapping[str, Any]


class RowMaker(Protocol):
    """Turns results into rows; every row is a plain JSON object with `schema` and `source`."""

    def make(self, result: Result) -> Iterable[Row]:
        """The rows that this result completes; may be none."""

    def tell(self, event: SourceEvent) -> Iterable[Row]:
        """The rows that a change of the source's state completes; may be none."""

    def finish(self) -> Iterable[Row]:
        """The rows left at the end."""


class RowWriter(Protocol):
    """Sends rows somewhere. Every method raises `SinkError` where that fails."""

    def open(self, header: Row) -> None:
        """Begin; the header names source, bundle, how each head was supervised, and the purpose."""

    def write(self, row: Row) -> None:
        """Send one row."""

    def close(self) -> None:
        """Finish."""


class FrameRows:
    """A row per frame, also where no face is (schema 2); `top` words per face, and what `columns`
    ask for."""

    def __init__(self, top: int = 10, columns: Sequence[Columns] = ()) -> None:
        self._top = top
        self._columns = columns

    def make(self, result: Result) -> Iterable[Row]:
        """One row."""
        row = result.to_json(self._top)
        for told, found in zip(row["faces"], result.faces, strict=True):
            told.update(more(found, self._columns))
        yield row

    def tell(self, event: SourceEvent) -> Iterable[Row]:
        """None."""
        return ()

    def finish(self) -> Iterable[Row]:
        """None."""
        return ()


class RowSink:
    """A sink that makes rows and writes them; changes of a live source's state are rows too."""

    def __init__(self, maker: RowMaker, writer: RowWriter) -> None:
        self._maker = maker
        self.writer = writer

    def open(self, info: SinkInfo) -> None:
        """Send the header."""
        self.writer.open(header(info))

    def write(self, frame: Frame, result: Result) -> None:
        """Send the rows that this frame completes."""
        for row in self._maker.make(result):
            self.writer.write(row)

    def tell(self, event: SourceEvent) -> None:
        """Send the source's change of state, and the rows that it completes."""
        self.writer.write({"schema": SCHEMA, "kind": "state", **event.to_json()})
        for row in self._maker.tell(event):
            self.writer.write(row)

    def close(self) -> None:
        """Send what is left, and finish."""
        try:
            for row in self._maker.finish():
                self.writer.write(row)
        finally:
            self.writer.close()


def line(row: Row) -> str:
    """One row as a line of JSON, its end included.

    Raises ValueError for a number that JSON has no word for.
    """
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
    # A file name that is no UTF-8 has half characters, which only an escape can hold.
    return text.encode("utf-8", "backslashreplace").decode()


def header(info: SinkInfo) -> dict[str, Any]:
    """The first row of a stream of rows."""
    return {
        "schema": SCHEMA,
        "kind": "header",
        "source": info.source,
        "size": None if info.size is None else list(info.size),
        "rate_hz": info.rate_hz,
        "live": info.live,
        **info.about,
    }
