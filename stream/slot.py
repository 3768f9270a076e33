"""Hand-over of items from one thread to another, with the drop policy in the name.

Latest  newest wins: a camera is never blocked, what was not taken in time is dropped, counted.
Every   back-pressure: a file waits for its reader, nothing is lost.

Both are bounded. A producer's failure travels with `close(error)`: the consumer first gets what
was put before it, then `take` raises that error, its traceback intact.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class SlotClosed(Exception):
    """The other side is done: clean end of the items, or nobody takes them any more."""


class SlotEmpty(TimeoutError):
    """Nothing came in the time one was willing to wait."""


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
