"""GStreamer's errors told as this package's: what happened, to what, and what to do next."""

from __future__ import annotations

from enum import IntEnum

from ..errors import (
    SourceDenied,
    SourceError,
    SourceMissing,
    SourceRefused,
    SourceTimeout,
    SourceUnreadable,
)
from .base import without_password
from .failures import only_udp
from .pipeline import PipelineError
from .specs import is_pipeline, is_rtsp

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
    said = cause(error)
    if is_rtsp(name) and "more transport protocols" in said:
        return only_udp(name)
    if _MISSING_PLUGIN.get(error.domain) == error.code:
        return SourceUnreadable(f"{name} needs a part of GStreamer that is not installed ({said})")
    if is_pipeline(name):
        return SourceUnreadable(f"{name} does not work as a pipeline ({said}): try gst-launch-1.0")
    return SourceUnreadable(f"{name} gives no picture ({said})")


def _of_resource(name: str, error: PipelineError) -> SourceError:
    """A camera, server or file that says no."""
    said, debug = cause(error), error.debug
    if error.code == _Resource.NOT_AUTHORIZED or "(401)" in debug or "(403)" in debug:
        return SourceDenied(f"{name} wants a user name and password that fit")
    if error.code == _Resource.NOT_FOUND:
        if is_rtsp(name):
            return SourceMissing(f"{name} is not known to its server: check the path")
        return SourceMissing(f"{name} is not there ({said}): check the name")
    if "imeout" in debug or "imed out" in debug:
        return SourceTimeout(f"{name} does not answer ({said}): is the camera on?")
    if error.code == _Resource.BUSY or "busy" in debug:
        return SourceRefused(f"{name} is in use: close the program that shows the camera")
    if "ermission denied" in debug:
        return SourceRefused(f"{name} may not be read: check its permissions")
    if error.code in (_Resource.OPEN_READ, _Resource.OPEN_WRITE, _Resource.OPEN_READ_WRITE):
        return SourceRefused(f"{name} cannot be reached ({said}): check address and port")
    if error.code in (_Resource.READ, _Resource.WRITE, _Resource.CLOSE):
        return SourceRefused(f"{name} refuses ({said})")
    return SourceUnreadable(f"{name} gives no picture ({said})")


def cause(error: PipelineError) -> str:
    """GStreamer's own words in one line, without its file names and without passwords."""
    # The second line of the debug text, where there is one, says what the first only names.
    detail = error.debug.splitlines()[-1:] if "\n" in error.debug.strip() else []
    said = " ".join(" ".join([str(error), *detail]).split()).rstrip(".").lower()
    return without_password(said)
