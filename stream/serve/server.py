"""The HTTP server: uvicorn with a limit on connections.

uvicorn waits for a request's head without a time limit, and answers 503 to everybody while too many
connections are open. Here a connection without a request in progress is closed after a while, and
where there are too many the one that has been idle longest is closed.
"""

from __future__ import annotations

import asyncio
import asyncio.constants
import logging
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from ..pipeline import Pipeline
from ..process import SIGNALS, Stop
from .guard import Limits, client_network

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from ..sinks.prometheus import Metrics


_POLL_S = 0.1
_MOST_KINDS = 100
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 22\r\n\r\ntoo many connections\r\n"
)


@dataclass(slots=True)
class _Connection:
    address: str
    busy: bool = False


class ConnectionLimit:
    """Limits connections in total, and those of each address to as many as are still free.

    So a single address, behind which there may be many people, gets half of all connections, and
    there is always room for another address.

    Args:
        total: connections at once.
        head_s: how long a connection may be without a request in progress, seconds.
        proxies: addresses of proxies, which are not limited by themselves.
    """

    def __init__(self, total: int, head_s: float, proxies: frozenset[str] = frozenset()) -> None:
        self.head_s = head_s
        self._total, self._proxies = total, proxies
        self._open: dict[asyncio.BaseTransport, _Connection] = {}  # in the order they came
        self._count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, transport: asyncio.Transport, address: str) -> bool:
        """Whether a new connection is accepted. The connection that is idle longest makes room."""
        free = self._total - len(self._open)
        own = self._count[address]
        if own and own >= free and address not in self._proxies and not self._make_room(address):
            return False
        if len(self._open) >= self._total:
            # Of those who hold most connections, and else of anybody.
            most = (name for name, _ in self._count.most_common())
            if not any(self._make_room(name) for name in most):
                return False
        self._open[transport] = _Connection(address)
        self._count[address] += 1
        return True

    def set_busy(self, transport: asyncio.BaseTransport, busy: bool) -> None:
        """Note whether a connection has a request in progress."""
        connection = self._open.get(transport)
        if connection is not None:
            connection.busy = busy

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """Forget a closed connection; repeated calls do nothing."""
        connection = self._open.pop(transport, None)
        if connection is not None:
            self._count[connection.address] -= 1
            if not self._count[connection.address]:
                del self._count[connection.address]

    def _make_room(self, address: str) -> bool:
        for transport, connection in self._open.items():
            if connection.address == address and not connection.busy:
                self.leave(transport)
                assert isinstance(transport, asyncio.Transport)
                transport.abort()
                return True
        return False


