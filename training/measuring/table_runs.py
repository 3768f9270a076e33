"""The runs of the benchmark tables, trained several at a time.

What is finished is never run again, so a table grows over several evenings.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .tables import Row, command, finished, row_named, run_path

LOG = "train.log"


@dataclass
class Queue:
    """Runs to do, handed out to several workers; a run waits for the one that it builds on."""

    folder: Path
    waiting: list[tuple[Row, int]]
    data: str | None = None
    failed: list[Path] = field(default_factory=list)
    _busy: set[Path] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self) -> tuple[Row, int] | None:
        """The next run whose ground is laid; waits for one, None when nothing will come."""
        with self._changed:
            while True:
                for entry in list(self.waiting):
                    row, seed = entry
                    base = self._base(row, seed)
                    if base is None or finished(base):
                        self.waiting.remove(entry)
                        self._busy.add(run_path(self.folder, row, seed))
                        return entry
                    if base not in self._busy and base not in self._waited():
                        self.waiting.remove(entry)
                        self.failed.append(run_path(self.folder, row, seed))
                if not self.waiting or not self._busy:
                    return None
                self._changed.wait()

    def done(self, row: Row, seed: int, code: int) -> None:
        """Tell the others how a run ended."""
        with self._changed:
            path = run_path(self.folder, row, seed)
            self._busy.discard(path)
            if code:
                self.failed.append(path)
            self._changed.notify_all()

    def _base(self, row: Row, seed: int) -> Path | None:
        if not row.after:
            return None
        return run_path(self.folder, row_named(row.table, row.after), seed)

    def _waited(self) -> set[Path]:
        return {run_path(self.folder, row, seed) for row, seed in self.waiting}


def run_rows(
    folder: Path,
    rows: Sequence[Row],
    seeds: Sequence[int],
    *,
    data: str | None = None,
    jobs: int = 1,
    told: Callable[[str], None] = print,
) -> list[Path]:
    """Train what is missing, seed by seed, ``jobs`` at a time; returns the runs that failed.

    Each run is a process of its own with its share of the cores; what it says goes to
    train.log beside it.
    """
    asked = [(row, seed) for seed in seeds for row in rows]
    missing = [(row, seed) for row, seed in asked if not finished(run_path(folder, row, seed))]
    queue = Queue(folder, missing, data)
    threads = str(max((os.cpu_count() or 1) // jobs, 1))

    def work() -> None:
        while (entry := queue.take()) is not None:
            row, seed = entry
            words = command(folder, row, seed, data)
            told(" ".join(words))
            path = run_path(folder, row, seed)
            path.mkdir(parents=True, exist_ok=True)
            with (path / LOG).open("a") as log:
                code = subprocess.call(
                    [sys.executable, "-m", *words],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "OMP_NUM_THREADS": threads},
                )
            told(f"{path}: {'done' if not code else f'failed, see {path / LOG}'}")
            queue.done(row, seed, code)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return queue.failed
