"""Taking away from the running process what a decoder has no use for.

Limits of the kernel (memory, processor time, files, no core dumps) hold on every Unix. On Linux
with x86-64 a seccomp filter is added: the process can read and write what it has open, use memory
and start threads, and nothing else. It opens no file, makes no socket, starts no program and sends
no signal; such calls fail as if there were nothing there. Neither can be taken back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from pathlib import Path

# System calls that decoding needs, by their numbers on x86-64.
_ALLOWED = {
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "poll": 7,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "pread64": 17,
    "readv": 19,
    "writev": 20,
    "select": 23,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "nanosleep": 35,
    "getpid": 39,
    "exit": 60,
    "gettimeofday": 96,
    "getrusage": 98,
    "sysinfo": 99,
    "times": 100,
    "sigaltstack": 131,
    "gettid": 186,
    "time": 201,
    "futex": 202,
    "sched_getaffinity": 204,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "ppoll": 271,
    "set_robust_list": 273,
    "getcpu": 309,
    "getrandom": 318,
    "membarrier": 324,
    "rseq": 334,
}
# Looking for a file finds none; code that tries several places goes on.
_NOTHING_THERE = {"open": 2, "stat": 4, "lstat": 6, "access": 21, "openat": 257, "newfstatat": 262}
_CLONE, _CLONE3, _CLONE_THREAD = 56, 435, 0x10000

_ARCHITECTURE = 0xC000003E  # x86-64
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_ABOVE, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_X32 = 0x3FFFFFFF  # numbers above are those of another calling convention
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


def confine(memory_bytes: int, cpu_s: int) -> bool:
    """Limit this process for good; returns whether the filter of system calls is in force too.

    `memory_bytes` may be taken beyond what is in use now, `cpu_s` seconds of processor time be
    used up from the start of the process on: after that the kernel kills it.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if _on_linux() else 0
    memory = pages * resource.getpagesize() + memory_bytes
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    return _filter_calls()


def _on_linux() -> bool:
    return platform.system() == "Linux"


def _filter_calls() -> bool:
    """Put the filter in force; False where this machine knows none."""
    if not _on_linux() or platform.machine() != "x86_64" or struct.calcsize("P") != 8:
        return False
    code = _program()
    buffer = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)), 16
    )
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    one = ctypes.c_ulong(1)
    if libc.prctl(_NO_NEW_PRIVILEGES, one, zero, zero, zero) != 0:
        return False
    return bool(libc.prctl(_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(head), zero, zero) == 0)


def _program() -> bytes:
    """The filter in the kernel's small machine language, eight bytes an instruction."""
    steps = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _step(_JUMP_IF_EQUAL, _ARCHITECTURE, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
        _step(_JUMP_IF_ABOVE, _X32, 0, 1),
        _step(_RETURN, _KILL),
    ]
    for number in _ALLOWED.values():
        steps += [_step(_JUMP_IF_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    for number in _NOTHING_THERE.values():
        steps += [_step(_JUMP_IF_EQUAL, number, 0, 1), _step(_RETURN, _FAIL | errno.ENOENT)]
    # Threads, but no processes; the newer call hides its flags and is said not to exist.
    steps += [
        _step(_JUMP_IF_EQUAL, _CLONE3, 0, 1),
        _step(_RETURN, _FAIL | errno.ENOSYS),
        _step(_JUMP_IF_EQUAL, _CLONE, 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT_AT),
        _step(_JUMP_IF_SET, _CLONE_THREAD, 0, 1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _FAIL | errno.EPERM),
    ]
    return b"".join(steps)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


if os.name != "posix":  # pragma: no cover
    raise ImportError("strangers' files are decoded on Linux and other Unix systems only")
