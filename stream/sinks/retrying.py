"""A thread that delivers queued items, so that no caller waits for a slow receiver.

The queue is bounded: when it is full the oldest item is dropped and counted. A receiver that is
away (`SinkLost`) is tried again with backoff for as long as it takes, and items that it rejects
(`SinkRefused`) are dropped; any other failure ends the delivery. No failure reaches the thread that
queues items.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from ..errors import SinkError, SinkLost, SinkRefused
from ..sources.supervised import Backoff

T = TypeVar("T")
Notify = Callable[[str], None]
"""Called with one line for people, in the sender's thread."""


class RetryingSender(Generic[T]):
    """Delivers items in order, `most` at a time, `every_s` seconds apart at least.

    Args:
        name: the receiver's name in reports, without passwords.
        deliver: delivers a batch as a whole, or raises `SinkLost`.
        finish: called at the end, in the sender's thread.
        capacity: items in the queue.
        keep: whether items that could not be delivered are queued again; else they are dropped.
        idle_s: after so long without an item, and at the start, an empty batch is delivered, so
            that a connection is made and checked while there is nothing to send.
        begin: called before the first delivery until it succeeds, in the sender's thread.
        on_failure: called once when deliveries begin to fail.
        on_return: called once when they succeed again.
        backoff: pauses between attempts.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[Sequence[T]], None],
        finish: Callable[[], None],
        *,
        capacity: int,
        most: int = 1,
        every_s: float = 0.0,
        keep: bool = True,
        idle_s: float = math.inf,
        begin: Callable[[], None] = lambda: None,
        on_failure: Notify | None = None,
        on_return: Notify | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"{name}: at least one item may wait, not {capacity}")
        self.name = name
        self.failure = ""
        """Why nothing is delivered at the moment; "" while all is well."""
        self.error: Exception | None = None
        """What ended the delivery, where that is no `SinkError` but a bug."""
        self._deliver, self._finish, self._begin = deliver, finish, begin
        self._capacity, self._most, self._every_s = capacity, most, every_s
        self._keep, self._backoff = keep, backoff or Backoff()
        self._on_failure, self._on_return = on_failure, on_return
        self._changed = threading.Condition()
        self._waiting: deque[T] = deque()
        self._next_s = 0.0
        self._idle_s = idle_s
        self._idle_at_s = 0.0 if idle_s < math.inf else math.inf
        self._failures = self._dropped = self._dropped_before = self._lost = 0
        self._closing = self._stopped = False
        self._deadline_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"write {name}", daemon=True)

    @property
    def dropped(self) -> int:
        """Items dropped so far."""
        return self._dropped

    @property
    def lost(self) -> int:
        """Those of them that were dropped because the receiver failed, not because it was slow."""
        return self._lost

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def put(self, item: T) -> None:
        """Queue an item without waiting; the oldest is dropped where the queue is full."""
        with self._changed:
            if self._closing or self._stopped:
                self._dropped += 1
                return
            self._waiting.append(item)
            self._trim()
            self._changed.notify_all()

    def close(self, within_s: float) -> None:
        """Deliver what is queued, for `within_s` seconds at most, and end.

        Raises what ended the delivery, where that was no `SinkError`.
        """
        with self._changed:
            first, self._closing = not self._closing, True
            if first:
                self._deadline_s = time.monotonic() + within_s
            self._changed.notify_all()
        if self.started:
            self._thread.join(within_s)
            if first and self._thread.is_alive():
                with self._changed:
                    left = self._stop()
                self._report_failure(
                    f"{self.name} did not end within {within_s:g} s; {left} dropped"
                )
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def _run(self) -> None:
        try:
            begun = self._attempt(self._begin)
            while not begun and not self._closing:
                begun = self._attempt(self._begin)
            # What is delivered after closing has begun is tried once.
            while begun and (batch := self._take()) is not None:
                last = self._closing
                delivered = self._attempt(partial(self._deliver, batch), batch)
                if last and (not delivered or time.monotonic() > self._deadline_s):
                    break
            with self._changed:
                left = self._stop()
            if left:
                self._report_failure(f"{self.name}: {left} dropped at the end")
        except Exception as error:
            self._fail(error)
        finally:
            with self._changed:
                self._stop()
            try:
                self._finish()
            except Exception as error:
                if not self.failure:
                    self._fail(error)

    def _take(self) -> list[T] | None:
        """The next items, once they are due; an empty batch when idle, None at the end."""
        with self._changed:
            while True:
                if self._stopped or (self._closing and not self._waiting):
                    return None
                full = self._closing or len(self._waiting) >= min(self._most, self._capacity)
                due_s = self._next_s if self._waiting else self._idle_at_s
                wait_s = due_s - time.monotonic()
                if wait_s <= 0 or full:
                    break
                self._changed.wait(min(wait_s, threading.TIMEOUT_MAX))
            now_s = time.monotonic()
            self._idle_at_s = now_s + self._idle_s
            if self._waiting:
                self._next_s = now_s + self._every_s
            return [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]

    def _attempt(self, action: Callable[[], None], batch: Sequence[T] = ()) -> bool:
        """Run `action`; returns whether it succeeded.

        Where the receiver is away, that is reported once, the batch queued again, and the next
        attempt delayed.
        """
        try:
            action()
        except SinkLost as error:
            if not self.failure:
                again = "" if self._closing else "; trying again"
                self._report_failure(_one_line(error) + again)
            wait_s = self._backoff.pause_s(self._failures, 0, random.random)
            self._failures += 1
            with self._changed:
                self._requeue(batch, self._keep and not isinstance(error, SinkRefused))
                self._changed.wait_for(lambda: self._closing or self._stopped, wait_s)
            return False
        except Exception:
            with self._changed:
                self._dropped += len(batch)
                self._lost += len(batch)
            raise
        if self.failure and not self._stopped:
            self.failure, self._failures = "", 0
            if self._on_return is not None:
                lost = self._dropped - self._dropped_before
                self._on_return(f"{self.name} is back; {lost} dropped meanwhile")
        self._dropped_before = self._dropped
        return True

    def _requeue(self, batch: Sequence[T], keep: bool) -> None:
        """Put a failed batch at the front of the queue, or drop it. The lock is held."""
        if keep and not self._stopped:
            self._waiting.extendleft(reversed(batch))
            self._trim()
        else:
            self._dropped += len(batch)
            self._lost += len(batch)

    def _trim(self) -> None:
        while len(self._waiting) > self._capacity:
            self._waiting.popleft()
            self._dropped += 1
            self._lost += bool(self.failure)

    def _stop(self) -> int:
        """End deliveries; returns how many items that drops. The lock is held."""
        self._stopped = True
        left = len(self._waiting)
        self._dropped += left
        self._lost += left
        self._waiting.clear()
        return left

    def _fail(self, error: Exception) -> None:
        if isinstance(error, SinkError):
            self._report_failure(f"{_one_line(error)}; going on without it")
        else:
            self.error = error
            self._report_failure(f"{self.name}: {type(error).__name__}: {_one_line(error)}")

    def _report_failure(self, text: str) -> None:
        self.failure = text
        if self._on_failure is not None:
            self._on_failure(text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
