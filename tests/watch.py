"""Watches test cameras with the whole pipeline, and writes down everything that comes."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.result import Result
from ferstream.stream.run import Route, run_many
from ferstream.stream.sinks.base import Sink
from ferstream.stream.sources import open_live
from ferstream.stream.sources.base import Source, SourceEvent, State
from ferstream.stream.summary import Summary

from .rtsp_camera import Camera

STRANGE = 25.0
"""A picture that differs more from what was captured was not captured."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that was recognised."""

    at_s: float
    """When its result was there, on the monotonic clock."""
    captured_s: float | None
    """When the camera captured it; None where the picture bears no number."""
    scene: str
    """Which of the camera's scenes it shows."""
    strangeness: float
    size: tuple[int, int]
    index: int
    time_s: float
    restart: bool
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds."""

    threads: int
    files: int
    """Open file handles, sockets included."""
    memory_mb: float
    """Resident, in millions of bytes."""


def held() -> Held:
    """What this process holds now, garbage collected."""
    gc.collect()
    threads, files = (len(os.listdir(f"/proc/self/{what}")) for what in ("task", "fd"))
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return Held(threads, files, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


class Watch:
    """`run_many` with the real `Recognizer`, in a thread, on one source or several.

    `sources` are by any name; what comes of them is in `seen` and `events` by that name.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        cameras: Mapping[str, Camera],
        recognizer: Recognizer,
        sinks: Mapping[str, Sequence[Sink]] | None = None,
    ) -> None:
        self.seen: dict[str, list[Seen]] = {key: [] for key in sources}
        self.events: dict[str, list[SourceEvent]] = {key: [] for key in sources}
        self.summaries: dict[str, Summary] = {}
        self._sources, self._cameras = sources, cameras
        self._keys = {source.name: key for key, source in sources.items()}
        self._recognizer, self._sinks = recognizer, sinks or {}
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watch")

    def until(self, done: Callable[[], bool], limit_s: float = 60.0) -> float:
        """Wait for something; returns how long it took. AssertionError once `limit_s` is over."""
        begun_s = time.monotonic()
        while not done():
            if self._failure is not None:
                raise self._failure
            waited_s = time.monotonic() - begun_s
            assert waited_s < limit_s, f"not within {limit_s} s; {self.story()}"
            time.sleep(0.02)
        return time.monotonic() - begun_s

    def all_see(self, since_s: float, limit_s: float = 60.0) -> dict[str, float]:
        """Wait until every source gave a picture captured after `since_s`; when each did."""
        self.until(lambda: all(self.first(key, since_s) for key in self.seen), limit_s)
        firsts = {key: self.first(key, since_s) for key in self.seen}
        return {key: seen.at_s - since_s for key, seen in firsts.items() if seen}

    def first(self, key: str, since_s: float) -> Seen | None:
        """The first frame of a source that was captured after `since_s` and recognised."""
        for seen in self.seen[key]:
            if seen.captured_s is not None and seen.captured_s >= since_s:
                return seen
        return None

    def states(self, key: str, since_s: float = 0.0) -> list[str]:
        """A source's states in their order."""
        return [event.state.value for event in self.events[key] if event.time_s >= since_s]

    def story(self, last: int = 8) -> str:
        """What happened lately, for who reads a failed test."""
        return "\n".join(
            f"{key}: {event.time_s:.2f} {event.state.value} {event.code} {event.message}"
            for key, events in self.events.items()
            for event in events[-last:]
        )

    def all_are(self, state: State, since_s: float) -> bool:
        """Whether every source reached a state after `since_s`."""
        return all(
            any(event.state is state and event.time_s >= since_s for event in events)
            for events in self.events.values()
        )

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(30)
        if error is None and self._failure is not None:
            raise self._failure
        assert error or not self._thread.is_alive(), "the pipeline does not stop"

    def _run(self) -> None:
        routes = [Route(source, self._sinks.get(key, ())) for key, source in self._sources.items()]
        try:
            summaries = run_many(
                routes,
                self._recognizer,
                stop=self._stop,
                on_result=self._note,
                on_event=lambda event: self.events[self._keys[event.source]].append(event),
            )
            self.summaries = {self._keys[one.source]: one for one in summaries}
        except BaseException as error:
            self._failure = error

    def _note(self, frame: Frame, result: Result) -> None:
        now_s = time.monotonic()
        key = self._keys[frame.source]
        camera = self._cameras[key]
        scene, strangeness = camera.compare(frame.pixels)
        seen = Seen(
            now_s,
            camera.captured_s(frame.pixels, now_s),
            scene,
            strangeness,
            (frame.width_px, frame.height_px),
            frame.index,
            frame.time_s,
            frame.restart,
            tuple(found.face.id for found in result.faces),
        )
        self.seen[key].append(seen)


def watch_both(
    camera: Camera, recognizer: Recognizer, url: str = "", stall_s: float = 1.0
) -> Watch:
    """One camera watched through PyAV and through GStreamer at once."""
    sources = {
        capture: open_live(f"{url or camera.url}/{capture}", capture=capture, stall_s=stall_s)
        for capture in ("pyav", "gstreamer")
    }
    return Watch(sources, dict.fromkeys(sources, camera), recognizer)
