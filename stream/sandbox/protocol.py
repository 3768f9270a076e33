"""What a decoder in a process of its own says to the one that started it.

Messages are a kind (one byte), a length (four bytes, big-endian) and so many bytes. The receiver
believes none of it: lengths and sizes are checked before room is made for them.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEAD, FRAME, END, ERROR, PICTURE = b"H", b"F", b"E", b"X", b"P"

_MESSAGE = struct.Struct(">cI")
_FRAME = struct.Struct(">IId")
_MAX_TEXT = 16_384


class ProtocolBroken(Exception):
    """What came is no message, or nothing came any more."""


class ProtocolSilent(ProtocolBroken):
    """Nothing came in time."""


def send_json(fd: int, kind: bytes, content: Mapping[str, Any]) -> None:
    """Send a small object."""
    body = json.dumps(content).encode()
    _write_all(fd, _MESSAGE.pack(kind, len(body)) + body)


def send_frame(fd: int, pixels: NDArray[np.uint8], time_s: float) -> None:
    """Send a frame (H, W, 3)."""
    height, width = pixels.shape[:2]
    head = _FRAME.pack(width, height, time_s)
    _write_all(fd, _MESSAGE.pack(FRAME, len(head)) + head)
    _write_all(fd, np.ascontiguousarray(pixels).data.cast("B"))


def send_request(fd: int, kind: bytes, body: bytes, timeout_s: float) -> None:
    """Send bytes through a non-blocking pipe to a decoder that may not read them.

    Raises ProtocolSilent where they are not taken in time, OSError where nobody reads any more.
    """
    deadline_s = time.monotonic() + timeout_s
    view = memoryview(_MESSAGE.pack(kind, len(body)) + body)
    while view:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not _is_ready(fd, select.POLLOUT, left_s):
            raise ProtocolSilent(f"a request is not read within {timeout_s:g} s")
        view = view[os.write(fd, view) :]


class Receiver:
    """The other end.

    Args:
        fd: what to read from; anything non-negative that `select` knows.
        silence_s: how long nothing may come while something is expected.
        max_pixels: of a frame.
    """

    def __init__(self, fd: int, silence_s: float, max_pixels: int) -> None:
        self._fd, self._silence_s, self._max_pixels = fd, silence_s, max_pixels

    def receive(self) -> tuple[bytes, dict[str, Any], NDArray[np.uint8] | None]:
        """The next message: its kind, its object, and a frame's pixels, `time_s` in its object.

        Raises ProtocolSilent after `silence_s` for all of it, ProtocolBroken for what is none.
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
        """Exactly so many bytes."""
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
    """The decoder's side: the next request, None at the end; waits for ever."""
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
    """Whether a pipe gets ready in time; unlike `select` for any number of open files."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(max(timeout_s * 1e3, 1)))


def _write_all(fd: int, body: bytes | memoryview) -> None:
    view = memoryview(body)
    while view:
        view = view[os.write(fd, view) :]
