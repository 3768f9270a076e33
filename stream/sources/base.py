"""The protocol of sources, events of live ones, and names without passwords."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import quote

from ..errors import SourceLost, SourceTimeout, StreamError
from ..frame import Frame


class State(str, Enum):
    """Where a live source stands."""

    connecting = "connecting"
    """It is being opened, for the first time or again."""
    live = "live"
    """Its frames come."""
    stalled = "stalled"
    """It is connected and has given no frame for a while."""
    lost = "lost"
    """It refused, dropped the connection or ended; it will be opened again unless `ended`."""
    ended = "ended"
    """It has ended: closed, at its end, or given up."""


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """A source's change from one state to another."""

    source: str
    """The source's name, free of passwords."""
    state: State
    time_s: float
    """On the monotonic clock, as the frames of live sources."""
    code: str = ""
    """Why, for machines: the code of a `SourceError`, such as AUTH_FAILED; "" for no failure."""
    message: str = ""
    """Why, for people; one line, free of passwords."""
    attempt: int = 0
    """How often it was tried to open the source since its last frame."""

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "source": self.source,
            "state": self.state.value,
            "time_s": round(self.time_s, 3),
            "code": self.code,
            "message": self.message,
            "attempt": self.attempt,
        }


Listener = Callable[[SourceEvent], None]
Self = TypeVar("Self")


@runtime_checkable
class Source(Protocol):
    """Anything that yields frames.

    `frames` is called once and read by one thread; `close` may be called from any thread, more
    than once, and makes `frames` end soon.
    """

    @property
    def name(self) -> str:
        """What results call this source; free of passwords and of what is no text or steers a
        terminal."""

    @property
    def live(self) -> bool:
        """Whether frames come whether or not they are taken (a camera), or wait (a file)."""

    @property
    def rate_hz(self) -> float | None:
        """Frames per second as declared; None where unknown or where there is one frame."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the upright picture, pixels; None where unknown."""

    @property
    def duration_s(self) -> float | None:
        """Declared length; None for a live source or where unknown."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results should know, such as damage; complete after `frames`."""

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that the source itself left out so far, per cause."""

    def listen(self, on_event: Listener) -> None:
        """Report changes of state to `on_event`, in the thread that reads `frames`.

        Files report none.
        """

    def frames(self) -> Iterator[Frame]:
        """Frames in the order of their times, which strictly increase.

        Raises `SourceUnreadable` where there is no picture, `SourceLost` where a live source
        stops.
        """

    def close(self) -> None:
        """Close the file or camera."""

    def __enter__(self) -> Source: ...

    def __exit__(self, *_: object) -> None: ...


class BaseSource:
    """Defaults that most sources share: no notes, no events, closed by `with`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def drops(self) -> Mapping[str, int]:
        """None."""
        return {}

    def listen(self, on_event: Listener) -> None:
        """Nothing happens to it."""

    def skip_to(self, time_s: float) -> None:
        """Called before `frames` where nothing before `time_s` is needed; a hint, here unused."""

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# The second form is no proper address: a password whose / ? # should have been escaped.
_USERINFO = re.compile(r"(?<=://)(?P<user>[^/?#:@\s\"']*):(?:[^/?#\s\"']*|(?!\d+[/?#])[^\s\"']*)@")
_QUERY = re.compile(
    r"(?P<key>[?&;][^=&;\s]*(?:pass|pwd|token|secret|auth|key|sig)[^=&;\s]*=)[^&;#\s]*", re.I
)
# What GStreamer's elements call them: user-pw=..., passphrase="...", password=(string)...
_PROPERTY = re.compile(
    r"""(?P<key>(?<![\w-])[\w-]*(?:pw|pass|secret|token|authorization|cookie)[\w-]*\s*=\s*)"""
    r"""(?:\(\w+\)\s*)?(?:"(?:\\.|[^"\\])*"?|'[^']*'?|(?:\\.|[^\s!"'])+)""",
    re.I,
)


