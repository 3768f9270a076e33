"""What a process needs to run for weeks: memory limits, forks, signals.

Memory: few arenas for many threads, so that memory does not grow, and enough address space. Forks:
networks run in C++ threads, which a forked child lacks. To use, close or delete a network there
waits for ever, and to start MediaPipe again aborts the process. So a forked child raises an error
instead; a spawned child has no such limits. Signals: Ctrl-C finishes the frame in progress.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import resource
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from .errors import RecognizerUnusable, StreamError

_M_ARENA_MAX = -8
_ARENAS = 2
_LEAST_BYTES = 1_500_000_000


def few_arenas() -> bool:
    """Let all threads share two of the C library's arenas; returns whether that was possible.

    glibc gives each new thread an arena of its own, up to eight per core, and a camera that is
    opened again makes new threads: freed pictures then lie scattered over ever more of them, and
    the process grows by tens of megabytes without any leak. To be called before threads start.
    Elsewhere than on glibc it does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))


class Tidy:
    """Frees what a piece of work has left behind, for processes that do one after the other.

    A clip that is done leaves some objects that refer to each other: PyAV's pictures and their side
    data, MediaPipe's answers, a run and its sources. They are few, but hold decoders and pictures
    of megabytes, which Python's collector does not see: it comes by itself once in several hundred
    clips. To collect after each is cheap where it need not look through what stays.
    """

    def __init__(self) -> None:
        self._begun = False

    def __call__(self) -> None:
        """Collect. The first call also excludes all that exists by then from later collections,
        and returns memory that opening networks took to the system."""
        gc.collect()
        if not self._begun:
            self._begun = True
            gc.freeze()
            if platform.libc_ver()[0] == "glibc":
                ctypes.CDLL(None).malloc_trim(0)

    def close(self) -> None:
        """Let Python's collector look through everything again."""
        gc.unfreeze()


def require_address_space() -> None:
    """Raise `StreamError` where the process may not map what libraries and threads need.

    With less, MediaPipe ends the process without a word, or a thread that it waits for never
    starts. Memory that is used is far less.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY and most < _LEAST_BYTES:
        raise StreamError(
            f"{most / 1e6:.0f} MB of address space are too few, {_LEAST_BYTES / 1e6:.0f} MB are "
            "needed: see `ulimit -v`"
        )


_held: weakref.WeakSet[object] = weakref.WeakSet()
_started_in: int | None = None
"""The process in which MediaPipe was started, if it was."""


def hold(*natives: object) -> None:
    """Register objects with C++ threads in this process; a forked child never deletes them."""
    for native in natives:
        _held.add(native)


def start_here() -> None:
    """Note that MediaPipe is being started. Raises RecognizerUnusable where that would abort."""
    global _started_in
    if _started_in not in (None, os.getpid()):
        raise RecognizerUnusable(
            f"this process was forked from process {_started_in} after a Recognizer had been made "
            "there: start workers by multiprocessing.get_context('spawn'), or make the first "
            "Recognizer in the worker"
        )
    _started_in = os.getpid()


def check_owner(process: int) -> None:
    """Raises RecognizerUnusable in a fork of the process that made something."""
    if os.getpid() != process:
        raise RecognizerUnusable(
            f"this Recognizer was made in process {process}, of which this one is a fork: start "
            "workers by multiprocessing.get_context('spawn') and make one in each"
        )


def _keep_alive_in_child() -> None:
    for native in list(_held):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(native))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_alive_in_child)


SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Stop(threading.Event):
    """Set when a run is to end; knows the signal that caused it."""

    number = 0
    """Of the first signal; 0 where none came."""

    @property
    def status(self) -> int | None:
        """The exit status for the signal, 130 for Ctrl-C; None without one."""
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
