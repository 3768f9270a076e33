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

from .base import Making, WholeLines
from .table import Column, Columns, FaceTable, Row, TableSink, Value, table_sink


class CsvFile:
    """A .csv file; it holds whole rows at every moment."""

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
    """Writes a .csv file; `top` words per face, and what `columns` ask for."""

    def __init__(self, path: Path, top: int = 10, *, columns: Sequence[Columns] = ()) -> None:
        super().__init__(partial(CsvFile, path), top, columns)

    def columns(self, labels: Labels) -> list[str]:
        """Names of the columns, in order."""
        return FaceTable(labels, self._top, self._asked).names


def _written(value: Value, digits: int) -> str:
    """A number with its digits; nothing for what is not told."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str | int) else f"{value:.{digits}f}"


def _text(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


open_table = CsvFile


def make(making: Making) -> TableSink:
    """For `stream.formats`."""
    return table_sink(making, open_table)


def join(parts: Sequence[Path], path: Path) -> None:
    """One table of several with the same columns: the first one's head, then the rows of all."""
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
