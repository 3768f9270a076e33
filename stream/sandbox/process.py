"""A decoder's process: its memory, its start and end, and the messages between it and its parent.

A message is a kind (one byte), a length (four bytes, big-endian) and that many bytes. The receiver
trusts none of it: lengths and sizes are checked before memory is allocated for them.
"""

from __future__ import annotations

import json
import logging
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceRefused, SourceTooLarge, SourceUnreadable

HEAD, FRAME, END, ERROR, PICTURE = b"H", b"F", b"E", b"X", b"P"

_MESSAGE = struct.Struct(">cI")
_FRAME = struct.Struct(">IId")
_MAX_TEXT = 16_384


class ProtocolBroken(Exception):
    """The other side sent no valid message, or has ended."""


class ProtocolSilent(ProtocolBroken):
    """No message arrived within the time limit."""


def send_json(fd: int, kind: bytes, content: Mapping[str, Any]) -> None:
    """Send a message whose body is a JSON object."""
    body = json.dumps(content).encode()
    _write_all(fd, _MESSAGE.pack(kind, len(body)) + body)


def send_frame(fd: int, pixels: NDArray[np.uint8], time_s: float) -> None:
    """Send a frame: pixels (H, W, 3) uint8, and its time in seconds."""
    height, width = pixels.shape[:2]
    head = _FRAME.pack(width, height, time_s)
    _write_all(fd, _MESSAGE.pack(FRAME, len(head)) + head)
    _write_all(fd, np.ascontiguousarray(pixels).data.cast("B"))


def send_request(fd: int, kind: bytes, body: bytes, timeout_s: float) -> None:
    """Send a request through a non-blocking pipe.

    Raises ProtocolSilent where the decoder does not read it within `timeout_s` seconds, OSError
    where the decoder has ended.
    """
    deadline_s = time.monotonic() + timeout_s
    view = memoryview(_MESSAGE.pack(kind, len(body)) + body)
    while view:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not _is_ready(fd, select.POLLOUT, left_s):
            raise ProtocolSilent(f"a request is not read within {timeout_s:g} s")
        view = view[os.write(fd, view) :]


class Receiver:
    """Reads the messages of a decoder.

    Args:
        fd: file descriptor to read from.
        silence_s: time limit for one whole message, seconds.
        max_pixels: pixels of the largest frame that is accepted.
    """

    def __init__(self, fd: int, silence_s: float, max_pixels: int) -> None:
        self._fd, self._silence_s, self._max_pixels = fd, silence_s, max_pixels

    def receive(self) -> tuple[bytes, dict[str, Any], NDArray[np.uint8] | None]:
        """The next message: its kind, its JSON object and, of a frame, its pixels (H, W, 3).

        The object of a frame holds `time_s`. Raises ProtocolSilent after `silence_s`, and
        ProtocolBroken for anything that is no valid message.
        """
        deadline_s = time.monotonic() + self._silence_s
        kind, length = _MESSAGE.unpack(self._read(_MESSAGE.size, deadline_s))
        if length > _MAX_TEXT:
            raise ProtocolBroken(f"a message of {length} bytes")
        body = bytes(self._read(length, deadline_s))
        if kind == FRAME:
            return kind, *self._frame(body, deadline_s)
        if kind not in (HEAD, END, ERROR):
            raise ProtocolBroken(f"a message of kind {kind!r}")
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ProtocolBroken("a message that is no object")
        return kind, content, None

    def _frame(self, body: bytes, deadline_s: float) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        if len(body) != _FRAME.size:
            raise ProtocolBroken("a frame without its size")
        width, height, time_s = _FRAME.unpack(body)
        if not 0 < width * height <= self._max_pixels or not abs(time_s) < 1e9:
            raise ProtocolBroken(f"a frame of {width} x {height}")
        pixels = np.frombuffer(self._read(width * height * 3, deadline_s), np.uint8)
        return {"time_s": time_s}, pixels.reshape(height, width, 3)

    def _read(self, count: int, deadline_s: float) -> bytearray:
        """Exactly `count` bytes."""
        buffer = bytearray(count)
        view, got = memoryview(buffer), 0
        while got < count:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not _is_ready(self._fd, select.POLLIN, left_s):
                raise ProtocolSilent(f"nothing for {self._silence_s:g} s")
            read = os.readv(self._fd, [view[got:]])
            if read == 0:
                raise ProtocolBroken("the decoder has ended")
            got += read
        return buffer


def read_message(fd: int, max_bytes: int) -> tuple[bytes, bytes] | None:
    """The next request as kind and body, read by the decoder; None at the end of its input.

    Waits without a time limit.
    """
    head = _read_exactly(fd, _MESSAGE.size)
    if head is None:
        return None
    kind, length = _MESSAGE.unpack(head)
    if length > max_bytes:
        raise ProtocolBroken(f"a request of {length} bytes")
    body = _read_exactly(fd, length)
    return None if body is None else (kind, body)


