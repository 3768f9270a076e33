"""Annotated video over RTSP, for players, recorders and other programs on the network.

The server runs in this process and sends H.264 to every viewer. Sinks with the same host and port
share one server, each under a path of its own. Pictures are encoded only while there are viewers,
once for all of them. A slow viewer misses pictures; nothing waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from ..sources.base import without_password
from ..sources.gst import load_gst
from .base import BaseSink, SinkInfo, SinkOptions
from .encoder import fitted
from .overlay import Timeline, draw

PORT = 8554
_USUAL_SIZE = (1280, 720)
_LARGEST_PX = 1920
_DIMMED = 0.35


class RtspSink(BaseSink):
    """Serves annotated frames at an address such as rtsp://127.0.0.1:8554/door.

    It listens at that host only. With 0.0.0.0 it can be reached from other machines, and anybody
    who reaches the port can watch. Nothing is encoded without viewers, and nothing is kept. While
    the source gives no frames, viewers see the last one, dimmed.

    Raises `SinkError` for an address of another form.
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
        """The address of the stream, with the actual port once it is open."""
        port = self._port if self._server is None else self._server.port
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"rtsp://{host}:{port}{self._path}"

    def open(self, info: SinkInfo) -> None:
        """Start to serve. Raises `SinkError`, and `GstreamerMissing` where GStreamer is not here.

        The picture has the source's size where that is known, else 1280 by 720; what is larger
        than 1920 pixels is scaled down.
        """
        channel = Channel(_served_size(info.size or _USUAL_SIZE), self._idle_picture)
        server = RtspServer.at(self._host, self._port)
        server.add(self._path, channel)
        self._server, self._channel = server, channel

    def write(self, frame: Frame, result: Result) -> None:
        """Send one frame to all viewers."""
        if self._channel is None:
            raise ValueError("open the sink before writing to it")
        self._timeline.add(result)
        self._last = frame.pixels
        if self._channel.watched:
            self._channel.show(draw(frame.pixels, result, self._timeline, top=self._top))

    def close(self) -> None:
        """Stop serving."""
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


def make(options: SinkOptions) -> RtspSink:
    """For `stream.formats`."""
    return RtspSink(options.target, options.shown)


Image = NDArray[np.uint8]

