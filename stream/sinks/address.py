"""Where a receiver of rows listens, read from its address."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import SinkError
from ..sources.base import without_password


@dataclass(frozen=True, slots=True)
class Address:
    """A receiver's address in its parts; its text never shows the password."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    path: str = ""
    """Path and query, as they were written."""

    @classmethod
    def of(cls, text: str, form: str, ports: dict[str, int | None]) -> Address:
        """Read an address such as `tcp://host:port`.

        `form` is how it should look, for the error; `ports` names the schemes and what stands for
        a missing port, None where it must be given. Raises `SinkError`.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or ports.get(parts.scheme)
            if parts.scheme not in ports or not parts.hostname or not port or parts.fragment:
                raise ValueError
            parts.hostname.encode("idna")  # a name that no resolver can take
        except ValueError as error:
            raise SinkError(f"{without_password(text)} is no receiver: give {form}") from error
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            path=_path(parts),
        )

    def __str__(self) -> str:
        password = ":***" if self.password else ""
        user = f"{self.user}{password}@" if self.user or self.password else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return without_password(f"{self.scheme}://{user}{host}:{self.port}{self.path}")


def _path(parts: SplitResult) -> str:
    return parts.path + (f"?{parts.query}" if parts.query else "")


def reason(error: OSError) -> str:
    """Why a receiver cannot be reached, in a few words."""
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections"
    return f"cannot be reached ({(error.strerror or str(error) or type(error).__name__).lower()})"
