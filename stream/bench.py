"""How fast the whole way is, from a file to results and from a capture to its result."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .frame import Frame
from .loop import Recognizes, Summary, run
from .sources.base import Source
from .sources.paced import PacedSource


@dataclass(frozen=True, slots=True)
class Bench:
    """What `measure` found."""

    offline: Summary
    """As fast as it goes."""
    live: Summary
    """At the clip's own pace."""
    startup_s: float
    """From the process's start to the first result."""
    peak_rss_mb: float

    def to_json(self) -> dict[str, Any]:
        """One document of plain types."""
        return {
            "source": self.offline.source,
            "fps": round(self.offline.fps, 2),
            "frames": self.offline.frames,
            "faces_per_frame": round(self.offline.faces_per_frame, 3),
            "stages": {
                name: {"median_ms": round(times.median_ms, 3), "p95_ms": round(times.p95_ms, 3)}
                for name, times in self.offline.stages.items()
            },
            "latency_median_ms": round(self.live.latency.median_ms, 2),
            "latency_p95_ms": round(self.live.latency.p95_ms, 2),
            "live_drops": sum(self.live.drops.values()),
            "peak_rss_mb": round(self.peak_rss_mb, 1),
            "startup_s": round(self.startup_s, 3),
        }


def measure(
    open_clip: Callable[[], Source], recognizer: Recognizes[Any], since_start_s: Callable[[], float]
) -> Bench:
    """Run a clip twice: offline, then paced as if a camera gave it.

    `since_start_s` tells the seconds since the process began; the first result's is the start-up
    time. Raises `SourceError`.
    """
    first: list[float] = []

    def note_first(*_: object) -> None:
        if not first:
            first.append(since_start_s())

    # The first frame pays for opening everything: it is start-up, not speed.
    warm_up = open_clip()
    run(_First(warm_up), recognizer, on_result=note_first)
    offline = run(open_clip(), recognizer)
    live = run(PacedSource(open_clip()), recognizer)
    return Bench(offline, live, first[0], peak_rss_mb())


class _First:
    """A source's first frame."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.live, self.rate_hz = source.name, source.live, source.rate_hz
        self.size, self.duration_s, self.notes = source.size, source.duration_s, source.notes

    def frames(self) -> Iterator[Frame]:
        """One frame."""
        yield next(self._source.frames())

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def peak_rss_mb() -> float:
    """The most memory this process has held so far, megabytes."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def since_process_start_s() -> float:
    """Seconds since this process was started, its imports included."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:
            started_ticks = int(file.read().rsplit(")", 1)[1].split()[19])
        with open("/proc/uptime", encoding="ascii") as file:
            uptime_s = float(file.read().split()[0])
    except OSError:
        return time.process_time()
    return uptime_s - started_ticks / os.sysconf("SC_CLK_TCK")
