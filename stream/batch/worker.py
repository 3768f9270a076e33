"""A process that scores clips of a batch, one after the other.

Its standard input has lines of JSON: the settings, then a task each; its standard output answers
with lines of JSON. At the end of its input it stops, in the middle of a clip too: whoever started
it may have been killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from .. import report
from ..errors import SinkError, SourceError, StreamError
from ..process import Tidy, few_arenas
from .task import OnResult, Say, Settings, Task, score_clip

if TYPE_CHECKING:
    from ..frame import Frame
    from ..recognize import Recognizer
    from ..result import Result
    from ..sources.base import Source

_PROGRESS_S = 0.5
_END_S = 20.0
_PR_SET_PDEATHSIG = 1
_ROOT = Path(str(sys.modules["ferstream"].__file__)).resolve().parents[1]
"""Where Python finds the package."""
# Not from the current folder, where a clip's neighbour may have a library's name.
_START = (
    "import sys; sys.path[:1] = []; sys.path.append(sys.argv.pop(1)); "
    "from ferstream.stream.batch.worker import start; start()"
)
# Shared libraries read these when they are loaded, and would each start a thread for every core.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ClipFailed(StreamError):
    """A clip that cannot be scored; the batch goes on."""


class OutputFailed(StreamError):
    """An output that cannot be written; the batch ends."""


class WorkerLost(StreamError):
    """A worker that is gone with its clip, which another may score."""


OnProgress = Callable[[int, float], None]
"""Told the frames of a clip that are done, and its time so far, seconds."""
Told = Mapping[str, Any]
"""`document`, `text` for people, and whether it was `interrupted`."""


class Worker(Protocol):
    """Scores clips, one at a time."""

    def ready(self) -> bool:
        """Wait a moment until it can score; whether it can. Raises OutputFailed where it never
        will."""

    def score(self, task: Task, on_progress: OnProgress) -> Told:
        """Score a clip. Raises ClipFailed, OutputFailed, WorkerLost."""

    def stop(self) -> None:
        """End the clip under way soon; called by any thread."""

    def close(self) -> None:
        """End."""


class LocalWorker:
    """Scores in this process, with a recogniser that is there.

    `first` is the first task's clip, where it is open already.
    """

    def __init__(
        self,
        settings: Settings,
        recognizer: Recognizer,
        about: Mapping[str, Any],
        say: Say,
        first: Source | None = None,
    ) -> None:
        self._settings, self._recognizer, self._about = settings, recognizer, about
        self._first = first
        self._say = say
        self._stop = threading.Event()
        self._tidy = Tidy()

    def ready(self) -> bool:
        """Always."""
        return True

    def score(self, task: Task, on_progress: OnProgress) -> Told:
        """Score a clip."""
        try:
            return self._scored(task, on_progress)
        finally:
            self._tidy()

    def _scored(self, task: Task, on_progress: OnProgress) -> Told:
        source, self._first = self._first, None
        try:
            scored = score_clip(
                task,
                self._recognizer,
                self._settings,
                self._about,
                say=self._say,
                stop=self._stop,
                on_result=_counting(on_progress),
                source=source,
            )
        except SourceError as error:
            raise ClipFailed(str(error)) from error
        except SinkError as error:
            raise OutputFailed(str(error)) from error
        faces = [] if self._settings.aggregate_only else scored.faces
        return {
            "document": scored.document,
            "text": report.clip_text(scored.summary, faces, self._settings.top),
            "interrupted": scored.summary.interrupted,
        }

    def stop(self) -> None:
        """End the clip under way soon."""
        self._stop.set()

    def close(self) -> None:
        """The recogniser stays its owner's."""
        self._tidy.close()


