"""The stack on which signals are handled, kept as it was."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """stack_t of sigaltstack(2), as Linux has it."""

    _fields_ = (
        ("sp", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Within the block a library may give this thread a signal stack of its own; it is taken away.

    OpenVINO leaves one of some 11 kB behind. Python handles its signals on such a stack where
    there is one, and on processors with AVX-512 that is too little: Ctrl-C ends in a segmentation
    fault. Elsewhere than on Linux it does nothing.
    """
    if platform.system() != "Linux":
        yield
        return
    libc = ctypes.CDLL(None)
    before = _Stack()
    known = libc.sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            libc.sigaltstack(ctypes.byref(before), None)
