"""The program of a decoder process, started by `process.DecoderProcess`.

The parent opens the file and passes it as standard input. The decoder writes messages with the
decoded frames to standard output. Before it reads a byte it gives up every other right
(`seccomp.confine`).
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from ..errors import SourceError, SourceTooLarge, SourceUnreadable
from .process import END, ERROR, HEAD, PICTURE, read_message, send_frame, send_json
from .seccomp import confine

if TYPE_CHECKING:
    from ..sources.base import Source

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,"
    "jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe,gif,apng"
)
"""Containers and images that are read, by FFmpeg's names. None of them refers to other files."""
_MOVING = (
    *("h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "h263"),
    *("mpeg1video", "mpeg2video", "mjpeg", "prores", "dvvideo", "rawvideo"),
)
_STILL = ("png", "apng", "webp", "gif", "bmp", "tiff")
CODECS = frozenset((*_MOVING, *_STILL))
"""Names of the video and image decoders that are allowed."""

_INPUT, _OUTPUT = 0, 1
# Threads of a codec: each holds frames in memory, which is limited.
_THREADS = 2
_MAX_REQUEST_BYTES = 256 * 2**20


class _Input(io.RawIOBase):
    """Standard input as a seekable file object; closing it leaves standard input open."""

    name = "clip"

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, count: int | None = -1) -> bytes:
        if count is None or count < 0:
            return self.readall()
        return os.read(_INPUT, min(count, 1 << 20))

    def readinto(self, buffer: Any) -> int:
        data = os.read(_INPUT, min(len(buffer), 1 << 20))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return os.lseek(_INPUT, offset, whence)

    def tell(self) -> int:
        return os.lseek(_INPUT, 0, os.SEEK_CUR)


def main(config: str) -> None:
    """Decode a clip, or pictures one after the other, as the JSON object `config` says.

    Errors go to the parent as messages.
    """
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
    from ..sources.image import open_image

    _load_all()
    filtered = confine(limits["memory_bytes"], limits["cpu_s"])
    name = limits["name"]
    picture = open_image(io.BufferedReader(_Input()), name, limits["max_pixels"])
    source: Source = picture or _video(limits)
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


def _video(limits: dict[str, Any]) -> Source:
    """The video on standard input."""
    from ..sources.pyav import PyavSource

    os.lseek(_INPUT, 0, os.SEEK_SET)
    source = PyavSource(_open(limits["name"]), limits["name"], live=False)
    _check_stream(source, limits)
    codec = source._stream.codec_context
    codec.thread_count = _THREADS
    codec.options = {"max_pixels": str(limits["max_pixels"])}
    return source


def _load_all() -> None:
    """Load what the libraries would load at first use: later no file can be opened."""
    import importlib
    import pkgutil

    import av

    from ..sources import pyav  # noqa: F401

    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    av.VideoFrame(16, 16, "yuv420p").to_ndarray(format="rgb24")
    av.logging.set_level(None)
    _load_pictures()


def _load_pictures() -> None:
    """Load Pillow's plugins, for the same reason."""
    from PIL import Image

    from ..sources.image import open_image

    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        file = io.BytesIO()
        Image.new("RGBA" if kind == "PNG" else "RGB", (16, 16)).save(file, kind)
        file.seek(0)
        open_image(file, kind)


def _open(name: str) -> Any:
    """Open the container on standard input; other files that it refers to are refused."""
    import av
    import av.error

    from ..sources.failures import reason

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
    """Raise a `SourceUnreadable` where the headers say that the clip cannot be read."""
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


def _pictures(limits: dict[str, Any]) -> None:
    """Answer each picture on standard input with its pixels or an error, until the end."""
    from ..sources.image import decode_picture

    _load_pictures()
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
