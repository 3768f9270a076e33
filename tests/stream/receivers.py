"""What tests of outputs share: results to give, receivers on loopback, a wait for the truth."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from ferstream.stream.frame import Frame
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.base import Sink, SinkInfo

ROW_INFO = SinkInfo("cam", (64, 48), 30.0, live=True, about={"purpose": "a test"})

Row = dict[str, Any]


def blank(time_s: float, index: int = 0, source: str = "cam") -> Frame:
    """A black frame."""
    return Frame(np.zeros((48, 64, 3), np.uint8), time_s, index, source)


def give_rows(
    sink: Sink, times_s: Sequence[float], faces: Sequence[FaceResult] = (), source: str = "cam"
) -> None:
    """Give a sink one frame per time, all with the same faces."""
    for index, time_s in enumerate(times_s):
        result = Result(index, time_s, source, list(faces), {"detect": 1.0, "spatial": 2.0})
        sink.write(blank(time_s, index, source), result)


def until(true: Callable[[], Any], within_s: float = 60.0) -> Any:
    """What `true` says once it is truthy; fails the test when that takes too long."""
    deadline_s = time.monotonic() + within_s
    while True:
        said = true()
        if said:
            return said
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        time.sleep(0.01)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TcpReceiver:
    """Takes lines on a port of loopback; keeps those of each connection apart."""

    def __init__(self, port: int = 0) -> None:
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = int(self._server.getsockname()[1])
        self.connections: list[bytearray] = []
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            text = bytearray()
            self.connections.append(text)
            self._sockets.append(client)
            threading.Thread(target=self._read, args=(client, text), daemon=True).start()

    def _read(self, client: socket.socket, text: bytearray) -> None:
        try:
            while chunk := client.recv(65536):
                text += chunk
        except OSError:
            pass

    def rows(self, connection: int = -1) -> list[Row]:
        """The whole lines of one connection; none where there is no such connection."""
        if not self.connections:
            return []
        whole = bytes(self.connections[connection]).rpartition(b"\n")[0]
        return [json.loads(text) for text in whole.splitlines()]

    def hang_up(self) -> None:
        """Close the connections; go on listening."""
        for client in self._sockets:
            _shut(client)
        self._sockets.clear()

    def close(self) -> None:
        """Stop listening and hang up."""
        _shut(self._server)
        self._thread.join(5)
        self.hang_up()


class HttpReceiver:
    """Takes POSTs on a port of loopback and answers what `answer` says (status, then headers)."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[], tuple[int, dict[str, str]]] = lambda: (204, {})
        self.connections = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver.connections += 1
                receiver._sockets.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = receiver.answer()
                receiver.headers.append({**dict(self.headers), ":path": self.path})
                if status < 300:
                    receiver.bodies.append(body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", "2")
                self.end_headers()
                if status != 204:
                    self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._sockets: list[socket.socket] = []
        self._server = _Quiet(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/rows?room=1"

    def batches(self) -> list[list[Row]]:
        """The rows of each body that was taken, of JSON lines."""
        return [[json.loads(text) for text in body.splitlines()] for body in list(self.bodies)]

    def hang_up(self) -> None:
        """Close the connections that are kept open."""
        for client in self._sockets:
            _shut(client)
        self._sockets.clear()

    def close(self) -> None:
        """Stop listening and hang up."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.hang_up()


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that were hung up on."""

    def handle_error(self, *_: object) -> None:
        pass


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
