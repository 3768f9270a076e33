"""A live source that is opened again whenever it fails, with growing pauses between attempts."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace

from ferstream.engines.terminal import plain

from ..errors import SourceError, SourceLost, SourceTimeout
from ..frame import Frame
from .base import BaseSource, Listener, PacedSource, Source, SourceEvent, State, without_password

# Failures that waiting does not repair, if they are there from the start.
_PERMANENT = frozenset(("NOT_FOUND", "UNSUPPORTED", "AUTH_FAILED", "UNTRUSTED"))
# However long an attempt took, the next does not follow at once.
_LEAST_PAUSE_S = 0.1
# Times go on by this much where a source's own do not.
_TICK_S = 1e-4
# A capture cannot lie further ahead of the clock than this.
_AHEAD_S = 0.1


class SupervisedSource(BaseSource):
    """Frames of a live source across all its outages; see `frames`.

    The source is opened within `frames`, so that many cameras start at the same time and one that
    is down delays none. `size`, `rate_hz` and `duration_s` are None until then.

    Args:
        name: what results and events call the source; without passwords.
        open: opens the source.
        retries: how often in a row opening may fail again before the source is given up; None: no
            limit.
        strict_start: whether a permanent failure (nothing there, no picture, wrong password) of the
            very first attempt is raised at once.
        backoff: pauses between attempts; None: as `Backoff` stands.
        on_event: called with changes of state, in the thread that reads `frames`.
        clock, wait, random: replaced in tests.

    Raises ValueError for negative `retries`.
    """

    live = True

    def __init__(
        self,
        name: str,
        open: Callable[[], Source],
        *,
        retries: int | None = None,
        strict_start: bool = False,
        backoff: Backoff | None = None,
        on_event: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        if retries is not None and retries < 0:
            raise ValueError(f"retries {retries}: 0 or more, or None for no end")
        self.name = plain(name)
        self.on_event = on_event
        self.reconnects = 0
        """How often it came back after a loss."""
        self._open = open
        self._retries = retries
        self._strict_start = strict_start
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._random = random
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._size: tuple[int, int] | None = None
        self._rate_hz: float | None = None
        self._duration_s: float | None = None
        self._kept_notes: dict[str, None] = {}
        self._kept_drops: Counter[str] = Counter()
        self._last_loss = ""
        self._attempt = 0  # openings since the last frame
        self._retried = 0  # the same, without the very first opening
        self._denials = 0  # wrong passwords in a row
        self._begun_s = 0.0  # of the last opening
        self._ever_opened = False
        self._ever_seen = False
        self._is_live = False
        self._reported_code = ""  # of the outage, as last reported
        self._quiet = False

    @property
    def rate_hz(self) -> float | None:
        """The source's declared rate; None before it was opened."""
        source = self._source
        return source.rate_hz if source else self._rate_hz

    @property
    def size(self) -> tuple[int, int] | None:
        """The source's width and height; None before it was opened."""
        source = self._source
        return source.size if source else self._size

    @property
    def duration_s(self) -> float | None:
        """The length, where the source turned out to be a clip."""
        return self._duration_s

    @property
    def notes(self) -> tuple[str, ...]:
        """The source's notes, how often it was lost, and the last reason."""
        source = self._source
        notes = dict.fromkeys((*self._kept_notes, *(source.notes if source else ())))
        if self.reconnects:
            times = "once" if self.reconnects == 1 else f"{self.reconnects} times"
            notes[f"lost and reopened {times}; last: {self._last_loss}"] = None
        return tuple(notes)

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that the source itself left out, per cause."""
        source = self._source
        return self._kept_drops + Counter(source.drops if source else {})

    def listen(self, on_event: Listener) -> None:
        """Report changes of state to `on_event`, in the thread that reads `frames`."""
        self.on_event = on_event

    def frames(self) -> Iterator[Frame]:
        """Frames until `close`, or until a clip ends.

        The first frame after an outage has `restart` set, and the indices have a gap; the first
        frame of another size has `restart` set too. Times strictly increase, whatever the source's
        own do. Raises the `SourceError` of the opening where `strict_start` or `retries` forbid
        another attempt before the first frame, and `SourceLost` where `retries` are used up later.
        """
        failure: BaseException | None = None
        try:
            yield from self._frames()
        except GeneratorExit:
            raise
        except BaseException as error:
            failure = error
            raise
        finally:
            self._close_source()
            self._emit(State.ended, failure)

    def close(self) -> None:
        """End `frames` and close the camera."""
        self._stop.set()
        with self._lock:
            source = self._source
        if source is not None:
            source.close()

    def _frames(self) -> Iterator[Frame]:
        index, last_s, broken = 0, float("-inf"), False
        shape: tuple[int, ...] | None = None
        while (source := self._opened()) is not None:
            base = index
            frames = source.frames()
            try:
                for frame in frames:
                    if self._stop.is_set():
                        return
                    self._note_frame()
                    restart = broken or frame.restart
                    restart = restart or shape not in (None, frame.pixels.shape)
                    index, shape, broken = base + frame.index, frame.pixels.shape, False
                    last_s = self._time_s(frame, last_s)
                    yield replace(frame, index=index, time_s=last_s, restart=restart)
                    index += 1
                if self._stop.is_set() or isinstance(source, PacedSource):
                    return
                loss: SourceError = SourceLost(f"{self.name} ended the stream: check the camera")
            except SourceError as error:
                if self._stop.is_set():
                    return
                loss = error
            finally:
                if isinstance(frames, Generator):
                    frames.close()
                self._close_source()
            # At least one frame was missed, which the indices show.
            index, broken = index + int(self._ever_seen), self._ever_seen
            self._failed(loss)

    def _opened(self) -> Source | None:
        """Open the source, with pauses between attempts; returns None once closed."""
        while not self._stop.is_set():
            if self._ever_opened:
                self._pause()
                if self._stop.is_set():
                    break
                self._retried += 1
            first, self._ever_opened = not self._ever_opened, True
            self._attempt += 1
            if not self._quiet:
                self._emit(State.connecting)
            self._begun_s = self._clock()
            try:
                source = self._open()
                source = source if source.live else PacedSource(source)
            except SourceError as error:
                if self._stop.is_set():
                    break
                if first and self._strict_start and error.code in _PERMANENT:
                    raise
                self._failed(error)
                continue
            with self._lock:
                self._source = source
            if self._stop.is_set():
                self._close_source()
                break
            self._duration_s = source.duration_s
            return source
        return None

    def _pause(self) -> None:
        """Wait before the next attempt; the time of the failed one counts as pause."""
        pause_s = self._backoff.pause_s(self._retried, self._denials, self._random)
        if self._attempt:
            pause_s -= self._clock() - self._begun_s
        self._wait(max(pause_s, _LEAST_PAUSE_S))

    def _note_frame(self) -> None:
        """Note that a frame has arrived; the first one ends an outage."""
        if self._is_live:
            return
        self.reconnects += int(self._ever_seen)
        self._emit(State.live)
        self._is_live = self._ever_seen = True
        self._attempt = self._retried = self._denials = 0
        self._reported_code, self._quiet = "", False

    def _time_s(self, frame: Frame, last_s: float) -> float:
        """A frame's time, corrected: not ahead of the clock, and after the last one."""
        time_s = frame.time_s
        now_s = self._clock()
        time_s = time_s if time_s <= now_s + _AHEAD_S else now_s
        return max(time_s, last_s + _TICK_S)

    def _failed(self, error: SourceError) -> None:
        """Count a loss or a failed opening; raises where no further attempt is allowed."""
        self._denials = self._denials + 1 if error.code == "AUTH_FAILED" else 0
        self._last_loss = str(error)
        if self._is_live and isinstance(error, SourceTimeout):
            self._emit(State.stalled, error)
        self._is_live = False
        # A long outage is reported once per doubling of its attempts, not at each of them.
        count = self._attempt
        self._quiet = error.code == self._reported_code and count & (count - 1) != 0
        if not self._quiet:
            self._emit(State.lost, error)
            self._reported_code = error.code
        if self._retries is None or self._retried < self._retries:
            return
        if not self._ever_seen:
            raise error
        times = f"{self._retried} attempt{'' if self._retried == 1 else 's'}"
        raise SourceLost(f"{error}; given up after {times} to open it again") from error

    def _emit(self, state: State, error: BaseException | None = None) -> None:
        if self.on_event is not None:
            code = error.code if isinstance(error, SourceError) else "FAILED" if error else ""
            message = " ".join(without_password(str(error)).split()) if error else ""
            now_s = self._clock()
            self.on_event(SourceEvent(self.name, state, now_s, code, message, self._attempt))

    def _close_source(self) -> None:
        """Close the source if there is one, and keep its notes and drops."""
        with self._lock:
            source, self._source = self._source, None
        if source is None:
            return
        self._size, self._rate_hz = source.size or self._size, source.rate_hz or self._rate_hz
        source.close()
        self._kept_notes.update(dict.fromkeys(source.notes))
        self._kept_drops.update(source.drops)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double up to a ceiling, with jitter so that cameras do not retry in step.

    With the ceiling of 3 s and an opening of less than 2 s, a camera is seen again within 5 s of
    its return. Wrong passwords are the exception: cameras lock an account after some of them, so
    after `denied_after` in a row the pauses go on doubling to `denied_ceiling_s`.
    """

    first_s: float = 0.5
    """Before the first attempt after a loss."""
    ceiling_s: float = 3.0
    """Longest pause."""
    denied_after: int = 3
    """Wrong passwords in a row that are retried at the usual pace."""
    denied_ceiling_s: float = 30.0
    """Longest pause while the password is wrong."""
    jitter: float = 0.25
    """Largest share by which a pause is shortened at random."""

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.ceiling_s <= self.denied_ceiling_s:
            raise ValueError(
                f"pauses of {self.first_s}, {self.ceiling_s} and {self.denied_ceiling_s} s: each "
                "at least as long as the one before, and more than 0"
            )
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter {self.jitter}: a share from 0 to less than 1")

    def pause_s(self, failures: int, denied: int, random: Callable[[], float]) -> float:
        """The pause after so many failures in a row, the last `denied` of them wrong passwords.

        `random` gives numbers from 0 to 1.
        """
        ceiling_s = self.denied_ceiling_s if denied >= self.denied_after else self.ceiling_s
        # The exponent is bounded: a camera that is away for a year must not overflow a float.
        pause_s = min(self.first_s * 2.0 ** min(failures, 32), ceiling_s)
        return pause_s * (1 - self.jitter * random())
