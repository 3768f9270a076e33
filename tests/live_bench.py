"""Measures live capture on real RTSP cameras on loopback, for BENCHMARKS.md.

    python -m tests.live_bench [--only latency wall reconnect] [--seconds 60] [--out FILE]

latency    from capture to result: 1280x720, 30 frames/s, one face, for both captures. Every
           picture bears its number, so it is known when the camera captured the one that a result
           is about. `recorded`: the camera sends pictures that were coded beforehand; `coded`: it
           codes them as it films, on the same cores, and that is part of the time.
wall       eight cameras at once: frames per second of each, fairness, latency, drops
reconnect  from the camera's return (it answers again) to the first result of a new picture

Progress goes to standard error, one JSON document to standard output or FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.run import Route, run_many
from ferstream.stream.sources import open_live

from .rtsp_camera import Camera, cameras
from .watch import watch_both

CAPTURES = ("gstreamer", "pyav")
WARM_UP_S = 5.0
OUTAGES = 10

Report = dict[str, Any]


def latency(recognizer: Recognizer, seconds: float) -> Report:
    """Capture to result, milliseconds, for both captures and both kinds of camera."""
    found = {}
    for kind in ("recorded", "coded"):
        with Camera((1280, 720), 30, 30, coder=kind == "coded") as camera:
            for capture in CAPTURES:
                say(f"latency, {capture}, {kind}")
                (one,) = watched([camera], capture, recognizer, seconds)
                found[f"{capture}, {kind}"] = one
    return found


def wall(recognizer: Recognizer, seconds: float, count: int, size: tuple[int, int]) -> Report:
    """Many cameras at 15 frames per second, each in a process of its own."""
    found: Report = {"cameras": count, "size": list(size), "rate_hz": 15}
    with cameras(count, size=size, rate_hz=15, gop=15) as all_of_them:
        for capture in CAPTURES:
            say(f"wall of {count}, {capture}")
            each = watched(all_of_them, capture, recognizer, seconds)
            rates = [one["fps"] for one in each]
            found[capture] = {
                "fps": rates,
                "fps_together": round(sum(rates), 1),
                "fairness": round(min(rates) / max(rates), 3),
                "latency_median_ms": [one["median_ms"] for one in each],
                "latency_p95_ms": [one["p95_ms"] for one in each],
                "drops": [one["drops"] for one in each],
                "notes": [one["notes"] for one in each],
            }
    return found


def watched(
    all_of_them: list[Camera], capture: str, recognizer: Recognizer, seconds: float
) -> list[Report]:
    """Watch cameras for some time; what came of each, its warm-up left out."""
    sources = [open_live(camera.url, capture=capture) for camera in all_of_them]
    by_name = {source.name: camera for source, camera in zip(sources, all_of_them, strict=True)}
    late_ms: dict[str, list[float]] = {name: [] for name in by_name}
    unread = dict.fromkeys(by_name, 0)
    faces = dict.fromkeys(by_name, 0)
    begun_s = time.monotonic()

    def note(frame: Frame, result: Result) -> None:
        now_s = time.monotonic()
        if now_s - begun_s < WARM_UP_S:
            return
        captured_s = by_name[frame.source].captured_s(frame.pixels, now_s)
        if captured_s is None:
            unread[frame.source] += 1
        else:
            late_ms[frame.source].append((now_s - captured_s) * 1e3)
            faces[frame.source] += len(result.faces)

    routes = [Route(source) for source in sources]
    summaries = run_many(routes, recognizer, seconds=WARM_UP_S + seconds, on_result=note)
    found = []
    for summary in summaries:
        ms = late_ms[summary.source]
        if not ms:
            raise SystemExit(f"no picture of {summary.source}: {summary.notes}")
        found.append(
            {
                "frames": len(ms),
                "fps": round(len(ms) / seconds, 2),
                "median_ms": round(float(np.median(ms)), 1),
                "p95_ms": round(float(np.percentile(ms, 95)), 1),
                "max_ms": round(max(ms), 1),
                "faces_per_frame": round(faces[summary.source] / len(ms), 3),
                "unread": unread[summary.source],
                "drops": summary.drops,
                "notes": list(summary.notes),
                "stages_median_ms": {
                    name: round(times.median_ms, 2) for name, times in summary.stages.items()
                },
            }
        )
    return found


def reconnect(recognizer: Recognizer, outages: int) -> Report:
    """Seconds from a camera's return to its first new result, watched by both captures at once."""
    found: dict[str, dict[str, list[float]]] = {}
    with Camera((640, 480), 30, 30) as camera, watch_both(camera, recognizer, stall_s=3) as watch:
        watch.all_see(camera.epoch_s)
        for kind, away_s in (("killed", 2.0), ("killed for long", 12.0), ("frozen", 8.0)):
            back: dict[str, list[float]] = {capture: [] for capture in CAPTURES}
            for turn in range(outages if away_s < 10 else max(1, outages // 3)):
                say(f"reconnect, {kind}, {turn + 1}")
                (camera.freeze if kind == "frozen" else camera.kill)()
                time.sleep(away_s + 0.37 * turn % 1)
                if kind == "frozen":
                    camera.thaw()
                    since_s = time.monotonic()
                else:
                    camera.start()
                    since_s = camera.epoch_s
                for capture, took_s in watch.all_see(since_s, 30).items():
                    back[capture].append(round(took_s, 2))
                    if took_s > 5:
                        say(f"{capture} took {took_s:.2f} s from {since_s:.2f}\n{watch.story()}")
                time.sleep(1)
            found[kind] = back
    return {
        kind: {
            capture: {
                "median_s": round(float(np.median(took)), 2),
                "max_s": max(took),
                "each_s": took,
            }
            for capture, took in back.items()
        }
        for kind, back in found.items()
    }


def say(what: str) -> None:
    """Progress, for who waits."""
    print(what, file=sys.stderr, flush=True)


def machine() -> Report:
    """What it was measured on, and how busy that was before."""
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main(words: list[str] | None = None) -> None:
    """The command line."""
    asked = argparse.ArgumentParser(prog="python -m tests.live_bench")
    parts = ("latency", "wall", "reconnect")
    asked.add_argument("--only", nargs="+", choices=parts, default=parts)
    asked.add_argument("--seconds", type=float, default=60, help="measured per case")
    asked.add_argument("--cameras", type=int, default=8)
    asked.add_argument("--size", default="1280x720", help="of the wall's cameras")
    asked.add_argument("--outages", type=int, default=OUTAGES, help="of each kind")
    asked.add_argument("--out", type=Path)
    told = asked.parse_args(words)
    width, _, height = told.size.partition("x")
    found: Report = {"machine": machine()}
    with Recognizer() as recognizer:
        todo: dict[str, Callable[[], Report]] = {
            "latency": lambda: latency(recognizer, told.seconds),
            "wall": lambda: wall(recognizer, told.seconds, told.cameras, (int(width), int(height))),
            "reconnect": lambda: reconnect(recognizer, told.outages),
        }
        for part in told.only:
            found[part] = todo[part]()
    text = json.dumps(found, indent=2)
    if told.out:
        told.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
