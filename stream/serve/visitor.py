"""A visitor of the rounds: its frames in, its results back."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ..errors import StreamError
from ..frame import Frame
from ..result import Result
from ..slot import Every, Latest, Slot, SlotClosed, SlotEmpty

PATIENT_FRAMES = 2
"""Frames of a patient visitor that may wait: one is decoded while another is scored."""

_log = logging.getLogger(__name__)

OnResult = Callable[[Frame, Result], None]


class RoundsFull(StreamError):
    """There is no room for one more visitor."""


class RoundsClosed(StreamError):
    """The visitor has left, or the rounds are over."""


class RoundFailed(StreamError):
    """A frame could not be recognised; the visitor may send others."""


class House(Protocol):
    """What a visitor knows of the rounds it takes part in."""

    def notice(self) -> None:
        """A frame has come."""

    def dismiss(self, visitor: Visitor) -> None:
        """A visitor leaves."""


class Visitor:
    """One who sends frames and is called back with results; made by `Rounds.join`."""

    def __init__(
        self,
        house: House,
        name: str,
        patient: bool,
        on_result: OnResult,
        on_failure: Callable[[StreamError], None] | None,
        on_taken: Callable[[], None] | None,
        on_end: Callable[[], None] | None,
    ) -> None:
        self.name = name
        """What results call this visitor: `visitor-N`, N never used again."""
        self.patient = patient
        self._house = house
        self.slot: Slot[Frame] = Every(PATIENT_FRAMES) if patient else Latest()
        self.on_result = on_result
        self.on_failure = on_failure
        self._on_taken = on_taken
        self._on_end = on_end
        self.gone = threading.Event()
        self.waiting: deque[Frame] = deque()
        """Frames being recognised, in their order; the rounds' thread's own."""
        self.complete = False
        """Whether the last frame has been taken; the rounds' thread's own."""

    @property
    def dropped(self) -> int:
        """Frames submitted and never scored because newer ones came."""
        return self.slot.dropped

    @property
    def left(self) -> bool:
        """Whether the visitor has left or was dismissed."""
        return self.gone.is_set()

    def submit(self, frame: Frame) -> None:
        """Hand a frame over; whatever its source is called, it counts as this visitor's.

        A live visitor's frame replaces the one that waits; a patient one waits for room. Frames
        come in the order of their times; a patient one's readings wait for what follows them.
        Raises RoundsClosed after `leave` or `end`, or once the rounds are over.
        """
        try:
            self.slot.put(replace(frame, source=self.name, ahead=self.patient))
        except SlotClosed:
            raise RoundsClosed(f"{self.name} has left: join again") from None
        self._house.notice()

    def end(self) -> None:
        """No frame follows: the results that still wait come now."""
        self.slot.close()
        self._house.notice()

    def leave(self) -> None:
        """End the visit; what is kept of it is dropped soon. May be called twice, by any thread.

        No call back begins after this returns, except from the round that is under way.
        """
        self._house.dismiss(self)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def tell_end(self) -> None:
        """The rounds are over."""
        if self._on_end is not None:
            try:
                self._on_end()
            except Exception:
                _log.exception("%s cannot be told that the rounds are over", self.name)

    def take(self) -> Frame | None:
        """The frame that waits, if there is one."""
        try:
            frame = self.slot.take(timeout_s=0)
        except SlotEmpty:
            return None
        except SlotClosed:
            self.complete = True
            return None
        if self._on_taken is not None:
            self.call(self._on_taken)
        return frame

    def call(self, callback: Callable[..., None], *arguments: object) -> None:
        """Call back; a visitor whose callback fails is sent away, the others go on."""
        if self.gone.is_set():
            return
        try:
            callback(*arguments)
        except Exception:
            _log.exception("%s cannot take its results", self.name)
            self.leave()
