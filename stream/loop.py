"""Wiring: source threads -> slots -> faces found -> faces scored -> sinks.

Each source is read and decoded by a thread of its own into a slot: Every for files, so that
nothing is lost, Latest for live sources, so that nothing lags. A second thread finds the faces in
one frame of each source that has one; the calling thread scores them, one batch over all sources,
and hands the results to the sinks. Whatever ends the run, sinks are closed and what they wrote is
complete.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from .errors import SourceError
from .frame import Frame
from .meter import Histogram, Meter, StageTimes
from .result import Result
from .sinks.base import Sink, SinkInfo
from .slot import Every, Latest, Slot, SlotClosed, SlotEmpty
from .sources.base import Source

# Decoded frames that may wait for the recogniser: enough to even out, little memory.
_WAITING_FRAMES = 8
_WAITING_BYTES = 96_000_000
# Frames whose faces are found and that wait to be scored.
_WAITING_SIGHTINGS = 2
# How long a stop may go unnoticed while no frame comes.
_LOOK_UP_S = 0.1
_JOIN_S = 1.0

Clock = Callable[[], float]
S = TypeVar("S")
"""What a recogniser's `find` hands to its `score`."""


class Recognizes(Protocol[S]):
    """What the loop asks of a recogniser; `find` and `score` run in different threads."""

    def find(self, frame: Frame) -> S:
        """The faces of one frame, found but not scored."""

    def score(self, sightings: Sequence[S]) -> list[Result]:
        """What the faces express, for one finding of each of several sources."""

    def reset(self, source: str | None = None) -> None:
        """Forget what is kept of a source, at its end."""


@dataclass(frozen=True, slots=True)
class Route:
    """A source and where its results go."""

    source: Source
    sinks: Sequence[Sink] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """One source's run in numbers."""

    source: str
    frames: int
    """Frames recognised."""
    faces: int
    """Different faces seen."""
    faces_per_frame: float
    duration_s: float
    """Time from the first to the last frame on the source's clock, and one frame more."""
    wall_s: float
    drops: dict[str, int]
    """Frames not recognised, per cause."""
    stages: dict[str, StageTimes]
    latency: StageTimes
    """Live sources: from capture to result; a count of 0 for files."""
    notes: tuple[str, ...]
    """What the source has to say, such as damage."""
    interrupted: bool
    """Whether it was stopped before its end."""
    failure: SourceError | None = None
    """Why the source ended, where it failed."""

    @property
    def fps(self) -> float:
        """Frames recognised per second of wall clock."""
        return self.frames / self.wall_s if self.wall_s > 0 else 0.0


def run(
    source: Source, recognizer: Recognizes[S], sinks: Sequence[Sink] = (), **options: Any
) -> Summary:
    """`run_many` for one source; its failure is raised once the sinks are closed."""
    (summary,) = run_many([Route(source, sinks)], recognizer, **options)
    if summary.failure is not None:
        raise summary.failure
    return summary


def run_many(
    routes: Sequence[Route],
    recognizer: Recognizes[S],
    *,
    about: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    on_result: Callable[[Frame, Result], None] | None = None,
    clock: Clock = time.monotonic,
) -> list[Summary]:
    """Recognise every source to its end, for `seconds` of wall clock, or until `stop` is set.

    `about` goes into the sinks' headers. A source that fails ends alone, its error in its
    summary; failures of sinks and of the recogniser end the run and are raised. Sources are
    closed too. Raises ValueError for two sources of one name.
    """
    names = [route.source.name for route in routes]
    if len(set(names)) < len(names):
        raise ValueError(f"each source once, not {', '.join(names)}")
    stop = stop or threading.Event()
    ready = threading.Event()
    feeds = [_Feed(route, ready, clock) for route in routes]
    finder = _Finder(feeds, recognizer, ready)
    begun_s = clock()
    with ExitStack() as closing:
        for feed in feeds:
            closing.callback(recognizer.reset, feed.route.source.name)
        closing.callback(finder.end)
        for feed in feeds:
            closing.callback(feed.end)
            for sink in feed.route.sinks:
                closing.callback(sink.close)
                sink.open(feed.info(about or {}))
        finder.start()
        for feed in feeds:
            feed.start()
        ended = False
        while not stop.is_set() and (seconds is None or clock() - begun_s < seconds):
            try:
                batch = finder.found.take(_LOOK_UP_S)
            except SlotEmpty:
                continue
            except SlotClosed:
                ended = True
                break
            results = recognizer.score([sighting for _, _, sighting in batch])
            done_s = clock()
            for (feed, frame, _), result in zip(batch, results, strict=True):
                feed.take_note(frame, result, done_s)
                if on_result is not None:
                    on_result(frame, result)
        wall_s = clock() - begun_s
    interrupted = stop.is_set() and not ended
    return [feed.summary(wall_s, interrupted) for feed in feeds]


