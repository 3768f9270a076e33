"""What the page can refuse, in words for people and codes for its scripts.

PageError
├── SessionGone     also KeyError          the visit ended, everything of it is deleted
├── TooMuch         also ValueError        a clip beyond the limits
├── Busy            also RuntimeError      more visitors or clips than may wait
├── NotAllowed      also PermissionError   an address this page may not open
└── CannotServe     also OSError           the page cannot be opened on this machine
"""

from __future__ import annotations

from ferstream.errors import FerstreamError


class PageError(FerstreamError):
    """Root of what this package raises on purpose."""

    status = 400
    """The HTTP status it becomes."""
    code = "BAD_REQUEST"

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__

    def to_json(self) -> dict[str, dict[str, str]]:
        """The body of the answer."""
        return {"error": {"code": self.code, "message": str(self)}}


class SessionGone(PageError, KeyError):
    """The session has ended or does not exist."""

    status, code = 404, "SESSION_GONE"


class TooMuch(PageError, ValueError):
    """A clip larger than the page takes."""

    status, code = 413, "TOO_LARGE"


class Busy(PageError, RuntimeError):
    """The page has no room for another visitor or clip now."""

    status, code = 503, "BUSY"


class NotAllowed(PageError, PermissionError):
    """An address that this page may not open."""

    status, code = 403, "NOT_ALLOWED"


class CannotServe(PageError, OSError):
    """The page cannot be opened at this host and port, or not in the way that was asked."""

    status, code = 500, "CANNOT_SERVE"
