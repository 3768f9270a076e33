"""Batches whose workers do little: what tests of runs, shards and clusters share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ferstream.stream.batch.runner import with_parts
from ferstream.stream.batch.task import Task
from ferstream.stream.batch.worker import ClipFailed, OnProgress, OutputFailed, Worker
from ferstream.stream.outputs import Outputs

from .serving import encoded, frames

CLIPS = [f"{letter}.mp4" for letter in "abcdef"]


class Writing:
    """A worker that writes two rows a clip, and fails, dies or waits where told."""

    def __init__(self, fails: str = "", broken: str = "") -> None:
        self.fails, self.broken = fails, broken
        self.scored: list[str] = []
        self.stopped = threading.Event()
        self.closed = False

    def ready(self) -> bool:
        return True

    def score(self, task: Task, on_progress: OnProgress) -> Mapping[str, Any]:
        if task.source == self.broken:
            raise OutputFailed("the disk is full")
        if task.source == self.fails:
            raise ClipFailed(f"{task.source} is no clip")
        self.scored.append(task.source)
        for place in task.places:
            Path(place.unfinished.target).write_text(
                f"# purpose: a test\nframe,source\n0,{task.source}\n1,{task.source}\n"
            )
            place.finish()
        on_progress(2, 0.1)
        document = {"source": task.source, "frames": 2}
        return {"document": document, "text": "", "interrupted": False}

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self.closed = True


def tasks_in(folder: Path, clips: list[str] = CLIPS) -> list[Task]:
    """A table of all clips."""
    each = Outputs(to=(str(folder / "all.csv"),)).for_sources(clips)
    tasks = [Task(clip, tuple(places)) for clip, places in zip(clips, each, strict=True)]
    return with_parts(tasks)


def rows_of(path: Path) -> list[str]:
    head, *rows = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert head.startswith("frame,")
    return rows


def crew(*workers: Worker) -> list[Callable[[], Worker]]:
    return [lambda worker=worker: worker for worker in workers]  # type: ignore[misc]


def pictures(folder: Path) -> list[str]:
    """Three pictures of the sample and a file that is none."""
    folder.mkdir()
    for at, frame in enumerate(frames(40)[:3]):
        (folder / f"{at}.png").write_bytes(encoded(frame, ".png"))
    (folder / "1b.png").write_bytes(b"no picture")
    return sorted(str(path) for path in folder.iterdir())
