"""Tables as Parquet, written in groups of rows as they come: memory does not grow with the clip.

The file's metadata holds under `ferstream` a JSON document: the schema's number, bundle, engines,
options and purpose. Numbers are rounded as in CSV, times to a microsecond. The file is written
beside its name until it is closed, as it cannot be read before. Needs pyarrow (the extra `tables`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
from pyarrow import parquet

from ..errors import SinkError
from ..result import SCHEMA
from .base import SinkOptions, draft, write_failure
from .table import Column, Kind, Row, TableSink, table_sink

_CELLS = 400_000
"""Cells of a row group: some 20 MB in memory until it is written."""
_TYPES: dict[Kind, Any] = {
    "whole": pyarrow.int64(),
    "number": pyarrow.float32(),
    "time": pyarrow.float64(),
    "flag": pyarrow.int8(),
    "text": pyarrow.string(),
}
_TIME_DIGITS = 6


class ParquetFile:
    """A .parquet file, which gets its name once it is complete."""

    def __init__(self, path: Path, columns: Sequence[Column], about: Mapping[str, Any]) -> None:
        self._path, self._columns = path, columns
        is_file = not path.exists() or path.is_file()
        self._draft = draft(path) if is_file else path
        self._rows: list[Row] = []
        self._most = max(1, _CELLS // len(columns))
        facts = json.dumps({"schema": SCHEMA, **about}, ensure_ascii=False)
        self._schema = pyarrow.schema(
            [(column.name, _TYPES[column.kind]) for column in columns],
            metadata={"ferstream": facts},
        )
        try:
            # Python's own file, so that its errors say what the system says.
            self._file = self._draft.open("wb")
            self._writer = _writer(self._file, self._schema)
        except OSError as error:
            raise write_failure(path, error) from error
        self._broken: SinkError | None = None

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        self._rows += rows
        if len(self._rows) >= self._most:
            self._write_group()

    def close(self) -> None:
        """Write the last rows and give the file its name; a broken one is removed."""
        if self._broken is None:
            self._write_group()
            try:
                self._writer.close()
                self._file.close()
                if self._draft != self._path:
                    self._draft.replace(self._path)
            except OSError as error:
                raise self._failed(error) from error

    def _write_group(self) -> None:
        if self._broken is not None:
            raise self._broken
        if not self._rows:
            return
        arrays = [
            pyarrow.array([_rounded(row[at], column) for row in self._rows], _TYPES[column.kind])
            for at, column in enumerate(self._columns)
        ]
        self._rows = []
        try:
            self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> SinkError:
        """The error that later calls raise too; the incomplete file is removed."""
        self._broken = write_failure(self._path, error, "all of it is lost")
        for close in (self._writer.close, self._file.close):
            with suppress(OSError):
                close()
        if self._draft != self._path:
            with suppress(OSError):
                self._draft.unlink(missing_ok=True)
        return self._broken


def join(parts: Sequence[Path], path: Path) -> None:
    """Join tables with the same columns into one, with the first one's metadata. Raises OSError,
    and `SinkError` for a file that is no such table."""
    with open(path, "wb") as file:
        try:
            schema = parquet.read_schema(parts[0])
            with _writer(file, schema) as writer:
                waiting: list[Any] = []
                for part in parts:
                    with parquet.ParquetFile(part) as table:
                        # Of short clips many make a group.
                        for group in table.iter_batches(max(1, _CELLS // len(schema))):
                            waiting.append(group)
                            if sum(one.num_rows for one in waiting) * len(schema) >= _CELLS:
                                writer.write_table(pyarrow.Table.from_batches(waiting, schema))
                                waiting = []
                if waiting:
                    writer.write_table(pyarrow.Table.from_batches(waiting, schema))
        except pyarrow.ArrowException as error:
            raise SinkError(f"{path} cannot be joined of its parts: {error}") from error
        file.flush()
        os.fsync(file.fileno())


def _writer(file: BinaryIO, schema: Any) -> Any:
    return parquet.ParquetWriter(file, schema, compression="zstd", compression_level=6)


def _rounded(value: Any, column: Column) -> Any:
    if isinstance(value, float):
        return round(value, _TIME_DIGITS if column.kind == "time" else column.digits)
    return value


open_table = ParquetFile


def make(options: SinkOptions) -> TableSink:
    """For `stream.formats`."""
    return table_sink(options, open_table)
