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
from typing import Any, Generic, Protocol, TypeVar

from ferstream.engines.labels import Labels

from .feed import Feed, Policy, Route, Summary
from .frame import Frame
from .result import Result
from .sinks.base import Sink
from .slot import Every, SlotClosed, SlotEmpty
from .sources.base import Source
from .sources.event import SourceEvent

__all__ = ["Recognizes", "Route", "Summary", "run", "run_many"]

# Frames whose faces are found and that wait to be scored.
_WAITING_SIGHTINGS = 2
# How long a stop may go unnoticed while no frame comes.
_LOOK_UP_S = 0.1

Clock = Callable[[], float]
S = TypeVar("S")
"""What a recogniser's `find` hands to its `score`."""


class Recognizes(Protocol[S]):
    """What the loop asks of a recogniser; `find` and `score` run in different threads."""

    @property
    def labels(self) -> Labels:
        """What its readings are of."""

    def find(self, frame: Frame) -> S:
        """The faces of one frame, found but not scored."""

    def score(self, sightings: Sequence[S]) -> list[Result]:
        """What the faces express, for one finding of each of several sources.

        Those of frames that look ahead (`Frame.ahead`) come later, in the order of each source's
        frames.
        """

    def finish(self, source: str) -> list[Result]:
        """What has not come of a source that has ended."""

    def reset(self, source: str | None = None) -> None:
        """Forget what is kept of a source, at its end."""


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
    on_event: Callable[[SourceEvent], None] | None = None,
    policy: Policy = "auto",
    max_staleness_s: float | None = None,
    clock: Clock = time.monotonic,
) -> list[Summary]:
    """Recognise every source to its end, for `seconds` of wall clock, or until `stop` is set.

    `about` goes into the sinks' headers. Live frames that waited for their turn longer than
    `max_staleness_s` are dropped. A source that fails ends alone, its error in its summary;
    failures of sinks and of the recogniser end the run and are raised. Sources are closed too.
    `on_result` and `on_event` are called in this thread. Raises ValueError for two sources of one
    name.
    """
    names = [route.source.name for route in routes]
    if len(set(names)) < len(names):
        raise ValueError(f"each source once, not {', '.join(names)}")
    stop = stop or threading.Event()
    ready = threading.Event()
    feeds = [Feed(route, ready, clock, policy, max_staleness_s) for route in routes]
    feed_of = {feed.route.source.name: feed for feed in feeds}

    def take_note(results: Sequence[Result]) -> None:
        done_s = clock()
        for result in results:
            frame = feed_of[result.source].take_note(result, done_s)
            if on_result is not None:
                on_result(frame, result)

    finder = _Finder(feeds, recognizer, ready)
    begun_s = clock()
    with ExitStack() as closing:
        for feed in feeds:
            closing.callback(recognizer.reset, feed.route.source.name)
            closing.callback(feed.halt)  # also where a sink cannot be opened
        for feed in feeds:
            for sink in feed.route.sinks:
                closing.callback(sink.close)
                sink.open(feed.info(about or {}, recognizer.labels))
        closing.callback(_end, feeds, on_event)
        closing.callback(finder.end)
        finder.start()
        for feed in feeds:
            feed.start()
        ended = False
        while not stop.is_set() and (seconds is None or clock() - begun_s < seconds):
            _tell(feeds, on_event)
            try:
                batch = finder.found.take(_LOOK_UP_S)
            except SlotEmpty:
                continue
            except SlotClosed:
                ended = True
                break
            for feed, frame, _ in batch:
                feed.waiting.append(frame)
            take_note(recognizer.score([sighting for _, _, sighting in batch]))
        for name, feed in feed_of.items():
            if feed.waiting:
                take_note(recognizer.finish(name))
        wall_s = clock() - begun_s
    interrupted = stop.is_set() and not ended
    return [feed.summary(wall_s, interrupted) for feed in feeds]


def _tell(feeds: Sequence[Feed], on_event: Callable[[SourceEvent], None] | None) -> None:
    """Pass on what happened to the sources."""
    for feed in feeds:
        for event in feed.tell():
            if on_event is not None:
                on_event(event)


def _end(feeds: Sequence[Feed], on_event: Callable[[SourceEvent], None] | None) -> None:
    """Stop all sources at once, then wait for each."""
    for feed in feeds:
        feed.halt()
    for feed in feeds:
        feed.join()
    _tell(feeds, on_event)


class _Finder(Generic[S]):
    """The thread that finds the faces; frames of the feeds in, sightings out."""

    def __init__(
        self, feeds: Sequence[Feed], recognizer: Recognizes[S], ready: threading.Event
    ) -> None:
        self.found: Every[list[tuple[Feed, Frame, S]]] = Every(_WAITING_SIGHTINGS)
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
