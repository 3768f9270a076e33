"""How fast batches are, and how much memory they take: one process, two, and a Ray cluster of two.

    python -m tests.bench_batches [--clips 240]             speed, of --on ray --jobs 2 too
    python -m tests.bench_batches --memory [--clips 1000]   memory on the way

Clips are twelve frames of the built-in sample each, half of them 480x270 and half 640x360. Start-up
is what passes until the first clip stands in the ledger; speed is that of all clips after it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import psutil

from ferstream.stream.sources import open_source

FRAMES = 12
SIZES = ((480, 270), (640, 360))
LOOK_S = 0.1
SCORER = "stream.batch.worker"
"""Stands in the command line of processes that score."""
STEPS = 10


@dataclass
class Measured:
    """One run."""

    start_s: float = 0.0
    clips_s: float = 0.0
    clips: int = 0
    end_s: float = 0.0
    peak_mb: float = 0.0
    """Of the process that scores and was largest."""
    parent_mb: float = 0.0
    at_steps_mb: list[float] = field(default_factory=list)
    """Mean of the scoring processes, after each tenth of the clips."""

    @property
    def rate(self) -> float:
        """Clips a second once it has begun."""
        return (self.clips - 1) / self.clips_s


def make_clips(folder: Path, count: int) -> None:
    """The clips, each from another moment of the sample."""
    folder.mkdir()
    sample = [frame.pixels for frame in open_source("sample").frames()]
    made: dict[tuple[int, int], bytes] = {}
    for number in range(count):
        key = (number % len(sample), number % len(SIZES))
        path = folder / f"{number:04}.mp4"
        if key in made:
            path.write_bytes(made[key])
            continue
        width, height = SIZES[key[1]]
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"preset": "veryfast"}
            for pixels in itertools.islice(itertools.cycle(sample), key[0], key[0] + FRAMES):
                shown = np.ascontiguousarray(cv2.resize(pixels, (width, height)))
                picture = av.VideoFrame.from_ndarray(shown, format="rgb24")
                file.mux(stream.encode(picture))
            file.mux(stream.encode())
        made[key] = path.read_bytes()


def run(folder: Path, name: str, options: Sequence[str], count: int) -> Measured:
    """Score all clips and watch the ledger and the processes."""
    command = [sys.executable, "-m", "ferstream", "score", str(folder / "clips")]
    table = folder / f"{name}.parquet"
    ledger = Path(f"{table}.ledger")
    found = Measured()
    begun_s = now_s = time.perf_counter()
    first_s = last_s = 0.0
    with (folder / f"{name}.txt").open("w") as said:
        process = subprocess.Popen(
            [*command, "--to", str(table), *options],
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        watched, next_s = psutil.Process(process.pid), 0.0
        while process.poll() is None:
            time.sleep(LOOK_S)
            now_s = time.perf_counter()
            done = ledger.read_bytes().count(b'\n{"source"') if ledger.is_file() else 0
            if done and not first_s:
                first_s = now_s
            if done != found.clips:
                found.clips, last_s = done, now_s
            if now_s >= next_s:
                next_s = now_s + 1
                _look(watched, found, done * STEPS // count)
    found.start_s, found.clips_s = first_s - begun_s, last_s - first_s
    found.end_s = now_s - last_s
    if process.returncode or found.clips != count:
        sys.exit(f"{name}: status {process.returncode}, {found.clips} of {count} clips")
    return found


def _look(process: psutil.Process, found: Measured, step: int) -> None:
    try:
        children = process.children(recursive=True)
        scorers = [one for one in children if any(SCORER in word for word in one.cmdline())]
        sizes = [one.memory_info().rss / 2**20 for one in scorers]
        found.parent_mb = max(found.parent_mb, process.memory_info().rss / 2**20)
    except psutil.Error:
        return
    found.peak_mb = max([found.peak_mb, *sizes])
    if step > len(found.at_steps_mb) and sizes:
        found.at_steps_mb.append(sum(sizes) / len(sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", choices=("jobs1", "jobs2", "ray2"))
    asked = parser.parse_args()
    count = asked.clips or (1000 if asked.memory else 240)
    runs = {"jobs1": ["--jobs", "1"], "jobs2": ["--jobs", "2"]}
    if not asked.memory:
        runs["ray2"] = ["--on", "ray", "--jobs", "2"]
    rates: dict[str, float] = {}
    print("run      start-up s  clips/s  times jobs1  end s  largest MB  parent MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder / "clips", count)
        for run_name, options in runs.items():
            if asked.only not in (None, run_name):
                continue
            one = run(folder, run_name, options, count)
            rates[run_name] = one.rate
            times = one.rate / rates.get("jobs1", one.rate)
            print(
                f"{run_name:8} {one.start_s:10.1f} {one.rate:8.2f} {times:12.2f} {one.end_s:6.1f} "
                f"{one.peak_mb:11.0f} {one.parent_mb:10.0f}",
                flush=True,
            )
            if asked.memory:
                told = " ".join(f"{size:.0f}" for size in one.at_steps_mb)
                print(f"         MB after each tenth of {count} clips: {told}")
    if "ray2" in rates and "jobs2" in rates:
        print(f"ray2 / jobs2: {rates['ray2'] / rates['jobs2']:.2f}")


if __name__ == "__main__":
    main()
