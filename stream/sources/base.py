"""What a source is, and how it is named where people read it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import quote

from ..errors import StreamError
from ..frame import Frame


class Source(Protocol):
    """Anything that yields frames.

    `frames` is called once and read by one thread; `close` may be called from any thread, more
    than once, and makes `frames` end soon.
    """

    @property
    def name(self) -> str:
        """What results call this source; free of passwords and of what is no text or steers a
        terminal."""

    @property
    def live(self) -> bool:
        """Whether frames come whether or not they are taken (a camera), or wait (a file)."""

    @property
    def rate_hz(self) -> float | None:
        """Frames per second as declared; None where unknown or where there is one frame."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the upright picture, pixels; None where unknown."""

    @property
    def duration_s(self) -> float | None:
        """Declared length; None for a live source or where unknown."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results should know, such as damage; complete after `frames`."""

    def frames(self) -> Iterator[Frame]:
        """Frames in the order of their times, which strictly increase.

        Raises `SourceUnreadable` where there is no picture, `SourceLost` where a live source
        stops.
        """

    def close(self) -> None:
        """Let go of the file or camera."""


# The second form is no proper address: a password whose / ? # should have been escaped.
_USERINFO = re.compile(r"(?<=://)(?P<user>[^/?#:@\s\"']*):(?:[^/?#\s\"']*|(?!\d+[/?#])[^\s\"']*)@")
_QUERY = re.compile(
    r"(?P<key>[?&;][^=&;\s]*(?:pass|pwd|token|secret|auth|key|sig)[^=&;\s]*=)[^&;#\s]*", re.I
)
# What GStreamer's elements call them: user-pw=..., passphrase="...", password=(string)...
_PROPERTY = re.compile(
    r"""(?P<key>(?<![\w-])[\w-]*(?:pw|pass|secret|token|authorization|cookie)[\w-]*\s*=\s*)"""
    r"""(?:\(\w+\)\s*)?(?:"(?:\\.|[^"\\])*"?|'[^']*'?|(?:\\.|[^\s!"'])+)""",
    re.I,
)


_PIN = re.compile(r"(?<=\S)#sha256=[0-9a-f:]*$", re.I)


def without_password(text: str) -> str:
    """`text` with the password of every address and every pipeline in it shown as ***, and without
    the fingerprint of a certificate at its end."""
    text = _PIN.sub("", text)
    text = _USERINFO.sub(lambda found: f"{found['user']}:***@", text)
    text = _QUERY.sub(lambda found: f"{found['key']}***", text)
    if "gst:" in text or " ! " in text:
        text = _PROPERTY.sub(lambda found: f"{found['key']}***", text)
    return text


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def with_variables(spec: str) -> str:
    """An address in which `${NAME}` is what the environment variable holds, escaped for it.

    So a password is not in the list of processes, which everybody on a machine can read. What is
    no address stays as it is. Raises `StreamError` for a variable that is not set.
    """
    if not is_address(spec):
        return spec

    def value(found: re.Match[str]) -> str:
        held = os.environ.get(found[1])
        if not held:
            raise StreamError(
                f"{without_password(spec)} asks for the environment variable {found[1]}, which "
                "is not set: export it"
            )
        return quote(held, safe="")

    return _VARIABLE.sub(value, spec)


def is_address(spec: str) -> bool:
    """Whether `spec` is a URL rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", spec) is not None


def is_dense(rate_hz: float | None, duration_s: float | None) -> bool:
    """Whether the frames of a recording with this rate and length are `Frame.dense`."""
    return (rate_hz or 0.0) >= 4 and (duration_s or 0.0) >= 1
