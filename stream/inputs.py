"""The inputs of a pipeline, and the slots in which their frames wait.

    Latest  the newest wins: the producer never waits; what was not taken in time is dropped and
            counted. For cameras and clients.
    Every   back-pressure: the producer waits for room, nothing is lost. For files.

Both slots are bounded. A producer's failure travels with `close(error)`: the consumer first gets
what was put before it, then `take` raises that error with its traceback.

An input is a source (`run.SourceWorker`, read by a thread of its own) or a client, who submits
frames and is called back with results.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Literal, Protocol, TypeVar

from .errors import FrameFailed, PipelineClosed, StreamError
from .frame import Frame
from .result import Result

T = TypeVar("T")


class SlotClosed(Exception):
    """The other side has closed the slot: no more items come, or nobody takes them."""


class SlotEmpty(TimeoutError):
    """No item came within the time limit."""


class Slot(Protocol[T]):
    """What `Latest` and `Every` have in common."""

    @property
    def dropped(self) -> int:
        """Items put and never taken because newer ones came."""

    def put(self, item: T) -> None:
        """Hand an item over; raises `SlotClosed` once the slot is closed."""

    def take(self, timeout_s: float | None = None) -> T:
        """The next item; `SlotEmpty` after `timeout_s`, the closing error or `SlotClosed`."""

    def close(self, error: BaseException | None = None) -> None:
        """No more items, because of `error` if one is given; may be called by either side."""

    def discard(self) -> None:
        """Close the slot and drop what was put but not taken."""


class _Queue(Generic[T]):
    """A bounded queue under one condition variable; subclasses decide what a full queue means."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        if capacity < 1:
            raise ValueError(f"a slot holds at least one item, not {capacity}")
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Items put and never taken because newer ones came."""
        return self._dropped

    def take(self, timeout_s: float | None = None) -> T:
        """The oldest item held.

        Raises `SlotEmpty` after `timeout_s` seconds without one (None waits for ever); once
        the slot is closed and empty, the error it was closed with, else `SlotClosed`.
        """
        deadline_s = None if timeout_s is None else self._clock() + timeout_s
        with self._changed:
            while not self._items:
                if self._closed:
                    raise SlotClosed if self._error is None else self._error
                left_s = None if deadline_s is None else deadline_s - self._clock()
                if left_s is not None and left_s <= 0:
                    raise SlotEmpty(f"no item within {timeout_s} s")
                self._changed.wait(left_s)
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self, error: BaseException | None = None) -> None:
        """End the hand-over; the first call counts. Items already put can still be taken."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._error = error
            self._changed.notify_all()

    def discard(self) -> None:
        """End the hand-over and drop what was put."""
        with self._changed:
            self._items.clear()
            self._closed = True
            self._changed.notify_all()


class Latest(_Queue[T]):
    """Holds one item; a newer one replaces it and the older is counted in `dropped`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(1, clock)

    def put(self, item: T) -> None:
        """Offer an item, never waiting; raises `SlotClosed` once closed."""
        with self._changed:
            if self._closed:
                raise SlotClosed
            self._dropped += len(self._items)
            self._items.clear()
            self._items.append(item)
            self._changed.notify_all()


class Every(_Queue[T]):
    """Holds up to `capacity` items; a full slot makes the producer wait."""

    def put(self, item: T) -> None:
        """Hand over an item, waiting for room; raises `SlotClosed` once closed."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._closed:
                self._changed.wait()
            if self._closed:
                raise SlotClosed
            self._items.append(item)
            self._changed.notify_all()


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
        """The source name of delivered frames and results."""
        self.key = key
        """The source name for the recogniser; unique."""
        self.policy = policy
        self._owner = owner
        self.slot = slot
        self._ahead = ahead
        self.gone = threading.Event()
        """Set once the input is over: nothing more is delivered."""
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
                frame = self._admitted(self.slot.take(timeout_s=0))
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

    def _admitted(self, frame: Frame) -> Frame | None:
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
    """The frame that waited is being processed: the next may be decoded."""
    on_end: Callable[[], None] | None = None
    """The pipeline has closed; from any thread."""


class Client(Input):
    """Submits frames and is called back with results; made by `Pipeline.join`."""

    counted = True

    def __init__(self, owner: Owner, name: str, callbacks: Callbacks) -> None:
        super().__init__(owner, name, name, "latest", Latest(), ahead=False)
        self._callbacks = callbacks

    def submit(self, frame: Frame) -> None:
        """Submit a frame; its `source` is replaced by the client's name.

        It replaces the frame that waits, if there is one. Frames come in the order of their times.
        Raises PipelineClosed after `leave`, or once the pipeline is closed.
        """
        try:
            self.slot.put(replace(frame, source=self.name))
        except SlotClosed:
            raise PipelineClosed(f"{self.name} has left: join again") from None
        self._owner.wake()

    def leave(self) -> None:
        """Leave the pipeline, which then forgets the client; safe from any thread, more than once.

        No callback begins after this returns, except from the batch in progress.
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
        """Call back; a client whose callback fails is removed, the others go on."""
        if self.left:
            return
        try:
            callback(*arguments)
        except Exception:
            _log.exception("%s cannot take its results", self.name)
            self.leave()
