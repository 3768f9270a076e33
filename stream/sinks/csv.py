"""Tables as CSV.

Where a purpose was given, a first line that begins with # holds it (pandas: `comment="#"`).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ferstream.engines.labels import Labels

from .base import SinkOptions, WholeLines
from .table import Column, Columns, FaceTable, Row, TableSink, Value, table_sink


class CsvFile:
    """A .csv file that holds whole rows at every moment."""

    def __init__(self, path: Path, columns: Sequence[Column], about: Mapping[str, Any]) -> None:
        self._digits = [column.digits for column in columns]
        purpose = about.get("purpose")
        head = f"# purpose: {purpose}\n" if purpose else ""
        self._file = WholeLines(path, head + _text([[column.name for column in columns]]))

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        written = [
            [_written(value, digits) for value, digits in zip(row, self._digits, strict=True)]
            for row in rows
        ]
        self._file.write(_text(written))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CsvSink(TableSink):
    """Writes a .csv file with `top` words per face and the requested `columns`."""

    def __init__(self, path: Path, top: int = 10, *, columns: Sequence[Columns] = ()) -> None:
        super().__init__(partial(CsvFile, path), top, columns)

    def columns(self, labels: Labels) -> list[str]:
        """Names of the columns, in order."""
        return FaceTable(labels, self._top, self._asked).names


def _written(value: Value, digits: int) -> str:
    """A value as text: numbers with `digits` decimals, None as an empty cell."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str | int) else f"{value:.{digits}f}"


def _text(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


open_table = CsvFile


def make(options: SinkOptions) -> TableSink:
    """For `stream.formats`."""
    return table_sink(options, open_table)


def join(parts: Sequence[Path], path: Path) -> None:
    """Join tables with the same columns into one: the first one's header, then the rows of all."""
    with open(path, "wb") as whole:
        for number, part in enumerate(parts):
            with open(part, "rb") as rows:
                for line in rows:
                    if number and line.startswith(b"#"):
                        continue
                    if number:
                        break  # the names of the columns
                    whole.write(line)
                shutil.copyfileobj(rows, whole)
        whole.flush()
        os.fsync(whole.fileno())
