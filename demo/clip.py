"""Clips of visitors: scored one after the other, each with its files in its visit's folder."""

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ferstream.stream.errors import SourceTimeout, StreamError
from ferstream.stream.pipeline import Pipeline
from ferstream.stream.sandbox import untrusted as sandbox
from ferstream.stream.sandbox.untrusted import open_untrusted
from ferstream.stream.serve.guard import Limits
from ferstream.stream.sinks.base import Sink, SinkInfo
from ferstream.stream.sinks.blur import BlurSink
from ferstream.stream.sinks.csv import CsvSink
from ferstream.stream.sinks.jsonl import JsonlFile
from ferstream.stream.sinks.rows import FrameRows, RowSink
from ferstream.stream.sinks.settled import SettledSink
from ferstream.stream.sinks.subtitles import SubtitleSink
from ferstream.stream.sinks.tally import TallySink
from ferstream.stream.sources.base import Source
from ferstream.stream.sources.sample import SampleSource

from .errors import Busy
from .view import DrawnSink, MomentSink, document

SAMPLE = "sample"
VIEW = "view.json"
SUBTITLES = "subtitles.vtt"
VIDEO, PICTURE = "annotated.mp4", "annotated.png"
DRAWN = (VIDEO, PICTURE)
"""What everything is drawn in: a clip has the one, a single picture the other."""
DOWNLOADS = {
    "rows.jsonl": ("jsonl", "application/x-ndjson"),
    "rows.csv": ("csv", "text/csv; charset=utf-8"),
    SUBTITLES: ("vtt", "text/vtt; charset=utf-8"),
    VIDEO: ("mp4", "video/mp4"),
    PICTURE: ("png", "image/png"),
}
"""The files of a scored clip: the suffix they are downloaded with, and their type."""

_WORDS = 10
_PANEL_WORDS = 5
_CLOSE_S = 5.0

_log = logging.getLogger(__name__)

State = Literal["waiting", "scoring", "done", "failed", "ended"]


@dataclass(eq=False)
class Job:
    """One clip on its way."""

    name: str
    """What the visitor calls it, made harmless."""
    folder: Path
    upload: Path | None
    """The file as it came; None for the built-in sample."""
    blur: bool = False
    address: str = ""
    """Where its visitor is."""
    state: State = "waiting"
    message: str = ""
    """Why it failed."""
    progress: float = 0.0
    """How much of it is scored, 0..1."""
    frames: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    """Stands in the addresses of its files; never another clip's."""

    @property
    def over(self) -> bool:
        """Whether the job has finished, failed or been discarded."""
        return self.state in ("done", "failed", "ended")


