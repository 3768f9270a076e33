"""How fast the whole way is, from a file to results and from a capture to its result.

Beside it stands decoding alone, which nothing that comes after can be faster than.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .frame import Frame
from .pipeline import TwoStage
from .run import run
from .sources.adapters import PacedSource
from .sources.base import BaseSource, Source
from .summary import Summary

READING, FINDING, SCORING = "reading", "finding", "scoring"
THREADS = {
    "decode": READING,
    "detect": FINDING,
    "align": FINDING,
    **dict.fromkeys(("flow", "spatial", "temporal", "fusion", "sinks"), SCORING),
}
"""Which thread of the loop runs each stage."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A clip once from its beginning to its end."""

    fps: float
    cpu_ms: float
    """What a frame costs all threads together: what is left when the machine does other work."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What `measure` found."""

    offline: Summary
    """As fast as it goes: the round of median speed."""
    passes: tuple[Pass, ...]
    """The same of every round."""
    decoding: tuple[Pass, ...]
    """Decoding alone, in turn with them: the wall that the whole way cannot pass."""
    live: Summary
    """At the clip's own pace."""
    startup_s: float
    """From the process's start to the first result."""
    peak_rss_mb: float

    def shares(self) -> dict[str, float]:
        """Each stage's part of the time of all stages; they sum to 1."""
        total_ms = sum(times.total_ms for times in self.offline.stages.values())
        return {
            name: times.total_ms / total_ms if total_ms else 0.0
            for name, times in self.offline.stages.items()
        }

    def busy(self) -> dict[str, float]:
        """How much of the time each thread of the loop was at work, 0..1: the highest sets the
        pace. Waiting for a core counts as work."""
        busy: dict[str, float] = {}
        for name, times in self.offline.stages.items():
            thread = THREADS.get(name, SCORING)
            share = times.total_ms / 1e3 / self.offline.wall_s
            busy[thread] = busy.get(thread, 0.0) + share
        return busy

    def to_json(self) -> dict[str, Any]:
        """One document of plain types."""
        shares = self.shares()
        return {
            "source": self.offline.source,
            "fps": round(self.offline.fps, 2),
            "rounds": _passes_json(self.passes),
            "decoding": {
                "fps": round(statistics.median(one.fps for one in self.decoding), 2),
                "rounds": _passes_json(self.decoding),
            },
            "cpu_ms_per_frame": round(statistics.median(one.cpu_ms for one in self.passes), 3),
            "frames": self.offline.frames,
            "faces_per_frame": round(self.offline.faces_per_frame, 3),
            "stages": {
                name: {
                    "median_ms": round(times.median_ms, 3),
                    "p95_ms": round(times.p95_ms, 3),
                    "share": round(shares[name], 4),
                }
                for name, times in self.offline.stages.items()
            },
            "busy": {name: round(share, 3) for name, share in self.busy().items()},
            "latency_median_ms": round(self.live.latency.median_ms, 2),
            "latency_p95_ms": round(self.live.latency.p95_ms, 2),
            "live_drops": sum(self.live.drops.values()),
            "peak_rss_mb": round(self.peak_rss_mb, 1),
            "startup_s": round(self.startup_s, 3),
        }


def measure(
    open_clip: Callable[[], Source],
    recognizer: TwoStage[Any],
    since_start_s: Callable[[], float],
    rounds: int = 3,
) -> Bench:
    """Run a clip: decoding alone and the whole way in turn, then paced as if a camera gave it.

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
    decoding, passes, offline = [], [], []
    for _ in range(rounds):
        decoding.append(_decoded(open_clip()))
        begun_s = time.process_time()
        offline.append(run(open_clip(), recognizer))
        cpu_s = time.process_time() - begun_s
        passes.append(_one_pass(offline[-1].frames, offline[-1].wall_s, cpu_s))
    live = run(PacedSource(open_clip()), recognizer)
    middle = sorted(offline, key=lambda summary: summary.fps)[rounds // 2]
    return Bench(middle, tuple(passes), tuple(decoding), live, first[0], peak_rss_mb())


def _decoded(source: Source) -> Pass:
    """All frames of a source, and nothing done with them."""
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    try:
        frames = sum(1 for _ in source.frames())
    finally:
        source.close()
    return _one_pass(frames, time.perf_counter() - begun_s, time.process_time() - begun_cpu_s)


def _one_pass(frames: int, wall_s: float, cpu_s: float) -> Pass:
    return Pass(frames / wall_s if wall_s else 0.0, cpu_s * 1e3 / max(frames, 1))


def _passes_json(passes: Sequence[Pass]) -> list[dict[str, float]]:
    return [{"fps": round(one.fps, 2), "cpu_ms": round(one.cpu_ms, 3)} for one in passes]


class _First(BaseSource):
    """A source's first frame."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.live, self.rate_hz = source.name, source.live, source.rate_hz
        self.size, self.duration_s = source.size, source.duration_s

    def frames(self) -> Iterator[Frame]:
        """One frame."""
        yield next(self._source.frames())

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def peak_rss_mb() -> float:
    """The most memory this process has held so far, megabytes."""
    if sys.platform == "linux":
        # getrusage would count what the parent held when it started this process.
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
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
