"""How long each stage takes and what was dropped, in memory that does not grow.

Durations are counted in logarithmic buckets 2 % apart from 1 µs to 1000 s, so a percentile is
right to 1 % however long the stream runs.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

_LOWEST_MS = 1e-3
_RATIO = 1.02
_BUCKETS = math.ceil(math.log(1e9) / math.log(_RATIO))


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What one stage took, in milliseconds."""

    count: int
    median_ms: float
    p95_ms: float
    total_ms: float = 0.0
    """All of them together."""


class Histogram:
    """Durations in milliseconds; constant memory, percentiles within 1 %."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._low_ms = math.inf
        self._high_ms = 0.0
        self._total_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """Count one duration."""
        bucket = math.log(max(duration_ms, _LOWEST_MS) / _LOWEST_MS) / math.log(_RATIO)
        self._counts[min(int(bucket), _BUCKETS - 1)] += 1
        self._low_ms = min(self._low_ms, duration_ms)
        self._high_ms = max(self._high_ms, duration_ms)
        self._total_ms += duration_ms

    @property
    def count(self) -> int:
        """Durations counted so far."""
        return int(self._counts.sum())

    def percentile_ms(self, percent: float) -> float:
        """Smallest duration that `percent` of all do not exceed; nan when none was counted."""
        total = self.count
        if total == 0:
            return math.nan
        rank = max(1, math.ceil(total * percent / 100))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle_ms = _LOWEST_MS * math.pow(_RATIO, bucket + 0.5)
        return min(max(middle_ms, self._low_ms), self._high_ms)

    def times(self) -> StageTimes:
        """Count, median, 95th percentile and sum."""
        median_ms, p95_ms = self.percentile_ms(50), self.percentile_ms(95)
        return StageTimes(self.count, median_ms, p95_ms, self._total_ms)


class Meter:
    """Durations per stage and drops per cause; may be fed from several threads."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._stages: dict[str, Histogram] = {}
        self._drops: Counter[str] = Counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block under `name`, also when it raises."""
        start_s = self._clock()
        try:
            yield
        finally:
            self.add(name, (self._clock() - start_s) * 1e3)

    def add(self, name: str, duration_ms: float) -> None:
        """Count one duration that was measured elsewhere."""
        with self._lock:
            self._stages.setdefault(name, Histogram()).add(duration_ms)

    def add_all(self, stages_ms: Mapping[str, float]) -> None:
        """Count one duration for each of several stages."""
        for name, duration_ms in stages_ms.items():
            self.add(name, duration_ms)

    def drop(self, cause: str, count: int = 1) -> None:
        """Count frames that were not used, by cause."""
        with self._lock:
            self._drops[cause] += count

    @property
    def drops(self) -> dict[str, int]:
        """Frames dropped so far, per cause; causes without drops are absent."""
        with self._lock:
            return {cause: count for cause, count in self._drops.items() if count}

    def stages(self) -> dict[str, StageTimes]:
        """Times per stage, in the order in which the stages were first seen."""
        with self._lock:
            return {name: histogram.times() for name, histogram in self._stages.items()}
