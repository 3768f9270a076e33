"""PyAV's and GStreamer's errors as this package's: what happened, to what, and what to do next."""

from __future__ import annotations

import errno
from enum import IntEnum
from pathlib import Path

import av.error

from ..errors import (
    SourceDenied,
    SourceError,
    SourceLost,
    SourceMissing,
    SourceRefused,
    SourceTimeout,
    SourceUnreadable,
)
from .base import without_password
from .gst import PipelineError
from .specs import is_pipeline, is_rtsp

# Reasons the operating system gives for an address that cannot be reached at all.
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ECONNRESET)


def file_failure(path: str, error: BaseException) -> SourceError:
    """Why a file could not be opened or decoded."""
    if isinstance(error, FileNotFoundError):
        return SourceMissing(f"no file {path}: check the name")
    if isinstance(error, IsADirectoryError):
        return SourceUnreadable(f"{path} is a folder: name a video or an image in it")
    if isinstance(error, EOFError):
        return SourceUnreadable(f"{path} holds no picture: copy or record it again")
    if isinstance(error, PermissionError) and Path(path).is_file():
        return SourceRefused(f"{path} may not be read: check its permissions")
    return SourceUnreadable(f"{path} is not a video or image that can be read ({reason(error)})")


def camera_failure(device: str, error: BaseException) -> SourceError:
    """Why a webcam could not be opened."""
    if isinstance(error, FileNotFoundError) or not Path(device).exists():
        cameras = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
        return SourceMissing(
            f"no camera at {device}: {'there is ' + cameras if cameras else 'none is connected'}"
        )
    if isinstance(error, PermissionError):
        return SourceRefused(f"{device} may not be read: add your user to the group video")
    if getattr(error, "errno", None) == errno.EBUSY:
        return SourceRefused(f"{device} is in use: close the program that shows the camera")
    return SourceUnreadable(f"{device} gives no picture ({reason(error)}): is it a camera?")


def address_failure(url: str, error: BaseException, waited_s: float, limit_s: float) -> SourceError:
    """Why an address could not be opened, after waiting `waited_s` of at most `limit_s`."""
    shown = without_password(url)
    # A server that accepts and then says nothing ends as whatever was being read at that moment.
    silent = isinstance(error, av.error.ExitError | TimeoutError) or waited_s >= 0.9 * limit_s
    if silent:
        return SourceTimeout(f"{shown} does not answer within {limit_s:g} s: is the camera on?")
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return SourceDenied(f"{shown} wants a user name and password that fit")
    if isinstance(error, av.error.HTTPNotFoundError | FileNotFoundError):
        return SourceMissing(f"{shown} is not known to its server: check the path")
    if isinstance(error, av.error.HTTPServerError | av.error.HTTPOtherClientError):
        return SourceRefused(f"{shown} is busy or out of order ({reason(error)}): try again later")
    if getattr(error, "errno", None) == errno.EPROTONOSUPPORT and is_rtsp(url):
        return only_udp(shown)
    if isinstance(error, ConnectionRefusedError):
        return SourceRefused(f"{shown} refuses the connection: check address and port")
    if isinstance(error, av.error.ProtocolNotFoundError):
        return SourceUnreadable(f"{shown}: this kind of address is not supported: use rtsp or http")
    if isinstance(error, OSError) and (error.errno in (*_UNREACHABLE, errno.EIO)):
        return SourceRefused(f"{shown} cannot be reached ({reason(error)}): check the address")
    if isinstance(error, ConnectionError):
        return SourceRefused(f"{shown} refuses ({reason(error)})")
    return SourceUnreadable(f"{shown} gives no picture ({reason(error)})")


def only_udp(name: str) -> SourceError:
    """A camera that will not send its pictures within the connection."""
    return SourceRefused(
        f"{name} offers its pictures by UDP alone, which loses some: switch RTP over TCP "
        "(interleaved) on in the camera"
    )


def lost(name: str, after_frames: int, cause: str) -> SourceLost:
    """A live source that had been giving frames stopped."""
    return SourceLost(f"{name} was lost after {after_frames} frames ({cause}): check the camera")


def stalled(name: str, silent_s: float) -> SourceTimeout:
    """A live source is connected and gives nothing."""
    return SourceTimeout(f"{name} gave no picture for {silent_s:.1f} s: check the camera")


def reason(error: BaseException) -> str:
    """The error's own words, in one line, without the path and the function it names."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words).splitlines()[0].lower()


_RESOURCE, _STREAM, _CORE, _PARSE = (
    "gst-resource-error-quark",
    "gst-stream-error-quark",
    "gst-core-error-quark",
    "gst_parse_error",
)
_MISSING_PLUGIN = {_CORE: 12, _STREAM: 6, _PARSE: 1}
"""Per domain the code that says that an element or a decoder is not installed."""


class _Resource(IntEnum):
    """Codes of GstResourceError."""

    NOT_FOUND = 3
    BUSY = 4
    OPEN_READ = 5
    OPEN_WRITE = 6
    OPEN_READ_WRITE = 7
    CLOSE = 8
    READ = 9
    WRITE = 10
    NOT_AUTHORIZED = 15


def pipeline_failure(name: str, error: PipelineError) -> SourceError:
    """Why a source could not be opened, or stopped; `name` is free of passwords."""
    if error.domain == _RESOURCE:
        return _of_resource(name, error)
    text = cause(error)
    if is_rtsp(name) and "more transport protocols" in text:
        return only_udp(name)
    if _MISSING_PLUGIN.get(error.domain) == error.code:
        return SourceUnreadable(f"{name} needs a part of GStreamer that is not installed ({text})")
    if is_pipeline(name):
        return SourceUnreadable(f"{name} does not work as a pipeline ({text}): try gst-launch-1.0")
    return SourceUnreadable(f"{name} gives no picture ({text})")


def _of_resource(name: str, error: PipelineError) -> SourceError:
    """A camera, server or file that says no."""
    text, debug = cause(error), error.debug
    if error.code == _Resource.NOT_AUTHORIZED or "(401)" in debug or "(403)" in debug:
        return SourceDenied(f"{name} wants a user name and password that fit")
    if error.code == _Resource.NOT_FOUND:
        if is_rtsp(name):
            return SourceMissing(f"{name} is not known to its server: check the path")
        return SourceMissing(f"{name} is not there ({text}): check the name")
    if "imeout" in debug or "imed out" in debug:
        return SourceTimeout(f"{name} does not answer ({text}): is the camera on?")
    if error.code == _Resource.BUSY or "busy" in debug:
        return SourceRefused(f"{name} is in use: close the program that shows the camera")
    if "ermission denied" in debug:
        return SourceRefused(f"{name} may not be read: check its permissions")
    if error.code in (_Resource.OPEN_READ, _Resource.OPEN_WRITE, _Resource.OPEN_READ_WRITE):
        return SourceRefused(f"{name} cannot be reached ({text}): check address and port")
    if error.code in (_Resource.READ, _Resource.WRITE, _Resource.CLOSE):
        return SourceRefused(f"{name} refuses ({text})")
    return SourceUnreadable(f"{name} gives no picture ({text})")


def cause(error: PipelineError) -> str:
    """GStreamer's own words in one line, without its file names and without passwords."""
    # The second line of the debug text, where there is one, says what the first only names.
    detail = error.debug.splitlines()[-1:] if "\n" in error.debug.strip() else []
    text = " ".join(" ".join([str(error), *detail]).split()).rstrip(".").lower()
    return without_password(text)
