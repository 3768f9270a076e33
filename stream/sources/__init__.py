"""Where frames come from: one word opens any source, by the table `TABLE`.

A new capture is a file in this folder and a line in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import SourceUnreadable
from .base import Source, is_address, without_password
from .specs import camera_device, clips_from, is_camera, is_pipeline, is_rtsp, sources_from
from .tunnel import Reach, anywhere

__all__ = [
    "CAPTURES",
    "Source",
    "clips_from",
    "open_clip",
    "open_live",
    "open_source",
    "sources_from",
    "without_password",
]

STALL_S = 3.0
LATENCY_MS = 0

ADDRESSES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "srt", "udp")
"""Schemes of addresses that are opened."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is asked for with a source; see `open_source`."""

    capture: str = "auto"
    stall_s: float = STALL_S
    latency_ms: int = LATENCY_MS
    track: int | None = None
    reach: Reach = anywhere


@dataclass(frozen=True, slots=True)
class Capture:
    """One way to open a source."""

    name: str
    takes: Callable[[str, Opening], bool]
    """Whether a word is meant for it, where none before it in the table takes it."""
    open: Callable[[str, Opening], Source]


def _sample(text: str, how: Opening) -> Source:
    from .sample import SampleSource

    return SampleSource()


def _gstreamer(text: str, how: Opening) -> Source:
    from .gstreamer import open_gstreamer

    return open_gstreamer(text, stall_s=how.stall_s, latency_ms=how.latency_ms, reach=how.reach)


def _address(text: str, how: Opening) -> Source:
    from .pyav import open_address

    return open_address(text, how.stall_s, how.stall_s, track=how.track, reach=how.reach)


def _camera(text: str, how: Opening) -> Source:
    from .pyav import open_camera

    return open_camera(camera_device(text) or text, how.stall_s)


def _file(text: str, how: Opening) -> Source:
    from .image import open_picture
    from .pyav import open_file

    return open_picture(Path(text)) or open_file(Path(text), how.track)


def _wants_gstreamer(text: str, how: Opening) -> bool:
    """A pipeline, an RTSP camera where GStreamer is here, or what is asked to be opened by it."""
    if is_pipeline(text) or how.capture == "gstreamer":
        return True
    if how.capture != "auto" or not is_rtsp(text):
        return False
    from .gst import has_gst

    return has_gst()


TABLE = (
    Capture("sample", lambda text, how: text == "sample", _sample),
    Capture("gstreamer", _wants_gstreamer, _gstreamer),
    Capture("address", lambda text, how: is_address(text), _address),
    Capture("camera", lambda text, how: camera_device(text) is not None, _camera),
    Capture("file", lambda text, how: True, _file),
)
CAPTURES = ("auto", "pyav", "gstreamer")
"""What may be asked to decode: `auto` is GStreamer for RTSP cameras where it is installed, else
PyAV."""


def open_source(
    spec: str | int | Path,
    capture: str = "auto",
    *,
    stall_s: float = STALL_S,
    latency_ms: int = LATENCY_MS,
    track: int | None = None,
    reach: Reach = anywhere,
) -> Source:
    """Open a source.

    `spec` is "sample", the path of a video or image, a webcam's number or /dev/videoN, an address
    with one of the schemes `ADDRESSES`, or gst:PIPELINE. A live source is opened, and gives a
    frame, within `stall_s` each, or fails. `latency_ms` is how long GStreamer waits for RTSP
    packets that are missing, which over TCP none are. `track` is the number of a video track, from
    0; None is the one marked default. `reach` says where to connect for an RTSP camera's host
    and port, and which may not be reached. Raises a `SourceError` that says what to do.
    """
    if capture not in CAPTURES:
        raise ValueError(f"capture {capture}: one of {', '.join(CAPTURES)}")
    text = str(spec)
    how = Opening(capture, stall_s, latency_ms, track, reach)
    _check_scheme(text)
    return next(one for one in TABLE if one.takes(text, how)).open(text, how)


def _check_scheme(text: str) -> None:
    """Raise `SourceUnreadable` for an address of no known kind."""
    scheme = text.partition("://")[0].lower()
    if not is_address(text) or scheme in ADDRESSES:
        return
    if scheme == "file":
        raise SourceUnreadable(f"{text}: give the path itself, without file://")
    known = ", ".join(f"{name}://" for name in ADDRESSES)
    raise SourceUnreadable(f"{without_password(text)} cannot be opened: there is {known}")


def open_clip(spec: str | int | Path, track: int | None = None) -> Source:
    """`open_source` for scoring: an address that turns out to be live is taken as a recording."""
    source = open_source(spec, track=track)
    if not source.live:
        return source
    from .base import RecordedSource

    return RecordedSource(source)


def open_live(
    spec: str | int | Path,
    *,
    capture: str = "auto",
    retries: int | None = None,
    stall_s: float = STALL_S,
    latency_ms: int = LATENCY_MS,
    strict_start: bool = False,
    track: int | None = None,
    reach: Reach = anywhere,
) -> Source:
    """A source as a live one: cameras and addresses are opened, watched and opened again within
    `frames` (see `SupervisedSource`), files and the sample play at their own pace.

    Raises a `SourceError` at once for a file that cannot be read.
    """
    from .base import PacedSource
    from .supervised import SupervisedSource

    if capture not in CAPTURES:
        raise ValueError(f"capture {capture}: one of {', '.join(CAPTURES)}")
    if stall_s <= 0:
        raise ValueError(f"a stall of {stall_s} s: more than 0")
    text = str(spec)
    _check_scheme(text)

    def opened() -> Source:
        return open_source(
            text, capture, stall_s=stall_s, latency_ms=latency_ms, track=track, reach=reach
        )

    if not (is_camera(text) or is_address(text)):
        return PacedSource(opened())
    name = without_password(camera_device(text) or text)
    return SupervisedSource(name, opened, retries=retries, strict_start=strict_start)
