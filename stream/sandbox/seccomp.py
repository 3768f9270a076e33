"""Confines the running process: resource limits, a seccomp filter, Landlock.

Resource limits (memory, CPU time, files, no core dumps) hold on every Unix. On Linux with x86-64 or
ARM64 a seccomp filter is added: the process can read and write what is open, allocate memory and
start threads, and nothing else. It cannot open files, create sockets, start programs or send
signals; such calls fail as if nothing were there. Landlock forbids files and networks a second
time, in another part of the kernel. None of these can be undone. When memory runs out, the kernel
kills a decoder first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# The same numbers on every architecture.
_CREATE, _RESTRICT = 444, 446
_VERSION_ONLY = 1
# What each version of the interface (of the kernel) knows to forbid, as counts of low bits.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_SINCE, _NET_RIGHTS = 4, 0b11  # TCP: bind, connect
_SCOPE_SINCE, _SCOPES = 6, 0b11  # abstract sockets of others, signals to others
_NO_NEW_PRIVILEGES = 38


def landlock_version() -> int:
    """The version of Landlock in this kernel; 0 where it has none or it is switched off."""
    return max(int(_call(_CREATE, None, 0, _VERSION_ONLY)), 0)


def give_up_files() -> bool:
    """Forbid this process to open files and to use the network; what is open stays open.

    Returns whether the kernel enforces it.
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


@dataclass(frozen=True)
class _Machine:
    """Numbers of the system calls of one architecture."""

    audit: int
    """The architecture's number in a filter."""
    allowed: dict[str, int]
    """System calls that decoding needs."""
    nothing_there: dict[str, int]
    """System calls that fail with ENOENT: code that looks for a file in several places goes on."""
    clone: int


_CLONE3 = 435
_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        allowed={
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
        },
        nothing_there={
            "open": 2,
            "stat": 4,
            "lstat": 6,
            "access": 21,
            "openat": 257,
            "newfstatat": 262,
        },
        clone=56,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        allowed={
            "read": 63,
            "write": 64,
            "close": 57,
            "fstat": 80,
            "lseek": 62,
            "mmap": 222,
            "mprotect": 226,
            "munmap": 215,
            "brk": 214,
            "rt_sigaction": 134,
            "rt_sigprocmask": 135,
            "rt_sigreturn": 139,
            "pread64": 67,
            "readv": 65,
            "writev": 66,
            "sched_yield": 124,
            "mremap": 216,
            "madvise": 233,
            "nanosleep": 101,
            "getpid": 172,
            "exit": 93,
            "gettimeofday": 169,
            "getrusage": 165,
            "sysinfo": 179,
            "times": 153,
            "sigaltstack": 132,
            "gettid": 178,
            "futex": 98,
            "sched_getaffinity": 123,
            "restart_syscall": 128,
            "clock_gettime": 113,
            "clock_getres": 114,
            "clock_nanosleep": 115,
            "exit_group": 94,
            "ppoll": 73,
            "set_robust_list": 99,
            "getcpu": 168,
            "getrandom": 278,
            "membarrier": 283,
            "rseq": 293,
            "pselect6": 72,
        },
        nothing_there={
            "openat": 56,
            "newfstatat": 79,
            "faccessat": 48,
            "faccessat2": 439,
            "statx": 291,
            "readlinkat": 78,
            "openat2": 437,
        },
        clone=220,
    ),
}
_CLONE_THREAD = 0x10000

_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_ABOVE, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_X32 = 0x3FFFFFFF  # numbers above are those of another calling convention
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


def can_confine() -> bool:
    """Whether seccomp or Landlock is available on this machine; changes nothing."""
    return _on_linux() and (_machine() is not None or landlock_version() > 0)


def confine(memory_bytes: int, cpu_s: int) -> bool:
    """Confine this process for good; returns whether seccomp or Landlock is in force too.

    Args:
        memory_bytes: address space beyond what is in use now.
        cpu_s: CPU time since the start of the process, seconds; then the kernel kills it.
    """
    if _on_linux():
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
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
    # Landlock first: its own calls are none that the filter lets through.
    locked = _on_linux() and give_up_files()
    return _filter_calls() or locked


def _on_linux() -> bool:
    return platform.system() == "Linux"


def _machine() -> _Machine | None:
    return _MACHINES.get(platform.machine()) if struct.calcsize("P") == 8 else None


def _filter_calls() -> bool:
    """Install the seccomp filter; returns False where there is none for this machine."""
    machine = _machine()
    if not _on_linux() or machine is None:
        return False
    code = _program(machine)
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


def _program(machine: _Machine) -> bytes:
    """The filter as BPF instructions of eight bytes each."""
    steps = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _step(_JUMP_IF_EQUAL, machine.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
        _step(_JUMP_IF_ABOVE, _X32, 0, 1),
        _step(_RETURN, _KILL),
    ]
    for number in machine.allowed.values():
        steps += [_step(_JUMP_IF_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    for number in machine.nothing_there.values():
        steps += [_step(_JUMP_IF_EQUAL, number, 0, 1), _step(_RETURN, _FAIL | errno.ENOENT)]
    # Threads, but no processes; the newer call hides its flags and is said not to exist.
    steps += [
        _step(_JUMP_IF_EQUAL, _CLONE3, 0, 1),
        _step(_RETURN, _FAIL | errno.ENOSYS),
        _step(_JUMP_IF_EQUAL, machine.clone, 0, 3),
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
