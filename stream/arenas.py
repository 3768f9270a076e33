"""Memory: few arenas for many threads, so that it stays where it is for weeks; and enough of it."""

from __future__ import annotations

import ctypes
import platform
import resource

from .errors import StreamError

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
