"""Watches the sources named at the start, and keeps the latest result of each."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..frame import Frame
from ..pipeline import Pipeline
from ..result import Result
from ..run import Route, run_through
from ..sinks.base import Sink
from ..sources.base import Source, SourceEvent, State
from .live import live_json

_JOIN_S = 10.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _State:
    """State of one source; changed under the watch's lock."""

    id: str
    source: str
    state: State = State.connecting
    code: str = ""
    message: str = ""
    frames: int = 0
    result: Result | None = None
    size: tuple[int, int] = (0, 0)
    arrived_s: float = 0.0


class Watch:
    """Watches sources until `close`; the latest result of each can be asked for at any time.

    No picture is kept.

    Args:
        sources: opened live sources with different names.
        pipeline: recognises them, among others.
        sinks: further sinks of each source's results.
        about: facts for the sinks' headers.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        pipeline: Pipeline,
        sinks: Sequence[Sequence[Sink]] = (),
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._about = dict(about or {})
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure = ""
        all_sinks = [*sinks, *[()] * (len(sources) - len(sinks))]
        self._routes = [Route(source, own) for source, own in zip(sources, all_sinks, strict=True)]
        ids = slugs([source.name for source in sources])
        self._sources = {
            source.name: _State(slug, source.name)
            for slug, source in zip(ids, sources, strict=True)
        }
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Start to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching; sources and sinks are closed."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    @property
    def failure(self) -> str:
        """Why the watch ended before it was closed; "" while it goes on.

        A source that is down is no failure: it is opened again.
        """
        return self._failure

    def states(self) -> list[dict[str, Any]]:
        """Every source: its id, name, state and counts."""
        now_s = time.monotonic()
        with self._lock:
            return [
                {
                    "id": one.id,
                    "source": one.source,
                    "state": one.state.value,
                    "code": one.code,
                    "message": one.message,
                    "frames": one.frames,
                    "age_s": None if one.result is None else round(now_s - one.arrived_s, 3),
                }
                for one in self._sources.values()
            ]

    def latest(self, slug: str, top: int = 10) -> dict[str, Any] | None:
        """A source's latest result as JSON; None before the first.

        Raises KeyError for an id that is none.
        """
        with self._lock:
            one = next((one for one in self._sources.values() if one.id == slug), None)
            if one is None:
                raise KeyError(slug)
            result, size, state, arrived_s = one.result, one.size, one.state, one.arrived_s
        if result is None:
            return None
        row = live_json(result, size, top)
        return {**row, "age_s": round(time.monotonic() - arrived_s, 3), "state": state.value}

    def _run(self) -> None:
        try:
            summaries = run_through(
                self._pipeline,
                self._routes,
                tolerant=True,
                about=self._about,
                stop=self._stop,
                on_result=self._take_result,
                on_event=self._take_event,
            )
        except Exception as error:
            _log.exception("the sources are not watched any more")
            self._failure = f"the sources are not watched any more: {error}"
            return
        with self._lock:
            for summary in summaries:
                one = self._sources[summary.source]
                one.state = State.ended
                if summary.failure is not None:
                    one.code, one.message = summary.failure.code, str(summary.failure)

    def _take_result(self, frame: Frame, result: Result) -> None:
        with self._lock:
            one = self._sources[result.source]
            one.result, one.size = result, (frame.width_px, frame.height_px)
            one.frames += 1
            one.arrived_s = time.monotonic()
            if one.state is State.connecting:
                one.state = State.live

    def _take_event(self, event: SourceEvent) -> None:
        with self._lock:
            one = self._sources[event.source]
            one.state, one.code, one.message = event.state, event.code, event.message


def slugs(names: Sequence[str]) -> list[str]:
    """A short name of each source for URLs, all different, without user and password."""
    chosen: list[str] = []
    for name in names:
        plain = re.sub(r"^[a-z+]+://(?:[^@/]*@)?|[?#].*$", "", name, flags=re.I)
        slug = re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-.")[-60:].lstrip("-.") or "source"
        candidate, number = slug, 2
        while candidate in chosen:
            candidate, number = f"{slug}-{number}", number + 1
        chosen.append(candidate)
    return chosen
