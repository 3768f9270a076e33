"""Memory that stays where it is over weeks: few arenas for many threads."""

from __future__ import annotations

import ctypes
import platform

_M_ARENA_MAX = -8
_ARENAS = 2


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
