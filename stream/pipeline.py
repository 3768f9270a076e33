"""The scheduler: one Recognizer shared by files, cameras and clients.

    source or client -> slot -> [find faces] -> queue -> [score] -> results

Sources are read by a thread each, clients submit frames. One thread finds the faces of at most
one frame of each, a second scores those of all in one batch, so that both halves overlap. Live
inputs (`latest`) come first and take turns: nobody starves, however fast another one sends. Those
that lose nothing (`every`) share what room is left, one frame of all of them together while live
ones are there. Each input is a source of its own to the Recognizer, so that faces, ids and clips
never mix, and all that is kept of it is dropped at its end.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from ferstream.engines.labels import Labels

from .errors import FrameFailed, PipelineClosed, PipelineFull, StreamError
from .frame import Frame
from .inputs import Callbacks, Client, Every, Input, OnResult, Policy, SlotClosed
from .result import Result
from .run import Reading, Run, SourceWorker
from .sources.base import Source

MOST_EVERY = 8
"""Uploads at once in a service's pipeline."""
BATCH = 8
"""Frames of one batch. More inputs take turns; larger batches would only make each wait."""

# Batches whose faces are found and that wait to be scored.
_WAITING_BATCHES = 1
# Batches that fail one after the other until the recogniser counts as broken.
_FAILURES = 5
_CLOSE_S = 5.0

# Of all pipelines of the process, which may share a recogniser.
_keys = itertools.count(1)

_log = logging.getLogger(__name__)

S = TypeVar("S")
"""What a recogniser's `find` hands to its `score`."""
Found = tuple[Input, Frame, Any]
"""A frame of an input and its detected faces, or why none can be looked for."""


class TwoStage(Protocol[S]):
    """What a pipeline asks of a recogniser; `find_many` and `score` run in different threads."""

    @property
    def labels(self) -> Labels:
        """What its readings are of."""

    def find_many(self, frames: Sequence[Frame]) -> Sequence[S | Exception]:
        """The faces of one frame of each of several sources, found but not scored; for a frame that
        cannot be searched, why."""

    def score(self, detected: Sequence[S]) -> list[Result]:
        """What the faces express, for one frame of each of several sources.

        Those of frames that look ahead (`Frame.ahead`) come later, in the order of each source's
        frames.
        """

    def finish(self, source: str) -> list[Result]:
        """The results still pending of a source that has ended."""

    def forget(self, source: str) -> None:
        """Drop all that is kept of a source that will not come back."""


