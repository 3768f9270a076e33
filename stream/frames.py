"""Results as data frames, of pandas or polars, and as files of tables."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, get_args

from ferstream.engines.labels import BUILT_IN, Labels

from .errors import SinkError, TablesMissing
from .result import Result
from .sinks.columns import COLUMNS, Columns
from .sinks.table import FaceTable, Kind, Value

Library = Literal["pandas", "polars"]
"""Which library holds the table."""


class Results(list[Result]):
    """A list of results, which knows what their readings are of."""

    def __init__(self, results: Iterable[Result] = (), labels: Labels | None = None) -> None:
        super().__init__(results)
        self.labels = labels

    def to_df(
        self, library: Library | None = None, *, columns: Sequence[Columns] = (), top: int = 10
    ) -> Any:
        """All of them as one data frame: see `to_df`."""
        return to_df(self, library, columns=columns, top=top, labels=self.labels)

    def to_json(self, top: int = 10) -> list[dict[str, Any]]:
        """A row of JSON for each."""
        return [result.to_json(top) for result in self]


def to_df(
    results: Iterable[Result],
    library: Library | None = None,
    *,
    columns: Sequence[Columns] = (),
    top: int = 10,
    labels: Labels | None = None,
) -> Any:
    """A pandas or polars data frame with a row per face and frame, and one where no face is.

    Args:
        results: of any sources; an iterator is read to its end.
        library: None: pandas where it is installed, else polars.
        columns: what is told beside: names of `sinks.columns.COLUMNS`.
        top: words per face.
        labels: what the readings are of; None: what the first face says.

    docs/columns.md has every column. Raises TablesMissing where the library is not installed,
    ValueError for a library, a column or a number of words that there is not.
    """
    loaded = _loaded(library)
    _check(columns, top)
    table: FaceTable | None = None
    waiting: list[Result] = []
    values: list[Sequence[Value]] = []
    for result in results:
        if table is None and labels is None and not result.faces:
            waiting.append(result)  # no face has said yet what the columns are
            continue
        if table is None:
            table = FaceTable(labels or result.faces[0].emotions.labels, top, columns)
        for one in (*waiting, result):
            values += table.rows(one)
        waiting = []
    if table is None:
        table = FaceTable(labels or BUILT_IN, top, columns)
        values += [row for one in waiting for row in table.rows(one)]
    by_name = {
        column.name: _typed(loaded, column.kind, [row[at] for row in values])
        for at, column in enumerate(table.columns)
    }
    return loaded.DataFrame(by_name)


def save_table(
    results: Iterable[Result],
    path: str | os.PathLike[str],
    *,
    columns: Sequence[Columns] = (),
    top: int = 10,
    labels: Labels = BUILT_IN,
) -> Path:
    """Write a .csv or .parquet file with a row per face and frame; returns its path.

    Of an iterator few results are in memory at a time. The file has its name once it is whole; one
    that exists is replaced. `columns` and `top` as for `to_df`; `labels` are the Recognizer's.
    Raises SinkError, TablesMissing where pyarrow is, ValueError for a column or a number of words
    that there is not.
    """
    from .place import place_of

    _check(columns, top)
    place = place_of(os.fspath(path))
    if not place.format.table:
        raise SinkError(f"{place.name}: a table is .csv or .parquet")
    place.check(overwrite=True)
    try:
        opener = place.format.opener(Path(place.unfinished.target))
    except ModuleNotFoundError as error:
        raise TablesMissing("Parquet needs pyarrow: pip install 'ferstream[tables]'") from error
    table = FaceTable(labels, top, columns)
    file = opener(table.columns, {})
    with closing(file):
        for result in results:
            file.append(list(table.rows(result)))
    place.finish()
    return Path(place.target)


def _check(columns: Sequence[Columns], top: int) -> None:
    if isinstance(top, bool) or not isinstance(top, int) or top < 0:
        raise ValueError(f"top {top}: a whole number of words, 0 or more")
    if isinstance(columns, str) or any(name not in COLUMNS for name in columns):
        raise ValueError(f"columns {columns}: a list of {', '.join(COLUMNS)}")


def _typed(library: Any, kind: Kind, values: Sequence[Value]) -> Any:
    """A column of the same type whatever is in it; what is not told is null."""
    numbers = (
        [None if value is None else float(value) for value in values]
        if kind in ("number", "time")
        else values
    )
    if library.__name__ == "polars":
        types = {"number": library.Float64, "time": library.Float64, "text": library.String}
        return library.Series(values=numbers, dtype=types.get(kind, library.Int64))
    types = {"number": "float64", "time": "float64", "text": "object"}
    return library.Series(numbers, dtype=types.get(kind, "Int64"))


def _loaded(library: Library | None) -> Any:
    names: tuple[str, ...] = get_args(Library)
    if library not in (None, *names):
        raise ValueError(f"library {library!r}: {' or '.join(names)}")
    for name in names if library is None else (library,):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    missing = library or " or ".join(names)
    raise TablesMissing(f"a data frame needs {missing}: pip install 'ferstream[tables]'")
