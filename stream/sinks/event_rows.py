"""Rows of events: a face comes, reads differently, goes.

    {"schema": 2, "kind": "event", "event": "new" | "update" | "end", "source", "face", "time_s",
     "start_s", "duration_s", "expression", "label", "p", "uncertain", "family", "valence",
     "arousal", "intensity", "since_s", "top": [{"word", "p"}, ...]}

`start_s` and `duration_s` are the face's: when it was first seen, and how long until it was last
seen. `expression` is the basic one that leads, since `since_s`; `label`, `p`, `top` and the rest
are its mean so far, and name it. An update tells of a change of the expression or of `uncertain`
and has `before`: expression, label, uncertain, start_s and duration_s of what ended, over the whole
of it: no time at all where it lasted too short to be an episode. Times are those of frames,
seconds; `time_s` is that of the last frame when the event was known. `valence` and `arousal` are
left out where the bundle does not tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..result import SCHEMA, Result
from ..sources.base import SourceEvent, State
from .episodes import MIN_S, Episode, Episodes
from .rows import Row

_GONE = (State.lost, State.ended)


@dataclass
class _Told:
    """What was last said of a face."""

    start_s: float
    said_s: float
    reading: Episode


class EventRows:
    """Events per face of one source; memory is that of the faces in view.

    Args:
        top: words per event.
        min_s: how long another expression must lead before it is told, and the shortest time
            between two updates of a face.
    """

    def __init__(self, top: int = 3, min_s: float = MIN_S) -> None:
        self._top = top
        self._min_s = min_s
        self._episodes = Episodes(min_s)
        self._told: dict[int, _Told] = {}
        self._source = ""
        self._now_s = -math.inf

    def make(self, result: Result) -> Iterable[Row]:
        """The events that this frame brings; ends come first."""
        self._source, self._now_s = result.source, result.time_s
        ended = self._episodes.add(result)
        now = {reading.face_id: reading for reading in self._episodes.current}
        rows = self._ended(ended)
        for face_id, reading in now.items():
            told = self._told.get(face_id)
            if told is None:
                self._told[face_id] = _Told(reading.start_s, result.time_s, reading)
                rows.append(self._row("new", reading, reading.start_s))
            elif _reads(reading) == _reads(told.reading):
                told.reading = reading
            elif result.time_s - told.said_s >= self._min_s:
                rows.append(self._update(told, reading))
        return rows

    def on_event(self, event: SourceEvent) -> Iterable[Row]:
        """The end of every face, where the source is gone."""
        return self.finish() if event.state in _GONE else []

    def finish(self) -> Iterable[Row]:
        """The end of every face in view."""
        return self._ended(self._episodes.finish())

    def _ended(self, episodes: Iterable[Episode]) -> list[Row]:
        """What episodes that are over say that has not been told; in the order of their starts."""
        rows: list[Row] = []
        for last in episodes:
            told = self._told.get(last.face_id)
            if told is None:
                continue
            if last.start_s == told.reading.start_s:
                told.reading = last  # over its whole length
            elif last.gone and _reads(last) != _reads(told.reading):
                rows.append(self._update(told, last))
            if last.gone:
                del self._told[last.face_id]
                rows.append(self._row("end", last, told.start_s))
        return rows

    def _update(self, told: _Told, reading: Episode) -> Row:
        before = told.reading
        told.reading, told.said_s = reading, self._now_s
        return {
            **self._row("update", reading, told.start_s),
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