class Pipeline:
    """Recognises what sources and clients give, from `start` to `close`; a context manager.

    Nothing else may use the recogniser meanwhile; `close` leaves it open.

    Args:
        recognizer: what finds and scores.
        batch: frames of one batch at most.
        most_live, most_every: how many clients, and how many uploads (`score` with `counted`),
            may be there at once; None: any number.
    """

    def __init__(
        self,
        recognizer: TwoStage[Any],
        *,
        batch: int = BATCH,
        most_live: int | None = None,
        most_every: int | None = None,
    ) -> None:
        self.labels = recognizer.labels
        self._recognizer = recognizer
        self._batch = batch
        self._most: dict[Policy, int | None] = {"latest": most_live, "every": most_every}
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._closed = False
        self._numbers = itertools.count(1)
        # Those who wait longest for their turn come first.
        self._inputs: dict[Policy, list[Input]] = {"latest": [], "every": []}
        self._gone: list[Input] = []
        self._failures = 0
        self._batches = self._frames = 0
        self._found: Every[tuple[list[Found], list[Input]]] = Every(_WAITING_BATCHES)
        self._threads = [
            threading.Thread(target=self._find, name="find faces", daemon=True),
            threading.Thread(target=self._score, name="score faces", daemon=True),
        ]

    def start(self) -> Pipeline:
        """Begin; returns itself."""
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """Remove all inputs and stop; the recogniser can be used elsewhere again."""
        self._dismiss()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(_CLOSE_S)

    def __enter__(self) -> Pipeline:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether frames are being recognised: started, not closed, not failing each time."""
        alive = all(thread.is_alive() for thread in self._threads)
        return alive and not self._closed and self._failures < _FAILURES

    @property
    def closed(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._closed

    @property
    def clients(self) -> dict[Policy, int]:
        """Clients and uploads that are there now, by policy."""
        with self._lock:
            return {name: sum(one.counted for one in all_) for name, all_ in self._inputs.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Batches and frames scored so far."""
        return {"batches": self._batches, "frames": self._frames}

    def join(
        self,
        on_result: OnResult,
        *,
        on_failure: Callable[[StreamError], None] | None = None,
        on_taken: Callable[[], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> Client:
        """Add a client, which submits live frames; see `Callbacks`.

        Raises PipelineFull, or PipelineClosed once `close` was called.
        """
        callbacks = Callbacks(on_result, on_failure, on_taken, on_end)
        client = Client(self, f"visitor-{next(self._numbers)}", callbacks)
        self.add(client)
        return client

    def score(
        self,
        *sources: Source,
        policy: Policy | None = None,
        max_staleness_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        strict: bool = False,
        counted: bool = False,
    ) -> Run:
        """Sources to be read to their end, as the `Run` from which their results are taken.

        Args:
            policy: None: `latest` for live sources, `every` for files.
            max_staleness_s: live frames that waited longer for their turn are dropped.
            strict: whether a failure of the recogniser is not worth a log, as the run's owner
                raises it.
            counted: whether they take places of uploads.
        """
        run = Run(self, strict)
        reading = Reading(policy, max_staleness_s, clock)
        for source in sources:
            key = f"{source.name}\0{next(_keys)}"
            worker = SourceWorker(self, key, source, run, reading)
            worker.counted = counted
            run.workers.append(worker)
        return run

    def wake(self) -> None:
        """Signal that a frame can be taken or that there is room; safe from any thread."""
        self._ready.set()

    def add(self, one: Input) -> None:
        """Add an input. Raises PipelineFull, PipelineClosed."""
        with self._lock:
            if self._closed:
                raise PipelineClosed("the service is closing: try again later")
            most = self._most[one.policy]
            here = sum(other.counted for other in self._inputs[one.policy])
            if one.counted and most is not None and here >= most:
                what = "clips and images" if one.policy == "every" else "live visitors"
                raise PipelineFull(f"there are {most} {what} already: try again in a moment")
            self._inputs[one.policy].append(one)

    def remove(self, one: Input) -> None:
        """Remove an input; the scoring thread forgets it after the batch in progress."""
        with self._lock:
            if one.gone.is_set():
                return
            one.gone.set()
            self._drop(one)
            self._gone.append(one)
        one.slot.discard()
        self.wake()

    def _dismiss(self) -> None:
        """Close for new inputs, and remove all."""
        with self._lock:
            self._closed = True
            everybody = [*self._inputs["latest"], *self._inputs["every"]]
        for one in everybody:
            self.remove(one)
            one.end(closed=True)
        self.wake()

    def _drop(self, one: Input) -> None:
        """Take an input out of the queue. The lock is held."""
        if one in self._inputs[one.policy]:
            self._inputs[one.policy].remove(one)

    def _find(self) -> None:
        """The thread that finds faces."""
        try:
            while True:
                self._ready.clear()
                with self._lock:
                    over, self._gone = self._gone, []
                    closed = self._closed
                found = self._found_in(self._turn())
                over += self._exhausted()
                if found or over:
                    self._found.put((found, over))
                elif closed:
                    return
                else:
                    self._ready.wait()
        except SlotClosed:
            pass  # the other thread has ended
        finally:
            self._found.close()

    def _found_in(self, turn: list[tuple[Input, Frame]]) -> list[Found]:
        """The faces of each frame, or the exception that says why they cannot be looked for."""
        if not turn:
            return []
        found: Sequence[Any]
        try:
            found = self._recognizer.find_many([one.sent(frame) for one, frame in turn])
        except Exception as error:
            found = [error] * len(turn)
        return [(one, frame, faces) for (one, frame), faces in zip(turn, found, strict=True)]

    def _turn(self) -> list[tuple[Input, Frame]]:
        """The frames of the next batch: see the module."""
        turn = self._served("latest", self._batch)
        room = self._batch - len(turn)
        return turn + self._served("every", 1 if turn else room)

    def _served(self, policy: Policy, most: int) -> list[tuple[Input, Frame]]:
        """Frames of up to `most` inputs, which then go to the end of the queue."""
        with self._lock:
            waiting = list(self._inputs[policy])
        served: list[tuple[Input, Frame]] = []
        for one in waiting:
            if len(served) == most:
                break
            frame = one.take() if one.has_room() else None
            if frame is not None:
                served.append((one, frame))
        with self._lock:
            for one, _ in served:
                if not one.left:
                    self._inputs[policy].remove(one)
                    self._inputs[policy].append(one)
        return served

    def _exhausted(self) -> list[Input]:
        """Inputs whose last frame was taken; they have no more turns."""
        with self._lock:
            over = [one for all_ in self._inputs.values() for one in all_ if one.exhausted]
            for one in over:
                self._drop(one)
        return over

    def _score(self) -> None:
        """The thread that scores, and delivers results."""
        try:
            while True:
                found, over = self._found.take()
                self._score_batch(found)
                for one in over:
                    self._end(one)
        except SlotClosed:
            pass
        except BaseException:
            _log.exception("the pipeline has ended")
            raise
        finally:
            self._found.close()
            self._dismiss()

    def _score_batch(self, found: list[Found]) -> None:
        """Score what was found; one input's failure is its own."""
        good: dict[str, Input] = {}
        detected = []
        for one, frame, faces in found:
            if one.left:
                continue
            if isinstance(faces, Exception):
                what = "this frame could not be searched for faces: send another"
                self._fail(one, what, faces)
                continue
            one.waiting.append(frame)
            good[one.key] = one
            detected.append(faces)
        if not detected:
            self._failures += any(isinstance(faces, Exception) for _, _, faces in found)
            return
        try:
            results = self._recognizer.score(detected)
        except Exception as error:
            self._failures += 1
            for one in good.values():
                self._fail(one, "this frame could not be scored: send another", error)
            return
        self._failures = 0
        self._batches += 1
        self._frames += len(detected)
        for result in results:
            self._deliver(good[result.source], result)

    def _deliver(self, one: Input, result: Result) -> None:
        frame = one.waiting.popleft()
        if not one.left:
            one.deliver(frame, result.named(one.name))

    def _fail(self, one: Input, why: str, cause: Exception) -> None:
        """Report a failed frame; the recogniser forgets the input."""
        self._recognizer.forget(one.key)
        one.waiting.clear()
        failure = FrameFailed(why)
        failure.__cause__ = cause
        one.fail(failure)

    def _end(self, one: Input) -> None:
        """Deliver an input's last results, unless it was removed, and forget it."""
        removed = one.left
        if one.waiting and not removed:
            try:
                for result in self._recognizer.finish(one.key):
                    self._deliver(one, result)
            except Exception as error:
                self._fail(one, "its last frames could not be scored: send it again", error)
        one.waiting.clear()
        self._recognizer.forget(one.key)
        if not removed:
            one.gone.set()
            one.end(closed=False)
