"""Sources made of others, or of frames that are there: at their own pace, as recordings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from ..errors import SourceLost, SourceTimeout
from ..frame import Frame
from .base import BaseSource, Source


class PacedSource(BaseSource):
    """Frames of a file, each held back until it is due; their times are the clock's.

    A consumer that is too slow misses frames, as with a camera. Frames that are late already
    (decoding too slow) come at once, with the time at which they were due.
    """

    live = True

    def __init__(
        self,
        source: Source,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait

    @property
    def name(self) -> str:
        """The file's name."""
        return self._source.name

    @property
    def rate_hz(self) -> float | None:
        """The file's rate."""
        return self._source.rate_hz

    @property
    def size(self) -> tuple[int, int] | None:
        """The file's width and height."""
        return self._source.size

    @property
    def duration_s(self) -> float | None:
        """The file's length."""
        return self._source.duration_s

    @property
    def notes(self) -> tuple[str, ...]:
        """The file's notes."""
        return self._source.notes

    @property
    def drops(self) -> Mapping[str, int]:
        """What the source itself left out."""
        return self._source.drops

    def frames(self) -> Iterator[Frame]:
        """Frames at their times; ends where the file ends."""
        start_s: float | None = None
        for frame in self._source.frames():
            if start_s is None:
                start_s = self._clock() - frame.time_s
            due_s = start_s + frame.time_s
            early_s = due_s - self._clock()
            if early_s > 0:
                self._wait(early_s)
            if self._stop.is_set():
                return
            yield replace(frame, time_s=due_s)

    def close(self) -> None:
        """End the waiting and the file."""
        self._stop.set()
        self._source.close()


class RecordedSource(BaseSource):
    """Frames of a live source as a clip's: the first is at 0 s, and an end is no failure.

    Nothing is left out for being late; a consumer that is slower than the camera for long makes
    the camera wait.
    """

    live = False
    duration_s = None

    def __init__(self, source: Source) -> None:
        self._source = source
        self._end = ""

    @property
    def name(self) -> str:
        """The address."""
        return self._source.name

    @property
    def rate_hz(self) -> float | None:
        """The source's rate."""
        return self._source.rate_hz

    @property
    def size(self) -> tuple[int, int] | None:
        """The source's width and height."""
        return self._source.size

    @property
    def notes(self) -> tuple[str, ...]:
        """The source's notes, and how it ended."""
        return (*self._source.notes, *([self._end] if self._end else []))

    @property
    def drops(self) -> Mapping[str, int]:
        """What the source itself left out."""
        return self._source.drops

    def frames(self) -> Iterator[Frame]:
        """Frames until the source ends; raises its failure where there was none."""
        first_s: float | None = None
        try:
            for frame in self._source.frames():
                first_s = frame.time_s if first_s is None else first_s
                yield replace(frame, time_s=frame.time_s - first_s)
        except (SourceLost, SourceTimeout) as error:
            if first_s is None:
                raise
            self._end = str(error)

    def close(self) -> None:
        """End the source."""
        self._source.close()


class GivenFrames(BaseSource):
    """A source of frames that are there or made one by one; they wait to be taken."""

    live = False

    def __init__(self, name: str, frames: Iterable[Frame], rate_hz: float | None = None) -> None:
        self.name, self.rate_hz = name, rate_hz
        self.size: tuple[int, int] | None = None
        self.duration_s: float | None = None
        self._frames = frames
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """The frames, until it is closed."""
        for frame in self._frames:
            if self._closed:
                return
            yield frame

    def close(self) -> None:
        """Give no more."""
        self._closed = True
