"""Sinks and row writers that run in a thread of their own, so that they never delay the capture.

Rows are small: `BackgroundWriter` queues many of them and keeps them while a receiver is away.
Frames are large, and an old one is not worth showing: `BackgroundSink` queues few of them and never
writes one twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from ..errors import SinkError, SinkLost
from ..formats import FORMATS, LINES, STANDARD_OUTPUT, format_of
from ..frame import Frame
from ..result import Result
from ..sources.base import SourceEvent, is_address, without_password
from ..sources.supervised import Backoff
from .base import BaseSink, Delivery, Sink, SinkInfo
from .retrying import Notify, RetryingSender
from .rows import BaseRowWriter, Row, RowWriter

ROWS = 256
"""Rows, or frames without their pixels, in a queue."""
FRAMES = 4
"""Frames in a queue; one of 1920x1080 takes 6 MB."""
IDLE_S = 2.0
"""Interval at which an idle connection is checked, seconds."""
_TAKES_ROWS = ", ".join(f"{scheme}://" for one in FORMATS if one.rows for scheme in one.schemes)
CLOSE_S = 3.0
"""How long the end of a run waits for queued items to be delivered, seconds."""


class BackgroundSink(BaseSink):
    """Runs any sink in a thread of its own; nothing it does delays or ends the capture.

    `open` opens the sink in the caller's thread, so that an output that cannot be written raises at
    once; only a receiver that does not answer yet (`SinkLost`) is waited for in the thread.

    Args:
        sink: the sink to run; nobody else may use it.
        capacity: results in the queue; None: `FRAMES`, or `ROWS` without pixels.
        name: its name in reports, without passwords.
        pixels: whether the sink uses pictures. If not, frames are passed on black in their size
            and take no memory in the queue.
        on_failure, on_return: called with one line, in the sink's thread, when writing begins to
            fail and when it succeeds again.
        close_s: how long `close` waits for the queue to be written.
    """

    def __init__(
        self,
        sink: Sink,
        capacity: int | None = None,
        name: str = "",
        *,
        pixels: bool = True,
        on_failure: Notify | None = None,
        on_return: Notify | None = None,
        backoff: Backoff | None = None,
        close_s: float = CLOSE_S,
    ) -> None:
        self._sink = sink
        self._pixels = pixels
        self._close_s = close_s
        self._info: SinkInfo | None = None
        self._sender: RetryingSender[tuple[Frame, Result] | SourceEvent] = RetryingSender(
            name or type(sink).__name__,
            self._write,
            sink.close,
            capacity=(FRAMES if pixels else ROWS) if capacity is None else capacity,
            keep=False,
            begin=self._open_late,
            on_failure=on_failure,
            on_return=on_return,
            backoff=backoff,
        )

    @property
    def name(self) -> str:
        """Its name in reports."""
        return self._sender.name

    @property
    def dropped(self) -> int:
        """Results dropped so far."""
        return self._sender.dropped

    @property
    def lost(self) -> int:
        """Those of them that were dropped because writing failed, not because it was slow."""
        return self._sender.lost

    @property
    def failure(self) -> str:
        """Why nothing is written at the moment; "" while all is well."""
        return self._sender.failure

    @property
    def delivery(self) -> Delivery:
        """Itself."""
        return self

    def open(self, info: SinkInfo) -> None:
        """Open the sink and start its thread. Raises `SinkError` where it cannot be written."""
        try:
            self._sink.open(info)
        except SinkLost:
            self._info = info
        self._sender.start()

    def write(self, frame: Frame, result: Result) -> None:
        """Queue a frame and its result; never waits."""
        if not self._pixels:
            black = np.broadcast_to(np.zeros((), np.uint8), frame.pixels.shape)
            frame = replace(frame, pixels=black)
        self._sender.put((frame, result))

    def on_event(self, event: SourceEvent) -> None:
        """Queue a change of the source's state."""
        self._sender.put(event)

    def close(self) -> None:
        """Let the sink write what is queued, for `close_s` at most, and close it."""
        if self._sender.started:
            self._sender.close(self._close_s)
        else:
            self._sink.close()

    def _open_late(self) -> None:
        """Open a sink whose receiver did not answer in `open`."""
        if self._info is not None:
            self._sink.open(self._info)

    def _write(self, items: Sequence[tuple[Frame, Result] | SourceEvent]) -> None:
        for item in items:
            if isinstance(item, SourceEvent):
                self._sink.on_event(item)
            else:
                self._sink.write(*item)


