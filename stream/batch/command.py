"""What `ferstream score` does: its clips as a batch, with words and a bar for who waits."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferstream.engines.manifest import Manifest
from ferstream.engines.terminal import plain, plain_console

from ..errors import StreamError
from ..options import complain, facts, leave
from ..outputs import Outputs
from ..process import Stop, few_arenas, stopping_on_signals
from ..recognize import Recognizer
from ..result import SCHEMA
from ..sinks.tally import write_clips
from .plan import Plan, Running
from .remote import Pushing, RemoteFolder
from .runner import Watcher, run_batch
from .task import Settings, Task
from .worker import LocalWorker, ProcessWorker, Worker

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..sources.base import Source


def score_all(
    names: Sequence[str],
    settings: Settings,
    outputs: Outputs,
    running: Running,
    *,
    as_json: bool,
    remote: RemoteFolder | None = None,
) -> None:
    """Score clips, print what came of them, and exit with the status that fits.

    With a `remote` folder the outputs lie in its copy on this machine, and go there clip by clip.
    Raises a `SourceError` for a single clip that cannot be scored, `SinkError` and what opening a
    bundle raises.
    """
    few_arenas()
    plan = Plan(names, outputs, running)
    names = plan.names
    # A single clip that cannot be read says so before the networks are loaded.
    first = settings.opened(names[0]) if plan.single and not running.elsewhere else None
    stop = Stop()
    silent = as_json or outputs.on_standard_output
    with ExitStack() as closing:
        recognizer = closing.enter_context(
            Recognizer(settings.bundle, settings.backend, faces=settings.face_options())
        )
        about = facts(recognizer, settings.purpose, settings.asked_part(), settings.face_options())
        if running.cluster is not None:
            from .cluster import Cluster

            # Before signals are taken, as Ray takes them too.
            cluster = closing.enter_context(Cluster(running.cluster, running.jobs))
        closing.enter_context(stopping_on_signals(stop))
        ledger = plan.open_ledger(_options(settings, recognizer.bundle.manifest))
        if ledger is not None:
            closing.enter_context(ledger)
        workers: list[Callable[[], Worker]]
        if running.cluster is not None and ledger is not None:
            workers = cluster.workers(settings, about, ledger, complain)
        elif running.jobs is not None:
            cores = range(running.jobs)
            workers = [partial(ProcessWorker, settings, about, core, complain) for core in cores]
        else:
            workers = [partial(LocalWorker, settings, recognizer, about, complain, first)]
        if running.elsewhere:
            recognizer.close()  # each process has its own
        watcher: Watcher = closing.enter_context(_Terminal(len(names), first, silent))
        if remote is not None:
            watcher = Pushing(watcher, remote)
        whole = running.shard is None
        batch = run_batch(
            plan.tasks, workers, ledger=ledger, stop=stop, watcher=watcher, join=whole
        )
        if not stop.is_set():
            if whole and outputs.summary_place is not None:
                write_clips(outputs.summary_place, batch.documents, recognizer.labels, about)
            plan.end()
        if remote is not None:
            remote.push(ended=not stop.is_set())
    if plan.single and batch.failures:
        raise batch.failures[0].__cause__ or batch.failures[0]
    if stop.is_set() and plan.resumable:
        done = len(batch.documents)
        complain(f"{done} of {len(names)} clips begun; the same with --resume goes on")
    if as_json:
        print(json.dumps({"schema": SCHEMA, **about, "clips": batch.documents}))
    leave(stop.status, bool(batch.failures))


def _options(settings: Settings, manifest: Manifest) -> dict[str, Any]:
    """What a ledger holds results to."""
    files = json.dumps(sorted(manifest.files.items())).encode()
    bundle = f"{manifest.name} {hashlib.sha256(files).hexdigest()[:16]}"
    return {"schema": SCHEMA, **asdict(settings), "bundle": bundle}


class _Terminal(Watcher):
    """Tells of a batch as it goes on: a bar on standard error where that is a terminal, a line for
    what fails, and what came of each clip unless `silent`."""

    def __init__(self, clips: int, first: Source | None, silent: bool) -> None:
        self._clips, self._silent = clips, silent
        self._duration_s = first.duration_s if first is not None else None
        self._lock = threading.Lock()
        self._under_way: dict[str, int] = {}
        self._done = self._frames = 0
        self._begun_s = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> _Terminal:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:.0f} %", markup=False),
                TimeRemainingColumn(),
                console=plain_console(stderr=True),
                transient=True,
                redirect_stdout=not self._silent,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._clips if self._clips > 1 else None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begun(self, task: Task) -> None:
        with self._lock:
            self._under_way[task.source] = 0
        self._show(task)

    def progress(self, task: Task, frames: int, time_s: float) -> None:
        with self._lock:
            self._under_way[task.source] = frames
        self._show(task, time_s)

    def ended(self, task: Task, told: Mapping[str, Any] | None, error: StreamError | None) -> None:
        with self._lock:
            self._under_way.pop(task.source, None)
            self._done += 1
            self._frames += told["document"]["frames"] if told else 0
            if error is not None and self._clips > 1:
                complain(error)
            if told is not None and not self._silent:
                print(told["text"], flush=True)
        self._show(task)

    def _show(self, task: Task, time_s: float = 0.0) -> None:
        if self._bar is None:
            return
        name = plain(Path(task.source).name)
        if self._clips == 1:
            self._bar.update(self._task, description=name, total=self._duration_s, completed=time_s)
            return
        with self._lock:
            frames = self._frames + sum(self._under_way.values())
            rate = frames / max(time.monotonic() - self._begun_s, 1e-3)
            words = f"{self._done}/{self._clips} clips, {rate:.0f} frames/s, {name}"
            self._bar.update(self._task, description=words, completed=self._done)
