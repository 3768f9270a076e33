"""A fork leaves networks behind that hang; this makes them say so instead.

They run in threads of C++, which a forked child lacks: to use them there, to close them or only to
let go of them waits for ever, and where MediaPipe has run before the fork, to start it anew aborts
the process. A child that is spawned has none of this.
"""

from __future__ import annotations

import ctypes
import os
import weakref

from .errors import RecognizerUnusable

_held: weakref.WeakSet[object] = weakref.WeakSet()
_started_in: int | None = None
"""The process in which MediaPipe was started, if it was."""


def hold(*natives: object) -> None:
    """Note what runs threads of its own in this process; a forked child never lets go of it."""
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


def _never_let_go() -> None:
    for native in list(_held):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(native))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_never_let_go)
