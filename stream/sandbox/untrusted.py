"""Decodes untrusted videos and images in a confined process.

Each file is decoded by a process of its own (see `child` and `seccomp`), without shell, environment
or network, with no file but the one that is passed to it, and with limits on memory and time. The
process is killed when it sends nothing for too long or is no longer needed. Only pixels come back,
and their sizes are checked before they are used.
"""

from __future__ import annotations

import os
import queue
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import (
    SourceError,
    SourceMissing,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreadable,
)
from ..frame import Frame
from ..sources.base import BaseSource, is_dense
from .process import (
    END,
    ERROR,
    FRAME,
    HEAD,
    PICTURE,
    START_S,
    DecoderProcess,
    ProtocolBroken,
    ProtocolSilent,
    Receiver,
    failure,
    printable,
    require_confined,
    send_request,
)

# A process is replaced after so much processor time.
_CPU_S = 3600


class PictureDecoder:
    """Decodes untrusted JPEG, PNG and WebP pictures, many of them in one process.

    For live pictures, where a process for each would be too slow. Processes are started on first
    use, and again after a picture has ended one. Safe to call from several threads.

    Args:
        workers: processes, and so pictures that are decoded at once; further calls wait.
        timeout_s: time limit for one picture, seconds.
        memory_bytes: memory of a process, beyond what Python and its libraries take.
    """

    def __init__(self, workers: int = 2, timeout_s: float = 2.0, memory_bytes: int = 2**30) -> None:
        self.workers = workers
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._closed = False
        self._idle: queue.LifoQueue[DecoderProcess | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)  # a process yet to be started

    def decode(self, data: bytes, max_pixels: int) -> NDArray[np.uint8]:
        """Decode a picture file's bytes to (H, W, 3) RGB pixels, upright.

        Raises `SourceUnreadable`, `SourceTooLarge` for more than `max_pixels` pixels,
        `SourceTimeout`, and `SourceRefused` after `close` or where no decoder can be started.
        """
        process, healthy = self._idle.get(), None
        try:
            if self._closed:
                raise SourceRefused("the service is closing: try again later")
            if process is None:
                process = self._start()
            pixels = self._ask(process, data, max_pixels)
            healthy = process
        except ProtocolSilent:
            raise SourceTimeout("this picture takes too long to decode: send another") from None
        except (ProtocolBroken, OSError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceUnreadable("this picture cannot be decoded: send another") from None
        except SourceUnreadable:
            healthy = process
            raise
        finally:
            if healthy is None and process is not None:
                process.kill()
            self._idle.put(healthy)
        return pixels

    def close(self) -> None:
        """End the processes once the pictures that are being decoded are done; call it once."""
        self._closed = True
        for _ in range(self.workers):
            process = self._idle.get()
            if process is not None:
                process.kill()
        for _ in range(self.workers):
            self._idle.put(None)

    def __enter__(self) -> PictureDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(AttributeError, queue.Empty):
            while True:
                process = self._idle.get_nowait()
                if process is not None:
                    process.kill()

    def _start(self) -> DecoderProcess:
        config = {
            "kind": "pictures",
            "name": "picture",
            "cpu_s": _CPU_S,
            "memory_bytes": self._memory_bytes,
        }
        process = DecoderProcess(config, subprocess.PIPE)
        try:
            kind, head, _ = Receiver(process.output, START_S, 1).receive()
        except (ProtocolBroken, OSError):
            kind, head = b"", {}
        if kind != HEAD:
            process.kill()
            raise SourceRefused("nothing can be decoded now: try again in a moment")
        try:
            require_confined(head.get("filtered") is True)
        except SourceRefused:
            process.kill()
            raise
        return process

    def _ask(self, process: DecoderProcess, data: bytes, max_pixels: int) -> NDArray[np.uint8]:
        receiver = Receiver(process.output, self._timeout_s, max_pixels)
        request = max_pixels.to_bytes(4, "big") + data
        send_request(process.input, PICTURE, request, self._timeout_s)
        kind, content, pixels = receiver.receive()
        if kind == ERROR:
            raise failure(content)
        if pixels is None:
            raise ProtocolBroken("no frame")
        return pixels


__all__ = ["Limits", "PictureDecoder", "UntrustedSource", "open_untrusted", "printable"]

_MAX_SIDE_PX = 16_384


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for decoding one file. Raises ValueError for a limit that is not above 0."""

    max_bytes: int = 64 * 2**20
    """Size of the file."""
    max_pixels: int = 3840 * 2160
    """Pixels of a frame or an image."""
    max_duration_s: float = 120.0
    max_frames: int = 8_000
    silence_s: float = 10.0
    """Time in which the next frame must arrive while one is awaited, seconds."""
    cpu_s: int = 300
    """CPU time of the decoder, seconds."""
    memory_bytes: int = 2**30
    """Memory of the decoder, beyond what Python and its libraries take."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} has to be above 0, not {getattr(self, name)}")


