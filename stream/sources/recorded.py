"""A live address scored like a recording of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..errors import SourceLost, SourceTimeout
from ..frame import Frame
from .base import Source


class RecordedSource:
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
