"""What happens to a live source, for those who watch over it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


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
    """It is over for good: closed, at its end, or given up."""


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
