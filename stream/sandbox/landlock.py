"""Landlock: the Linux kernel's way of letting a process give up files and networks for good."""

from __future__ import annotations

import ctypes
import struct

# The same numbers on every architecture.
_CREATE, _RESTRICT = 444, 446
_VERSION_ONLY = 1
# What each version of the interface (of the kernel) knows to forbid, as counts of low bits.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_SINCE, _NET_RIGHTS = 4, 0b11  # TCP: bind, connect
_SCOPE_SINCE, _SCOPES = 6, 0b11  # abstract sockets of others, signals to others
_NO_NEW_PRIVILEGES = 38


def landlock_version() -> int:
    """The version this kernel offers; 0 where it has none or it is switched off."""
    return max(int(_call(_CREATE, None, 0, _VERSION_ONLY)), 0)


def give_up_files() -> bool:
    """From now on this process opens no file and reaches no network; what is open stays.

    Returns whether the kernel holds it to that.
    """
    version = landlock_version()
    if version < 1:
        return False
    files = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    rights = struct.pack(
        "QQQ",
        files,
        _NET_RIGHTS if version >= _NET_SINCE else 0,
        _SCOPES if version >= _SCOPE_SINCE else 0,
    )
    known = 8 if version < _NET_SINCE else 16 if version < _SCOPE_SINCE else 24
    # A set of rules without a rule: all that it speaks of is forbidden.
    rules = _call(_CREATE, ctypes.create_string_buffer(rights, len(rights)), known, 0)
    if rules < 0:
        return False
    zero = ctypes.c_ulong(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero, zero, zero) != 0:
        return False
    return bool(_call(_RESTRICT, rules, 0) == 0)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syscall"):
        return -1
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *arguments))
