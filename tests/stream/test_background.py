"""A slow, dead or broken output never slows or ends the capture."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from ferstream.stream.errors import SinkError, SinkLost, SinkRefused
from ferstream.stream.frame import Frame
from ferstream.stream.result import Result
from ferstream.stream.run import run
from ferstream.stream.sinks.background import BackgroundSink, BackgroundWriter
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.rows import BaseRowWriter, FrameRows, Row, RowSink
from ferstream.stream.sources.base import SourceEvent, State
from ferstream.stream.sources.supervised import Backoff

from .fakes import FakeRecognizer, FakeSource, ListSink
from .receivers import ROW_INFO, blank, give_rows, until

QUICK = Backoff(first_s=0.01, ceiling_s=0.02)


class Listening(ListSink):
    """Keeps frames and events too, and fails as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.events: list[SourceEvent] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.open_error: Exception | None = None

    def open(self, info: SinkInfo) -> None:
        if self.open_error is not None:
            raise self.open_error
        super().open(info)

    def write(self, frame: Frame, result: Result) -> None:
        self.gate.wait(10)
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        self.frames.append(frame)
        super().write(frame, result)

    def on_event(self, event: SourceEvent) -> None:
        self.events.append(event)


def frames_of(sink: ListSink) -> list[int]:
    return [result.frame for result in sink.rows]


def test_all_is_written_in_order_by_another_thread() -> None:
    inner = Listening()
    sink = BackgroundSink(inner, capacity=100)
    sink.open(ROW_INFO)
    give_rows(sink, [index / 30 for index in range(50)])
    sink.on_event(SourceEvent("cam", State.lost, 2.0))
    sink.close()
    sink.close()
    assert inner.info is ROW_INFO
    assert frames_of(inner) == list(range(50))
    assert [event.state for event in inner.events] == [State.lost]
    assert inner.threads and threading.get_ident() not in inner.threads
    assert (inner.closed, sink.dropped, sink.failure) == (1, 0, "")


def test_a_stuck_sink_costs_the_capture_nothing_and_the_oldest_make_room() -> None:
    inner = Listening()
    inner.gate.clear()
    sink = BackgroundSink(inner, capacity=3)
    sink.open(ROW_INFO)
    give_rows(sink, [0.0])
    until(lambda: not sink._sender._waiting)
    start_s = time.perf_counter()
    for index in range(1, 101):
        sink.write(blank(index / 30, index), Result(index, index / 30, "cam", []))
    assert time.perf_counter() - start_s < 20
    assert sink.dropped == 97
    inner.gate.set()
    sink.close()
    assert frames_of(inner) == [0, 98, 99, 100]
    assert sink.dropped == 97


def test_closing_does_not_wait_for_ever() -> None:
    inner = Listening()
    inner.gate.clear()
    said: list[str] = []
    sink = BackgroundSink(inner, 10, "the wall", on_failure=said.append, close_s=0.1)
    sink.open(ROW_INFO)
    give_rows(sink, [0.0, 0.1, 0.2])
    sink.close()
    assert said == ["the wall did not end within 0.1 s; 2 dropped"] and sink.dropped == 2
    inner.gate.set()
    until(lambda: inner.closed)
    assert frames_of(inner) == [0]


def test_pictures_are_not_kept_for_those_who_do_not_look() -> None:
    inner = Listening()
    sink = BackgroundSink(inner, pixels=False)
    sink.open(ROW_INFO)
    frame = blank(0.5, 7)
    frame.pixels[:] = 200
    sink.write(frame, Result(7, 0.5, "cam", []))
    sink.close()
    (given,) = inner.frames
    assert given.pixels.base is not frame.pixels and given.pixels.strides == (0, 0, 0)
    assert (given.width_px, given.height_px, given.time_s, given.index) == (64, 48, 0.5, 7)
    assert not given.pixels.any()


def test_a_sink_that_fails_is_told_of_once_and_the_run_goes_on() -> None:
    inner = Listening()
    inner.error = SinkError("the disk is full")
    said: list[str] = []
    sink = BackgroundSink(inner, on_failure=said.append)
    summary = run(FakeSource([0.0, 0.1, 0.2, 0.3]), FakeRecognizer(), [sink])
    assert (summary.frames, summary.failure) == (4, None)
    assert said == ["the disk is full; going on without it"]
    assert sink.failure == said[0]
    assert (sink.dropped, inner.closed) == (4, 1)


def test_a_fault_of_the_program_is_raised_at_the_end() -> None:
    inner = Listening()
    inner.error = ZeroDivisionError("division by zero")
    said: list[str] = []
    sink = BackgroundSink(inner, name="odd", on_failure=said.append)
    sink.open(ROW_INFO)
    give_rows(sink, [0.0, 0.1])
    until(lambda: said)
    assert said == ["odd: ZeroDivisionError: division by zero"]
    with pytest.raises(ZeroDivisionError):
        sink.close()
    sink.close()
    assert inner.closed == 1


def test_what_cannot_be_opened_says_so_at_once_unless_it_may_come() -> None:
    inner = Listening()
    inner.open_error = SinkError("no such folder")
    sink = BackgroundSink(inner)
    with pytest.raises(SinkError, match="no such folder"):
        sink.open(ROW_INFO)
    sink.close()
    assert inner.closed == 1

    said: list[str] = []
    inner = Listening()
    inner.open_error = SinkLost("nobody there")
    sink = BackgroundSink(
        inner, name="there", on_failure=said.append, on_return=said.append, backoff=QUICK
    )
    sink.open(ROW_INFO)
    until(lambda: said)
    inner.open_error = None
    until(lambda: inner.info)
    give_rows(sink, [1.0])
    sink.close()
    assert frames_of(inner) == [0]
    assert said == ["nobody there; trying again", "there is back; 0 dropped meanwhile"]