_PIN = re.compile(r"(?<=\S)#sha256=[0-9a-f:]*$", re.I)


def without_password(text: str) -> str:
    """`text` with the password of every address and every pipeline in it shown as ***, and without
    the fingerprint of a certificate at its end."""
    text = _PIN.sub("", text)
    text = _USERINFO.sub(lambda found: f"{found['user']}:***@", text)
    text = _QUERY.sub(lambda found: f"{found['key']}***", text)
    if "gst:" in text or " ! " in text:
        text = _PROPERTY.sub(lambda found: f"{found['key']}***", text)
    return text


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def with_variables(spec: str) -> str:
    """An address in which `${NAME}` is what the environment variable holds, escaped for it.

    So a password is not in the list of processes, which everybody on a machine can read. What is
    no address stays as it is. Raises `StreamError` for a variable that is not set.
    """
    if not is_address(spec):
        return spec

    def value(found: re.Match[str]) -> str:
        held = os.environ.get(found[1])
        if not held:
            raise StreamError(
                f"{without_password(spec)} asks for the environment variable {found[1]}, which "
                "is not set: export it"
            )
        return quote(held, safe="")

    return _VARIABLE.sub(value, spec)


def is_address(spec: str) -> bool:
    """Whether `spec` is a URL rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", spec) is not None


def is_dense(rate_hz: float | None, duration_s: float | None) -> bool:
    """Whether the frames of a recording with this rate and length are `Frame.dense`."""
    return (rate_hz or 0.0) >= 4 and (duration_s or 0.0) >= 1


class DerivedSource(BaseSource):
    """A source made of another one, whose properties it has unless a subclass says otherwise."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """The other source's name."""
        return self._source.name

    @property
    def rate_hz(self) -> float | None:
        """The other source's rate."""
        return self._source.rate_hz

    @property
    def size(self) -> tuple[int, int] | None:
        """The other source's width and height."""
        return self._source.size

    @property
    def duration_s(self) -> float | None:
        """The other source's length."""
        return self._source.duration_s

    @property
    def notes(self) -> tuple[str, ...]:
        """The other source's notes."""
        return self._source.notes

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that the other source left out, per cause."""
        return self._source.drops


class PacedSource(DerivedSource):
    """Frames of a file, each held back until it is due; their times are the clock's.

    A consumer that is too slow misses frames, as with a camera. Frames that are late already
    (decoding too slow) come at once, with the time at which they were due.
    """

    live = True

    def __init__(
        self,
        source: Source,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(source)
        self._clock = clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait

    def frames(self) -> Iterator[Frame]:
        """Frames at their times; ends where the file ends."""
        start_s: float | None = None
        for frame in self._source.frames():
            if start_s is None:
                start_s = self._clock() - frame.time_s
            due_s = start_s + frame.time_s
            early_s = due_s - self._clock()
            if early_s > 0:
                self._wait(early_s)
            if self._stop.is_set():
                return
            yield replace(frame, time_s=due_s)

    def close(self) -> None:
        """End the waiting and the file."""
        self._stop.set()
        self._source.close()


class RecordedSource(DerivedSource):
    """Frames of a live source as a clip's: the first is at 0 s, and an end is no failure.

    Nothing is left out for being late; a consumer that is slower than the camera for long makes
    the camera wait.
    """

    live = False
    duration_s = None

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._end = ""

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


class GivenFrames(BaseSource):
    """A source of frames from an iterable; they wait to be taken."""

    live = False

    def __init__(self, name: str, frames: Iterable[Frame]) -> None:
        self.name = name
        self.rate_hz: float | None = None
        self.size: tuple[int, int] | None = None
        self.duration_s: float | None = None
        self._frames = frames
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """The frames, until it is closed."""
        for frame in self._frames:
            if self._closed:
                return
            yield frame

    def close(self) -> None:
        """Give no more."""
        self._closed = True
