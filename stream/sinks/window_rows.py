"""Rows that count and average over windows of time and name no one.

    {"schema": 2, "kind": "window", "source", "from_s", "to_s", "frames", "frames_with_faces",
     "faces_mean", "faces_max", "at_least", "readings", "shares": {emotion: p},
     "families": {family: p}, "words": [{"word", "p"}, ...], "valence", "arousal", "intensity",
     "uncertain"}

No ids, no places, no pictures, nothing of a single frame. But an average of one person's readings
is that person's reading: `shares` and what follows it are therefore taken only from frames that
show at least `at_least` faces at once, and are null where a window has no such frame. Counting
faces at once is the careful way: someone who turns away and back may count as two one after the
other, never as two at once. `readings` says how many faces in frames the averages are of. `valence`
and `arousal` are null too where the bundle does not tell.

This keeps a single row from being about one person. It does not make the rows anonymous: who
knows who stood there learns something of them as a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..result import SCHEMA, Result
from ..sources.base import SourceEvent, State
from .mean import Mean, Numbers
from .rows import Row

AT_LEAST = 3
"""The faces that must be seen at once; the least that statistics usually publish of people."""
_GONE = (State.lost, State.ended)


class WindowRows:
    """Aggregates of one source, a row per `window_s` seconds.

    A window begins with the end of the one before, or, after a pause, with the next frame. A break
    of the source ends it early. Windows without a frame give no row.

    Args:
        window_s: length of a window, seconds of the source's time.
        at_least: faces that a frame must show for its readings to count; 1 gives one person's
            averages away.
        top: words per row.

    Raises ValueError for a window without length and for `at_least` below 1.
    """

    def __init__(self, window_s: float = 10.0, at_least: int = AT_LEAST, top: int = 10) -> None:
        if window_s <= 0 or at_least < 1:
            raise ValueError(
                f"windows of {window_s:g} s and at least {at_least} faces: give a positive length "
                "and 1 or more faces"
            )
        self._window_s = window_s
        self._at_least = at_least
        self._top = top
        self._window: _Window | None = None

    def make(self, result: Result) -> Iterable[Row]:
        """The window that this frame completes by coming after it."""
        rows = []
        window, time_s = self._window, result.time_s
        if window is not None and not window.from_s <= time_s < window.from_s + self._window_s:
            end_s = window.from_s + self._window_s
            rows.append(self._row(window, end_s))
            next_to_it = end_s <= time_s < end_s + self._window_s
            window = _Window(result.source, end_s if next_to_it else time_s)
        if window is None:
            window = _Window(result.source, time_s)
        window.add(result, self._at_least)
        self._window = window
        return rows

    def on_event(self, event: SourceEvent) -> Iterable[Row]:
        """The window so far, where the source is gone."""
        return self.finish() if event.state in _GONE else []

    def finish(self) -> Iterable[Row]:
        """The window so far."""
        window, self._window = self._window, None
        return [] if window is None else [self._row(window, window.last_s)]

    def _row(self, window: _Window, to_s: float) -> Row:
        mean = window.mean.reading() if window.mean.frames else None
        return {
            "schema": SCHEMA,
            "kind": "window",
            "source": window.source,
            "from_s": round(window.from_s, 3),
            "to_s": round(to_s, 3),
            "frames": window.frames,
            "frames_with_faces": window.frames_with_faces,
            "faces_mean": round(window.faces / window.frames, 3),
            "faces_max": window.faces_max,
            "at_least": self._at_least,
            "readings": window.mean.frames,
            "shares": mean and _rounded(mean.basic8),
            "families": mean and _rounded(mean.families),
            "words": mean
            and [{"word": word, "p": round(p, 4)} for word, p in mean.ranked[: self._top]],
            "valence": mean and _number(mean.valence),
            "arousal": mean and _number(mean.arousal),
            "intensity": mean and _number(mean.intensity),
            "uncertain": mean and _number(mean.uncertain),
        }


class _Window:
    """Counts and sums since a moment."""

    def __init__(self, source: str, from_s: float) -> None:
        self.source = source
        self.from_s = self.last_s = from_s
        self.frames = self.frames_with_faces = self.faces = self.faces_max = 0
        self.mean = Mean()

    def add(self, result: Result, at_least: int) -> None:
        faces = len(result.faces)
        self.last_s = result.time_s
        self.frames += 1
        self.frames_with_faces += faces > 0
        self.faces += faces
        self.faces_max = max(self.faces_max, faces)
        if faces >= at_least:
            for found in result.faces:
                self.mean.add(Numbers.of(found.emotions), 1.0)


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
