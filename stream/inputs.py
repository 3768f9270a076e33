"""The inputs of a pipeline: sources, each read by a thread, and clients that submit frames.

Both have a slot in which frames wait for their turn: `Every` loses nothing and makes the producer
wait, `Latest` keeps the newest and counts what it drops.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from .errors import FrameFailed, PipelineClosed, SourceError, StreamError
from .frame import Frame
from .result import Result
from .slot import Every, Latest, Slot, SlotClosed, SlotEmpty
from .sources.base import Source, SourceEvent
from .summary import Counts, Summary

CLIENT_FRAMES = 2
"""Frames of a client with the policy `every` that may wait: one is decoded, another scored."""

# Decoded frames of a source that may wait for the recogniser: enough to even out, little memory.
_WAITING_FRAMES = 8
_WAITING_BYTES = 96_000_000
_JOIN_S = 1.0

_log = logging.getLogger(__name__)

Policy = Literal["latest", "every"]
"""Which frames are recognised: `latest` drops what was not taken in time, `every` makes the
producer wait."""
OnResult = Callable[[Frame, Result], None]


class Owner(Protocol):
    """What an input knows of its pipeline."""

    def wake(self) -> None:
        """Signal that a frame can be taken or that there is room; safe from any thread."""

    def add(self, one: Input) -> None:
        """Add an input. Raises PipelineFull, PipelineClosed."""

    def remove(self, one: Input) -> None:
        """Remove an input at once; none of its results is delivered any more."""


class Input:
    """Frames under way in a pipeline; subclasses say where they come from and results go.

    `take`, `deliver`, `fail` and `end` are the pipeline's to call.
    """

    counted = False
    """Whether it takes one of the places that a pipeline has for clients."""

    def __init__(
        self, owner: Owner, name: str, key: str, policy: Policy, slot: Slot[Frame], ahead: bool
    ) -> None:
        self.name = name
        """What frames and results call it where they are delivered."""
        self.key = key
        """What the recogniser calls it: never another input's."""
        self.policy = policy
        self._owner = owner
        self.slot = slot
        self._ahead = ahead
        self.gone = threading.Event()
        """Set once it is over: nothing more is to be delivered."""
        self.exhausted = False
        """Whether its last frame was taken."""
        self.waiting: deque[Frame] = deque()
        """Frames being scored, in order; the scoring thread's own."""

    @property
    def dropped(self) -> int:
        """Frames never taken because newer ones came."""
        return self.slot.dropped

    @property
    def left(self) -> bool:
        """Whether it is over."""
        return self.gone.is_set()

    def take(self) -> Frame | None:
        """The next frame if there is one; notices the end."""
        while not self.exhausted:
            try:
                frame = self._passed(self.slot.take(timeout_s=0))
            except SlotEmpty:
                return None
            except SlotClosed:
                self.exhausted = True
                return None
            if frame is not None:
                return frame
        return None

    def sent(self, frame: Frame) -> Frame:
        """A frame as the recogniser gets it."""
        return replace(frame, source=self.key, ahead=self._ahead)

    def _passed(self, frame: Frame) -> Frame | None:
        """A frame that was taken; None where it is not to be recognised."""
        return frame

    def has_room(self) -> bool:
        """Whether results are taken fast enough for another frame to be scored."""
        return True

    def deliver(self, frame: Frame, result: Result) -> None:
        """Pass a result on; called by the scoring thread, must not block."""
        raise NotImplementedError

    def fail(self, error: FrameFailed) -> None:
        """A frame could not be recognised, for the reason in `__cause__`."""
        raise NotImplementedError

    def end(self, closed: bool) -> None:
        """No more results follow: the input has ended, or its pipeline is closed."""
        raise NotImplementedError


