"""Rows over HTTP: a POST of JSON lines every half second.

Every body begins with the header row, so that each stands on its own.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote

from ..errors import SinkLost, SinkRefused
from ..sources.base import without_password
from .rows import Address, BaseRowWriter, Row, line, reason

_FORM = "http://HOST/PATH or https://HOST/PATH"
# Answers that say that these rows will never be taken.
_UNWANTED = (400, 413, 415, 422)
# What stays as it is in a path and query.
_AS_IT_IS = "%/:?=&@!$'()*+,;~"
_MOVED = (301, 302, 303, 307, 308)


class HttpPost(BaseRowWriter):
    """Posts rows to an http:// or https:// address, with the user name and password in it.

    Redirects are not followed and no proxy is used. Certificates are checked against the
    system's, or SSL_CERT_FILE. A batch that is too large (413) is sent in halves. Rows may arrive
    twice where an answer is lost. Raises `SinkError` for an address of another form, `SinkLost`
    where the server does not accept the rows now, `SinkRefused` where it rejects the rows
    themselves (400, 413, 415, 422).
    """

    most = 100

    def __init__(self, address: str, every_s: float = 0.5, timeout_s: float = 5.0) -> None:
        self._address = Address.of(address, _FORM, {"http": 80, "https": 443})
        self.every_s = every_s
        self._timeout_s = timeout_s
        self._header: Row = {}
        self._connection: HTTPConnection | None = None

    @property
    def name(self) -> str:
        """The address, without its password."""
        return str(self._address)

    def open(self, header: Row) -> None:
        """Keep the header; the first rows connect."""
        self._header = header

    def write(self, row: Row) -> None:
        """Post one row."""
        self.write_all([row])

    def write_all(self, rows: Sequence[Row]) -> None:
        """Post all of the rows at once."""
        if not rows:
            return
        body = "".join(map(line, [self._header, *rows])).encode()
        try:
            status, location = self._post(body)
        except (OSError, HTTPException) as error:
            self.close()
            why = reason(error) if isinstance(error, OSError) else "answers no HTTP"
            raise SinkLost(f"{self.name} {why}: start the server, or name another") from error
        if status == 413 and len(rows) > 1:
            self.write_all(rows[: len(rows) // 2])
            self.write_all(rows[len(rows) // 2 :])
            return
        if status in _UNWANTED:
            raise SinkRefused(f"{self.name} answers {status}: it does not take these rows")
        if status in _MOVED:
            raise SinkLost(f"{self.name} has moved to {without_password(location)}: give that")
        if status in (401, 403, 407):
            raise SinkLost(f"{self.name} answers {status}: give name and password in the address")
        if not 200 <= status < 300:
            raise SinkLost(f"{self.name} answers {status} and did not take the rows")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes) -> tuple[int, str]:
        """Status and Location of the answer; a stale connection is reopened once."""
        stale = self._connection is not None
        try:
            return self._post_once(body)
        except (ConnectionError, HTTPException):
            self.close()
            if not stale:
                raise
            return self._post_once(body)

    def _post_once(self, body: bytes) -> tuple[int, str]:
        if self._connection is None:
            self._connection = self._connect()
        headers = {"Content-Type": "application/x-ndjson", "User-Agent": "ferstream"}
        if self._address.user:
            pair = f"{self._address.user}:{self._address.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._connection.request(
            "POST", quote(self._address.path or "/", safe=_AS_IT_IS), body, headers
        )
        answer = self._connection.getresponse()
        answer.read(1_000_000)
        if not answer.isclosed():
            self.close()
        return answer.status, answer.headers.get("Location", "")

    def _connect(self) -> HTTPConnection:
        host, port = self._address.host, self._address.port
        if self._address.scheme == "http":
            return HTTPConnection(host, port, timeout=self._timeout_s)
        context = ssl.create_default_context()
        return HTTPSConnection(host, port, timeout=self._timeout_s, context=context)


def make(target: str) -> HttpPost:
    """For `stream.formats`."""
    return HttpPost(target)
