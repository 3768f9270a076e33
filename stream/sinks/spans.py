"""Rows of spans of time: events of each face, and windows that name no one.

Events: a face comes, reads differently, goes.
    {"schema": 2, "kind": "event", "event": "new" | "update" | "end", "source", "face", "time_s",
     "start_s", "duration_s", "expression", "label", "p", "uncertain", "family", "valence",
     "arousal", "intensity", "since_s", "top": [{"word", "p"}, ...]}

`start_s` and `duration_s` are the face's: when it was first seen, and how long until it was last
seen. `expression` is the basic one that leads, since `since_s`; `label`, `p`, `top` and the rest
are its mean so far, and name it. An update tells of a change of the expression or of `uncertain`
and has `before`: expression, label, uncertain, start_s and duration_s of what ended, over the whole
of it: no time at all where it lasted too short to be an episode. Times are those of frames,
seconds; `time_s` is that of the last frame when the event was known. `valence` and `arousal` are
left out where the bundle has none.

Windows: counts and means over windows of time.
    {"schema": 2, "kind": "window", "source", "from_s", "to_s", "frames", "frames_with_faces",
     "faces_mean", "faces_max", "at_least", "readings", "shares": {emotion: p},
     "families": {family: p}, "words": [{"word", "p"}, ...], "valence", "arousal", "intensity",
     "uncertain"}

No ids, no places, no pictures, nothing of a single frame. But an average of one person's readings
is that person's reading: `shares` and what follows it are therefore taken only from frames that
show at least `at_least` faces at once, and are null where a window has no such frame. Counting
faces at once is the careful way: someone who turns away and back may count as two one after the
other, never as two at once. `readings` says how many faces in frames the averages are of. `valence`
and `arousal` are null too where the bundle has none.

This keeps a single row from being about one person. It does not make the rows anonymous: who
knows who stood there learns something of them as a group.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..result import SCHEMA, Result
from ..sources.base import SourceEvent, State
from .episodes import MIN_S, Episode, Episodes
from .mean import Mean, Numbers
from .rows import Row

_GONE = (State.lost, State.ended)
_WINDOW_WORDS = 10


@dataclass
class _Emitted:
    """What was last emitted about a face."""

    start_s: float
    emitted_s: float
    reading: Episode


class EventRows:
    """Events per face of one source; memory is that of the faces in view.

    Args:
        top: words per event.
    """

    def __init__(self, top: int = 3) -> None:
        self._top = top
        self._episodes = Episodes()
        self._emitted: dict[int, _Emitted] = {}
        self._source = ""
        self._now_s = -math.inf

    def make(self, result: Result) -> Iterable[Row]:
        """The events that this frame completes; ends come first."""
        self._source, self._now_s = result.source, result.time_s
        ended = self._episodes.add(result)
        now = {reading.face_id: reading for reading in self._episodes.current}
        rows = self._ended(ended)
        for face_id, reading in now.items():
            emitted = self._emitted.get(face_id)
            if emitted is None:
                self._emitted[face_id] = _Emitted(reading.start_s, result.time_s, reading)
                rows.append(self._row("new", reading, reading.start_s))
            elif _reads(reading) == _reads(emitted.reading):
                emitted.reading = reading
            elif result.time_s - emitted.emitted_s >= MIN_S:
                rows.append(self._update(emitted, reading))
        return rows

    def on_event(self, event: SourceEvent) -> Iterable[Row]:
        """The end of every face, where the source is gone."""
        return self.finish() if event.state in _GONE else []

    def finish(self) -> Iterable[Row]:
        """The end of every face in view."""
        return self._ended(self._episodes.finish())

    def _ended(self, episodes: Iterable[Episode]) -> list[Row]:
        """Rows for episodes that have ended, in the order of their starts."""
        rows: list[Row] = []
        for last in episodes:
            emitted = self._emitted.get(last.face_id)
            if emitted is None:
                continue
            if last.start_s == emitted.reading.start_s:
                emitted.reading = last  # over its whole length
            elif last.gone and _reads(last) != _reads(emitted.reading):
                rows.append(self._update(emitted, last))
            if last.gone:
                del self._emitted[last.face_id]
                rows.append(self._row("end", last, emitted.start_s))
        return rows

    def _update(self, emitted: _Emitted, reading: Episode) -> Row:
        before = emitted.reading
        emitted.reading, emitted.emitted_s = reading, self._now_s
        return {
            **self._row("update", reading, emitted.start_s),
            "before": {
                "expression": before.expression,
                "label": before.label,
                "uncertain": before.uncertain,
                "start_s": round(before.start_s, 3),
                "duration_s": round(max(reading.start_s - before.start_s, 0.0), 3),
            },
        }

    def _row(self, event: str, reading: Episode, start_s: float) -> dict[str, Any]:
        affect = {
            "valence": reading.valence,
            "arousal": reading.arousal,
            "intensity": reading.intensity,
        }
        return {
            "schema": SCHEMA,
            "kind": "event",
            "event": event,
            "source": self._source,
            "face": reading.face_id,
            "time_s": round(self._now_s, 6),
            "start_s": round(start_s, 3),
            "duration_s": round(reading.end_s - start_s, 3),
            "expression": reading.expression,
            "label": reading.label,
            "p": round(reading.probability, 4),
            "uncertain": reading.uncertain,
            "family": reading.family,
            **{name: round(value, 4) for name, value in affect.items() if value is not None},
            "since_s": round(reading.start_s, 3),
            "top": [{"word": word, "p": round(p, 4)} for word, p in reading.top[: self._top]],
        }


def events(results: Iterable[Result], top: int = 3) -> Iterator[Row]:
    """Rows of events of one source's results, as they come; `top` words each."""
    maker = EventRows(top)
    for result in results:
        yield from maker.make(result)
    yield from maker.finish()


def _reads(reading: Episode) -> tuple[str, bool]:
    return reading.expression, reading.uncertain


AT_LEAST = 3
"""The faces that must be seen at once; the least that statistics usually publish of people."""


class WindowRows:
    """Aggregates of one source, a row per `window_s` seconds.

    A window begins with the end of the one before, or, after a pause, with the next frame. A break
    of the source ends it early. Windows without a frame give no row.

    Args:
        window_s: length of a window, seconds of the source's time.
        at_least: faces that a frame must show for its readings to count; 1 reveals averages of a
            single person.

    Raises ValueError for a window without length and for `at_least` below 1.
    """

    def __init__(self, window_s: float = 10.0, at_least: int = AT_LEAST) -> None:
        if window_s <= 0 or at_least < 1:
            raise ValueError(
                f"windows of {window_s:g} s and at least {at_least} faces: give a positive length "
                "and 1 or more faces"
            )
        self._window_s = window_s
        self._at_least = at_least
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
            and [{"word": word, "p": round(p, 4)} for word, p in mean.ranked[:_WINDOW_WORDS]],
            "valence": mean and _number(mean.valence),
            "arousal": mean and _number(mean.arousal),
            "intensity": mean and _number(mean.intensity),
            "uncertain": mean and _number(mean.uncertain),
        }


class _Window:
    """Counts and sums of one window so far."""

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