class Outlet(Protocol):
    """Where the results of sources go; see `stream.run.Run`."""

    strict: bool
    """Whether a frame that cannot be recognised ends everything."""

    def has_room(self, one: Input) -> bool:
        """Whether results of this input are taken fast enough."""

    def put(self, one: SourceWorker, frame: Frame, result: Result) -> None:
        """Take a result without waiting."""

    def put_event(self, one: SourceWorker, event: SourceEvent) -> None:
        """Take a change of a live source's state; called by its reading thread."""

    def fail(self, error: FrameFailed) -> None:
        """Take a failure of the recogniser."""

    def ended(self, one: SourceWorker, closed: bool) -> None:
        """An input has ended, or its pipeline is closed."""


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

    def __init__(
        self, owner: Owner, key: str, source: Source, outlet: Outlet, reading: Reading
    ) -> None:
        policy = reading.policy_of(source)
        slot: Slot[Frame] = Every(_room_for(source.size)) if policy == "every" else Latest()
        super().__init__(owner, source.name, key, policy, slot, ahead=not source.live)
        self.source = source
        self.counts = Counts()
        self.failure: BaseException | None = None
        self._outlet = outlet
        self._reading = reading
        self._restarts_at = -1  # index of the last frame that begins anew, by the reading thread
        self._taken = -1
        source.listen(lambda event: outlet.put_event(self, event))
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
        """Frames into the slot, a failure to the other side."""
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

    def _passed(self, frame: Frame) -> Frame | None:
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
        return self._outlet.has_room(self)

    def deliver(self, frame: Frame, result: Result) -> None:
        late_s = self._reading.clock() - frame.time_s if self.source.live else None
        self.counts.add(frame, result, late_s)
        self._outlet.put(self, frame, result)

    def fail(self, error: FrameFailed) -> None:
        if not self._outlet.strict:
            _log.error("%s: %s", self.name, error, exc_info=error.__cause__)
        self._outlet.fail(error)

    def end(self, closed: bool) -> None:
        self._outlet.ended(self, closed)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Functions that a client is notified through.

    The pipeline's threads call them and wait for their return: they must not block.
    """

    on_result: OnResult
    """Each scored frame, its source the client's name, with its result."""
    on_failure: Callable[[StreamError], None] | None = None
    """A `FrameFailed` for a frame that could not be recognised."""
    on_taken: Callable[[], None] | None = None
    """The frame that waited is being worked on: the next may be decoded."""
    on_end: Callable[[], None] | None = None
    """The pipeline has closed; from any thread."""


class Client(Input):
    """One who hands frames over and is called back with results; made by `Pipeline.join`."""

    counted = True

    def __init__(self, owner: Owner, name: str, callbacks: Callbacks) -> None:
        super().__init__(owner, name, name, "latest", Latest(), ahead=False)
        self._callbacks = callbacks

    def submit(self, frame: Frame) -> None:
        """Hand a frame over; whatever its source is called, it counts as this client's.

        It replaces the one that waits. Frames come in the order of their times. Raises
        PipelineClosed after `leave`, or once the pipeline is closed.
        """
        try:
            self.slot.put(replace(frame, source=self.name))
        except SlotClosed:
            raise PipelineClosed(f"{self.name} has left: join again") from None
        self._owner.wake()

    def leave(self) -> None:
        """Go; what is kept of the client is dropped soon. May be called twice, by any thread.

        No call back begins after this returns, except from the batch that is under way.
        """
        self._owner.remove(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def sent(self, frame: Frame) -> Frame:
        if self._callbacks.on_taken is not None:
            self._call(self._callbacks.on_taken)
        return super().sent(frame)

    def deliver(self, frame: Frame, result: Result) -> None:
        self._call(self._callbacks.on_result, frame, result)

    def fail(self, error: FrameFailed) -> None:
        _log.error("%s: %s", self.name, error, exc_info=error.__cause__)
        if self._callbacks.on_failure is not None:
            self._call(self._callbacks.on_failure, error)

    def end(self, closed: bool) -> None:
        if self._callbacks.on_end is not None:
            try:
                self._callbacks.on_end()
            except Exception:
                _log.exception("%s cannot be told of the end", self.name)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        """Call back; a client whose callback fails is sent away, the others go on."""
        if self.left:
            return
        try:
            callback(*arguments)
        except Exception:
            _log.exception("%s cannot take its results", self.name)
            self.leave()


def _room_for(size: tuple[int, int] | None) -> int:
    """How many decoded frames of this size may wait."""
    if size is None:
        return CLIENT_FRAMES
    return max(1, min(_WAITING_FRAMES, _WAITING_BYTES // (3 * size[0] * size[1])))
