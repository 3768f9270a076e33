"""Results and measured speed, in words and for one JSON document.

Speed is measured from a file to results and from a capture to its result. Decoding alone stands
beside it, which is the upper bound.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ferstream.engines.terminal import plain

from .emotions import NEUTRAL, faint
from .frame import Frame
from .pipeline import TwoStage
from .recognize import Recognizer
from .run import run
from .sinks.tally import FaceSummary
from .sources.base import BaseSource, PacedSource, Source
from .summary import StageTimes, Summary

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


_BAR_CHARACTERS = 24
_MOST_FACES = 20


def about(recognizer: Recognizer) -> dict[str, Any]:
    """What produced the results: bundle, engines, front end, the window about a frame from which it
    is read (seconds), and how each head was supervised."""
    manifest = recognizer.bundle.manifest
    return {
        "bundle": {"name": manifest.name, "version": manifest.version},
        "engines": {
            name: {"backend": engine.backend, "precision": engine.precision}
            for name, engine in recognizer.engines.items()
        },
        "front_end": recognizer.front_end,
        "window_s": {
            "recording": [-manifest.clip_duration_s / 2, manifest.clip_duration_s / 2],
            "live": [-manifest.clip_duration_s, 0.0],
        },
        "heads": {
            head.name: {"supervision": head.supervision, "note": head.note}
            for head in manifest.heads
        },
    }


def summary_json(
    summary: Summary, faces: Sequence[FaceSummary] | None = None, top: int = 10
) -> dict[str, Any]:
    """One clip's or camera's part of the document."""
    document: dict[str, Any] = {
        "source": summary.source,
        "frames": summary.frames,
        "duration_s": round(summary.duration_s, 4),
        "wall_s": round(summary.wall_s, 4),
        "fps": round(summary.fps, 2),
        "faces_seen": summary.faces,
        "faces_per_frame": round(summary.faces_per_frame, 4),
        "drops": summary.drops,
        "stages": {name: _times_json(times) for name, times in summary.stages.items()},
        "notes": list(summary.notes),
        "interrupted": summary.interrupted,
        "error": None if summary.failure is None else str(summary.failure),
    }
    if summary.latency.count:
        document["latency"] = _times_json(summary.latency)
    if faces is not None:
        document["faces"] = [face.to_json(top) for face in faces]
    return document


def failure_json(source: str, error: Exception) -> dict[str, Any]:
    """The part of a clip that could not be scored at all."""
    return {"source": plain(source), "frames": 0, "faces": [], "error": plain(str(error))}


def clip_text(summary: Summary, faces: Sequence[FaceSummary], top: int) -> str:
    """A clip's faces, each with its words."""
    count = _plural(summary.faces, "face")
    head = (
        f"{summary.source}: {summary.duration_s:.1f} s, {_plural(summary.frames, 'frame')}, {count}"
    )
    lines = [f"{head}, {summary.fps:.0f} frames/s"]
    lines += [f"  note: {note}" for note in summary.notes]
    for face in faces[:_MOST_FACES]:
        lines += ["", *_face_lines(face, top)]
    if len(faces) > _MOST_FACES:
        lines.append(f"\n  and {_plural(len(faces) - _MOST_FACES, 'more face')}")
    return plain("\n".join(lines) + "\n")


def live_text(summary: Summary, window_s: float) -> str:
    """How a live source went; readings are of the last `window_s` seconds."""
    head = f"{summary.source}: {summary.wall_s:.1f} s, {_plural(summary.frames, 'frame')}"
    lines = [f"{head}, {_plural(summary.faces, 'face')}, {summary.fps:.1f} frames/s"]
    if summary.latency.count:
        latency = summary.latency
        lines.append(
            f"  from capture to result {latency.median_ms:.0f} ms, "
            f"95 % within {latency.p95_ms:.0f} ms"
        )
        lines.append(
            f"  readings are of the last {window_s:g} s: a change shows up to half of that later"
        )
    lines += [f"  dropped: {count} ({cause})" for cause, count in summary.drops.items()]
    lines += [f"  note: {note}" for note in summary.notes]
    return plain("\n".join(lines))


def bench_text(bench: Bench) -> str:
    """A bench as a small table."""
    offline, live = bench.offline, bench.live
    busy = ", ".join(f"{name} {100 * share:.0f} %" for name, share in bench.busy().items())
    shares = bench.shares()
    lines = [
        f"{offline.source}: {_plural(offline.frames, 'frame')}, "
        f"{offline.faces_per_frame:.1f} faces per frame",
        "",
        f"  {'offline':<26}{_passes_text(bench.passes)}",
        f"  {'decoding alone':<26}{_passes_text(bench.decoding)}",
        f"  {'capture to result, p95':<26}{live.latency.p95_ms:9.1f} ms, "
        f"{sum(live.drops.values())} frames dropped at the clip's pace",
        f"  {'peak memory':<26}{bench.peak_rss_mb:9.0f} MB",
        f"  {'start to first result':<26}{bench.startup_s:9.2f} s",
        "",
        f"  {'stage':<10}{'thread':<10}{'median ms':>10}{'p95 ms':>10}{'share':>10}",
    ]
    for name, times in offline.stages.items():
        lines.append(
            f"  {name:<10}{THREADS.get(name, ''):<10}{times.median_ms:10.2f}{times.p95_ms:10.2f}"
            f"{100 * shares[name]:8.0f} %"
        )
    return plain("\n".join([*lines, "", f"  threads at work: {busy}"]))


def _passes_text(passes: Sequence[Pass]) -> str:
    """Median speed and cost of several rounds, with their spread."""
    fps = sorted(one.fps for one in passes)
    text = f"{statistics.median(fps):9.1f} frames/s"
    if len(fps) > 1:
        text += f" ({fps[0]:.0f} to {fps[-1]:.0f})"
    return f"{text}, {statistics.median(one.cpu_ms for one in passes):.2f} ms of CPU per frame"


def _face_lines(face: FaceSummary, top: int) -> list[str]:
    """A face's label, and its words with bars; a face that shows nothing has a hint of one."""
    count = _plural(face.frames, "frame")
    head = (
        f"  face {face.id}  {face.from_s:.1f} to {face.to_s:.1f} s, {count}: {face.label.upper()}"
    )
    doubt = ["uncertain"] if face.uncertain > 0.5 else []
    if face.label == NEUTRAL:
        word, p = faint(face.ranked, face.neutral)
        parts = [f"{100 * face.neutral:.1f} %", f"faintly {word}, {100 * p:.1f} %", *doubt]
        return [f"{head}  ({'; '.join(parts)})"]
    affect = {"intensity": face.intensity, "valence": face.valence, "arousal": face.arousal}
    parts = [
        f"{name} {value:{'.2f' if name == 'intensity' else '+.2f'}}"
        for name, value in affect.items()
        if value is not None
    ]
    if face.expressive < 1:
        parts.append(f"in {100 * face.expressive:.0f} % of the frames")
    lines = [f"{head}  ({', '.join([*parts, *doubt])})"]
    words = face.ranked[:top]
    longest = max((probability for _, probability in words), default=1.0) or 1.0
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    block = "█" if encoding.startswith("utf") else "#"
    for word, probability in words:
        bar = block * max(1, round(_BAR_CHARACTERS * probability / longest))
        lines.append(f"    {word:<16}{100 * probability:5.1f} %  {bar}")
    return lines


def _times_json(times: StageTimes) -> dict[str, float]:
    return {"median_ms": round(times.median_ms, 3), "p95_ms": round(times.p95_ms, 3)}


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
