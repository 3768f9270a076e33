"""A file played at its own pace, as if it were a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..frame import Frame
from .base import Source


class PacedSource:
    """Frames of a file, each held back until it is due; their times are the clock's.

    A consumer that is too slow misses frames, as with a camera. Frames that are late already
    (decoding too slow) come at once, with the time at which they were due.
    """

    live = True

    def __init__(
        self,
        source: Source,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait

    @property
    def name(self) -> str:
        """The file's name."""
        return self._source.name

    @property
    def rate_hz(self) -> float | None:
        """The file's rate."""
        return self._source.rate_hz

    @property
    def size(self) -> tuple[int, int] | None:
        """The file's width and height."""
        return self._source.size

    @property
    def duration_s(self) -> float | None:
        """The file's length."""
        return self._source.duration_s

    @property
    def notes(self) -> tuple[str, ...]:
        """The file's notes."""
        return self._source.notes

    def frames(self) -> Iterator[Frame]:
        """Frames at their times; ends where the file ends."""
        start_s: float | None = None
        for frame in self._source.frames():
            if start_s is None:
                start_s = self._clock() - frame.time_s
            due_s = start_s + frame.time_s
            early_s = due_s - self._clock()
            if early_s > 0:
                self._wait(early_s)
            if self._stop.is_set():
                return
            yield replace(frame, time_s=due_s)

    def close(self) -> None:
        """End the waiting and the file."""
        self._stop.set()
        self._source.close()