_TICK_MS = 100
"""Interval at which idle pictures are sent and idle clients are closed, milliseconds."""
_STILL_S = 1.0
"""After so long without a picture an idle one is sent at each tick: players want a steady stream,
most of all when they begin."""
_KEY_EVERY = 30
_MOST_VIEWERS = 32
_MOST_CONNECTED = 2 * _MOST_VIEWERS
_SILENT_S = 10.0
"""A client that is connected for so long without watching is closed."""
_BITS_PER_PIXEL_S = 4.5
_JOIN_S = 5.0
# One thread makes one slice per picture: several are garbled by decoders that share them out.
_LAUNCH = (
    "( appsrc name=pictures is-live=true format=time do-timestamp=true block=false "
    "max-buffers=1 leaky-type=downstream ! videoconvert ! video/x-raw,format=I420 "
    "! x264enc tune=zerolatency speed-preset=veryfast threads=1 bframes=0 key-int-max={keys} "
    "bitrate={kbit} ! video/x-h264,profile=main ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class Channel:
    """One path of a server, with pictures of one size.

    Args:
        size: width, a multiple of 4, and height, even.
        idle: returns the picture to send where none came for a while.
    """

    def __init__(self, size: tuple[int, int], idle: Callable[[], Image]) -> None:
        self.size = size
        self._idle = idle
        self._lock = threading.Lock()
        self._sources: list[Any] = []
        self._still_s = 0.0

    @property
    def watched(self) -> bool:
        """Whether a viewer is connected."""
        return bool(self._sources)

    def show(self, pixels: Image) -> None:
        """Send (H, W, 3) RGB to all viewers; never blocks."""
        self._still_s = 0.0
        self._send(pixels)

    def tick(self, passed_s: float) -> None:
        """Send the idle picture where none came for a while."""
        self._still_s += passed_s
        if self.watched and self._still_s >= _STILL_S:
            self._send(self._idle())

    def configure(self, media: Any) -> None:
        """Connect this channel to a pipeline that the server has built for viewers."""
        gst = load_gst()
        source = media.get_element().get_by_name("pictures")
        width, height = self.size
        caps = f"video/x-raw,format=RGB,width={width},height={height},framerate=0/1"
        source.set_property("caps", gst.Caps.from_string(caps))
        with self._lock:
            self._sources.append(source)
        # The server answers only when it has seen a picture: the next tick sends one.
        self._still_s = max(self._still_s, _STILL_S)
        media.connect("unprepared", lambda *_: self._drop(source))

    def _drop(self, source: Any) -> None:
        with self._lock:
            if source in self._sources:
                self._sources.remove(source)

    def _send(self, pixels: Image) -> None:
        with self._lock:
            sources = list(self._sources)
        if not sources:
            return
        data = np.ascontiguousarray(fitted(pixels, self.size)).tobytes()
        for source in sources:
            source.emit("push-buffer", load_gst().Buffer.new_wrapped(data))


class RtspServer:
    """An RTSP server at one host and port; `at` returns the running one or starts it."""

    _running: ClassVar[dict[tuple[str, int], RtspServer]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, host: str, port: int) -> None:
        gst, rtsp, glib = load_gst(), load_gst("GstRtspServer"), load_gst("GLib")
        for element in ("x264enc", "rtph264pay", "appsrc"):
            if gst.ElementFactory.find(element) is None:
                raise SinkError(
                    f"cannot serve RTSP: GStreamer has no {element}; sudo apt install "
                    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
                )
        self._rtsp, self._glib = rtsp, glib
        self._channels: dict[str, Channel] = {}
        self._server = rtsp.RTSPServer.new()
        self._server.set_address(host)
        self._server.set_service(str(port))
        self._server.get_session_pool().set_max_sessions(_MOST_VIEWERS)
        self._clients: dict[Any, float] = {}
        self._server.connect("client-connected", self._on_client)
        self._context = glib.MainContext.new()
        self._listening = self._server.attach(self._context)
        if self._listening == 0:
            raise SinkError(
                f"cannot serve RTSP at {host}:{port}: the port is taken or the address is not "
                "this machine's; name another"
            )
        self._tick = glib.timeout_source_new(_TICK_MS)
        self._tick.set_callback(self._on_tick)
        self._tick.attach(self._context)
        self._loop = glib.MainLoop.new(self._context, False)
        self._thread = threading.Thread(target=self._run, name=f"rtsp {host}:{port}", daemon=True)
        self._thread.start()

    @classmethod
    def at(cls, host: str, port: int) -> RtspServer:
        """The server of this host and port. Raises `SinkError` where it cannot be started."""
        with cls._lock:
            server = cls._running.get((host, port))
            if server is None:
                server = cls(host, port)
                if port:
                    cls._running[host, port] = server
            return server

    @property
    def port(self) -> int:
        """The actual port, also where 0 asked for any free one."""
        return int(self._server.get_bound_port())

    def add(self, path: str, channel: Channel) -> None:
        """Serve a channel under a path. Raises `SinkError` where the path is taken."""
        with self._lock:
            if path in self._channels:
                raise SinkError(f"two outputs at the RTSP path {path}: give each its own")
            self._channels[path] = channel
        width, height = channel.size
        kbit = max(300, round(width * height * _BITS_PER_PIXEL_S / 1000))
        factory = self._rtsp.RTSPMediaFactory.new()
        factory.set_launch(_LAUNCH.format(keys=_KEY_EVERY, kbit=kbit))
        factory.set_shared(True)
        factory.set_latency(0)
        factory.connect("media-configure", lambda _, media: channel.configure(media))
        self._server.get_mount_points().add_factory(path, factory)

    def remove(self, path: str) -> None:
        """Stop serving a path; the server ends with its last path."""
        self._server.get_mount_points().remove_factory(path)
        with self._lock:
            self._channels.pop(path, None)
            last = not self._channels
            if last:
                for key in [key for key, server in self._running.items() if server is self]:
                    del self._running[key]
        if last:
            self._close()

    def _close(self) -> None:
        """Close all clients and end the thread."""
        removal = self._rtsp.RTSPFilterResult.REMOVE
        self._server.client_filter(lambda *_: removal)
        self._server.get_session_pool().filter(lambda *_: removal)
        # Through the loop, also where its thread has not come to run it yet.
        ending = self._glib.idle_source_new()
        ending.set_callback(lambda *_: self._loop.quit())
        ending.attach(self._context)
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        self._context.push_thread_default()
        try:
            self._loop.run()
        finally:
            self._tick.destroy()
            self._context.find_source_by_id(self._listening).destroy()
            self._context.pop_thread_default()

    def _on_client(self, _server: Any, client: Any) -> None:
        """Accept a client; where there are too many, one that does not watch is closed."""
        if len(self._clients) >= _MOST_CONNECTED:
            idle = [one for one in self._clients if not _is_watching(one)]
            if not idle:
                client.close()
                return
            idle[0].close()
        self._clients[client] = time.monotonic()
        client.connect("closed", lambda gone: self._clients.pop(gone, None))

    def _close_idle(self) -> None:
        late_s = time.monotonic() - _SILENT_S
        for one in [one for one, connected_s in self._clients.items() if connected_s < late_s]:
            if not _is_watching(one):
                one.close()

    def _on_tick(self, *_: Any) -> bool:
        """Called by the server's thread at every tick."""
        self._close_idle()
        with self._lock:
            channels = list(self._channels.values())
        for channel in channels:
            channel.tick(_TICK_MS / 1000)
        self._server.get_session_pool().cleanup()
        return True


def _is_watching(client: Any) -> bool:
    """Whether a connection has a session, which the server gives it with its first SETUP."""
    return bool(client.session_filter(None))