class Clips:
    """The clips that wait and the threads that score them; `at_once` clips side by side.

    Live visitors come first: a clip's frames take the room that theirs leave.

    Args:
        pipeline: where frames are recognised; not owned.
        about: facts for the headers of what is written.
        limits: how long, how large, for how long.
        waiting: clips that may wait for their turn, half of them of one address; addresses take
            turns.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        about: Mapping[str, Any],
        limits: Limits,
        *,
        at_once: int = 2,
        waiting: int = 8,
    ) -> None:
        self._pipeline = pipeline
        self._labels = pipeline.labels
        self._about = about
        self._limits = limits
        self._waiting = waiting
        self._bounds = sandbox.Limits(
            max_bytes=limits.upload_bytes,
            max_pixels=limits.clip_pixels,
            max_duration_s=limits.clip_duration_s,
            max_frames=limits.clip_frames,
        )
        self._queue: deque[Job] = deque()
        self._at_work: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"score clips {n}", daemon=True)
            for n in range(at_once)
        ]

    def start(self) -> None:
        """Begin to score."""
        for thread in self._threads:
            thread.start()

    def add(self, job: Job) -> None:
        """Queue a clip; raises `Busy` where the queue is full."""
        with self._changed:
            own = sum(other.address == job.address for other in self._queue)
            full = len(self._queue) >= self._waiting or own >= max(self._waiting // 2, 1)
            if full or self._closed:
                raise Busy(f"{len(self._queue)} clips are waiting already; try again in a minute")
            self._queue.append(job)
            self._changed.notify()

    def place(self, job: Job) -> int:
        """How many clips come before this one's turn; 0 for one that is not waiting."""
        with self._changed:
            return self._in_turn().index(job) if job in self._queue else 0

    def discard(self, job: Job) -> None:
        """Stop scoring a clip and delete its folder, now or as soon as its thread lets go."""
        with self._changed:
            job.stop.set()
            if job in self._queue:
                self._queue.remove(job)
                job.state = "ended"
            busy = job.state == "scoring"
        if not busy:
            shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop everything."""
        with self._changed:
            self._closed = True
            for job in self._queue:
                job.state = "ended"
            self._queue.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_CLOSE_S)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._in_turn()[0]
                self._queue.remove(job)
                job.state = "scoring"
                self._at_work[job.address] += 1
            try:
                self._score(job)
            finally:
                with self._changed:
                    self._at_work -= Counter([job.address])

    def _in_turn(self) -> list[Job]:
        """Those who wait, as they come: an address's second clip after everybody's first."""
        rank, seen = {}, Counter(self._at_work)
        for job in self._queue:
            rank[id(job)] = seen[job.address]
            seen[job.address] += 1
        return sorted(self._queue, key=lambda job: rank[id(job)])

    def _score(self, job: Job) -> None:
        """Score one clip; whatever goes wrong is the clip's alone."""
        state: State = "failed"
        message = ""
        try:
            self._write(job)
            state = "done"
        except StreamError as error:
            message = " ".join(str(error).split())
        except Exception:
            # A visit that ends takes its folder away under the writers.
            if not job.stop.is_set():
                _log.exception("a clip could not be scored")
            message = "this clip could not be scored"
        with self._changed:
            gone = job.stop.is_set()
            job.message, job.state = message, "ended" if gone else state
        if gone:
            shutil.rmtree(job.folder, ignore_errors=True)

    def _write(self, job: Job) -> None:
        """Score every frame and write the clip's files."""
        tally = TallySink()
        moments = MomentSink(self._labels)
        began_s = time.monotonic()
        with ExitStack() as closing:
            reopen = self._opener(job, closing)
            source = reopen()
            closing.callback(source.close)
            size, rate_hz = source.size, source.rate_hz
            info = SinkInfo(job.name, size, rate_hz, False, self._about, self._labels)
            sink = SettledSink([*_file_sinks(job), tally, moments], reopen)
            closing.callback(sink.abandon)
            sink.open(info)
            with self._pipeline.score(source, counted=True) as run:
                for frame, result in run:
                    if job.stop.is_set():
                        return
                    self._check_time(job, began_s)
                    sink.write(frame, result)
                    job.frames += 1
                    if source.duration_s:
                        job.progress = min(frame.time_s / source.duration_s, 0.99)
                (summary,) = run.summaries()
            sink.close()
        if job.stop.is_set():
            return
        if still := job.frames == 1:
            (job.folder / SUBTITLES).unlink()
        found = document(
            moments,
            tally.faces(),
            self._labels,
            source=job.name,
            frames=job.frames,
            still=still,
            rate_hz=source.rate_hz,
            blurred=job.blur,
            notes=list(summary.notes),
            wall_s=round(time.monotonic() - began_s, 2),
        )
        text = json.dumps(found, separators=(",", ":"), allow_nan=False)
        (job.folder / VIEW).write_text(text, "utf-8")

    def _opener(self, job: Job, closing: ExitStack) -> Callable[[], Source]:
        """What opens the clip, decoded in a process of its own. Its file has no name any more, and
        is gone once it is scored."""
        if job.upload is None:
            return SampleSource
        try:
            file = closing.enter_context(job.upload.open("rb"))
        finally:
            job.upload.unlink(missing_ok=True)

        def opened() -> Source:
            file.seek(0)
            return open_untrusted(file, self._bounds, name=job.name)

        return opened

    def _check_time(self, job: Job, began_s: float) -> None:
        """Raise SourceTimeout where a clip takes too long."""
        most_s = self._limits.score_s
        if time.monotonic() - began_s > most_s:
            raise SourceTimeout(
                f"{job.name} took longer than {most_s:g} s: cut it or make it smaller"
            )


def _file_sinks(job: Job) -> list[Sink]:
    """What writes the clip's files."""
    drawn: Sink = DrawnSink(job.folder / VIDEO, job.folder / PICTURE, _PANEL_WORDS)
    return [
        RowSink(FrameRows(_WORDS), JsonlFile(job.folder / "rows.jsonl")),
        CsvSink(job.folder / "rows.csv", _WORDS),
        SubtitleSink(job.folder / SUBTITLES),
        BlurSink(drawn) if job.blur else drawn,
    ]


def harmless(name: str) -> str:
    """A visitor's file name as it may be shown and offered for download."""
    last = re.split(r"[\\/]", name)[-1]
    return re.sub(r"[^\w. -]+", "_", last).strip(" ._")[:80] or "clip"
