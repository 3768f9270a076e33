"""One source being read: its thread, its slot, its sinks and its counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ferstream.engines.labels import Labels

from .errors import SourceError
from .frame import Frame
from .meter import Histogram, Meter, StageTimes
from .result import Result, left_out_notes
from .sinks.base import Listener, Sink, SinkInfo
from .slot import Every, Latest, Slot, SlotClosed, SlotEmpty
from .sources.base import Source
from .sources.event import SourceEvent

# Decoded frames that may wait for the recogniser: enough to even out, little memory.
_WAITING_FRAMES = 8
_WAITING_BYTES = 96_000_000
_JOIN_S = 1.0

Policy = Literal["auto", "freshest", "every"]
"""Which frames of a source are recognised: `freshest` drops what was not taken in time, `every`
makes the source wait; `auto` is freshest for live sources, every for files."""


@dataclass(frozen=True, slots=True)
class Route:
    """A source and where its results go."""

    source: Source
    sinks: Sequence[Sink] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """One source's run in numbers."""

    source: str
    frames: int
    """Frames recognised."""
    faces: int
    """Different faces seen."""
    faces_per_frame: float
    duration_s: float
    """Time from the first to the last frame on the source's clock, and one frame more."""
    wall_s: float
    drops: dict[str, int]
    """Frames not recognised, per cause."""
    stages: dict[str, StageTimes]
    latency: StageTimes
    """Live sources: from capture to result; a count of 0 for files."""
    notes: tuple[str, ...]
    """What the source has to say, such as damage."""
    interrupted: bool
    """Whether it was stopped before its end."""
    failure: SourceError | None = None
    """Why the source ended, where it failed."""

    @property
    def fps(self) -> float:
        """Frames recognised per second of wall clock."""
        return self.frames / self.wall_s if self.wall_s > 0 else 0.0


