"""RTSP cameras, webcams, files and pipelines given as text, decoded by GStreamer.

GStreamer decodes in threads of its own, on the graphics card where it has a decoder. Of a live
source only the newest picture is taken, a few milliseconds after it arrived.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ferstream.engines.terminal import plain

from ..errors import (
    GstreamerMissing,
    SourceError,
    SourceLost,
    SourceMissing,
    SourceTimeout,
    SourceUnreadable,
)
from ..frame import Frame
from .base import BaseSource, is_address, without_password
from .failures import camera_failure, cause, lost, pipeline_failure, stalled
from .gst import COUNTER, SINK, Picture, Pipeline, PipelineEnd, PipelineError
from .specs import PIPELINE_PREFIX, camera_device, is_pipeline, is_rtsp
from .tunnel import Reach, Tunnel, anywhere, follow_camera

# Until the first picture of a camera that sends key frames seldom; packets must come all the time.
_FIRST_PICTURE_S = 15.0
_PULL_S = 0.1
_TO_RGB = "videoconvert ! video/x-raw,format=RGB"
_NEWEST = f"appsink name={SINK} max-buffers=1 drop=true sync=false"
_EVERY = f"appsink name={SINK} max-buffers=2 drop=false sync=false"
_RTSP = (
    f"rtspsrc name=source ! application/x-rtp,media=video ! identity name={COUNTER} silent=true "
    f"! decodebin ! {_TO_RGB} ! {_NEWEST}"
)
# Formats to request from a webcam, best first.
_WEBCAM = (
    "image/jpeg,width=1280,height=720,framerate=30/1 ! jpegdec",
    "video/x-raw,framerate=30/1",
    "decodebin",
)


class GstSource(BaseSource):
    """A source that reads a running pipeline; see `open_gstreamer`."""

    def __init__(
        self,
        pipeline: Pipeline,
        name: str,
        live: bool = True,
        stall_s: float = 3.0,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`stall_s` is how long a live source may give nothing; `at_end` is called at the end."""
        self.name = plain(name)
        self.live = live
        self.duration_s: float | None = None
        self._pipeline = pipeline
        self._stall_s = stall_s
        self._at_end = at_end
        self._stop = False
        self._first: Picture | None = None
        self._count = 0
        self._damaged = 0

    @property
    def rate_hz(self) -> float | None:
        """Frames per second as declared with the last picture."""
        return self._pipeline.rate_hz

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the last picture, pixels; None before there was one."""
        return self._pipeline.size

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing: damage is counted in `drops`."""
        return ()

    @property
    def drops(self) -> Mapping[str, int]:
        """Pictures left out so far, per cause."""
        return {"damaged": self._damaged} if self._damaged else {}

    @property
    def decoders(self) -> tuple[str, ...]:
        """Names of the decoders in use, such as nvh264dec or avdec_h264."""
        return self._pipeline.decoders()

    def start(self, limit_s: float) -> None:
        """Start, and wait for the first picture or, of a live source, for any data.

        Raises a `SourceError`: `SourceTimeout` after `limit_s` seconds. The pipeline is then
        stopped.
        """
        try:
            self._pipeline.start()
            until_s = time.monotonic() + limit_s
            while self._first is None and time.monotonic() < until_s and not self._stop:
                self._first = self._pipeline.pull(_PULL_S)
            if self._first is None and not self._stop and not self._pipeline.buffers_received():
                limit = f"within {limit_s:g} s"
                raise SourceTimeout(f"{self.name} gives no picture {limit}: is the camera on?")
        except PipelineEnd:
            self._pipeline.stop()
            raise SourceUnreadable(f"{self.name} holds no picture that can be decoded") from None
        except PipelineError as error:
            self._pipeline.stop()
            raise pipeline_failure(self.name, error) from None
        except BaseException:
            self._pipeline.stop()
            raise

    def frames(self) -> Iterator[Frame]:
        """Frames until `close`; of a live source the newest ones, with the time they arrived.

        Raises `SourceLost` where a live source stops, `SourceTimeout` where it stalls,
        `SourceUnreadable` where there is no picture.
        """
        begin_s, last_s = None, float("-inf")
        try:
            while (picture := self._next()) is not None:
                if self.live:
                    time_s = time.monotonic() - picture.age_s
                else:
                    stamp_s = picture.stamp_s if picture.stamp_s is not None else last_s + 1 / 30
                    begin_s = stamp_s if begin_s is None else begin_s
                    time_s = stamp_s - begin_s
                last_s = time_s if time_s > last_s else last_s + 1e-4
                yield Frame(picture.pixels, last_s, self._count, self.name, dense=self.live)
                self._count += 1
        except PipelineEnd:
            if self.live and not self._stop:
                raise self._lost("it ended the stream") from None
        except PipelineError as error:
            if self._stop:
                return
            failure = pipeline_failure(self.name, error)
            raise (self._lost(cause(error)) if self.live and self._count else failure) from None
        finally:
            self._end()

    def close(self) -> None:
        """Stop the pipeline; `frames` ends."""
        self._stop = True
        self._end()

    def _end(self) -> None:
        self._pipeline.stop()
        self._at_end()

    def _lost(self, why: str) -> SourceLost:
        return lost(self.name, self._count, why)

    def _next(self) -> Picture | None:
        """The next good picture; None once closed. Raises `SourceTimeout` at a stall."""
        picture, self._first = self._first, None
        begun_s = received_s = time.monotonic()
        received = self._pipeline.buffers_received()
        while not self._stop:
            if picture is not None:
                if not picture.damaged:
                    return picture
                self._damaged += 1
            picture = self._pipeline.pull(min(_PULL_S, self._stall_s))
            now_s, before = time.monotonic(), received
            if not self.live or picture is not None:
                continue
            received = self._pipeline.buffers_received()
            received_s = now_s if received != before else received_s
            # Until the first key frame packets are enough; later only pictures are.
            waiting = self._count == 0 and received is not None
            silent_s = now_s - (received_s if waiting else begun_s)
            if silent_s >= self._stall_s or now_s - begun_s >= _FIRST_PICTURE_S:
                raise stalled(self.name, now_s - begun_s)
        return None