@runtime_checkable
class BatchWriter(RowWriter, Protocol):
    """A row writer that sends several rows at once."""

    most: int
    """Most rows in one batch."""
    every_s: float
    """Least time between two batches, seconds."""

    def write_all(self, rows: Sequence[Row]) -> None:
        """Send all rows, or raise `SinkLost`: then all of them are passed again.

        Without rows: check the connection, where the writer holds one.
        """


class BackgroundWriter(BaseRowWriter):
    """Runs any row writer in a thread of its own; rows are queued while their receiver is away.

    `open` opens the writer in the caller's thread and raises where that fails.

    Args:
        writer: the writer to run; nobody else may use it.
        capacity: rows in the queue.
        name: its name in reports, without passwords.
        on_failure, on_return: as for `BackgroundSink`.
    """

    def __init__(
        self,
        writer: RowWriter,
        capacity: int = ROWS,
        name: str = "",
        *,
        on_failure: Notify | None = None,
        on_return: Notify | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._writer = writer
        batch = writer if isinstance(writer, BatchWriter) else None
        self._sender: RetryingSender[Row] = RetryingSender(
            name or type(writer).__name__,
            self._write,
            writer.close,
            capacity=capacity,
            most=batch.most if batch else 1,
            every_s=batch.every_s if batch else 0.0,
            idle_s=IDLE_S if batch else math.inf,
            on_failure=on_failure,
            on_return=on_return,
            backoff=backoff,
        )
        self._batch = batch

    @property
    def name(self) -> str:
        """Its name in reports."""
        return self._sender.name

    @property
    def dropped(self) -> int:
        """Rows dropped so far."""
        return self._sender.dropped

    @property
    def lost(self) -> int:
        """Those of them that were dropped because writing failed, not because it was slow."""
        return self._sender.lost

    @property
    def failure(self) -> str:
        """Why nothing is written at the moment; "" while all is well."""
        return self._sender.failure

    @property
    def delivery(self) -> Delivery:
        """Itself."""
        return self

    def open(self, header: Row) -> None:
        """Open the writer and start its thread. Raises `SinkError` where it cannot be written."""
        self._writer.open(header)
        self._sender.start()

    def write(self, row: Row) -> None:
        """Queue a row; never waits."""
        self._sender.put(row)

    def close(self) -> None:
        """Let the writer send what is queued, for `CLOSE_S` at most, and close it."""
        if self._sender.started:
            self._sender.close(CLOSE_S)
        else:
            self._writer.close()

    def _write(self, rows: Sequence[Row]) -> None:
        if self._batch is not None:
            self._batch.write_all(rows)
        else:
            for row in rows:
                self._writer.write(row)


def row_writer(
    target: str,
    *,
    capacity: int = ROWS,
    on_failure: Notify | None = None,
    on_return: Notify | None = None,
) -> RowWriter:
    """A row writer for `target`; it writes nothing and does not connect before it is opened.

    A file is written in the caller's thread, each row at once. Standard output and the network
    have a thread of their own (`BackgroundWriter`) with a queue of `capacity` rows; `on_failure`
    and `on_return` are called with one line when writing begins to fail and when it succeeds again.

    Raises `SinkError` for a place that cannot be written and an address of no known form,
    ModuleNotFoundError where a library is missing.
    """
    form = format_of(target) if is_address(target) or target == STANDARD_OUTPUT else LINES
    if not form.rows:
        raise SinkError(f"{without_password(target)} takes no rows: there is {_TAKES_ROWS}")
    writer = form.make_writer(target)
    if target != STANDARD_OUTPUT and not is_address(target):
        return writer
    name = "standard output" if target == STANDARD_OUTPUT else without_password(target)
    return BackgroundWriter(writer, capacity, name, on_failure=on_failure, on_return=on_return)
