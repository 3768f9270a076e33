"""Rows that count and average over windows of time and name no one.

    {"schema": 2, "kind": "window", "source", "from_s", "to_s", "frames", "frames_with_faces",
     "faces_mean", "faces_max", "at_least", "readings", "shares": {emotion: p},
     "families": {family: p}, "words": [{"word", "p"}, ...], "intensity", "uncertain"}

No ids, no places, no pictures, nothing of a single frame. But an average of one person's readings
is that person's reading: `shares` and what follows it are therefore taken only from frames that
show at least `at_least` faces at once, and are null where a window has no such frame. Counting
faces at once is the careful way: someone who turns away and back may count as two one after the
other, never as two at once. `readings` says how many faces in frames the averages are of.

This keeps a single row from being about one person. It does not make the rows anonymous: who
knows who stood there learns something of them as a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..result import SCHEMA, Result
from ..sources.event import SourceEvent, State
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

    def tell(self, event: SourceEvent) -> Iterable[Row]:
        """The window so far, where the source is gone."""
        return self.finish() if event.state in _GONE else []

    def finish(self) -> Iterable[Row]:
        """The window so far."""
        window, self._window = self._window, None
        return [] if window is None else [self._row(window, window.last_s)]

    def _row(self, window: _Window, to_s: float) -> Row:
        readings = window.readings
        averages = window.averages()
        words = averages["words"]
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
            "readings": readings,
            "shares": averages["shares"] if readings else None,
            "families": averages["families"] if readings else None,
            "words": _best(words, self._top) if readings else None,
            "intensity": averages["others"]["intensity"] if readings else None,
            "uncertain": averages["others"]["uncertain"] if readings else None,
        }


class _Window:
    """Counts and sums since a moment."""

    def __init__(self, source: str, from_s: float) -> None:
        self.source = source
        self.from_s = self.last_s = from_s
        self.frames = self.frames_with_faces = self.faces = self.faces_max = self.readings = 0
        self._sums: dict[str, dict[str, float]] = {
            kind: {} for kind in ("shares", "families", "words", "others")
        }

    def add(self, result: Result, at_least: int) -> None:
        faces = len(result.faces)
        self.last_s = result.time_s
        self.frames += 1
        self.frames_with_faces += faces > 0
        self.faces += faces
        self.faces_max = max(self.faces_max, faces)
        if faces < at_least:
            return
        self.readings += faces
        for found in result.faces:
            emotions = found.emotions
            others = {"intensity": emotions.intensity, "uncertain": float(emotions.uncertain)}
            for kind, values in (
                ("shares", emotions.basic8),
                ("families", emotions.families),
                ("words", dict(emotions.ranked)),
                ("others", others),
            ):
                sums = self._sums[kind]
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + value

    def averages(self) -> dict[str, dict[str, float]]:
        return {
            kind: {name: round(total / self.readings, 4) for name, total in sums.items()}
            for kind, sums in self._sums.items()
        }


def _best(words: Mapping[str, float], top: int) -> list[dict[str, Any]]:
    ranked = sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"word": word, "p": p} for word, p in ranked[:top]]
