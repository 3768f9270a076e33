"""What the service has to keep to itself, read from files: tokens, passwords, keys of TLS."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from ..errors import StreamError


class ServeError(StreamError, OSError):
    """The service cannot be started as asked."""


def read_secret(file: Path, what: str) -> str:
    """A small text file that only its owner can read, without the space around its text.

    `what` is what it holds, for the message. Raises `ServeError`.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(65_536)
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
            raise ServeError(f"others can read the {what} in {file}: chmod 600 {file}")
        return data.decode("utf-8").strip()
    except (OSError, UnicodeError) as error:
        if isinstance(error, ServeError):
            raise
        words = getattr(error, "strerror", None) or "it is no text"
        raise ServeError(f"cannot read the {what} in {file}: {words.lower()}") from None


def check_tls(certificate: Path | None, key: Path | None) -> None:
    """Raise `ServeError`, naming the file, where TLS cannot be spoken with these."""
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise ServeError("TLS needs both: give --certificate and --key")
    for file in (certificate, key):
        try:
            file.open("rb").close()
        except OSError as error:
            words = (error.strerror or str(error)).lower()
            raise ServeError(f"cannot read {file}: {words}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        why = (error.reason or str(error)).replace("_", " ").lower()
        raise ServeError(
            f"{certificate} and {key} are no certificate and its key, both in PEM ({why})"
        ) from None
