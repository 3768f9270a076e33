"""A camera that is opened again after it was lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..errors import SourceError, SourceLost, SourceRefused, SourceTimeout
from ..frame import Frame
from .base import Source

# Waiting between attempts; the last is repeated until the patience is spent.
_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)


class ReopeningSource:
    """Frames of a live source across its losses.

    After a loss the frames' indices leave a gap of one and their times a gap as long as the
    camera was away, so that clips and motion start afresh. Gives up, with `SourceLost`, once no
    attempt of `patience_s` seconds of waiting succeeded. The first opening is the caller's.
    """

    live = True
    duration_s: float | None = None

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        patience_s: float = 60.0,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._source = source
        self._reopen = reopen
        self._patience_s = patience_s
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._losses: list[str] = []
        self.name = source.name

    @property
    def rate_hz(self) -> float | None:
        """The camera's rate."""
        return self._source.rate_hz

    @property
    def size(self) -> tuple[int, int] | None:
        """The camera's width and height."""
        return self._source.size

    @property
    def notes(self) -> tuple[str, ...]:
        """How often the camera was lost, and why the last time."""
        if not self._losses:
            return self._source.notes
        times = "once" if len(self._losses) == 1 else f"{len(self._losses)} times"
        return (*self._source.notes, f"lost and reopened {times}; last: {self._losses[-1]}")

    def frames(self) -> Iterator[Frame]:
        """Frames until `close`; raises `SourceLost` when the camera stays away."""
        next_index = 0
        while not self._stop.is_set():
            base = next_index
            try:
                for frame in self._source.frames():
                    next_index = base + frame.index + 1
                    yield replace(frame, index=base + frame.index)
                if self._stop.is_set():
                    return
            except SourceLost as error:
                if self._stop.is_set():
                    return
                self._source = self._opened_again(error)
                self._losses.append(str(error))
                next_index += 1

    def _opened_again(self, loss: SourceLost) -> Source:
        """The source opened anew, after as many attempts as patience allows."""
        waited_s, attempt = 0.0, 0
        last: SourceError = loss
        while waited_s < self._patience_s and not self._stop.is_set():
            pause_s = _BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]
            self._wait(pause_s)
            waited_s += pause_s
            attempt += 1
            try:
                return self._reopen()
            except (SourceLost, SourceRefused, SourceTimeout, FileNotFoundError) as error:
                last = error if isinstance(error, SourceError) else last
        raise SourceLost(f"{loss}; {attempt} attempts to reopen it failed, last: {last}") from last

    def close(self) -> None:
        """End the waiting and the camera."""
        self._stop.set()
        self._source.close()
