"""The benchmark tables of the papers' systems: which runs they are made of, run and written down.

Every row is a run of `ferstream train SYSTEM --fast` with options of its own, in a folder of its
own; what is finished is never run again, so a table grows over several evenings.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import OptionsWrong, RunUnfinished
from .report import figure_text
from .run_folder import RUN, open_run
from .table_rows import ROWS, TITLES, Row

LOG = "train.log"
SPLITS = ("test", "validation")
_RESAMPLES = 2_000
FIGURES = {"top1": "top-1", "macro_recall": "macro recall", "ece": "ECE"}


def run_path(folder: Path, row: Row, seed: int) -> Path:
    """Where a row's run of this seed lies."""
    return folder / row.table / f"{row.name}-{seed}"


def command(folder: Path, row: Row, seed: int, data: str | None = None) -> list[str]:
    """The row's command line; it reproduces the row alone, once what it builds on is there."""
    options = dict(row.options)
    if row.after:
        options[row.after_option] = str(run_path(folder, row_named(row.table, row.after), seed))
    words = ["ferstream", "train", row.system, "--fast", "--seed", str(seed)]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--data", data] if data else []
    return [*words, "--run", str(run_path(folder, row, seed))]


def chosen_rows(beginnings: str) -> list[Row]:
    """Rows whose table/name begins so; of several beginnings, with commas between them, in their
    order.

    Raises:
        OptionsWrong: none does.
    """
    found: dict[Row, None] = {}
    for beginning in beginnings.split(","):
        some = [row for row in ROWS if f"{row.table}/{row.name}".startswith(beginning.strip())]
        if not some:
            names = ", ".join(f"{row.table}/{row.name}" for row in ROWS)
            raise OptionsWrong(f"no row begins with {beginning!r}: there are {names}")
        found |= dict.fromkeys(some)
    return list(found)


def seeds_of(text: str) -> list[int]:
    """Seeds from a text such as "0,1,2".

    Raises:
        OptionsWrong: it is no list of whole numbers.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise OptionsWrong(
            f"seeds {text!r}: give whole numbers with commas between them"
        ) from error


def row_named(table: str, name: str) -> Row:
    """The row of this name."""
    (found,) = [row for row in ROWS if (row.table, row.name) == (table, name)]
    return found


def finished(path: Path) -> bool:
    """Whether the run there was trained to its end and measured."""
    try:
        return (path / RUN).is_file() and open_run(path).finished
    except RunUnfinished:
        return False


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


def markdown(folder: Path, rows: Sequence[Row], seeds: Sequence[int], split: str = "test") -> str:
    """What is finished as Markdown tables: means over seeds with their standard deviations.

    ``split`` "validation" shows what choices may rest on.

    Raises:
        OptionsWrong: another split.
    """
    if split not in SPLITS:
        raise OptionsWrong(f"split {split!r}: there are {', '.join(SPLITS)}")
    parts = []
    for table, title in TITLES.items():
        chosen = [row for row in rows if row.table == table]
        measured = {row: found for row in chosen if (found := _measured(folder, row, seeds, split))}
        if not measured:
            continue
        more = dict.fromkeys(name for row in measured for name in row.figures)
        named = [name.replace("_", " ") for name in more]
        head = ["run", "seeds", *FIGURES.values(), "top-1 gained, points", *named]
        parts.append(f"### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row, found in measured.items():
            own = [_figure(found, name) if name in row.figures else "" for name in more]
            cells = [row.name, str(len(found)), *(_figure(found, name) for name in FIGURES)]
            parts.append(f"| {' | '.join([*cells, gained(folder, row, seeds, split), *own])} |")
        parts.append("")
    return "\n".join(parts)


def _measured(folder: Path, row: Row, seeds: Sequence[int], split: str) -> list[dict[str, Any]]:
    """A split's figures of a row's finished runs."""
    paths = [run_path(folder, row, seed) for seed in seeds]
    return [open_run(path).metrics()[split] for path in paths if finished(path)]


def gained(folder: Path, row: Row, seeds: Sequence[int], split: str = "test") -> str:
    """Points of top-1 that a row gains over the one that it is held against: the mean over seeds,
    and in brackets what 95 % of resamplings of the split's faces give. Empty where either lacks.

    Both runs of a seed judged the same faces: their answers are compared face by face. Seeds that
    judged the same faces are resampled together; a protocol draws others for every seed.
    """
    if row.against in ("", row.name):
        return ""
    differences: dict[bytes, list[npt.NDArray[np.float32]]] = {}
    for seed in seeds:
        paths = [run_path(folder, r, seed) for r in (row, row_named(row.table, row.against))]
        if all(map(finished, paths)):
            (one, faces), (other, _) = (_hits(path, split) for path in paths)
            differences.setdefault(faces, []).append(one - other)
    if not differences:
        return ""
    count = sum(map(len, differences.values()))
    rng, mean, resampled_R = np.random.default_rng(0), 0.0, np.zeros(_RESAMPLES)
    for alike in differences.values():
        points_N = 100 * np.mean(alike, axis=0)
        drawn_RN = rng.integers(0, len(points_N), (_RESAMPLES, len(points_N)))
        mean += len(alike) / count * float(points_N.mean())
        resampled_R += len(alike) / count * points_N[drawn_RN].mean(axis=1)
    low, high = np.quantile(resampled_R, (0.025, 0.975))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _hits(path: Path, split: str) -> tuple[npt.NDArray[np.float32], bytes]:
    """1 where a run was right about a face of a split, else 0, (N,); and what tells these faces
    from others: their targets."""
    found = open_run(path).predictions()
    target = found[f"{split}_target"]
    right = found[f"{split}_logits"].argmax(axis=1) == target.argmax(axis=1)
    return np.asarray(right, np.float32), target.tobytes()


def _figure(measured: Sequence[dict[str, Any]], name: str) -> str:
    """Mean and, of several, standard deviation."""
    values = np.array([found[name] for found in measured if name in found], np.float64)
    if not len(values):
        return ""
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    text = figure_text(name, float(values.mean()))
    if spread is None:
        return text
    bare = figure_text(name, spread).removesuffix(" %")
    return text.replace(" %", f" ± {bare} %") if "%" in text else f"{text} ± {bare}"
