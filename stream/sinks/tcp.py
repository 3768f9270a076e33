"""Rows as JSON lines over TCP, to whatever listens there.

Each connection begins with the header. A connection that breaks may lose its last rows. A batch
that was not sent as a whole is sent again on the next connection: a line is never cut, and may
arrive twice.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence

from ..errors import SinkError, SinkLost
from .rows import Address, BaseRowWriter, Row, line, reason

# A receiver that has vanished without closing the connection is given up after this time.
_SILENT_MS = 10_000


class TcpLines(BaseRowWriter):
    """Sends rows to `tcp://host:port`.

    A receiver that closes the connection, also in one direction, is reconnected at the next write.
    Raises `SinkError` for an address of another form, `SinkLost` where nobody answers within
    `timeout_s` seconds.
    """

    most = 256
    every_s = 0.0

    def __init__(self, address: str, timeout_s: float = 3.0) -> None:
        self._address = Address.of(address, "tcp://HOST:PORT", {"tcp": None})
        if self._address.user or self._address.path:
            raise SinkError(f"{self._address} holds more than tcp://HOST:PORT: leave the rest away")
        self._timeout_s = timeout_s
        self._header: Row = {}
        self._connection: socket.socket | None = None

    @property
    def name(self) -> str:
        """The address."""
        return str(self._address)

    def open(self, header: Row) -> None:
        """Keep the header; the first writing connects."""
        self._header = header

    def write(self, row: Row) -> None:
        """Send one row."""
        self.write_all([row])

    def write_all(self, rows: Sequence[Row]) -> None:
        """Send all of the rows, connecting first where there is no connection."""
        try:
            if self._connection is None or _is_closed_by_peer(self._connection):
                self._disconnect()
                self._connection = self._connect()
                rows = [self._header, *rows]
            self._connection.sendall("".join(map(line, rows)).encode())
        except OSError as error:
            self._disconnect()
            raise SinkLost(
                f"{self.name} {reason(error)}: start the receiver, or name another"
            ) from error

    def close(self) -> None:
        """Close the connection once everything was sent."""
        self._disconnect()

    def _connect(self) -> socket.socket:
        address = (self._address.host, self._address.port)
        connection = socket.create_connection(address, self._timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_MS)
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)
            self._connection.close()
            self._connection = None


def _is_closed_by_peer(connection: socket.socket) -> bool:
    """Whether the receiver has closed the connection; data from it is discarded.

    Without this check the first row after the end would be lost, as the system accepts it.
    """
    while select.select([connection], [], [], 0)[0]:
        if not connection.recv(65536):
            return True
    return False


def make(target: str) -> TcpLines:
    """For `stream.formats`."""
    return TcpLines(target)
