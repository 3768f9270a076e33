"""A small HTTP server for metrics: known names only, few and short connections, of which half at
most are one address's."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ..hosts import is_known, own_names

_SILENT_S = 10.0
_AT_ONCE = 32
_UNKNOWN = b"these metrics are not known under that name: ask for them by address\n"
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, *_: Any) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._here: Counter[str] = Counter()
        self._lock = threading.Lock()
        super().__init__(*arguments, **options)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        # HTTPServer would look its own address up in the name service.
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            here = self._here[client_address[0]]
            room = self._here.total() < _AT_ONCE and here < _AT_ONCE // 2
            self._here[client_address[0]] += int(room)
        if room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # Each wait for a byte is bounded by the handler, all of them together here.
        late = threading.Timer(_SILENT_S, _cut, (request,))
        late.daemon = True
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            with self._lock:
                self._here -= Counter([client_address[0]])

    def handle_error(self, *_: Any) -> None:
        """Whoever hangs up is no error of this program."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def serve_wsgi(app: Wsgi, host: str, port: int) -> tuple[WSGIServer, threading.Thread]:
    """Serve an application in a thread of its own. Raises OSError.

    A name in a request's Host that is neither an address nor this machine's nor `host` is told
    nothing (421): a web page can make its own name point here.
    """
    names = own_names((host,))

    def guarded(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if is_known(environ.get("HTTP_HOST", ""), names):
            return app(environ, start)
        headers = [("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff")]
        start("421 Misdirected Request", [*headers, ("Content-Length", str(len(_UNKNOWN)))])
        return [_UNKNOWN]

    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    kind = _ServerV6 if family == socket.AF_INET6 else _Server
    server = make_server(host, port, guarded, kind, _Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    return server, thread