def open_untrusted(
    file: str | os.PathLike[str] | IO[bytes],
    limits: Limits | None = None,
    *,
    name: str | None = None,
) -> UntrustedSource:
    """Open an untrusted video or image; blocks until it is known to hold a picture.

    The file may be deleted once this has returned.

    Args:
        file: a path, or an open file with a descriptor, whose position is moved.
        limits: None: as `Limits` stand.
        name: what results and messages call it, shortened and without control characters; None:
            the file's own name.

    Raises `SourceMissing`, `SourceTooLarge` for a file beyond `limits`, `SourceUnreadable` for one
    that is no video or image of a known kind, `SourceTimeout`, `SourceRefused`.
    """
    bounds = limits or Limits()
    if isinstance(file, str | os.PathLike):
        shown = printable(name or Path(file).name, 80) or "clip"
        fd = _open(file, shown)
    else:
        shown = printable(name or "", 80) or "clip"
        fd = os.dup(file.fileno())
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise SourceUnreadable(f"{shown} is no file: send a video or an image")
        if found.st_size == 0:
            raise SourceUnreadable(f"{shown} is empty: copy or record it again")
        if found.st_size > bounds.max_bytes:
            raise SourceTooLarge(
                f"{shown} has {found.st_size / 2**20:.1f} MB: "
                f"{bounds.max_bytes / 2**20:.1f} MB at most"
            )
        os.lseek(fd, 0, os.SEEK_SET)
        return UntrustedSource(fd, shown, bounds)
    finally:
        os.close(fd)


def _open(path: str | os.PathLike[str], shown: str) -> int:
    """Open a file that is no link, without waiting; returns its descriptor."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SourceMissing(f"no file {shown}: check the name") from None
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise SourceRefused(f"{shown} cannot be opened: {words}") from None


class UntrustedSource(BaseSource):
    """A file that a confined process decodes, as a `Source`; made by `open_untrusted`."""

    live = False

    def __init__(self, fd: int, name: str, limits: Limits) -> None:
        self.name = name
        self._limits = limits
        self._notes: list[str] = []
        self._closed = False
        self._child = DecoderProcess(
            {
                "kind": "clip",
                "name": name,
                "max_pixels": limits.max_pixels,
                "max_duration_s": limits.max_duration_s,
                "max_frames": limits.max_frames,
                "cpu_s": limits.cpu_s,
                "memory_bytes": limits.memory_bytes,
            },
            fd,
        )
        self._receiver = Receiver(self._child.output, limits.silence_s, limits.max_pixels)
        try:
            head = self._receive(HEAD, Receiver(self._child.output, START_S, limits.max_pixels))
            require_confined(head.get("filtered") is True)
        except BaseException:
            self._child.kill()
            raise
        self.confined = head.get("filtered") is True
        """Whether seccomp or Landlock confines the decoder."""
        self.rate_hz = _number(head.get("rate_hz"), 1000.0)
        self.duration_s = _number(head.get("duration_s"), 1e9)
        self.size = _size(head.get("size"))
        """Width and height in pixels; upright from the first frame on."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Damage found while reading."""
        return tuple(self._notes)

    @property
    def pid(self) -> int:
        """Process id of the decoder."""
        return self._child.pid

    def frames(self) -> Iterator[Frame]:
        """Frames to the end of the file; the process has ended afterwards in every case.

        Raises `SourceTooLarge`, `SourceUnreadable`, `SourceTimeout`.
        """
        index, last_s = 0, -1.0
        dense = is_dense(self.rate_hz, self.duration_s)
        try:
            while not self._closed:
                content = self._receive(FRAME, self._receiver)
                pixels = content.get("pixels")
                if pixels is None:
                    self._notes += _texts(content.get("notes"))
                    break
                time_s = float(content["time_s"])
                if index >= self._limits.max_frames or time_s > self._limits.max_duration_s:
                    raise SourceTooLarge(f"{self.name} is longer than it may be: cut it")
                if not time_s > last_s:
                    raise SourceUnreadable(f"{self.name} cannot be decoded: its times turn back")
                last_s = time_s
                self.size = (pixels.shape[1], pixels.shape[0])
                yield Frame(pixels, time_s, index, self.name, dense=dense)
                index += 1
        except SourceError:
            if not self._closed:
                raise
        finally:
            self.close()

    def close(self) -> None:
        """End the process; safe from any thread, more than once."""
        self._closed = True
        self._child.kill()

    def __del__(self) -> None:
        with suppress(AttributeError):  # where `__init__` did not get so far
            self._child.kill()

    def _receive(self, expected: bytes, receiver: Receiver) -> dict[str, Any]:
        """The next message of the expected kind; where that is a frame, also the end."""
        try:
            kind, content, pixels = receiver.receive()
        except ProtocolSilent:
            raise SourceTimeout(
                f"{self.name} takes too long to decode: send a shorter or smaller one"
            ) from None
        except (ProtocolBroken, OSError):
            raise SourceUnreadable(
                f"{self.name} cannot be decoded: its decoder failed or ran out of time or memory"
            ) from None
        if kind == ERROR:
            raise failure(content)
        if kind != expected and (kind, expected) != (END, FRAME):
            raise SourceUnreadable(f"{self.name} cannot be decoded")
        return content if pixels is None else {**content, "pixels": pixels}


def _number(value: object, most: float) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most:
        return float(value)
    return None


def _size(value: object) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2:
        width, height = value
        if all(isinstance(side, int) and 0 < side <= _MAX_SIDE_PX for side in value):
            return width, height
    return None


def _texts(value: object) -> list[str]:
    return [printable(str(one)) for one in value[:8]] if isinstance(value, list) else []
