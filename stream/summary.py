"""A source's run in numbers, counted while it goes on, in memory that does not grow.

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
from dataclasses import dataclass, field

import numpy as np

from .errors import SourceError
from .frame import Frame
from .result import Result, left_out_notes
from .sources.base import Source

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

    def drop(self, cause: str) -> None:
        """Count a frame that was not used, by cause."""
        with self._lock:
            self._drops[cause] += 1

    @property
    def drops(self) -> dict[str, int]:
        """Frames dropped so far, per cause."""
        with self._lock:
            return dict(self._drops)

    def stages(self) -> dict[str, StageTimes]:
        """Times per stage, in the order in which the stages were first seen."""
        with self._lock:
            return {name: histogram.times() for name, histogram in self._stages.items()}


@dataclass(frozen=True, slots=True)
class Summary:
    """One source's run in numbers."""

    source: str
    frames: int
    """Frames recognised."""
    faces: int
    """Different faces seen."""
    faces_per_frame: float
    duration_s: float
    """Time from the first to the last frame on the source's clock, and one frame more."""
    wall_s: float
    drops: dict[str, int]
    """Frames not recognised, per cause."""
    stages: dict[str, StageTimes]
    latency: StageTimes
    """Live sources: from capture to result; a count of 0 for files."""
    notes: tuple[str, ...]
    """What the source has to say, such as damage."""
    interrupted: bool
    """Whether it was stopped before its end."""
    failure: SourceError | None = None
    """Why the source ended, where it failed."""

    @property
    def fps(self) -> float:
        """Frames recognised per second of wall clock."""
        return self.frames / self.wall_s if self.wall_s > 0 else 0.0


@dataclass(slots=True)
class Counts:
    """What is counted of one source; memory does not grow with its length."""

    meter: Meter = field(default_factory=Meter)
    latency: Histogram = field(default_factory=Histogram)
    frames: int = 0
    face_frames: int = 0
    people: int = 0
    left_out: int = 0
    """The most faces at a time that were too many to be followed."""
    last_id: int = 0
    """Ids only count up, so this one and the number of those seen are all to be remembered."""
    first_s: float = 0.0
    last_s: float = 0.0

    def add(self, frame: Frame, result: Result, late_s: float | None = None) -> None:
        """Count one result; `late_s` is the time since its capture, of a live source."""
        if self.frames == 0:
            self.first_s = frame.time_s
        self.frames += 1
        self.last_s = frame.time_s
        self.face_frames += len(result.faces)
        self.left_out = max(self.left_out, result.left_out)
        for found in result.faces:
            if found.id > self.last_id:
                self.people += 1
                self.last_id = found.id
        self.meter.add_all(result.stages_ms)
        if late_s is not None:
            self.latency.add(late_s * 1e3)

    def summary(
        self,
        source: Source,
        wall_s: float,
        drops: Mapping[str, int],
        interrupted: bool = False,
        failure: SourceError | None = None,
    ) -> Summary:
        """The numbers so far."""
        step_s = 1 / source.rate_hz if source.rate_hz and self.frames else 0.0
        return Summary(
            source=source.name,
            frames=self.frames,
            faces=self.people,
            faces_per_frame=self.face_frames / self.frames if self.frames else 0.0,
            duration_s=self.last_s - self.first_s + step_s,
            wall_s=wall_s,
            drops=dict(drops),
            stages=self.meter.stages(),
            latency=self.latency.times(),
            notes=(*source.notes, *left_out_notes(self.left_out)),
            interrupted=interrupted,
            failure=failure,
        )
