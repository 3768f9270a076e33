"""Rows of JSON: their contents, their writers, and the addresses of their receivers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from ferstream.engines.labels import BUILT_IN, Labels

from ..emotions import NEUTRAL
from ..errors import SinkError
from ..frame import Frame
from ..result import SCHEMA, Result
from ..sources.base import SourceEvent, without_password
from .base import BaseSink, Delivery, SinkInfo
from .table import Columns, requested

Row = Mapping[str, Any]


class RowMaker(Protocol):
    """Turns results into rows; every row is a plain JSON object with `schema` and `source`."""

    def make(self, result: Result) -> Iterable[Row]:
        """The rows that this result completes; may be none."""

    def on_event(self, event: SourceEvent) -> Iterable[Row]:
        """The rows that a change of the source's state completes; may be none."""

    def finish(self) -> Iterable[Row]:
        """The rows left at the end."""


class RowWriter(Protocol):
    """Sends rows somewhere. Every method raises `SinkError` where that fails."""

    def open(self, header: Row) -> None:
        """Open the output; the header names source, bundle, supervision and purpose."""

    def write(self, row: Row) -> None:
        """Send one row."""

    def close(self) -> None:
        """Finish."""

    @property
    def delivery(self) -> Delivery | None:
        """The state of its thread; None where it writes in the caller's thread and raises."""


class BaseRowWriter:
    """A writer that writes in the caller's thread."""

    @property
    def delivery(self) -> Delivery | None:
        """None: it writes in the caller's thread and raises."""
        return None


class FrameRows:
    """A row per frame, also of frames without a face (schema 2), with `top` words per face and the
    requested `columns`."""

    def __init__(self, top: int = 10, columns: Sequence[Columns] = ()) -> None:
        self._top = top
        self._columns = columns

    def make(self, result: Result) -> Iterable[Row]:
        """One row."""
        row = result.to_json(self._top)
        for written, found in zip(row["faces"], result.faces, strict=True):
            written.update(requested(found, self._columns))
        yield row

    def on_event(self, event: SourceEvent) -> Iterable[Row]:
        """None."""
        return ()

    def finish(self) -> Iterable[Row]:
        """None."""
        return ()


class RowSink(BaseSink):
    """A sink that writes rows; changes of a live source's state are rows too."""

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

    def on_event(self, event: SourceEvent) -> None:
        """Send the source's change of state, and the rows that it completes."""
        self.writer.write({"schema": SCHEMA, "kind": "state", **event.to_json()})
        for row in self._maker.on_event(event):
            self.writer.write(row)

    @property
    def delivery(self) -> Delivery | None:
        """The state of its writer."""
        return self.writer.delivery

    def close(self) -> None:
        """Send the last rows, and close the writer."""
        try:
            for row in self._maker.finish():
                self.writer.write(row)
        finally:
            self.writer.close()


def line(row: Row) -> str:
    """One row as a line of JSON, its end included.

    Raises ValueError for NaN and infinity, which JSON cannot hold.
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


_FILE = Path(__file__).parents[1] / "rows.schema.json"


def row_schema(labels: Labels = BUILT_IN) -> dict[str, Any]:
    """The JSON schema of every row, for a bundle with these labels.

    The file rows.schema.json holds it for the built-in lists; a bundle with lists of its own has
    its names in their places.
    """
    document: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    lists = dict(zip(_lists(BUILT_IN), _lists(labels), strict=True))
    return {**document, "$defs": _replaced(document["$defs"], lists)}


def _lists(labels: Labels) -> tuple[tuple[str, ...], ...]:
    """Every list of names that the schema has."""
    basic, words = labels.basic, labels.words
    families = tuple(dict.fromkeys((*words.families, *basic.families)))
    neutral_and_words = tuple(dict.fromkeys((NEUTRAL, *words.labels)))
    known = (basic.labels, words.labels, words.families, labels.fine)
    return (*known, neutral_and_words, ("", *families))


def _replaced(part: Any, lists: dict[tuple[str, ...], tuple[str, ...]]) -> Any:
    """The same part of the schema with other names, where it lists all that may be."""
    if isinstance(part, list):
        names = tuple(one for one in part if isinstance(one, str))
        if len(names) == len(part) and names in lists:
            return list(lists[names])
        return [_replaced(one, lists) for one in part]
    if isinstance(part, dict):
        if (names := tuple(part)) in lists:  # an object's properties, all alike
            return dict.fromkeys(lists[names], part[names[0]])
        return {key: _replaced(value, lists) for key, value in part.items()}
    return part


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a receiver's address; `str` never shows the password."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    path: str = ""
    """Path and query, as they were written."""

    @classmethod
    def of(cls, text: str, form: str, ports: dict[str, int | None]) -> Address:
        """Read an address such as `tcp://host:port`.

        `form` is the expected form, for the error message. `ports` maps the allowed schemes to
        their default port, None where a port must be given. Raises `SinkError`.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or ports.get(parts.scheme)
            if parts.scheme not in ports or not parts.hostname or not port or parts.fragment:
                raise ValueError
            parts.hostname.encode("idna")  # a name that no resolver can take
        except ValueError as error:
            raise SinkError(f"{without_password(text)} is no receiver: give {form}") from error
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            path=_path(parts),
        )

    def __str__(self) -> str:
        password = ":***" if self.password else ""
        user = f"{self.user}{password}@" if self.user or self.password else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return without_password(f"{self.scheme}://{user}{host}:{self.port}{self.path}")


def _path(parts: SplitResult) -> str:
    return parts.path + (f"?{parts.query}" if parts.query else "")


def reason(error: OSError) -> str:
    """Why a receiver cannot be reached, in a few words for a message."""
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections"
    return f"cannot be reached ({(error.strerror or str(error) or type(error).__name__).lower()})"
