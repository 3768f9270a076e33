"""Metrics for Prometheus: states of sources, speed, drops and readings.

| metric | labels | what |
|---|---|---|
| ferstream_info | version, bundle, bundle_version, purpose | 1 |
| ferstream_frames_total, ferstream_faceless_frames_total | source | frames; those without a face |
| ferstream_fps, ferstream_no_face_ratio | source | over the last 10 s |
| ferstream_stage_seconds | source, stage | histogram: detect, align, flow, spatial, ... |
| ferstream_latency_seconds | source | histogram, live sources: from capture to here |
| ferstream_drops_total | source, cause | frames dropped; results an output was not given |
| ferstream_faces, ferstream_faces_seen_total | source | in the last frame; different ones so far |
| ferstream_expressions_total | source, expression | faces in frames, by likeliest of the eight |
| ferstream_confidence | source | summary: probability of that; sum / count is the mean |
| ferstream_uncertain_total | source | faces in frames whose reading was uncertain |
| ferstream_source_state | source, state | 1 for the state it is in, else 0 |
| ferstream_reconnects_total | source | times it came back |
| ferstream_source_failures_total | source, code | times it failed: AUTH_FAILED, REFUSED, ... |
| ferstream_output_up | source, output | 1 while a background output works, else 0 |

Every label has few values: sources are those of the run, and beyond `MOST_SOURCES` they share the
name `other`; causes, codes and the rest come from the program. No face has a label.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..errors import SinkError
from ..sources.base import without_password

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from .metrics_sink import MetricsSink


MOST_SOURCES = 200
OTHER = "other"
_STAGE_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024)
_LATENCY_S = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The metrics of one process in a registry of their own, fed by a `MetricsSink` per source.

    Raises ModuleNotFoundError without prometheus-client.
    """

    def __init__(self) -> None:
        import prometheus_client as client

        # Else every counter has a second series that says nothing.
        client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = client.CollectorRegistry()
        client.ProcessCollector(registry=self.registry)
        self._lock = threading.Lock()
        self._sources: dict[str, None] = {}
        self._sinks: list[MetricsSink] = []
        self._server: tuple[Any, threading.Thread] | None = None
        self._make_series()
        # The registry asks it whenever it is read.
        self.registry.register(self)

    def _make_series(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram, Summary

        def options(*labels: str) -> dict[str, Any]:
            return {"namespace": "ferstream", "labelnames": labels, "registry": self.registry}

        one = options("source")
        facts = options("version", "bundle", "bundle_version", "purpose")
        self.info = Gauge("info", "What runs here, and what for.", **facts)
        self.frames = Counter("frames", "Frames recognised.", **one)
        self.faceless = Counter("faceless_frames", "Frames without a face.", **one)
        self.stages = Histogram(
            "stage_seconds",
            "Time per frame and stage.",
            buckets=_STAGE_S,
            **options("source", "stage"),
        )
        self.latency = Histogram(
            "latency_seconds", "From capture to result.", buckets=_LATENCY_S, **one
        )
        self.faces = Gauge("faces", "Faces in the last frame.", **one)
        self.seen = Counter("faces_seen", "Different faces so far.", **one)
        self.expressions = Counter(
            "expressions",
            "Faces in frames by likeliest expression.",
            **options("source", "expression"),
        )
        self.confidence = Summary("confidence", "Probability of the likeliest expression.", **one)
        self.uncertain = Counter("uncertain", "Faces in frames read with too much doubt.", **one)
        self.state = Gauge(
            "source_state", "1 for the state a source is in.", **options("source", "state")
        )
        self.reconnects = Counter("reconnects", "Times a source came back.", **one)
        self.failures = Counter(
            "source_failures", "Times a source failed, by code.", **options("source", "code")
        )

    @property
    def port(self) -> int | None:
        """The port they are served at; None while they are not."""
        return None if self._server is None else int(self._server[0].server_port)

    def serve(self, address: str) -> None:
        """Serve them over HTTP at HOST:PORT, or PORT of this machine alone (127.0.0.1).

        A request for a host name that is neither an IP address, nor this machine's, nor HOST is
        answered 421. Raises `SinkError` for another address and where that one cannot be bound.
        """
        from prometheus_client import make_wsgi_app

        from .metrics_sink import serve_wsgi

        host, port = _host_and_port(address)
        try:
            self._server = serve_wsgi(make_wsgi_app(self.registry), host, port)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise SinkError(
                f"cannot serve metrics at {host}:{port}: {why}; give another HOST:PORT"
            ) from error

    def text(self) -> bytes:
        """All metrics in Prometheus's text format 0.0.4, for a service with a server of its own."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self.registry))

    def close(self) -> None:
        """Stop serving them."""
        if self._server is not None:
            (server, thread), self._server = self._server, None
            server.shutdown()
            thread.join()
            server.server_close()

    def label_of(self, source: str) -> str:
        """The label of a source: its name, or `OTHER` beyond `MOST_SOURCES`."""
        name = without_password(source)
        with self._lock:
            if name not in self._sources and len(self._sources) >= MOST_SOURCES:
                return OTHER
            self._sources[name] = None
            return name

    def add(self, sink: MetricsSink) -> None:
        """Include a sink's source when the metrics are read."""
        with self._lock:
            self._sinks = [one for one in self._sinks if one.label != sink.label or one.open_now]
            self._sinks.append(sink)

    def collect(self) -> Iterable[Metric]:
        """Series that are computed when the metrics are read: rates, drops, outputs."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        fps = GaugeMetricFamily("ferstream_fps", "Frames/s over 10 s.", labels=["source"])
        faceless = GaugeMetricFamily(
            "ferstream_no_face_ratio", "Frames without a face over 10 s, 0..1.", labels=["source"]
        )
        drops = CounterMetricFamily(
            "ferstream_drops",
            "Frames dropped by cause; results outputs were not given.",
            labels=["source", "cause"],
        )
        up = GaugeMetricFamily(
            "ferstream_output_up", "1 while an output works.", labels=["source", "output"]
        )
        with self._lock:
            newest = {sink.label: sink for sink in self._sinks}
        for label, sink in newest.items():
            fps.add_metric([label], sink.recent.rate_hz())
            faceless.add_metric([label], sink.recent.share())
            for cause, count in sink.drops().items():
                drops.add_metric([label, cause], count)
            for name, works in sink.outputs().items():
                up.add_metric([label, name], works)
        return [fps, faceless, drops, up]

    def describe(self) -> Iterable[Metric]:
        """No series in advance."""
        return []


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise SinkError(f"{address} is no address for metrics: give HOST:PORT, or a port alone")
    return host, int(port)


SPAN_S = 10.0
_BIN_S = 0.5
_BINS = round(SPAN_S / _BIN_S)


class Recent:
    """Frames over the last `SPAN_S` seconds, and the share of them that were marked.

    Counted in bins of half a second, the one that is still filling left out. May be used from
    several threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._first: int | None = None
        self._bins: deque[list[int]] = deque(maxlen=_BINS + 1)
        """Number of the bin, frames, marked frames."""

    def add(self, marked: bool) -> None:
        """Count one frame."""
        with self._lock:
            number = math.floor(self._clock() / _BIN_S)
            if self._first is None:
                self._first = number
            if not self._bins or self._bins[-1][0] != number:
                self._bins.append([number, 0, 0])
            self._bins[-1][1] += 1
            self._bins[-1][2] += marked

    def rate_hz(self) -> float:
        """Frames per second; 0 before the first half second is over."""
        frames, _, bins = self._counts()
        return frames / (bins * _BIN_S) if bins else 0.0

    def share(self) -> float:
        """Marked frames among all, 0..1; nan where there was none."""
        frames, marked, _ = self._counts()
        return marked / frames if frames else math.nan

    def _counts(self) -> tuple[int, int, int]:
        """Frames, marked frames, and over how many bins."""
        with self._lock:
            if self._first is None:
                return 0, 0, 0
            now = math.floor(self._clock() / _BIN_S)
            since = max(now - _BINS, self._first)
            whole = [entry for entry in self._bins if since <= entry[0] < now]
        frames, marked = (sum(entry[place] for entry in whole) for place in (1, 2))
        return frames, marked, now - since
