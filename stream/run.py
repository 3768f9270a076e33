"""Sources that are read to their end through a pipeline, and where their results go.

A thread of its own reads each source into a slot; the caller's thread takes the results and writes
them to the sinks.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .errors import FrameFailed, PipelineClosed, SourceError
from .frame import Frame
from .inputs import Every, Input, Latest, Owner, Policy, Slot, SlotClosed, SlotEmpty
from .result import Result
from .sinks.base import Sink, SinkInfo
from .sources.base import Source, SourceEvent
from .summary import Counts, Summary

if TYPE_CHECKING:
    from .pipeline import Pipeline, TwoStage


# Decoded frames of a source that wait for the recogniser: enough to even out, in little memory.
_WAITING_FRAMES = 8
_WAITING_FRAMES_BYTES = 96_000_000
# The same of a source that does not know its size: one frame is found, another one scored.
_WAITING_OF_UNKNOWN_SIZE = 2
# Results that wait to be taken: one of a live source; of a file so many, in so much memory.
_WAITING_RESULTS = 16
_WAITING_RESULTS_BYTES = 32_000_000
# How long a stop may go unnoticed while no frame comes.
_POLL_S = 0.1
_JOIN_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a source is read."""

    policy: Policy | None = None
    """None: `latest` for live sources, `every` for files."""
    max_staleness_s: float | None = None
    """Live frames that waited longer for their turn are dropped."""
    clock: Callable[[], float] = time.monotonic

    def policy_of(self, source: Source) -> Policy:
        """The policy for this source."""
        return self.policy or ("latest" if source.live else "every")