@dataclass(eq=False)
class Feed:
    """A source under way. Its reading thread is its own; all else is the loop's to call."""

    route: Route
    ready: threading.Event
    """Set whenever there may be something to take."""
    clock: Callable[[], float] = time.monotonic
    policy: Policy = "auto"
    max_staleness_s: float | None = None
    """Live frames that waited longer for their turn are dropped."""
    meter: Meter = field(default_factory=Meter)
    latency: Histogram = field(default_factory=Histogram)
    open: bool = True
    failure: SourceError | None = None
    frames: int = 0
    face_frames: int = 0
    people: int = 0
    left_out: int = 0
    """The most faces at a time that were too many to be followed."""
    last_id: int = 0
    """Ids only count up, so this one and the number of those seen are all to be remembered."""
    first_s: float = 0.0
    last_s: float = 0.0
    restarts_at: int = -1
    """Index of the last frame that begins anew, set by the reading thread."""
    taken: int = -1
    """Index of the last frame taken."""
    waiting: deque[Frame] = field(default_factory=deque)
    """Frames being recognised; those of a recording wait for what follows them."""
    events: deque[SourceEvent] = field(default_factory=deque)
    """Changes of state that the sinks have not been told yet; few, as outages are."""

    def __post_init__(self) -> None:
        source = self.route.source
        every = self.policy == "every" or (self.policy == "auto" and not source.live)
        self.slot: Slot[Frame] = Every(_room_for(source.size)) if every else Latest()
        if hasattr(source, "on_event"):
            source.on_event = self.events.append
        self.thread = threading.Thread(target=self._read, name=f"read {source.name}", daemon=True)

    def info(self, about: Mapping[str, Any], labels: Labels) -> SinkInfo:
        """What the sinks are told before the first frame."""
        source = self.route.source
        known = (source.name, source.size, source.rate_hz, source.live)
        return SinkInfo(*known, about, labels, self.drops)

    def drops(self) -> dict[str, int]:
        """Frames not recognised so far, per cause."""
        slow = {"too slow": self.slot.dropped} if self.slot.dropped else {}
        return {**getattr(self.route.source, "drops", {}), **slow, **self.meter.drops}

    def start(self) -> None:
        """Begin to read."""
        self.thread.start()

    def _read(self) -> None:
        """The source's thread: frames into the slot, a failure to the other side."""
        source = self.route.source
        try:
            frames = source.frames()
            while True:
                start_s = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                # A live source's time is mostly waiting for light.
                if not source.live:
                    self.meter.add("decode", (time.perf_counter() - start_s) * 1e3)
                if frame.restart:
                    self.restarts_at = frame.index
                self.slot.put(frame)
                self.ready.set()
        except SlotClosed:
            pass
        except BaseException as error:
            self.slot.close(error)
        finally:
            self.slot.close()
            self.ready.set()

    def take(self) -> Frame | None:
        """The next frame if there is one; notices the end."""
        try:
            while self.open:
                frame = self.slot.take(timeout_s=0)
                if self._is_stale(frame):
                    self.meter.drop("stale")
                    continue
                # The frame that said so may have been dropped for a newer one.
                restart = self.taken < self.restarts_at <= frame.index
                self.taken = frame.index
                ahead = not self.route.source.live
                if restart or ahead:
                    frame = replace(frame, restart=restart or frame.restart, ahead=ahead)
                return frame
        except SlotEmpty:
            pass
        except SlotClosed:
            self.open = False
        except SourceError as error:
            self.open, self.failure = False, error
        return None

    def _is_stale(self, frame: Frame) -> bool:
        if self.max_staleness_s is None or not self.route.source.live:
            return False
        return self.clock() - frame.time_s > self.max_staleness_s

    def tell(self) -> list[SourceEvent]:
        """Pass what happened to the source on to the sinks that want to know; returns it."""
        told = []
        while self.events:
            event = self.events.popleft()
            told.append(event)
            for sink in self.route.sinks:
                if isinstance(sink, Listener):
                    sink.tell(event)
        return told

    def take_note(self, result: Result, done_s: float) -> Frame:
        """Count one result and hand it to the sinks; returns its frame."""
        frame = self.waiting.popleft()
        if self.frames == 0:
            self.first_s = frame.time_s
        self.frames += 1
        self.last_s = frame.time_s
        self.face_frames += len(result.faces)
        self.left_out = max(self.left_out, result.left_out)
        for found in result.faces:
            if found.face.id > self.last_id:
                self.people += 1
                self.last_id = found.face.id
        self.meter.add_all(result.stages_ms)
        if self.route.source.live:
            self.latency.add((done_s - frame.time_s) * 1e3)
        with self.meter.stage("sinks"):
            for sink in self.route.sinks:
                sink.write(frame, result)
        return frame

    def halt(self) -> None:
        """Stop reading; the thread closes what it reads."""
        self.slot.close()
        self.route.source.close()

    def join(self) -> None:
        """Wait a moment for the thread."""
        if self.thread.ident is not None:
            self.thread.join(_JOIN_S)

    def summary(self, wall_s: float, interrupted: bool) -> Summary:
        """The counts so far."""
        source = self.route.source
        step_s = 1 / source.rate_hz if source.rate_hz and self.frames else 0.0
        return Summary(
            source=source.name,
            frames=self.frames,
            faces=self.people,
            faces_per_frame=self.face_frames / self.frames if self.frames else 0.0,
            duration_s=self.last_s - self.first_s + step_s,
            wall_s=wall_s,
            drops=self.drops(),
            stages=self.meter.stages(),
            latency=self.latency.times(),
            notes=(*source.notes, *left_out_notes(self.left_out)),
            interrupted=interrupted,
            failure=self.failure,
        )


def _room_for(size: tuple[int, int] | None) -> int:
    """How many decoded frames of this size may wait."""
    if size is None:
        return 2
    return max(1, min(_WAITING_FRAMES, _WAITING_BYTES // (3 * size[0] * size[1])))
