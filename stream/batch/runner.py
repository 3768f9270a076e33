"""A batch from its tasks to its outputs: workers, ledger, shared tables."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import report
from ..errors import SinkError, StreamError
from ..formats import Place
from ..sinks.base import PART, make_folder, write_failure
from .ledger import DONE, FAILED, Ledger
from .task import Task
from .worker import ClipFailed, Worker, WorkerLost

_PARTS, _JOINED = ".parts", ".joined"
_MOST_LOST = 3
"""So many workers may be lost with one clip; then it is the clip's fault."""
_LOOK_UP_S = 0.1


class Watcher:
    """What is told while a batch goes on; all of it does nothing here."""

    def begun(self, task: Task) -> None:
        """A clip is begun."""

    def progress(self, task: Task, frames: int, time_s: float) -> None:
        """So much of a clip is done."""

    def ended(self, task: Task, told: Mapping[str, Any] | None, error: StreamError | None) -> None:
        """A clip is done, with what its worker told; or failed."""


@dataclass
class Batch:
    """What came of a batch."""

    documents: list[dict[str, Any]]
    """Of the clips that were scored or failed, in the order of the tasks."""
    failures: list[ClipFailed] = field(default_factory=list)
    """Why clips cannot be scored."""
    skipped: int = 0
    """Clips that the ledger had."""


def run_batch(
    tasks: Sequence[Task],
    workers: Sequence[Callable[[], Worker]],
    *,
    ledger: Ledger | None = None,
    stop: threading.Event | None = None,
    watcher: Watcher | None = None,
    join: bool = True,
) -> Batch:
    """Score all tasks, each worker one at a time; the tables that they share come at the end,
    unless that is not to `join` them.

    A clip that fails stops nothing, and one whose worker is lost goes to another. With a ledger,
    what it has is not scored again. Where `stop` is set, clips under way are ended, and tables stay
    in parts until the batch is resumed. Raises `SinkError` where outputs cannot be written, after
    all workers have ended.
    """
    stop, watcher = stop or threading.Event(), watcher or Watcher()
    told: dict[str, dict[str, Any]] = {}
    batch = Batch([])
    todo: deque[Task] = deque()
    for task in tasks:
        entry = ledger.done(task.source) if ledger else None
        if entry is None:
            todo.append(task)
        else:
            told[task.source] = dict(entry["clip"])
            batch.skipped += 1
    with ExitStack() as closing:
        crew = _Crew(todo, told, batch, ledger, stop, watcher)
        for number, make in zip(range(len(todo)), workers, strict=False):
            worker = make()
            closing.callback(worker.close)
            crew.add(worker, f"batch {number}")
        crew.run()
    if crew.error is not None:
        raise crew.error
    batch.documents = [told[task.source] for task in tasks if task.source in told]
    if not stop.is_set():
        if join:
            _join_tables(tasks, resumed=ledger is not None and ledger.resumed)
        if ledger is not None:
            ledger.end()
    return batch


class _Crew:
    """Workers at a pile of tasks, a thread each."""

    def __init__(
        self,
        todo: deque[Task],
        told: dict[str, dict[str, Any]],
        batch: Batch,
        ledger: Ledger | None,
        stop: threading.Event,
        watcher: Watcher,
    ) -> None:
        self._todo, self._told, self._batch = todo, told, batch
        self._ledger, self._stop, self._watcher = ledger, stop, watcher
        self._changed = threading.Condition()
        self._under_way = 0
        self._lost: Counter[str] = Counter()
        self._workers: list[Worker] = []
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self.error: BaseException | None = None
        """What ended the batch."""

    def add(self, worker: Worker, name: str) -> None:
        """One more worker."""
        self._workers.append(worker)
        self._threads.append(threading.Thread(target=self._work, args=(worker,), name=name))

    def run(self) -> None:
        """All tasks; this thread looks for a stop meanwhile."""
        if len(self._workers) == 1:
            watching = threading.Thread(target=self._pass_stop_on, daemon=True)
            watching.start()
            try:
                self._work(self._workers[0])
            finally:
                self._over.set()
                watching.join()
            return
        for thread in self._threads:
            thread.start()
        while any(thread.is_alive() for thread in self._threads):
            if self._stop.wait(_LOOK_UP_S) or self.error is not None:
                for worker in self._workers:
                    worker.stop()
                break
        for thread in self._threads:
            thread.join()

    def _pass_stop_on(self) -> None:
        while not self._over.is_set():
            if self._stop.wait(_LOOK_UP_S):
                self._workers[0].stop()
                return

    def _work(self, worker: Worker) -> None:
        try:
            while self._goes_on():
                task = self._taken() if worker.ready() else None
                if task is None:
                    continue
                try:
                    self._score(worker, task)
                finally:
                    with self._changed:
                        self._under_way -= 1
                        self._changed.notify_all()
        except BaseException as error:
            self.error = error

    def _goes_on(self) -> bool:
        """Whether there is, or may yet be, a clip to score: one under way may lose its worker."""
        with self._changed:
            left = bool(self._todo or self._under_way)
        return left and not self._stop.is_set() and self.error is None

    def _taken(self) -> Task | None:
        """The next task; None where there is none after a moment."""
        with self._changed:
            if not self._todo:
                self._changed.wait(_LOOK_UP_S)
            if not self._todo:
                return None
            self._under_way += 1
            return self._todo.popleft()

    def _score(self, worker: Worker, task: Task) -> None:
        watcher = self._watcher
        watcher.begun(task)
        told: Mapping[str, Any] | None = None
        failure: ClipFailed | None = None
        try:
            told = worker.score(task, lambda frames, s: watcher.progress(task, frames, s))
            document = told["document"]
        except WorkerLost as error:
            for place in task.places:
                place.discard()
            self._lost[task.source] += 1
            if self._stop.is_set():
                return
            if self._lost[task.source] < _MOST_LOST:
                with self._changed:
                    self._todo.append(task)
                return
            failure = ClipFailed(
                f"{task.source} cannot be scored: {_MOST_LOST} workers were lost with it: {error}"
            )
        except ClipFailed as error:
            if self._stop.is_set():
                return
            failure = error
        if failure is not None:
            document = report.failure_json(task.source, failure)
            _discard_parts(task)
        with self._changed:
            self._told[task.source] = dict(document)
            if failure is not None:
                self._batch.failures.append(failure)
            if self._ledger is not None and not (told and told["interrupted"]):
                self._ledger.note(task.source, FAILED if failure else DONE, document)
        watcher.ended(task, told, failure)


