"""The sink that feeds the metrics (one source's counts, times and states), and their HTTP server.

The server answers requests for known host names only. Its connections are limited in number, per
client address and in time.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ..frame import Frame
from ..result import Result
from ..sources.base import SourceEvent, State, without_password
from ..sources.specs import is_known, own_names
from .base import BaseSink, Delivery, SinkInfo, package_version
from .prometheus import OTHER, Metrics, Recent

_MOST_STAGES = 16
_CODES = (
    *("NOT_FOUND", "UNSUPPORTED", "REFUSED", "AUTH_FAILED", "UNTRUSTED", "REDIRECTED", "LOST"),
    *("TIMEOUT", "FAILED"),
)


class MetricsSink(BaseSink):
    """Counts one source's results.

    Put it first among the sinks, so that the time other sinks take does not count as latency.

    Args:
        metrics: the process's metrics.
        outputs: the source's background outputs, whose drops and failures are exported.
        clock: the clock of the frames' times.
    """

    def __init__(
        self,
        metrics: Metrics,
        outputs: Sequence[Delivery] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = ""
        self.open_now = False
        self.recent = Recent(clock)
        self._metrics = metrics
        self._outputs = outputs
        self._clock = clock
        self._info = SinkInfo("")
        self._state = State.connecting
        self._has_events = False
        self._was_live = False
        self._last_id = 0
        self._stages: dict[str, Any] = {}
        self._series: dict[str, Any] = {}

    def open(self, info: SinkInfo) -> None:
        """Begin to count; all series of the source exist from now on."""
        metrics = self._metrics
        self._info, self.label = info, metrics.label_of(info.source)
        bundle = info.about.get("bundle") or {}
        metrics.info.labels(
            version=str(info.about.get("version") or package_version()),
            bundle=str(bundle.get("name", "")),
            bundle_version=str(bundle.get("version", "")),
            purpose=str(info.about.get("purpose") or ""),
        ).set(1)
        for name in ("frames", "faceless", "faces", "seen", "confidence", "uncertain"):
            self._series[name] = getattr(metrics, name).labels(self.label)
        self._reconnects = metrics.reconnects.labels(self.label)
        if info.live:
            self._series["latency"] = metrics.latency.labels(self.label)
        self._expressions = {
            name: metrics.expressions.labels(self.label, name) for name in info.labels.basic.labels
        }
        self._enter(State.connecting)
        self.open_now = True
        metrics.add(self)

    def write(self, frame: Frame, result: Result) -> None:
        """Count one frame."""
        if "latency" in self._series:
            self._series["latency"].observe(max(self._clock() - frame.time_s, 0.0))
        if not self._has_events and self._state is State.connecting:
            self._enter(State.live)
        self._series["frames"].inc()
        self._series["faces"].set(len(result.faces))
        self.recent.add(not result.faces)
        if not result.faces:
            self._series["faceless"].inc()
        for stage, duration_ms in result.stages_ms.items():
            self._stage(stage).observe(duration_ms / 1e3)
        for found in result.faces:
            basic8 = found.emotions.basic8
            best = max(basic8, key=basic8.__getitem__)
            self._expressions[best].inc()
            self._series["confidence"].observe(basic8[best])
            self._series["uncertain"].inc(found.emotions.uncertain)
        # Ids count upwards: those above the highest so far are new.
        ids = [found.face.id for found in result.faces if found.face.id > self._last_id]
        self._series["seen"].inc(len(ids))
        self._last_id = max([self._last_id, *ids])

    def on_event(self, event: SourceEvent) -> None:
        """Note the source's change of state."""
        self._has_events = True
        if event.state is State.live:
            if self._was_live:
                self._reconnects.inc()
            self._was_live = True
        elif event.code and event.state in (State.lost, State.ended):
            code = event.code if event.code in _CODES else "OTHER"
            self._metrics.failures.labels(self.label, code).inc()
        self._enter(event.state)

    def close(self) -> None:
        """Mark the source as ended; its counts can still be read."""
        if self.open_now:
            self._enter(State.ended)
            self._series["faces"].set(0)
            self.open_now = False

    def drops(self) -> dict[str, int]:
        """Frames dropped by cause, and results that outputs have dropped."""
        dropped = dict(self._info.drops())
        for output in self._outputs:
            cause = f"output {without_password(output.name)}"
            dropped[cause] = dropped.get(cause, 0) + output.dropped
        return dropped

    def outputs(self) -> dict[str, int]:
        """1 for each output that works, 0 for each that does not."""
        works: dict[str, int] = {}
        for output in self._outputs:
            name = without_password(output.name)
            works[name] = min(works.get(name, 1), int(not output.failure))
        return works

    def _enter(self, state: State) -> None:
        self._state = state
        for each in State:
            self._metrics.state.labels(self.label, each.value).set(each is state)

    def _stage(self, name: str) -> Any:
        series = self._stages.get(name)
        if series is None:
            label = name if len(self._stages) < _MOST_STAGES else OTHER
            series = self._metrics.stages.labels(self.label, label)
            self._stages[name] = series
        return series


_SILENT_S = 10.0
_MOST_CONNECTIONS = 32
_UNKNOWN = b"these metrics are not known under that name: ask for them by address\n"
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, *_: Any) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._connections: Counter[str] = Counter()
        self._lock = threading.Lock()
        super().__init__(*arguments, **options)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        # HTTPServer would look its own address up in the name service.
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            own = self._connections[client_address[0]]
            accepted = (
                self._connections.total() < _MOST_CONNECTIONS and own < _MOST_CONNECTIONS // 2
            )
            self._connections[client_address[0]] += int(accepted)
        if accepted:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # Each wait for a byte is bounded by the handler, all of them together here.
        timeout = threading.Timer(_SILENT_S, _shut_down, (request,))
        timeout.daemon = True
        timeout.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timeout.cancel()
            with self._lock:
                self._connections -= Counter([client_address[0]])

    def handle_error(self, *_: Any) -> None:
        """A client that closes its connection is no error of this program."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def serve_wsgi(app: Wsgi, host: str, port: int) -> tuple[WSGIServer, threading.Thread]:
    """Serve an application in a thread of its own. Raises OSError.

    A request whose Host is neither an IP address, nor this machine's name, nor `host` is answered
    421: a web page can make its own name point here.
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
