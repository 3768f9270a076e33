"""Many visitors, one Recognizer: rounds in which each visitor has at most one frame.

One thread owns the Recognizer. Every round takes the newest frame of each live visitor who has
one, in turn, and scores them in one batch: nobody starves, however fast another one sends.
Patient visitors (an uploaded clip, a single image) lose nothing and wait; while live visitors are
there, a round takes one frame of all the patient together. Each visitor is a source of its own to
the Recognizer, so that faces, ids and clips never mix, and all that is kept of a visitor is
dropped when it leaves.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from ..errors import StreamError
from ..frame import Frame
from ..loop import Recognizes
from ..recognize import Recognizer
from ..result import Result
from .visitor import (
    OnResult,
    RoundFailed,
    RoundsClosed,
    RoundsFull,
    Visitor,
)

__all__ = [
    "Recognises",
    "RoundFailed",
    "Rounds",
    "RoundsClosed",
    "RoundsFull",
    "Visitor",
]

MAX_VISITORS = 32
"""Live visitors at once."""
MAX_PATIENT = 8
"""Patient visitors at once."""
BATCH = 8
"""Frames of one round. More visitors take turns; larger rounds would only make each wait."""

# Rounds that fail one after the other until the recogniser counts as broken.
_FAILURES = 5
_CLOSE_S = 5.0

_log = logging.getLogger(__name__)


class Recognises(Recognizes[Any], Protocol):
    """What rounds ask of a recogniser."""

    def forget(self, source: str) -> None:
        """Drop all that is kept of a source that will not come back."""


class Rounds:
    """The thread that owns a Recognizer, and the visitors it serves.

    Nothing else may use the recogniser between `start` and `close`; `close` leaves it open.

    Args:
        recognizer: what finds and scores; see `Recognises`.
        max_visitors, max_patient: how many may join at once.
        batch: frames of one round at most.
        units: names of the action units; None: the recogniser's bundle says.
    """

    def __init__(
        self,
        recognizer: Recognises,
        *,
        max_visitors: int = MAX_VISITORS,
        max_patient: int = MAX_PATIENT,
        batch: int = BATCH,
        units: Sequence[str] | None = None,
    ) -> None:
        self._recognizer = recognizer
        if units is None and isinstance(recognizer, Recognizer):
            units = recognizer.bundle.manifest.head("au").labels
        self.units = tuple(units or ())
        self._most = {False: max_visitors, True: max_patient}
        self._batch = batch
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._closed = False
        self._numbers = itertools.count(1)
        # Those who wait longest for their turn come first.
        self._queue: dict[bool, list[Visitor]] = {False: [], True: []}
        self._gone: list[Visitor] = []
        self._failures = 0
        self._rounds = self._frames = 0
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    def start(self) -> Rounds:
        """Begin; returns itself."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Dismiss all visitors and stop; the recogniser is free again."""
        self._dismiss_all()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def __enter__(self) -> Rounds:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether frames are being recognised: started, not closed, not failing each time."""
        return self._thread.is_alive() and not self._closed and self._failures < _FAILURES

    @property
    def visitors(self) -> int:
        """Live visitors now."""
        return len(self._queue[False])

    @property
    def patient(self) -> int:
        """Patient visitors now."""
        return len(self._queue[True])

    @property
    def counts(self) -> dict[str, int]:
        """Rounds and frames so far."""
        return {"rounds": self._rounds, "frames": self._frames}

    def join(
        self,
        on_result: OnResult,
        *,
        patient: bool = False,
        on_failure: Callable[[StreamError], None] | None = None,
        on_taken: Callable[[], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> Visitor:
        """Let one more in.

        The callbacks run in the rounds' thread and hold everybody up: they hand over and return.
        `on_result` gets each scored frame, its source the visitor's name, with its result;
        `on_failure` a RoundFailed for a frame that could not be recognised; `on_taken` is told
        when the frame that waited is being worked on, so that the next may be decoded; `on_end`,
        from any thread, that the rounds are over and took the visitor's leave.

        Raises RoundsFull, or RoundsClosed once `close` was called.
        """
        with self._lock:
            if self._closed:
                raise RoundsClosed("the service is closing: try again later")
            if len(self._queue[patient]) >= self._most[patient]:
                what = "clips and images" if patient else "live visitors"
                raise RoundsFull(
                    f"there are {self._most[patient]} {what} already: try again in a moment"
                )
            name = f"visitor-{next(self._numbers)}"
            visitor = Visitor(self, name, patient, on_result, on_failure, on_taken, on_end)
            self._queue[patient].append(visitor)
        return visitor

    def score(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Result]]:
        """Every frame of a clip with its result, in order, as a patient visitor.

        Reads `frames` in the calling thread. Frames and results name the visitor as their source.
        Ending the iteration early leaves. Raises RoundsFull, RoundsClosed, RoundFailed, and what
        `frames` raises.
        """
        answers: queue.SimpleQueue[tuple[Frame, Result] | StreamError] = queue.SimpleQueue()
        visitor = self.join(
            lambda frame, result: answers.put((frame, result)),
            patient=True,
            on_failure=answers.put,
        )
        due = 0
        with visitor:
            for frame in frames:
                visitor.submit(frame)  # waits where frames are not taken fast enough
                due += 1
                while not answers.empty():
                    yield self._await(answers, visitor)
                    due -= 1
            visitor.end()
            for _ in range(due):
                yield self._await(answers, visitor)

    def _await(
        self, answers: queue.SimpleQueue[tuple[Frame, Result] | StreamError], visitor: Visitor
    ) -> tuple[Frame, Result]:
        """The next answer, unless the rounds end first."""
        while True:
            try:
                answer = answers.get(timeout=0.5)
            except queue.Empty:
                if visitor.left or not self._thread.is_alive():
                    raise RoundsClosed("the service is closing: try again later") from None
                continue
            if isinstance(answer, StreamError):
                raise answer
            return answer

    def notice(self) -> None:
        """A frame has come; called by visitors."""
        self._ready.set()

    def dismiss(self, visitor: Visitor) -> None:
        """Take a visitor off the list, as `Visitor.leave` does; the thread forgets it before the
        next round."""
        with self._lock:
            if visitor.gone.is_set():
                return
            visitor.gone.set()
            self._queue[visitor.patient].remove(visitor)
            self._gone.append(visitor)
        visitor.slot.close()
        self._ready.set()

    def _dismiss_all(self) -> None:
        """Let nobody in any more, and everybody out."""
        with self._lock:
            self._closed = True
            visitors = [*self._queue[False], *self._queue[True]]
            for visitor in visitors:
                visitor.gone.set()
                self._queue[visitor.patient].remove(visitor)
            self._gone += visitors
        for visitor in visitors:
            visitor.slot.close()
            visitor.tell_end()
        self._ready.set()

    def _run(self) -> None:
        try:
            while True:
                self._ready.clear()
                with self._lock:
                    gone, self._gone = self._gone, []
                    closed = self._closed
                for visitor in gone:
                    self._recognizer.forget(visitor.name)
                if closed:
                    return
                turn = self._turn()
                if turn:
                    self._round(turn)
                ended = self._finish()
                if not (turn or ended):
                    self._ready.wait()
        except BaseException:
            _log.exception("the rounds have ended")
            self._dismiss_all()
            raise

    def _turn(self) -> list[tuple[Visitor, Frame]]:
        """The frames of one round: of the live in turn, and of one or all of the patient."""
        turn = self._served(False, self._batch)
        room = self._batch - len(turn)
        return turn + self._served(True, 1 if turn else room)

    def _served(self, patient: bool, most: int) -> list[tuple[Visitor, Frame]]:
        """Frames of up to `most` visitors of a kind; who is served goes to the queue's end."""
        with self._lock:
            waiting = list(self._queue[patient])
        served: list[tuple[Visitor, Frame]] = []
        for visitor in waiting:
            if len(served) == most:
                break
            frame = visitor.take()
            if frame is not None:
                served.append((visitor, frame))
        with self._lock:
            for visitor, _ in served:
                if not visitor.left:
                    self._queue[patient].remove(visitor)
                    self._queue[patient].append(visitor)
        return served

    def _finish(self) -> bool:
        """Give the patient whose last frame was taken what still waits; whether there were any."""
        with self._lock:
            complete = [one for one in self._queue[True] if one.complete and one.waiting]
        for visitor in complete:
            try:
                results = self._recognizer.finish(visitor.name)
            except Exception:
                _log.exception("the last frames of %s cannot be scored", visitor.name)
                self._fail(visitor, "its last frames could not be scored: send it again")
            else:
                self._deliver(results, {visitor.name: visitor})
            visitor.waiting.clear()
        return bool(complete)

    def _deliver(self, results: Sequence[Result], visitors: Mapping[str, Visitor]) -> None:
        for result in results:
            visitor = visitors[result.source]
            visitor.call(visitor.on_result, visitor.waiting.popleft(), result)

    def _round(self, turn: list[tuple[Visitor, Frame]]) -> None:
        """Find and score; one visitor's failure is its own."""
        found: list[tuple[Visitor, Frame]] = []
        sightings: list[Any] = []
        for visitor, frame in turn:
            try:
                sightings.append(self._recognizer.find(frame))
            except Exception:
                _log.exception("no faces can be looked for in a frame of %s", visitor.name)
                self._recognizer.forget(visitor.name)
                visitor.waiting.clear()
                self._fail(visitor, "this frame could not be searched for faces: send another")
            else:
                found.append((visitor, frame))
                visitor.waiting.append(frame)
        if not found:
            self._failures += 1
            return
        try:
            results = self._recognizer.score(sightings)
        except Exception:
            _log.exception("a round of %d frames cannot be scored", len(found))
            self._failures += 1
            for visitor, _ in found:
                self._recognizer.forget(visitor.name)
                visitor.waiting.clear()
                self._fail(visitor, "this frame could not be scored: send another")
            return
        self._failures = 0
        self._rounds += 1
        self._frames += len(found)
        self._deliver(results, {visitor.name: visitor for visitor, _ in found})

    def _fail(self, visitor: Visitor, why: str) -> None:
        if visitor.on_failure is not None:
            visitor.call(visitor.on_failure, RoundFailed(why))
