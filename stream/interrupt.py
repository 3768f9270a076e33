"""Ctrl-C that lets the frame in hand be finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Stop(threading.Event):
    """Set where a run is to end; knows the signal that asked for it."""

    number = 0
    """Of the first signal; 0 where none came."""

    @property
    def status(self) -> int | None:
        """The exit status that tells of the signal, 130 for Ctrl-C; None without one."""
        return 128 + self.number if self.number else None


@contextmanager
def stopping_on_signals(stop: Stop) -> Iterator[None]:
    """Within the block Ctrl-C, SIGTERM and SIGHUP set `stop`; a second one interrupts at once.

    A frame in the middle is finished, so that no row is cut. A signal that was ignored before
    (SIGHUP under nohup) stays ignored. Outside the main thread, where signals do not arrive, it
    changes nothing.
    """
    before: dict[int, Any] = {}

    def ask(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.number = number
        stop.set()

    try:
        with suppress(ValueError):
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    before[number] = signal.signal(number, ask)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
