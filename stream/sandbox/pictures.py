"""Strangers' pictures, decoded by few processes that serve for many of them."""

from __future__ import annotations

import queue
import subprocess
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError, SourceRefused, SourceTimeout, SourceUnreadable
from .process import START_S, DecoderProcess, failure, require_confined
from .protocol import ERROR, HEAD, PICTURE, ProtocolBroken, ProtocolSilent, Receiver, send_request

# A process is replaced after so much processor time.
_CPU_S = 3600


class PictureDecoder:
    """Decodes strangers' JPEG, PNG and WebP pictures, many of them in one process.

    For live pictures, where a process for each would be too slow. Processes are started when
    first needed, and again after one was ended by a picture. Safe to call from several threads.

    Args:
        workers: processes, so many pictures are decoded at once; further calls wait.
        timeout_s: for one picture.
        memory_bytes: of a process, beyond what Python and its libraries take.
    """

    def __init__(self, workers: int = 2, timeout_s: float = 2.0, memory_bytes: int = 2**30) -> None:
        self.workers = workers
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._closed = False
        self._idle: queue.LifoQueue[DecoderProcess | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)  # a process yet to be started

    def decode(self, data: bytes, max_pixels: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB pixels, upright.

        Raises `SourceUnreadable`, `SourceTooLarge`, `SourceTimeout`, and `SourceRefused` once
        closed.
        """
        cell, healthy = self._idle.get(), None
        try:
            if self._closed:
                raise SourceRefused("the service is closing: try again later")
            if cell is None:
                cell = self._start()
            pixels = self._ask(cell, data, max_pixels)
            healthy = cell
        except ProtocolSilent:
            raise SourceTimeout("this picture takes too long to decode: send another") from None
        except (ProtocolBroken, OSError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceUnreadable("this picture cannot be decoded: send another") from None
        except SourceUnreadable:
            healthy = cell
            raise
        finally:
            if healthy is None and cell is not None:
                cell.kill()
            self._idle.put(healthy)
        return pixels

    def close(self) -> None:
        """End the processes, once the pictures in hand are done; call it once."""
        self._closed = True
        for _ in range(self.workers):
            cell = self._idle.get()
            if cell is not None:
                cell.kill()
        for _ in range(self.workers):
            self._idle.put(None)

    def __enter__(self) -> PictureDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(AttributeError, queue.Empty):
            while True:
                cell = self._idle.get_nowait()
                if cell is not None:
                    cell.kill()

    def _start(self) -> DecoderProcess:
        config = {
            "kind": "pictures",
            "name": "picture",
            "cpu_s": _CPU_S,
            "memory_bytes": self._memory_bytes,
        }
        cell = DecoderProcess(config, subprocess.PIPE)
        try:
            kind, head, _ = Receiver(cell.output, START_S, 1).receive()
        except (ProtocolBroken, OSError):
            kind, head = b"", {}
        if kind != HEAD:
            cell.kill()
            raise SourceRefused("nothing can be decoded now: try again in a moment")
        try:
            require_confined(head.get("filtered") is True)
        except SourceRefused:
            cell.kill()
            raise
        return cell

    def _ask(self, cell: DecoderProcess, data: bytes, max_pixels: int) -> NDArray[np.uint8]:
        receiver = Receiver(cell.output, self._timeout_s, max_pixels)
        request = max_pixels.to_bytes(4, "big") + data
        send_request(cell.input, PICTURE, request, self._timeout_s)
        kind, content, pixels = receiver.receive()
        if kind == ERROR:
            raise failure(content)
        if pixels is None:
            raise ProtocolBroken("no frame")
        return pixels