def open_gstreamer(
    spec: str, *, stall_s: float = 3.0, latency_ms: int = 0, reach: Reach = anywhere
) -> GstSource:
    """Open a camera's address, a webcam, a file or gst:PIPELINE, and start it.

    A pipeline's description may leave out its end, conversion to RGB and an appsink: it is added
    unless there is an appsink named `sink`.

    Args:
        spec: see `open_source`.
        stall_s: how long opening may take, and how long a live source may give nothing, seconds.
        latency_ms: how long to wait for late RTSP packets.
        reach: where to connect for a host and port.

    Raises a `SourceError`.
    """
    try:
        if is_pipeline(spec):
            return _open_pipeline(spec, stall_s)
        if is_rtsp(spec):
            return follow_camera(
                spec, stall_s, lambda tunnel: _open_rtsp(spec, tunnel, stall_s, latency_ms), reach
            )
        device = camera_device(spec)
        if device is not None:
            return _open_webcam(device, stall_s)
        return _open_clip(spec, stall_s)
    except GstreamerMissing as error:
        raise SourceUnreadable(f"{without_password(spec)}: {error}") from error


def _running(
    description: str,
    name: str,
    configure: Callable[[Any], None] | None = None,
    live: bool = True,
    stall_s: float = 3.0,
    at_end: Callable[[], None] = lambda: None,
) -> GstSource:
    """Start a pipeline; returns its source once the first picture or packet is there."""
    try:
        pipeline = Pipeline(description, configure)
    except PipelineError as error:
        raise pipeline_failure(name, error) from None
    source = GstSource(pipeline, name, live, stall_s, at_end=at_end)
    source.start(stall_s)
    return source


def _open_pipeline(spec: str, stall_s: float) -> GstSource:
    description = spec[len(PIPELINE_PREFIX) :].strip()
    if not re.search(rf'\bappsink\b[^!]*\bname\s*=\s*"?{SINK}\b', description):
        description = f"{description.rstrip('! ')} ! {_TO_RGB} ! {_NEWEST}"
    return _running(description, without_password(spec), stall_s=stall_s)


def _open_rtsp(url: str, tunnel: Tunnel, stall_s: float, latency_ms: int) -> GstSource:
    parts = urlsplit(tunnel.url)
    # User and password go beside the address, so that no message of GStreamer can hold them.
    location = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def configure(pipeline: Any) -> None:
        source = pipeline.get_by_name("source")
        source.set_property("location", location)
        if parts.username:
            source.set_property("user-id", unquote(parts.username))
            source.set_property("user-pw", unquote(parts.password or ""))
        source.set_property("latency", latency_ms)
        source.set_property("tcp-timeout", int(stall_s * 1e6))
        source.set_property("timeout", int(stall_s * 1e6))
        source.set_property("protocols", 4)  # RTP within the RTSP connection: nothing is lost
        source.connect("select-stream", _is_video)

    name = without_password(url)
    return _running(_RTSP, name, configure, stall_s=stall_s, at_end=tunnel.close)


def _is_video(_source: Any, _number: int, caps: Any) -> bool:
    """Whether to request a stream of a camera: video only, no sound, no metadata."""
    return bool(caps.get_structure(0).get_string("media") == "video")


def _open_webcam(device: str, stall_s: float) -> GstSource:
    if not Path(device).exists():
        raise camera_failure(device, FileNotFoundError(device))
    failure: SourceError | None = None
    for wish in _WEBCAM:
        description = f'v4l2src device="{device}" ! {wish} ! {_TO_RGB} ! {_NEWEST}'
        try:
            return _running(description, device, stall_s=stall_s)
        except SourceError as error:
            failure = error
    assert failure is not None
    raise failure


def _open_clip(spec: str, stall_s: float) -> GstSource:
    path = Path(spec)
    if is_address(spec):
        name, source = without_password(spec), "souphttpsrc name=source"
    elif not path.exists():
        raise SourceMissing(f"no file {spec}: check the name")
    else:
        name, source = spec, "filesrc name=source"

    def configure(pipeline: Any) -> None:
        pipeline.get_by_name("source").set_property("location", spec)

    turned = f"videoconvert ! videoflip video-direction=auto ! {_TO_RGB}"
    description = f"{source} ! decodebin ! {turned} ! {_EVERY}"
    return _running(description, name, configure, live=False, stall_s=max(stall_s, 10.0))