class ProcessWorker:
    """Scores in a process of its own, on one core; a new one where that has ended by itself.

    Args:
        core: number of the core, where processes can be kept to one; None: whichever is free.
    """

    def __init__(
        self, settings: Settings, about: Mapping[str, Any], core: int | None, say: Say
    ) -> None:
        self._settings, self._about, self._core, self._say = settings, about, core, say
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def ready(self) -> bool:
        """Always."""
        return True

    def score(self, task: Task, on_progress: OnProgress) -> Told:
        """Score a clip; a process that dies of it counts as the clip's failure."""
        process = self._process or self._started()
        for told in self._answers(process, {"task": task.to_json()}):
            if "progress" in told:
                on_progress(*told["progress"])
            elif "say" in told:
                self._say(told["say"])
            elif "clip failed" in told:
                raise ClipFailed(told["clip failed"])
            elif "output failed" in told:
                raise OutputFailed(told["output failed"])
            else:
                return told
        self._process = None
        status = process.wait()
        _close_pipes(process)
        for place in task.places:
            place.discard()
        if self._stopped:
            raise ClipFailed(f"{task.source} was not scored: the batch was stopped")
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        raise ClipFailed(f"{task.source} cannot be scored: its process ended {how}")

    def stop(self) -> None:
        """End the clip under way soon."""
        self._stopped = True
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def close(self) -> None:
        """End the process."""
        self.stop()
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close_pipes(process)

    def _started(self) -> subprocess.Popen[str]:
        process = self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(_ROOT), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
        )
        settings = {"settings": asdict(self._settings), "core": self._core}
        self._send(process, {**settings, "about": dict(self._about)})
        return process

    def _answers(self, process: subprocess.Popen[str], task: Mapping[str, Any]) -> Iterator[Told]:
        self._send(process, task)
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)

    def _send(self, process: subprocess.Popen[str], what: Mapping[str, Any]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended: its answers say so
            process.stdin.write(json.dumps(what) + "\n")
            process.stdin.flush()


def _close_pipes(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def main(source: IO[str], answers: IO[str]) -> None:
    """The process: settings and tasks from `source`, answers as lines."""
    from ..recognize import Recognizer

    lock = threading.Lock()

    def answer(**told: Any) -> None:
        with lock:
            answers.write(json.dumps(told) + "\n")
            answers.flush()

    head = json.loads(source.readline())
    settings = Settings.from_json(head["settings"])
    if head["core"] is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[head["core"] % len(cores)]})
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    with Recognizer(
        settings.bundle, settings.backend, faces=settings.face_options(), threads=1
    ) as recognizer:
        worker = LocalWorker(settings, recognizer, head["about"], lambda line: answer(say=line))

        def listen() -> None:
            for line in source:
                tasks.put(Task.from_json(json.loads(line)["task"]))
            worker.stop()
            tasks.put(None)

        threading.Thread(target=listen, name="tasks", daemon=True).start()
        while (task := tasks.get()) is not None:
            try:
                told = worker.score(task, lambda frames, time_s: answer(progress=[frames, time_s]))
            except ClipFailed as error:
                answer(**{"clip failed": str(error)})
            except OutputFailed as error:
                answer(**{"output failed": str(error)})
            else:
                answer(**told)


def _counting(on_progress: OnProgress) -> OnResult:
    """Tells of the progress now and then."""
    frames, next_s = 0, time.monotonic() + _PROGRESS_S

    def count(frame: Frame, result: Result) -> None:
        nonlocal frames, next_s
        frames += 1
        now_s = time.monotonic()
        if now_s >= next_s:
            next_s = now_s + _PROGRESS_S
            on_progress(frames, frame.time_s)

    return count


def _die_with(parent: int) -> None:
    """Linux: end at once where the parent is killed, before another run writes the same files.

    Elsewhere the end of the input does it, with the frame in hand.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before
        os._exit(1)


def start() -> None:
    """The whole life of the process."""
    _die_with(int(sys.argv[1]))
    few_arenas()  # each clip has threads of its own
    # Ctrl-C in a terminal reaches all processes of the group: the one that was typed to decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print goes elsewhere than the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):
        main(sys.stdin, answers)