class _Finder(Generic[S]):
    """The thread that finds the faces; frames of the feeds in, sightings out."""

    def __init__(
        self, feeds: Sequence[_Feed], recognizer: Recognizes[S], ready: threading.Event
    ) -> None:
        self.found: Every[list[tuple[_Feed, Frame, S]]] = Every(_WAITING_SIGHTINGS)
        self._feeds = feeds
        self._recognizer = recognizer
        self._ready = ready
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._find, name="find faces", daemon=True)

    def start(self) -> None:
        """Begin to find."""
        self._thread.start()

    def end(self) -> None:
        """Stop; afterwards the recogniser is this thread's alone again."""
        self._halt.set()
        self._ready.set()
        self.found.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _find(self) -> None:
        try:
            while not self._halt.is_set() and any(feed.open for feed in self._feeds):
                self._ready.clear()
                taken = [(feed, feed.take()) for feed in self._feeds]
                batch = [
                    (feed, frame, self._recognizer.find(frame))
                    for feed, frame in taken
                    if frame is not None
                ]
                if batch:
                    self.found.put(batch)
                elif any(feed.open for feed in self._feeds):
                    self._ready.wait(_LOOK_UP_S)
        except SlotClosed:
            pass
        except BaseException as error:
            self.found.close(error)
        finally:
            self.found.close()


@dataclass(eq=False)
class _Feed:
    """One source being read: its thread, its slot and its counts."""

    route: Route
    ready: threading.Event
    clock: Clock
    meter: Meter = field(default_factory=Meter)
    latency: Histogram = field(default_factory=Histogram)
    open: bool = True
    failure: SourceError | None = None
    frames: int = 0
    face_frames: int = 0
    ids: set[int] = field(default_factory=set)
    first_s: float = 0.0
    last_s: float = 0.0

    def __post_init__(self) -> None:
        source = self.route.source
        self.slot: Slot[Frame] = Latest() if source.live else Every(_room_for(source.size))
        self.thread = threading.Thread(target=self._read, name=f"read {source.name}", daemon=True)

    def info(self, about: Mapping[str, Any]) -> SinkInfo:
        """What the sinks are told before the first frame."""
        source = self.route.source
        return SinkInfo(source.name, source.size, source.rate_hz, source.live, about)

    def start(self) -> None:
        """Begin to read."""
        self.thread.start()

    def _read(self) -> None:
        """The source's thread: frames into the slot, a failure to the other side."""
        source = self.route.source
        try:
            frames = source.frames()
            while True:
                start_s = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                # A live source's time is mostly waiting for light.
                if not source.live:
                    self.meter.add("decode", (time.perf_counter() - start_s) * 1e3)
                self.slot.put(frame)
                self.ready.set()
        except SlotClosed:
            pass
        except BaseException as error:
            self.slot.close(error)
        finally:
            self.slot.close()
            self.ready.set()

    def take(self) -> Frame | None:
        """The next frame if there is one; notices the end."""
        if not self.open:
            return None
        try:
            return self.slot.take(timeout_s=0)
        except SlotEmpty:
            pass
        except SlotClosed:
            self.open = False
        except SourceError as error:
            self.open, self.failure = False, error
        return None

    def take_note(self, frame: Frame, result: Result, done_s: float) -> None:
        """Count one result and hand it to the sinks."""
        if self.frames == 0:
            self.first_s = frame.time_s
        self.frames += 1
        self.last_s = frame.time_s
        self.face_frames += len(result.faces)
        self.ids.update(found.face.id for found in result.faces)
        self.meter.add_all(result.stages_ms)
        if self.route.source.live:
            self.latency.add((done_s - frame.time_s) * 1e3)
        with self.meter.stage("sinks"):
            for sink in self.route.sinks:
                sink.write(frame, result)

    def end(self) -> None:
        """Stop reading; the thread closes what it reads."""
        self.slot.close()
        self.route.source.close()
        if self.thread.ident is not None:
            self.thread.join(_JOIN_S)

    def summary(self, wall_s: float, interrupted: bool) -> Summary:
        """The counts so far."""
        source = self.route.source
        if self.slot.dropped:
            self.meter.drop("too slow", self.slot.dropped)
        step_s = 1 / source.rate_hz if source.rate_hz and self.frames else 0.0
        return Summary(
            source=source.name,
            frames=self.frames,
            faces=len(self.ids),
            faces_per_frame=self.face_frames / self.frames if self.frames else 0.0,
            duration_s=self.last_s - self.first_s + step_s,
            wall_s=wall_s,
            drops=self.meter.drops,
            stages=self.meter.stages(),
            latency=self.latency.times(),
            notes=source.notes,
            interrupted=interrupted,
            failure=self.failure,
        )


def _room_for(size: tuple[int, int] | None) -> int:
    """How many decoded frames of this size may wait."""
    if size is None:
        return 2
    return max(1, min(_WAITING_FRAMES, _WAITING_BYTES // (3 * size[0] * size[1])))
