"""What can go wrong between a camera and a result, as one tree.

    StreamError
    ├── SourceError
    │   ├── SourceMissing      also FileNotFoundError   nothing is there
    │   ├── SourceUnreadable   also ValueError          something is there, but no picture
    │   ├── SourceRefused      also ConnectionError     the camera or server says no
    │   ├── SourceLost         also ConnectionError     it gave pictures and stopped
    │   └── SourceTimeout      also TimeoutError        it does not answer
    └── SinkError              also OSError             a result cannot be written or shown

Every message says what happened, names the value it was given and what to do next.
Passwords inside addresses are replaced before they reach a message.
"""

from __future__ import annotations


class StreamError(Exception):
    """Root of everything this package raises on purpose."""


class SourceError(StreamError):
    """A source cannot be opened or read."""


class SourceMissing(SourceError, FileNotFoundError):
    """No file, folder, camera or address of that name."""


class SourceUnreadable(SourceError, ValueError):
    """It exists, but holds no picture that can be decoded."""


class SourceRefused(SourceError, ConnectionError):
    """The camera or server refused: closed port, wrong password, no permission, in use."""


class SourceLost(SourceError, ConnectionError):
    """A live source that had been giving frames stopped."""


class SourceTimeout(SourceError, TimeoutError):
    """A source did not answer in time."""


class SinkError(StreamError, OSError):
    """A result cannot be written or shown where it was asked for."""
