"""Annotated video over RTSP, for players, recorders and other programs on the network."""

from __future__ import annotations

from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from ..sources.base import without_password
from .base import SinkInfo
from .overlay import Timeline, draw
from .rtsp_server import Channel, RtspServer

PORT = 8554
_USUAL_SIZE = (1280, 720)
_LARGEST_PX = 1920
_DIMMED = 0.35


class RtspSink:
    """Serves what it is given at an address such as rtsp://127.0.0.1:8554/door.

    It listens at that host only: name 0.0.0.0 to be reached from elsewhere, where anybody who
    reaches the port can watch. Nothing is encoded while nobody does, and nothing is kept. Where
    the source gives no frames, watchers see the last one, dimmed.

    Raises `SinkError` for an address that is none.
    """

    def __init__(self, address: str, top: int = 5) -> None:
        self._host, self._port, self._path = _parts(address)
        self._top = top
        self._timeline = Timeline()
        self._server: RtspServer | None = None
        self._channel: Channel | None = None
        self._last: NDArray[np.uint8] | None = None

    @property
    def url(self) -> str:
        """Where it can be watched; with the true port, once it is open."""
        port = self._port if self._server is None else self._server.port
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"rtsp://{host}:{port}{self._path}"

    def open(self, info: SinkInfo) -> None:
        """Begin to serve. Raises `SinkError`, and `GstreamerMissing` where GStreamer is not here.

        The picture has the source's size where that is known, else 1280 by 720; what is larger
        than 1920 pixels is scaled down.
        """
        channel = Channel(_served_size(info.size or _USUAL_SIZE), self._idle_picture)
        server = RtspServer.at(self._host, self._port)
        server.add(self._path, channel)
        self._server, self._channel = server, channel

    def write(self, frame: Frame, result: Result) -> None:
        """Show one frame to whoever watches."""
        if self._channel is None:
            raise ValueError("open the sink before writing to it")
        self._timeline.add(result)
        self._last = frame.pixels
        if self._channel.watched:
            self._channel.show(draw(frame.pixels, result, self._timeline, top=self._top))

    def close(self) -> None:
        """Serve no longer."""
        server, self._server, self._channel = self._server, None, None
        if server is not None:
            server.remove(self._path)

    def _idle_picture(self) -> NDArray[np.uint8]:
        """The last frame, dimmed: it is not what is there now."""
        last = self._last
        if last is None:
            assert self._channel is not None
            width_px, height_px = self._channel.size
            return np.zeros((height_px, width_px, 3), np.uint8)
        return np.asarray(last * _DIMMED, np.uint8)


def _parts(address: str) -> tuple[str, int, str]:
    """Host, port and path of an address."""
    shown = without_password(address)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SinkError(f"{shown} is no address ({error}): give rtsp://HOST:PORT/NAME") from error
    if parts.scheme != "rtsp" or not host:
        raise SinkError(f"{shown} is no address to serve at: give rtsp://HOST:PORT/NAME")
    if parts.username is not None:
        raise SinkError(
            f"{shown}: user names are not supported here; serve on 127.0.0.1 and put a server "
            "that asks for them before it"
        )
    path = parts.path.rstrip("/")
    if not path or parts.query or parts.fragment:
        raise SinkError(f"{shown} needs a plain name after the port, such as /live")
    return host, PORT if port is None else port, path


def _served_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size of what is served: GStreamer wants rows of whole words, H.264 even sides."""
    scale = min(1.0, _LARGEST_PX / max(size))
    width_px, height_px = (max(16.0, side * scale) for side in size)
    return 4 * round(width_px / 4), 2 * round(height_px / 2)