def test_a_frame_is_not_given_twice() -> None:
    """A row maker behind it would count it twice."""
    inner = Listening()
    inner.error = SinkLost("away")
    sink = BackgroundSink(inner, backoff=QUICK)
    sink.open(ROW_INFO)
    give_rows(sink, [0.0])
    until(lambda: sink.failure)
    inner.error = None
    sink.write(blank(0.1, 1), Result(1, 0.1, "cam", []))
    until(lambda: inner.rows)
    sink.close()
    assert frames_of(inner) == [1] and sink.dropped == 1


class Fickle(BaseRowWriter):
    """A writer of batches that is away, or finds fault, when told so."""

    most = 4
    every_s = 0.0

    def __init__(self) -> None:
        self.header: Row = {}
        self.batches: list[list[Any]] = []
        self.tries = 0
        self.error: SinkError | None = None
        self.closed = 0

    def open(self, header: Row) -> None:
        self.header = header

    def write(self, row: Row) -> None:
        self.write_all([row])

    def write_all(self, rows: Sequence[Row]) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        if not rows:
            return
        self.batches.append([row.get("frame", row.get("state")) for row in rows])

    def close(self) -> None:
        self.closed += 1

    @property
    def rows(self) -> list[Any]:
        return [row for batch in self.batches for row in batch]


def test_rows_wait_while_their_receiver_is_away_and_the_oldest_make_room() -> None:
    inner = Fickle()
    said: list[str] = []
    writer = BackgroundWriter(
        inner, 5, "desk", on_failure=said.append, on_return=said.append, backoff=QUICK
    )
    sink = RowSink(FrameRows(), writer)
    sink.open(ROW_INFO)
    assert inner.header["purpose"] == "a test"
    give_rows(sink, [0.0, 0.1])
    until(lambda: inner.rows == [0, 1])
    inner.error = SinkLost("desk refuses")
    give_rows(sink, [index / 10 for index in range(9)])
    until(lambda: inner.tries > 6)
    assert said == ["desk refuses; trying again"] == [writer.failure]
    inner.error = None
    until(lambda: len(inner.rows) == 7)
    assert inner.rows == [0, 1, 4, 5, 6, 7, 8]
    assert max(map(len, inner.batches)) == 4
    assert writer.dropped == 4
    assert said[1:] == ["desk is back; 4 dropped meanwhile"]
    assert not writer.failure
    sink.close()
    assert inner.closed == 1


def test_rows_that_nobody_wants_are_not_offered_again() -> None:
    inner = Fickle()
    inner.error = SinkRefused("desk answers 400")
    writer = BackgroundWriter(inner, backoff=QUICK)
    writer.open({})
    writer.write({"frame": 1})
    until(lambda: writer.dropped == 1)
    assert writer.failure == "desk answers 400; trying again"
    inner.error = None
    writer.write({"frame": 2})
    until(lambda: inner.rows)
    writer.close()
    assert inner.rows == [2] and writer.dropped == 1


def test_batches_keep_their_distance_and_the_last_does_not() -> None:
    inner = Fickle()
    inner.every_s = 30.0
    writer = BackgroundWriter(inner)
    writer.open({})
    writer.write({"frame": 0})
    until(lambda: inner.rows == [0])
    for index in range(1, 4):
        writer.write({"frame": index})
    time.sleep(0.05)
    assert inner.rows == [0]
    writer.write({"frame": 4})  # a whole batch does not wait
    until(lambda: inner.rows == [0, 1, 2, 3, 4])
    writer.write({"frame": 5})
    writer.close()
    assert inner.batches == [[0], [1, 2, 3, 4], [5]]


@pytest.mark.parametrize("back", [True, False])
def test_the_end_tries_once_more_and_gives_up(back: bool) -> None:
    inner = Fickle()
    inner.error = SinkLost("away")
    slow = Backoff(first_s=60, ceiling_s=60, denied_ceiling_s=60)
    said: list[str] = []
    writer = BackgroundWriter(inner, name="desk", on_failure=said.append, backoff=slow)
    writer.open({})
    for index in range(6):
        writer.write({"frame": index})
    until(lambda: writer.failure)
    inner.error = None if back else inner.error
    start_s = time.perf_counter()
    writer.close()
    assert time.perf_counter() - start_s < 30
    assert inner.rows == (list(range(6)) if back else [])
    assert said == ["away; trying again", *([] if back else ["desk: 6 dropped at the end"])]
    assert writer.dropped == (0 if back else 6)
    assert inner.closed == 1
    writer.write({"frame": 9})
    assert writer.dropped == (1 if back else 7)


def test_nothing_is_left_running() -> None:
    before = threading.active_count()
    for _ in range(5):
        sink = BackgroundSink(Listening())
        sink.open(ROW_INFO)
        give_rows(sink, [0.0])
        sink.close()
    assert threading.active_count() == before


def test_at_least_one_item_may_wait() -> None:
    with pytest.raises(ValueError, match="at least one"):
        BackgroundWriter(Fickle(), capacity=0)