def protocols(limit: ConnectionLimit) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """uvicorn's protocol classes for HTTP and WebSocket, with this limit."""

    class Http(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        _accepted = False
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._accepted = limit.enter(transport, client_network(self.client))
            if self._accepted:
                self._update_timeout()
            else:
                transport.write(_FULL)
                transport.close()

        def data_received(self, data: bytes) -> None:
            if self._accepted:
                super().data_received(data)
                self._update_timeout()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._update_timeout()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel_timeout()
            limit.leave(self.transport)
            super().connection_lost(exc)

        def _update_timeout(self) -> None:
            """Start or cancel the time limit of a connection without a request in progress."""
            upgraded = self.transport.get_protocol() is not self
            busy = upgraded or (self.cycle is not None and not self.cycle.response_complete)
            limit.set_busy(self.transport, busy)
            if busy:
                self._cancel_timeout()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(limit.head_s, self.transport.abort)

        def _cancel_timeout(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    class Ws(AutoWebSocketsProtocol):  # type: ignore[misc, valid-type]
        def connection_lost(self, exc: Exception | None) -> None:
            limit.leave(self.transport)
            super().connection_lost(exc)

    return Http, Ws


class _Server(uvicorn.Server):
    """A server that ends when `stop` is set; a second signal ends it without waiting."""

    def __init__(self, config: uvicorn.Config, stop: Stop) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the command's handlers, without exceptions in the event loop."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def take(number: int, frame: FrameType | None) -> None:
            handler = before[number]
            if self._stop.is_set():
                self.force_exit = True
            elif callable(handler):
                handler(number, frame)

        held = [number for number, handler in before.items() if callable(handler)]
        for number in held:
            signal.signal(number, take)
        try:
            yield
        finally:
            for number in held:
                signal.signal(number, before[number])


class RateLimitedLog(logging.Filter):
    """Passes a kind of log line once in `every_s` seconds, so that no flood fills the disk."""

    def __init__(self, every_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s, self._clock = every_s, clock
        self._next_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether no line of this kind was passed in the last `every_s` seconds."""
        now_s, kind = self._clock(), str(record.msg)[:80]
        if now_s < self._next_s.get(kind, now_s):
            return False
        if len(self._next_s) > _MOST_KINDS:
            self._next_s.clear()
        self._next_s[kind] = now_s + self._every_s
        return True


def server_config(
    app: Callable[..., Any],
    limits: Limits,
    *,
    access_log: bool = False,
    certificate: Path | None = None,
    key: Path | None = None,
    proxies: Sequence[str] = (),
) -> uvicorn.Config:
    """uvicorn's configuration with the service's limits.

    Args:
        proxies: addresses whose X-Forwarded-For header is trusted.
    """
    limit = ConnectionLimit(
        limits.connections, limits.head_s, frozenset(client_network((one, 0)) for one in proxies)
    )
    http, ws = protocols(limit)
    config = uvicorn.Config(
        app,
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        ws_max_size=limits.message_bytes,
        # Pictures are compressed already, and what unpacks is one more way to ask for memory.
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=5,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        http=http,
        ws=ws,
    )
    log = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, RateLimitedLog) for one in log.filters):
        log.addFilter(RateLimitedLog())
    return config


def run(config: uvicorn.Config, listening: socket.socket, limits: Limits, stop: Stop) -> None:
    """Serve on a bound socket until `stop` is set."""
    # Before TLS is agreed on, a connection is asyncio's own affair.
    asyncio.constants.SSL_HANDSHAKE_TIMEOUT = limits.head_s
    server, over = _Server(config, stop), threading.Event()

    def wait_for_stop() -> None:
        while not (stop.wait(_POLL_S) or over.is_set()):
            pass
        server.should_exit = True

    waiting = threading.Thread(target=wait_for_stop, name="wait for the end", daemon=True)
    waiting.start()
    try:
        server.run(sockets=[listening])
    finally:
        over.set()
        waiting.join()


class ServiceMetrics:
    """Adds the pipeline's counts to the process's metrics.

    | metric | labels | what |
    |---|---|---|
    | ferstream_service_visitors | kind | visitors now: live, or uploads (images and clips) |
    | ferstream_service_batches_total | | batches scored so far |
    | ferstream_service_frames_total | | frames recognised so far, watched sources' too |
    | ferstream_service_up | | 1 while frames are being recognised |
    """

    def __init__(self, metrics: Metrics, pipeline: Pipeline) -> None:
        self._metrics = metrics
        self._pipeline = pipeline
        metrics.registry.register(self)

    def text(self) -> bytes:
        """All metrics of the process, in Prometheus's text format."""
        return self._metrics.text()

    def collect(self) -> Iterable[Metric]:
        """The current counts."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        visitors = GaugeMetricFamily("ferstream_service_visitors", "Visitors.", labels=["kind"])
        here = self._pipeline.clients
        visitors.add_metric(["live"], here["latest"])
        visitors.add_metric(["uploads"], here["every"])
        yield visitors
        for name, count in self._pipeline.counts.items():
            yield CounterMetricFamily(f"ferstream_service_{name}", f"{name} so far.", value=count)
        up = int(self._pipeline.running)
        yield GaugeMetricFamily("ferstream_service_up", "1 while frames are scored.", value=up)

    def describe(self) -> Iterable[Metric]:
        """No series in advance."""
        return []
