"""The decoder that runs in a process of its own; `sandbox` starts it.

It gets a file as its standard input, opened by the one who started it, says what it decodes on
its standard output, and has taken every other right away from itself before it reads a byte.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from .errors import SourceError, SourceTooLarge, SourceUnreadable
from .jail import confine
from .wire import END, ERROR, HEAD, PICTURE, read_message, send_frame, send_json

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,"
    "jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe,gif,apng"
)
"""FFmpeg's names of the containers and images that are read. None of them is a list of others."""
_MOVING = (
    *("h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "h263"),
    *("mpeg1video", "mpeg2video", "mjpeg", "prores", "dvvideo", "rawvideo"),
)
_STILL = ("png", "apng", "webp", "gif", "bmp", "tiff")
CODECS = frozenset((*_MOVING, *_STILL))
"""Decoders of pictures that are used."""

_INPUT, _OUTPUT = 0, 1
# Threads of a codec: each holds frames in memory, which is limited.
_THREADS = 2
_EXIF_WITHIN_BYTES = 256 * 1024
_MAX_REQUEST_BYTES = 256 * 2**20


class _Input:
    """Standard input as FFmpeg's I/O layer wants a file; knows how to read and to seek."""

    name = "clip"

    def read(self, count: int = -1) -> bytes:
        return os.read(_INPUT, count if 0 <= count < 1 << 20 else 1 << 20)

    def seek(self, offset: int, whence: int = 0) -> int:
        return os.lseek(_INPUT, offset, whence)

    def tell(self) -> int:
        return os.lseek(_INPUT, 0, os.SEEK_CUR)


def main(config: str) -> None:
    """Decode as the JSON in `config` says: a clip, or pictures one after the other."""
    limits: dict[str, Any] = json.loads(config)
    work = _pictures if limits["kind"] == "pictures" else _clip
    try:
        work(limits)
    except SourceError as error:
        kind = "too_large" if isinstance(error, SourceTooLarge) else "unreadable"
        send_json(_OUTPUT, ERROR, {"kind": kind, "message": str(error)})
    except MemoryError:
        message = f"{limits['name']} needs more memory than it may have: make it smaller"
        send_json(_OUTPUT, ERROR, {"kind": "too_large", "message": message})


def _clip(limits: dict[str, Any]) -> None:
    from .sources.pyav import PyavSource

    _load_all()
    filtered = confine(limits["memory_bytes"], limits["cpu_s"])
    name, exif = limits["name"], _orientation()
    container = _open(name)
    source = PyavSource(container, name, live=False)
    _check_stream(source, limits)
    codec = source._stream.codec_context
    codec.thread_count = _THREADS
    codec.options = {"max_pixels": str(limits["max_pixels"])}
    if exif is not None:
        source._orientation = exif
    send_json(
        _OUTPUT,
        HEAD,
        {
            "filtered": filtered,
            "rate_hz": source.rate_hz,
            "size": source.size,
            "duration_s": source.duration_s,
        },
    )
    for frame in source.frames():
        if frame.width_px * frame.height_px > limits["max_pixels"]:
            raise _too_large(name, frame.width_px, frame.height_px, limits["max_pixels"])
        if frame.time_s > limits["max_duration_s"]:
            raise _too_long(name, limits)
        if frame.index >= limits["max_frames"]:
            raise SourceTooLarge(f"{name} has more than {limits['max_frames']} frames: cut it")
        send_frame(_OUTPUT, frame.pixels, frame.time_s)
    send_json(_OUTPUT, END, {"notes": list(source.notes)[:8]})


def _load_all() -> None:
    """Load what PyAV would load at first use: later no file can be opened."""
    import importlib
    import pkgutil

    import av

    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    av.VideoFrame(16, 16, "yuv420p").to_ndarray(format="rgb24")
    av.logging.set_level(None)


def _open(name: str) -> Any:
    """The container on standard input; anything it names beside itself is refused."""
    import av
    import av.error

    from .sources.failures import reason

    def refuse(url: str, flags: int, options: object) -> None:
        raise PermissionError(f"{url} is not part of the clip")

    try:
        return av.open(
            _Input(),
            "r",
            options={"format_whitelist": FORMATS, "protocol_whitelist": "none"},
            metadata_errors="replace",
            io_open=refuse,
        )
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise SourceUnreadable(
            f"{name} is not a video or image that can be read ({reason(error)})"
        ) from None


def _check_stream(source: Any, limits: dict[str, Any]) -> None:
    """Raise where it is known in advance that the clip is of no use."""
    name, codec = limits["name"], source._stream.codec_context
    if codec.codec.name not in CODECS:
        raise SourceUnreadable(
            f"{name} is coded as {codec.codec.name}, which is not read from strangers: "
            "send MP4 (H.264) or WebM"
        )
    if codec.width * codec.height > limits["max_pixels"]:
        raise _too_large(name, codec.width, codec.height, limits["max_pixels"])
    if source.duration_s is not None and source.duration_s > limits["max_duration_s"] + 1:
        raise _too_long(name, limits)


def _too_large(name: str, width: int, height: int, most: int) -> SourceTooLarge:
    return SourceTooLarge(
        f"{name} has pictures of {width} x {height}: {most / 1e6:.1f} million pixels at most"
    )


def _too_long(name: str, limits: dict[str, Any]) -> SourceTooLarge:
    return SourceTooLarge(f"{name} is longer than {limits['max_duration_s']:g} s: cut it")


def _orientation() -> Any:
    """How a JPEG on standard input is to be turned; None for anything else."""
    from .sources.upright import Orientation

    head = os.pread(_INPUT, _EXIF_WITHIN_BYTES, 0)
    return Orientation.from_exif(head) if head.startswith(b"\xff\xd8") else None


def _pictures(limits: dict[str, Any]) -> None:
    """Answer each picture on standard input with its pixels or an error, until the end."""
    import cv2
    import numpy as np

    from .picture import decode_picture

    cv2.setNumThreads(1)
    cv2.imdecode(np.frombuffer(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1], np.uint8), 1)
    filtered = confine(limits["memory_bytes"], limits["cpu_s"])
    send_json(_OUTPUT, HEAD, {"filtered": filtered})
    while (request := read_message(_INPUT, _MAX_REQUEST_BYTES)) is not None:
        kind, body = request
        if kind != PICTURE:
            return
        try:
            pixels = decode_picture(body[4:], int.from_bytes(body[:4], "big"))
        except SourceError as error:
            large = "too_large" if isinstance(error, SourceTooLarge) else "unreadable"
            send_json(_OUTPUT, ERROR, {"kind": large, "message": str(error)})
        except MemoryError:
            message = "this picture needs more memory than it may have: make it smaller"
            send_json(_OUTPUT, ERROR, {"kind": "too_large", "message": message})
        else:
            send_frame(_OUTPUT, pixels, 0.0)


if __name__ == "__main__":
    main(sys.argv[1])
