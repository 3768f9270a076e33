"""Results in words, for people and for one JSON document."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from typing import Any

from ferstream.engines.terminal import plain

from .bench import THREADS, Bench, Pass
from .emotions import NEUTRAL, faint
from .recognize import Recognizer
from .sinks.tally import FaceSummary
from .summary import StageTimes, Summary

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
        told = [f"{100 * face.neutral:.1f} %", f"faintly {word}, {100 * p:.1f} %", *doubt]
        return [f"{head}  ({'; '.join(told)})"]
    affect = {"intensity": face.intensity, "valence": face.valence, "arousal": face.arousal}
    told = [
        f"{name} {value:{'.2f' if name == 'intensity' else '+.2f'}}"
        for name, value in affect.items()
        if value is not None
    ]
    if face.expressive < 1:
        told.append(f"in {100 * face.expressive:.0f} % of the frames")
    lines = [f"{head}  ({', '.join([*told, *doubt])})"]
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