def with_parts(tasks: Sequence[Task], keep: bool = False) -> list[Task]:
    """The same tasks, tables that they share in parts of each one's own.

    Makes the folders of the parts; what a run before this one left there is deleted unless to
    `keep`. Raises `SinkError`.
    """
    tables = {Path(place.target) for task in tasks for place in task.places if place.shared}
    for table in tables:
        folder = table.with_name(table.name + _PARTS)
        if not keep:
            for left in (folder, folder.with_name(folder.name + _JOINED)):
                shutil.rmtree(left, ignore_errors=True)
        make_folder(folder)
    return [
        replace(
            task,
            places=tuple(
                _part_of(place, task.source) if place.shared else place for place in task.places
            ),
        )
        for task in tasks
    ]


def _part_of(place: Place, source: str) -> Place:
    name = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    folder = Path(place.target + _PARTS)
    return Place(place.format, str(folder / f"{name}{Path(place.target).suffix}"))


def parts_of_others(tasks: Sequence[Task]) -> Path | None:
    """A folder that is there already where these tasks' parts of tables would be."""
    tables = {Path(place.target) for task in tasks for place in task.places if place.shared}
    folders = sorted(table.with_name(table.name + _PARTS) for table in tables)
    return next((folder for folder in folders if folder.exists()), None)


def _discard_parts(task: Task) -> None:
    """Delete what an earlier run made of a clip that fails now."""
    for place in task.places:
        if Path(place.target).parent.name.endswith(_PARTS):
            Path(place.target).unlink(missing_ok=True)


def finish_tables(tasks: Sequence[Task]) -> None:
    """Give tables their names that a run before this one had joined when it was ended."""
    for folder in _parts(tasks):
        _finish(_table_of(folder))


def _join_tables(tasks: Sequence[Task], resumed: bool) -> None:
    """Make each table of its parts, in the order of the tasks; after what it has already."""
    for folder, places in _parts(tasks).items():
        table = _table_of(folder)
        own = [Path(place.target) for place in places if Path(place.target).is_file()]
        others = {path for path in folder.iterdir() if path.suffix != PART} - set(own)
        parts = [*own, *sorted(others)]  # a run before this one may have had more clips
        if resumed and table.is_file():
            parts.insert(0, table)
        try:
            if parts:
                places[0].format.join(parts, _unfinished(table))
            # From here on the joined table counts, and what it was made of no longer does.
            folder.rename(folder.with_name(folder.name + _JOINED))
            _finish(table)
        except SinkError:
            raise
        except OSError as error:
            raise write_failure(table, error) from error


def _finish(table: Path) -> None:
    joined, unfinished = table.with_name(table.name + _PARTS + _JOINED), _unfinished(table)
    if joined.is_dir():
        if unfinished.is_file():
            unfinished.replace(table)
        shutil.rmtree(joined)


def _parts(tasks: Sequence[Task]) -> dict[Path, list[Place]]:
    """The folders of parts, with the parts of the tasks."""
    parts: dict[Path, list[Place]] = {}
    for task in tasks:
        for place in task.places:
            folder = Path(place.target).parent
            if folder.name.endswith(_PARTS):
                parts.setdefault(folder, []).append(place)
    return parts


def _table_of(folder: Path) -> Path:
    return folder.with_name(folder.name.removesuffix(_PARTS))


def _unfinished(table: Path) -> Path:
    return table.with_name(table.name + PART)
