"""Ctrl-C that lets the frame in hand be finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """Within the block Ctrl-C (and SIGTERM) set `stop`; a second one interrupts at once.

    A frame in the middle is finished, so that no row is cut. Outside the main thread, where
    signals do not arrive, it changes nothing.
    """
    before: dict[int, Any] = {}

    def ask(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    try:
        with suppress(ValueError):
            for number in (int(signal.SIGINT), int(signal.SIGTERM)):
                before[number] = signal.signal(number, ask)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
