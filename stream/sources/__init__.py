"""Where frames come from: one word opens any source."""

from __future__ import annotations

from pathlib import Path

from .base import Source, is_address, without_password
from .specs import camera_device, clips_from, is_camera, is_pipeline, is_rtsp, sources_from
from .way import Reach, anywhere

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

CAPTURES = ("auto", "pyav", "gstreamer")
"""What decodes: `auto` is GStreamer for RTSP cameras where it is installed, else PyAV."""

STALL_S = 3.0
LATENCY_MS = 0


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

    `spec` is "sample", the path of a video or image, a webcam's number or /dev/videoN, an
    rtsp://, http:// or https:// address, or gst:PIPELINE. A live source is opened, and gives a
    frame, within `stall_s` each, or fails. `latency_ms` is how long GStreamer waits for RTSP
    packets that are missing, which over TCP none are. `track` is the number of a video track, from
    0; None is the one marked default. `reach` says where to connect for an RTSP camera's host
    and port, and which may not be reached. Raises a `SourceError` that says what to do.
    """
    if capture not in CAPTURES:
        raise ValueError(f"capture {capture}: one of {', '.join(CAPTURES)}")
    text = str(spec)
    if text == "sample":
        from .sample import SampleSource

        return SampleSource()
    if is_pipeline(text) or _by_gstreamer(text, capture):
        from . import gstreamer

        return gstreamer.open_gstreamer(text, stall_s=stall_s, latency_ms=latency_ms, reach=reach)
    from . import pyav

    if is_address(text):
        return pyav.open_address(text, stall_s, stall_s, track=track, reach=reach)
    device = camera_device(text)
    if device is not None:
        return pyav.open_camera(device, stall_s)
    from .image import open_picture

    return open_picture(Path(text)) or pyav.open_file(Path(text), track)


def open_clip(spec: str | int | Path, track: int | None = None) -> Source:
    """`open_source` for scoring: an address that turns out to be live is taken as a recording."""
    source = open_source(spec, track=track)
    if not source.live:
        return source
    from .recorded import RecordedSource

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
    from .paced import PacedSource
    from .supervised import SupervisedSource

    if capture not in CAPTURES:
        raise ValueError(f"capture {capture}: one of {', '.join(CAPTURES)}")
    if stall_s <= 0:
        raise ValueError(f"a stall of {stall_s} s: more than 0")
    text = str(spec)

    def opened() -> Source:
        return open_source(
            text, capture, stall_s=stall_s, latency_ms=latency_ms, track=track, reach=reach
        )

    if not (is_camera(text) or is_address(text)):
        return PacedSource(opened())
    name = without_password(camera_device(text) or text)
    return SupervisedSource(name, opened, retries=retries, strict_start=strict_start)


def _by_gstreamer(spec: str, capture: str) -> bool:
    """Whether GStreamer is to open `spec`."""
    if capture == "auto":
        from ..gst import has_gst

        return is_rtsp(spec) and has_gst()
    return capture == "gstreamer"
