"""How often things happened over the last seconds, in memory that does not grow."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

SPAN_S = 10.0
_BIN_S = 0.5
_BINS = round(SPAN_S / _BIN_S)


class Recent:
    """Frames over the last `SPAN_S` seconds, and the share of them that were marked.

    Counted in bins of half a second, the one that is still filling left out. May be used from
    several threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._first: int | None = None
        self._bins: deque[list[int]] = deque(maxlen=_BINS + 1)
        """Number of the bin, frames, marked frames."""

    def add(self, marked: bool) -> None:
        """Count one frame."""
        with self._lock:
            number = math.floor(self._clock() / _BIN_S)
            if self._first is None:
                self._first = number
            if not self._bins or self._bins[-1][0] != number:
                self._bins.append([number, 0, 0])
            self._bins[-1][1] += 1
            self._bins[-1][2] += marked

    def rate_hz(self) -> float:
        """Frames per second; 0 before the first half second is over."""
        frames, _, bins = self._counts()
        return frames / (bins * _BIN_S) if bins else 0.0

    def share(self) -> float:
        """Marked frames among all, 0..1; nan where there was none."""
        frames, marked, _ = self._counts()
        return marked / frames if frames else math.nan

    def _counts(self) -> tuple[int, int, int]:
        """Frames, marked frames, and over how many bins."""
        with self._lock:
            if self._first is None:
                return 0, 0, 0
            now = math.floor(self._clock() / _BIN_S)
            since = max(now - _BINS, self._first)
            whole = [entry for entry in self._bins if since <= entry[0] < now]
        frames, marked = (sum(entry[place] for entry in whole) for place in (1, 2))
        return frames, marked, now - since
