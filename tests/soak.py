"""Watches a camera that keeps failing, for as long as wanted, and says what is left behind.

    python -m tests.soak --minutes 60 [--out FILE]

One RTSP camera, watched by both captures at once with the real recogniser and rows written to a
file. At random moments it is killed, frozen, cut off in the middle of a packet, switched to another
size, or shows nobody. Memory, threads and file handles are noted all the time. The exit status is 0
where memory grew by less than 20 MB after the warm-up, nothing else grew, every outage was over
within 5 s of the camera's return, and no frame was invented.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ferstream.stream.process import few_arenas
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sinks.jsonl import JsonlFile
from ferstream.stream.sinks.rows import FrameRows, RowSink
from ferstream.stream.sources import open_live

from .live_bench import machine
from .relay import Relay, half
from .rtsp_camera import Camera
from .watch import STRANGE, Held, Watch, held

MOST_GROWTH_MB = 20.0
BACK_WITHIN_S = 5.0
CAPTURES = ("gstreamer", "pyav")
SIZES = ((640, 480), (800, 600))


@dataclass
class Notes:
    """What happened so far."""

    taken: list[tuple[float, Held]] = field(default_factory=list)
    """Minutes since the start, and what was held then."""
    outages: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    """What was done to the camera, and after how many seconds each capture was back."""
    frames: int = 0
    strange: int = 0
    false_faces: int = 0
    backwards: int = 0


class Soak:
    """One camera, its bad line, and who watches."""

    def __init__(self, minutes: float, chance: random.Random, rate_hz: float) -> None:
        self._minutes, self._chance = minutes, chance
        self._camera = Camera(SIZES[0], rate_hz, round(rate_hz))
        for size in SIZES:
            for scene in ("face", "empty"):
                self._camera.prepare(size, scene)
        self.notes = Notes()
        self._begun_s = 0.0

    def run(self, recognizer: Recognizer, folder: Path) -> None:
        """All of it."""
        with self._camera as camera, Relay(camera.port) as relay:
            sources = {
                capture: open_live(f"{relay.url}/{capture}", capture=capture, stall_s=3)
                for capture in CAPTURES
            }
            sinks = {
                capture: [RowSink(FrameRows(), JsonlFile(folder / f"{capture}.jsonl"))]
                for capture in CAPTURES
            }
            known = dict.fromkeys(sources, camera)
            with Watch(sources, known, recognizer, sinks) as watch:
                watch.all_see(camera.epoch_s)
                self._begun_s = time.monotonic()
                while self._minute() < self._minutes:
                    self._wait(watch, self._chance.uniform(5, 25))
                    self._trouble(camera, relay, watch)
                self._wait(watch, 5)
            self._look_at(watch, 0)

    def _minute(self) -> float:
        return (time.monotonic() - self._begun_s) / 60

    def _wait(self, watch: Watch, wait_s: float) -> None:
        """Let some time pass and write down what is held."""
        until_s = time.monotonic() + wait_s
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 5.0))
            self.notes.taken.append((self._minute(), held()))
            self._look_at(watch, 20)

    def _trouble(self, camera: Camera, relay: Relay, watch: Watch) -> None:
        """Do something to the camera, and see how long both take to come back."""
        kind = self._chance.choice(("kill", "kill", "freeze", "hang up", "half", "size", "scene"))
        if kind == "kill":
            camera.kill()
            time.sleep(self._chance.uniform(0, 10))
            camera.start()
        elif kind == "freeze":
            camera.freeze()
            time.sleep(self._chance.uniform(1, 10))
            camera.thaw()
        elif kind == "hang up":
            camera.hang_up()
        elif kind == "half":
            relay.spoil(half, packets=2)
            watch.until(lambda: not relay.spoiling, 30)
        elif kind == "size":
            camera.set_size(SIZES[SIZES.index(camera.pictures.size) - 1])
        else:
            camera.show("empty" if camera.pictures.scene == "face" else "face")
        back_s = camera.epoch_s if kind == "kill" else time.monotonic()
        took_s = {key: round(took, 2) for key, took in watch.all_see(back_s, 60).items()}
        self.notes.outages.append((kind, took_s))
        if max(took_s.values()) >= BACK_WITHIN_S:
            print(f"back at {back_s:.2f}:\n{watch.story()}", file=sys.stderr)
        print(
            f"{self._minute():6.1f} min  {kind:8} {took_s}  {held()}", file=sys.stderr, flush=True
        )

    def _look_at(self, watch: Watch, keep: int) -> None:
        """Judge what was seen, and forget all but the last."""
        for seen in watch.seen.values():
            judged = seen[: len(seen) - keep]
            after = seen[1 : len(judged) + 1]
            del seen[: len(judged)]
            self.notes.frames += len(judged)
            self.notes.strange += sum(one.strangeness > STRANGE for one in judged)
            self.notes.false_faces += sum(bool(one.ids) and one.scene == "empty" for one in judged)
            pairs = zip(judged, after, strict=False)
            self.notes.backwards += sum(b.time_s <= a.time_s for a, b in pairs)


def judged(notes: Notes, minutes: float) -> dict[str, Any]:
    """The notes as figures; `ok` where all is as it should be."""
    warm = min(10.0, minutes / 4)
    late = [(minute, one) for minute, one in notes.taken if minute >= warm]
    if len(late) < 4:
        raise SystemExit("too short to tell: at least half a minute")
    part = max(2, len(late) // 8)
    memory_mb = np.array([one.memory_mb for _, one in late])
    first, last = float(np.median(memory_mb[:part])), float(np.median(memory_mb[-part:]))
    slope = float(np.polyfit([minute for minute, _ in late], memory_mb, 1)[0]) * 60
    slowest_s = max((max(took.values()) for _, took in notes.outages), default=0.0)
    growth = {
        name: int(np.median([getattr(one, name) for _, one in late[-part:]]))
        - int(np.median([getattr(one, name) for _, one in late[:part]]))
        for name in ("threads", "files")
    }
    kinds = sorted({kind for kind, _ in notes.outages})
    invented = notes.strange + notes.false_faces + notes.backwards
    return {
        "minutes": round(minutes, 1),
        "warm_up_minutes": round(warm, 1),
        "frames": notes.frames,
        "outages": {kind: sum(one == kind for one, _ in notes.outages) for kind in kinds},
        "slowest_return_s": slowest_s,
        "memory_after_warm_up_mb": round(first, 1),
        "memory_at_end_mb": round(last, 1),
        "growth_mb": round(last - first, 1),
        "peak_mb": round(float(memory_mb.max()), 1),
        "slope_mb_per_hour": round(slope, 2),
        "growth_threads": growth["threads"],
        "growth_files": growth["files"],
        "strange_frames": notes.strange,
        "faces_where_nobody_is": notes.false_faces,
        "times_backwards": notes.backwards,
        "ok": last - first < MOST_GROWTH_MB
        and max(growth.values()) <= 2
        and slowest_s < BACK_WITHIN_S
        and not invented,
    }


def main(words: list[str] | None = None) -> int:
    """The command line."""
    asked = argparse.ArgumentParser(prog="python -m tests.soak")
    asked.add_argument("--minutes", type=float, default=60)
    asked.add_argument("--rate", type=float, default=15, help="the camera's frames per second")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--out", type=Path)
    told = asked.parse_args(words)
    few_arenas()  # as `ferstream live` does
    before = machine()
    soak = Soak(told.minutes, random.Random(told.seed), told.rate)
    with tempfile.TemporaryDirectory() as folder, Recognizer() as recognizer:
        soak.run(recognizer, Path(folder))
    found = {"machine": before, "seed": told.seed, **judged(soak.notes, told.minutes)}
    text = json.dumps(found, indent=2)
    if told.out:
        told.out.write_text(text + "\n")
    else:
        print(text)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