class SourceWorker(Input):
    """A source read by a thread of its own."""

    def __init__(self, owner: Owner, key: str, source: Source, run: Run, reading: Reading) -> None:
        policy = reading.policy_of(source)
        slot: Slot[Frame] = Every(_room_for(source.size)) if policy == "every" else Latest()
        super().__init__(owner, source.name, key, policy, slot, ahead=not source.live)
        self.source = source
        self.counts = Counts()
        self.failure: BaseException | None = None
        self._run = run
        self._reading = reading
        self._restarts_at = -1  # index of the last frame that begins anew, by the reading thread
        self._taken = -1
        source.listen(lambda event: run.put_event(self, event))
        self._thread = threading.Thread(target=self._read, name=f"read {source.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; results of frames under way are still delivered."""
        self.slot.discard()
        self.source.close()
        self._owner.wake()

    def join(self) -> None:
        """Wait a moment for the thread."""
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    def drops(self) -> dict[str, int]:
        """Frames not recognised so far, per cause."""
        slow = {"too slow": self.slot.dropped} if self.slot.dropped else {}
        return {**self.source.drops, **slow, **self.counts.meter.drops}

    def summary(self, wall_s: float, interrupted: bool) -> Summary:
        """The counts so far."""
        failure = self.failure if isinstance(self.failure, SourceError) else None
        return self.counts.summary(self.source, wall_s, self.drops(), interrupted, failure)

    def _read(self) -> None:
        """Read frames into the slot; runs in the thread."""
        source = self.source
        try:
            frames = source.frames()
            while True:
                start_s = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                # A live source's time is mostly waiting for light.
                if not source.live:
                    self.counts.meter.add("decode", (time.perf_counter() - start_s) * 1e3)
                if frame.restart:
                    self._restarts_at = frame.index
                self.slot.put(frame)
                self._owner.wake()
        except SlotClosed:
            pass
        except BaseException as error:
            self.failure = error
        finally:
            self.slot.close()
            self._owner.wake()

    def _admitted(self, frame: Frame) -> Frame | None:
        late_s = self._reading.max_staleness_s
        if late_s is None or not self.source.live:
            late_s = math.inf
        if late_s < math.inf and self._reading.clock() - frame.time_s > late_s:
            self.counts.meter.drop("stale")
            return None
        # The frame that said so may have been dropped for a newer one.
        restart = self._taken < self._restarts_at <= frame.index
        self._taken = frame.index
        return replace(frame, restart=True) if restart and not frame.restart else frame

    def has_room(self) -> bool:
        return self._run.has_room(self)

    def deliver(self, frame: Frame, result: Result) -> None:
        late_s = self._reading.clock() - frame.time_s if self.source.live else None
        self.counts.add(frame, result, late_s)
        self._run.put(self, frame, result)

    def fail(self, error: FrameFailed) -> None:
        if not self._run.strict:
            _log.error("%s: %s", self.name, error, exc_info=error.__cause__)
        self._run.fail(error)

    def end(self, closed: bool) -> None:
        self._run.ended(self, closed)


def _room_for(size: tuple[int, int] | None) -> int:
    """How many decoded frames of this size may wait."""
    if size is None:
        return _WAITING_OF_UNKNOWN_SIZE
    return max(1, min(_WAITING_FRAMES, _WAITING_FRAMES_BYTES // (3 * size[0] * size[1])))


class Run:
    """Sources being read through a pipeline; made by `Pipeline.score`.

    A context manager: reading begins when it is entered, which raises PipelineFull or
    PipelineClosed, and all of it has ended when it is left. Iterating gives frames with their
    results, each source's in order, until all have ended; then a source's failure is raised. While
    results are not taken, files wait and live sources drop frames. The sources are closed.
    """

    def __init__(self, owner: Owner, strict: bool) -> None:
        self.strict = strict
        self.workers: list[SourceWorker] = []
        self.events: deque[tuple[SourceWorker, SourceEvent]] = deque()
        """Changes of state of live sources, not taken yet; they are few."""
        self._owner = owner
        self._results: deque[tuple[SourceWorker, Frame, Result]] = deque()
        self._bytes = 0
        self._open = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._begun_s = time.perf_counter()

    def __enter__(self) -> Run:
        try:
            for worker in self.workers:
                self._owner.add(worker)
                self._open += 1
        except BaseException:
            self.close()
            raise
        self._begun_s = time.perf_counter()
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Frame, Result]]:
        while True:
            try:
                _, frame, result = self.take(None)
            except SlotEmpty:
                self.events.clear()
                continue
            except SlotClosed:
                break
            yield frame, result
        for worker in self.workers:
            if worker.failure is not None:
                raise worker.failure

    def take(self, timeout_s: float | None) -> tuple[SourceWorker, Frame, Result]:
        """The next result, and whose it is.

        Raises SlotEmpty after `timeout_s`, or where there is an event to be taken first;
        SlotClosed once all sources have ended; FrameFailed, after which more may come;
        PipelineClosed; what is no `SourceError` of a source.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._results or self.events or self._error or not self._open, timeout_s
            )
            if self._results:
                worker, frame, result = self._results.popleft()
                self._bytes -= frame.pixels.nbytes
                self._owner.wake()
                return worker, frame, result
            error = self._error
            if isinstance(error, FrameFailed):
                self._error = None  # others may follow it
            if error is not None:
                raise error
            if self._open or self.events:
                raise SlotEmpty
            raise SlotClosed

    def stop(self) -> None:
        """Stop reading; results of frames in progress still come."""
        for worker in self.workers:
            worker.stop()

    def close(self) -> None:
        """End at once, and close the sources."""
        for worker in self.workers:
            self._owner.remove(worker)
            worker.source.close()
        for worker in self.workers:
            worker.join()

    def summaries(self, interrupted: bool = False) -> list[Summary]:
        """The counts so far, source by source."""
        wall_s = time.perf_counter() - self._begun_s
        return [worker.summary(wall_s, interrupted) for worker in self.workers]

    def has_room(self, one: Input) -> bool:
        """Whether the results that wait leave room for another of this input."""
        with self._changed:
            if one.policy == "latest":
                return all(worker is not one for worker, _, _ in self._results)
            return len(self._results) < _WAITING_RESULTS and self._bytes < _WAITING_RESULTS_BYTES

    def put(self, one: SourceWorker, frame: Frame, result: Result) -> None:
        """Take a result in."""
        with self._changed:
            self._results.append((one, frame, result))
            self._bytes += frame.pixels.nbytes
            self._changed.notify_all()

    def put_event(self, one: SourceWorker, event: SourceEvent) -> None:
        """Take a change of state in."""
        with self._changed:
            self.events.append((one, event))
            self._changed.notify_all()

    def fail(self, error: FrameFailed) -> None:
        """Pass a failure to the consumer of the results."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def ended(self, one: SourceWorker, closed: bool) -> None:
        """A source has ended, or the pipeline is closed."""
        with self._changed:
            self._open -= 1
            if closed:
                self._error = PipelineClosed("the service is closing: try again later")
            elif one.failure is not None and not isinstance(one.failure, SourceError):
                self._error = one.failure
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Route:
    """A source and where its results go."""

    source: Source
    sinks: Sequence[Sink] = ()


def run(
    source: Source, recognizer: TwoStage[Any], sinks: Sequence[Sink] = (), **options: Any
) -> Summary:
    """`run_many` for one source; its failure is raised once the sinks are closed."""
    (summary,) = run_many([Route(source, sinks)], recognizer, **options)
    if summary.failure is not None:
        raise summary.failure
    return summary


def run_many(routes: Sequence[Route], recognizer: TwoStage[Any], **options: Any) -> list[Summary]:
    """`run_through` with a pipeline of its own."""
    from .pipeline import Pipeline

    with Pipeline(recognizer) as pipeline:
        return run_through(pipeline, routes, **options)


def run_through(
    pipeline: Pipeline,
    routes: Sequence[Route],
    *,
    about: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    on_result: Callable[[Frame, Result], None] | None = None,
    on_event: Callable[[SourceEvent], None] | None = None,
    policy: Policy | None = None,
    max_staleness_s: float | None = None,
    tolerant: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> list[Summary]:
    """Recognise every source to its end, for `seconds` of wall clock, or until `stop` is set.

    Sinks are written, and `on_result` and `on_event` called, in this thread. `about` goes into
    the sinks' headers. Live frames that waited for their turn longer than `max_staleness_s` are
    dropped. A source that fails ends alone, its error in its summary; failures of sinks, and of
    the recogniser unless `tolerant`, end the run and are raised. Whatever ends it, sources and
    sinks are closed and what was written is complete. Raises ValueError for two sources of one
    name.
    """
    names = [route.source.name for route in routes]
    if len(set(names)) < len(names):
        raise ValueError(f"each source once, not {', '.join(names)}")
    stop = stop or threading.Event()
    run = pipeline.score(
        *(route.source for route in routes),
        policy=policy,
        max_staleness_s=max_staleness_s,
        clock=clock,
        strict=not tolerant,
    )
    sinks_of = {worker: route.sinks for worker, route in zip(run.workers, routes, strict=True)}

    def pass_events_on() -> None:
        while run.events:
            worker, event = run.events.popleft()
            for sink in sinks_of[worker]:
                sink.on_event(event)
            if on_event is not None:
                on_event(event)

    stopping = False
    begun_s = clock()
    with ExitStack() as closing:
        closing.callback(run.close)  # also where a sink cannot be opened
        for worker, sinks in sinks_of.items():
            source = worker.source
            known = (source.name, source.size, source.rate_hz, source.live)
            for sink in sinks:
                closing.callback(sink.close)
                sink.open(SinkInfo(*known, about or {}, pipeline.labels, worker.drops))
        closing.callback(pass_events_on)
        closing.enter_context(run)
        while True:
            late = seconds is not None and clock() - begun_s >= seconds
            if not stopping and (late or stop.is_set()):
                stopping = True
                run.stop()
            pass_events_on()
            try:
                worker, frame, result = run.take(_POLL_S)
            except SlotEmpty:
                continue
            except SlotClosed:
                break
            except FrameFailed as error:
                if tolerant:
                    continue
                raise error.__cause__ or error from None
            with worker.counts.meter.stage("sinks"):
                for sink in sinks_of[worker]:
                    sink.write(frame, result)
            if on_result is not None:
                on_result(frame, result)
    return run.summaries(interrupted=stopping and stop.is_set())
