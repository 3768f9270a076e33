"""The wiring: nothing lost of files, nothing late of cameras, every end a clean one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ferstream.stream.errors import SinkError, SourceLost
from ferstream.stream.frame import Frame
from ferstream.stream.process import Stop, stopping_on_signals
from ferstream.stream.result import FaceResult
from ferstream.stream.run import Route, run, run_many
from ferstream.stream.sources.base import SourceEvent, State

from .fakes import FakeRecognizer, FakeSource, ListSink, face


def test_a_file_loses_nothing() -> None:
    times_s = [k / 25 for k in range(200)]
    recognizer, sink = FakeRecognizer(), ListSink()
    source = FakeSource(times_s)
    summary = run(source, recognizer, [sink], about={"bundle": "fake"})
    assert [row.time_s for row in sink.rows] == times_s
    assert (summary.frames, summary.faces, summary.faces_per_frame) == (200, 1, 1.0)
    assert summary.drops == {}
    assert summary.duration_s == pytest.approx(199 / 25 + 0.1)
    assert set(summary.stages) == {"decode", "detect", "sinks"}
    assert summary.latency.count == 0
    assert not summary.interrupted
    assert sink.info is not None and sink.info.about == {"bundle": "fake"}
    assert sink.closed == 1
    assert source.closed >= 1
    assert recognizer.ended == ["fake"]


def test_a_slow_recogniser_drops_frames_of_a_camera_and_counts_them() -> None:
    """The camera gives ten frames while the first is being looked at; only the last waits."""
    looking, ready = threading.Event(), threading.Event()

    def on_frame(index: int) -> None:
        if index == 1:
            assert looking.wait(10)
        if index == 10:
            ready.set()

    class Slow(FakeRecognizer):
        def find(self, frame: Frame) -> Frame:
            looking.set()
            assert ready.wait(10)
            return frame

    source = FakeSource([k / 10 for k in range(11)], live=True, before_each=on_frame)
    clock_s = iter([0.0] * 5 + [2.0] * 1000)
    sink = ListSink()
    summary = run(source, Slow(), [sink], clock=lambda: next(clock_s))
    indices = [row.frame for row in sink.rows]
    assert indices[0] == 0 and indices[-1] == 10
    assert 2 <= len(indices) <= 4
    assert summary.drops == {"too slow": 11 - len(indices)}


def test_latency_is_from_capture_to_result() -> None:
    source = FakeSource([99.95], live=True)
    summary = run(source, FakeRecognizer(), clock=lambda: 100.0)
    assert summary.latency.count == 1
    assert summary.latency.median_ms == pytest.approx(50, rel=0.02)


def test_a_lost_source_raises_after_what_it_gave_was_written() -> None:
    sink = ListSink()
    source = FakeSource([0.0, 0.1], error=SourceLost("the camera was lost"))
    with pytest.raises(SourceLost, match="the camera was lost"):
        run(source, FakeRecognizer(), [sink])
    assert len(sink.rows) == 2
    assert sink.closed == 1


def test_one_source_of_several_may_fail() -> None:
    good, bad = ListSink(), ListSink()
    routes = [
        Route(FakeSource([0.0, 0.1, 0.2, 0.3], name="good"), [good]),
        Route(FakeSource([0.0], name="bad", error=SourceLost("bad was lost")), [bad]),
    ]
    summaries = run_many(routes, FakeRecognizer())
    assert [len(good.rows), len(bad.rows)] == [4, 1]
    assert summaries[0].failure is None
    assert isinstance(summaries[1].failure, SourceLost)
    assert {row.source for row in good.rows} == {"good"}


def test_several_sources_are_scored_in_one_batch() -> None:
    batches: list[int] = []

    class Counting(FakeRecognizer):
        def score(self, detected):  # type: ignore[no-untyped-def]
            batches.append(len(detected))
            return super().score(detected)

    names = ("a", "b", "c")
    routes = [Route(FakeSource([k / 10 for k in range(30)], name=name)) for name in names]
    recognizer = Counting()
    run_many(routes, recognizer)
    assert sum(batches) == 90
    assert max(batches) == 3
    assert sorted(str(name) for name in recognizer.ended) == ["a", "b", "c"]


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="each source once"):
        run_many([Route(FakeSource()), Route(FakeSource())], FakeRecognizer())


@pytest.mark.parametrize("where", ["source", "find", "score", "sink"])
def test_a_bug_anywhere_arrives_with_its_cause_and_closes_the_sinks(where: str) -> None:
    def broken(*_: object) -> list[FaceResult]:
        raise ZeroDivisionError(where)

    recognizer = FakeRecognizer(broken if where == "score" else None)
    if where == "find":
        recognizer.find = broken  # type: ignore[method-assign, assignment]
    sink = ListSink(fail_at=1 if where == "sink" else None)
    other = ListSink()
    source = FakeSource(before_each=broken if where == "source" else lambda index: None)
    expected = SinkError if where == "sink" else ZeroDivisionError
    with pytest.raises(expected):
        run(source, recognizer, [sink, other])
    assert (sink.closed, other.closed) == (1, 1)
    assert source.closed >= 1
    assert not [thread for thread in threading.enumerate() if thread.name == "find faces"]


def test_a_timeout_inside_a_source_is_not_taken_for_patience() -> None:
    with pytest.raises(TimeoutError, match="disk"):
        run(FakeSource(error=TimeoutError("disk")), FakeRecognizer())


def test_a_sink_that_cannot_open_leaves_nothing_open() -> None:
    class Broken(ListSink):
        def open(self, info: object) -> None:
            raise SinkError("no place")

    first, source = ListSink(), FakeSource()
    with pytest.raises(SinkError):
        run(source, FakeRecognizer(), [first, Broken()])
    assert first.closed == 1
    assert source.closed >= 1


def test_stop_ends_after_the_frames_in_hand() -> None:
    stop, sink = threading.Event(), ListSink()

    def after_five(frame: Frame, result: object) -> None:
        if frame.index == 5:
            stop.set()

    source = FakeSource([k / 10 for k in range(10_000)])
    summary = run(source, FakeRecognizer(), [sink], stop=stop, on_result=after_five)
    assert summary.interrupted
    assert len(sink.rows) == summary.frames
    assert 6 <= summary.frames < 100
    assert [row.frame for row in sink.rows] == list(range(summary.frames))
    assert sink.closed == 1


def test_a_stalled_camera_ends_when_its_time_is_up() -> None:
    stalled = threading.Event()
    source = FakeSource([0.0, 0.1], live=True, before_each=lambda k: k and stalled.wait(0.5))
    summary = run(source, FakeRecognizer(), seconds=0.2)
    stalled.set()
    assert summary.frames == 1
    assert not summary.interrupted


def test_the_first_signal_stops_and_the_second_interrupts() -> None:
    stop = Stop()
    before = signal.getsignal(signal.SIGINT)
    with stopping_on_signals(stop):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(5)
    assert signal.getsignal(signal.SIGINT) is before
    assert stop.status == 130


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_exit_status_tells_the_signal(number: int, status: int) -> None:
    stop = Stop()
    assert stop.status is None
    with stopping_on_signals(stop):
        os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert stop.status == status


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stopping_on_signals(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.wait(0.1)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_any_number_of_faces(count: int) -> None:
    recognizer = FakeRecognizer(lambda frame: [face(k + 1) for k in range(count)])
    summary = run(FakeSource(), recognizer)
    assert (summary.faces, summary.faces_per_frame) == (count, count)


def test_a_frame_that_waited_too_long_is_dropped_as_stale() -> None:
    source = FakeSource([98.0, 99.9], live=True)
    sink = ListSink()
    summary = run(
        source,
        FakeRecognizer(),
        [sink],
        clock=lambda: 100.0,
        policy="every",
        max_staleness_s=1.0,
    )
    assert [row.time_s for row in sink.rows] == [99.9]
    assert summary.drops == {"stale": 1}
    assert sink.info is not None and sink.info.drops() == {"stale": 1}


def test_every_frame_of_a_live_source_where_asked() -> None:
    sink = ListSink()
    source = FakeSource([k / 10 for k in range(100)], live=True)
    assert run(source, FakeRecognizer(), [sink], policy="every").drops == {}
    assert len(sink.rows) == 100


def test_what_happens_to_a_source_reaches_its_sinks_and_the_caller() -> None:
    class Eventful(FakeSource):
        def __init__(self) -> None:
            super().__init__(live=True)
            self.on_event: Callable[[SourceEvent], object] = print

        def listen(self, on_event: Callable[[SourceEvent], object]) -> None:
            self.on_event = on_event

        def frames(self) -> Iterator[Frame]:
            self.on_event(SourceEvent(self.name, State.live, 0.0))
            yield from super().frames()
            self.on_event(SourceEvent(self.name, State.ended, 1.0))

    class Listening(ListSink):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[SourceEvent] = []

        def on_event(self, event: SourceEvent) -> None:
            assert not self.closed
            self.told.append(event)

    listening, deaf = Listening(), ListSink()
    heard: list[SourceEvent] = []
    run(Eventful(), FakeRecognizer(), [listening, deaf], on_event=heard.append)
    assert [event.state for event in listening.told] == [State.live, State.ended]
    assert heard == listening.told


def test_a_break_is_seen_though_the_frame_that_says_so_is_dropped() -> None:
    """The camera comes back and gives three frames while an older one is being looked at."""
    looking, given = threading.Event(), threading.Event()

    class Restarting(FakeSource):
        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                if frame.index == 1:
                    assert looking.wait(10)
                yield replace(frame, restart=frame.index == 1)
            given.set()

    class Slow(FakeRecognizer):
        def find(self, frame: Frame) -> Frame:
            looking.set()
            assert given.wait(10)
            return frame

    recognizer = Slow()
    run(Restarting([0.0, 5.0, 5.1, 5.2], live=True), recognizer)
    assert [(frame.index, frame.restart) for frame in recognizer.seen] == [(0, False), (3, True)]