def _read_exactly(fd: int, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _is_ready(fd: int, event: int, timeout_s: float) -> bool:
    """Whether a pipe becomes ready in time. `select` would fail with many open files."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(max(timeout_s * 1e3, 1)))


def _write_all(fd: int, body: bytes | memoryview) -> None:
    view = memoryview(body)
    while view:
        view = view[os.write(fd, view) :]


BASE_BYTES = 96 * 2**20
"""Memory that Python and its libraries take in a decoder."""
LEAST_BYTES = 64 * 2**20
"""A decoder with less than this beside the base can decode nothing."""
_SHARE = 0.75
_CGROUPS = Path("/sys/fs/cgroup")


class Budget:
    """Divides the free memory among decoder processes; safe from any thread.

    Args:
        free_bytes: returns the bytes that are free now.
    """

    def __init__(self, free_bytes: Callable[[], int] | None = None) -> None:
        self._free_bytes = free_bytes or free_memory
        self._lock = threading.Lock()
        self._given: dict[int, int] = {}
        self._total: int | None = None

    def reserve(self, owner: object, wanted: int) -> int:
        """Reserve memory for a decoder, beside its base: at most `wanted` bytes.

        Returns the bytes reserved; 0 where there is no room.
        """
        with self._lock:
            if not self._given:
                # Looked at while no decoder runs: later their own use would count twice.
                self._total = int(_SHARE * self._free_bytes())
            assert self._total is not None
            left = self._total - sum(self._given.values()) - BASE_BYTES
            # One decoder is always let in: its own limit holds, and nothing else would ever work.
            if left < LEAST_BYTES and self._given:
                return 0
            given = min(wanted, max(left, LEAST_BYTES))
            self._given[id(owner)] = given + BASE_BYTES
            return given

    def release(self, owner: object) -> None:
        """Release what `owner` reserved; does nothing where it reserved nothing."""
        with self._lock:
            self._given.pop(id(owner), None)


def free_memory(groups: Path = _CGROUPS, proc: Path = Path("/proc")) -> int:
    """Free memory in bytes: the least of the machine's and of each cgroup's of this process."""
    found = [_available(proc / "meminfo")]
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found += _headroom(groups, path, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            found += _headroom(groups / "memory", path, *names)
    return max(min(found), 0)


def _available(meminfo: Path) -> int:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 2**40


def _headroom(mount: Path, path: str, limit: str, usage: str) -> list[int]:
    """Bytes left in a cgroup and in each of its parents; in a container the mount is the group."""
    place, found = mount / path.lstrip("/"), []
    while place.is_relative_to(mount):
        try:
            most = (place / limit).read_text().strip()
            if most != "max":
                # Files that the kernel keeps in memory are given up before anything is killed.
                cached = _page_cache(place / "memory.stat")
                found.append(int(most) - int((place / usage).read_text()) + cached)
        except (OSError, ValueError):
            pass
        place = place.parent
    return found


def _page_cache(stat: Path) -> int:
    for line in stat.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


START_S = 30.0
"""Time limit for starting Python and its libraries on a busy machine."""

_ROOT = Path(str(sys.modules["ferstream"].__file__)).resolve().parents[1]
"""The folder from which Python imports the package."""
_START = (
    "import os, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from ferstream.stream.sandbox.child import main; main(os.fdopen(int(sys.argv[1])).read())"
)
_LONGEST_LINE = 300

UNCONFINED = "FERSTREAM_WITHOUT_SANDBOX"
"""The environment variable that allows decoding without a sandbox; its value is then 1."""
UNSAFE = (
    "this machine has neither seccomp nor Landlock: files of strangers are refused unless "
    "--without-sandbox is given"
)
BUDGET = Budget()
"""Memory of all decoders that this process starts."""

_log = logging.getLogger(__name__)
_warned = threading.Event()


class DecoderProcess:
    """A running decoder process with its pipes.

    Args:
        config: what to decode, within which limits; see `child.main`.
        stdin: descriptor of the file to decode, or `subprocess.PIPE` for requests.

    Raises `SourceRefused` where no process can be started, or no memory is left for one.
    """

    def __init__(self, config: dict[str, Any], stdin: int) -> None:
        memory_bytes = BUDGET.reserve(self, config["memory_bytes"])
        if not memory_bytes:
            raise SourceRefused("there is no memory for another decoder now: try again in a moment")
        config = {**config, "memory_bytes": memory_bytes}
        # Isolated: neither variables of the environment nor the current folder matter to it.
        # The configuration goes through a pipe: everybody can read a process's arguments.
        read_end, write_end = os.pipe()
        command = [sys.executable, "-I", "-c", _START, str(_ROOT), str(read_end), config["kind"]]
        try:
            with open(write_end, "w") as pipe:
                pipe.write(json.dumps(config))
            self._process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                start_new_session=True,
                pass_fds=(read_end,),
                bufsize=0,
            )
        except OSError as error:
            BUDGET.release(self)
            _log.error("no decoder can be started: %s", error)
            raise SourceRefused("nothing can be decoded now: try again in a moment") from None
        finally:
            os.close(read_end)
        self._lock = threading.Lock()
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        self.input = -1
        if self._process.stdin is not None:
            self.input = self._process.stdin.fileno()
            os.set_blocking(self.input, False)
        self.pid = self._process.pid

    def kill(self) -> None:
        """Kill the process and close its pipes; safe from any thread, more than once."""
        with self._lock:
            if self._process.returncode is None:
                self._process.kill()
                self._process.wait()
            BUDGET.release(self)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()


def printable(text: str, most: int = _LONGEST_LINE) -> str:
    """Untrusted text as one line of `most` characters at most, without control characters."""
    kept = "".join(c if c.isprintable() else " " for c in text[: 4 * most])
    line = " ".join(kept.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def failure(content: dict[str, Any]) -> SourceUnreadable:
    """The exception for a decoder's error message."""
    message = printable(str(content.get("message") or "cannot be decoded"))
    kind = SourceTooLarge if content.get("kind") == "too_large" else SourceUnreadable
    return kind(message)


def require_confined(confined: bool) -> None:
    """Raise `SourceRefused` where neither seccomp nor Landlock confines a decoder.

    With FERSTREAM_WITHOUT_SANDBOX=1 a warning is logged instead, once.
    """
    if confined:
        return
    if os.environ.get(UNCONFINED) != "1":
        raise SourceRefused(UNSAFE)
    if not _warned.is_set():
        _warned.set()
        _log.warning(
            "this machine has neither seccomp nor Landlock for decoders: files of strangers are "
            "decoded with bounds on memory and time only"
        )
