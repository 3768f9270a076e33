"""What can go wrong between a camera and a result, as one tree.

    StreamError
    ├── SourceError
    │   ├── SourceMissing      also FileNotFoundError   nothing is there
    │   ├── SourceUnreadable   also ValueError          something is there, but no picture
    │   │   └── SourceTooLarge                          more pixels, frames, seconds than may be
    │   ├── SourceRefused      also ConnectionError     the camera or server says no
    │   │   ├── SourceDenied   also PermissionError     it wants another user name or password
    │   │   ├── SourceUntrusted                         it shows another certificate than was named
    │   │   └── SourceRedirected                        it redirects to where nobody is led
    │   ├── PartMissing        also ValueError          it has no such time, or region
    │   ├── SourceLost         also ConnectionError     it gave pictures and stopped
    │   └── SourceTimeout      also TimeoutError        it does not answer
    ├── SinkError              also OSError             a result cannot be written or shown
    │   └── SinkLost           also ConnectionError     a receiver is gone; it may come back
    │       └── SinkRefused                             it is there and does not want these rows
    ├── PartInvalid            also ValueError          a stride, times, region or shard of no sense
    ├── PictureMissing         also ValueError          a result keeps no picture to draw on
    ├── TablesMissing          also ImportError         no library for tables is installed
    ├── FrontEndUnavailable    also ImportError         what finds faces is not here
    ├── RecognizerUnusable     also RuntimeError        it is closed, or the process was forked
    ├── PipelineFull                                    there is no room for another client
    ├── PipelineClosed                                  the client has left, or it is closed
    ├── FrameFailed                                     a frame could not be recognised
    └── GstreamerMissing       also ImportError         GStreamer is not installed

Every message says what happened, names the value it was given and what to do next.
Passwords inside addresses are replaced before they reach a message. A `SourceError` has a `code`
for machines: NOT_FOUND, UNSUPPORTED, TOO_LARGE, NO_SUCH_PART, REFUSED, AUTH_FAILED, UNTRUSTED,
REDIRECTED, LOST, TIMEOUT.
"""

from __future__ import annotations

from ferstream.errors import FerstreamError


class StreamError(FerstreamError):
    """Root of everything this package raises on purpose."""


class SourceError(StreamError):
    """A source cannot be opened or read."""

    code = "FAILED"
    """Why, for machines."""


class SourceMissing(SourceError, FileNotFoundError):
    """No file, folder, camera or address of that name."""

    code = "NOT_FOUND"


class SourceUnreadable(SourceError, ValueError):
    """It exists, but holds no picture that can be decoded."""

    code = "UNSUPPORTED"


class SourceTooLarge(SourceUnreadable):
    """It asks for more pixels, frames, seconds or memory than it may have."""

    code = "TOO_LARGE"


class PartMissing(SourceError, ValueError):
    """It ends before the part that was asked for, or its picture lacks the region."""

    code = "NO_SUCH_PART"


class SourceRefused(SourceError, ConnectionError):
    """The camera or server refused: closed port, wrong password, no permission, in use."""

    code = "REFUSED"


class SourceDenied(SourceRefused, PermissionError):
    """The camera or server wants a user name and password that fit."""

    code = "AUTH_FAILED"


class SourceUntrusted(SourceRefused):
    """Who answers shows another certificate than the one that was named."""

    code = "UNTRUSTED"


class SourceRedirected(SourceRefused):
    """The camera redirects without end, to no camera, or to an address that is not allowed."""

    code = "REDIRECTED"


class SourceLost(SourceError, ConnectionError):
    """A live source that had been giving frames stopped."""

    code = "LOST"


class SourceTimeout(SourceError, TimeoutError):
    """A source did not answer in time."""

    code = "TIMEOUT"


class SinkError(StreamError, OSError):
    """A result cannot be written or shown where it was asked for."""


class SinkLost(SinkError, ConnectionError):
    """A receiver over the network does not answer or hung up; it may come back."""


class SinkRefused(SinkLost):
    """A receiver answers that it will never take these rows; it may take others."""


class PartInvalid(StreamError, ValueError):
    """A stride, times or a region that no source has."""


class PictureMissing(StreamError, ValueError):
    """A result was not asked to keep its picture."""


class TablesMissing(StreamError, ImportError):
    """None of the libraries is installed that hold tables."""


class FrontEndUnavailable(StreamError, ImportError):
    """The face front end asked for cannot be had: a library, or networks of the bundle, are
    missing."""


class RecognizerUnusable(StreamError, RuntimeError):
    """A Recognizer was closed, or made in a process of which this one is a fork."""


class PipelineFull(StreamError):
    """There is no room for one more client."""


class PipelineClosed(StreamError):
    """The client has left, or the pipeline is closed."""


class FrameFailed(StreamError):
    """A frame could not be recognised, for the reason in `__cause__`; others may be."""


class GstreamerMissing(StreamError, ImportError):
    """GStreamer, or a part of it, is not installed where Python finds it."""
