"""PyAV's errors told as this package's: what happened, to what, and what to do next."""

from __future__ import annotations

import errno
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
from .specs import is_rtsp

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
