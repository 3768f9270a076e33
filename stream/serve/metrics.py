"""The service's own metrics, beside those of the sources that it watches.

| metric | labels | what |
|---|---|---|
| ferstream_service_visitors | kind | visitors now: live, or patient (images and clips) |
| ferstream_service_rounds_total | | rounds so far |
| ferstream_service_frames_total | | visitors' frames recognised so far |
| ferstream_service_up | | 1 while frames are being recognised |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .rounds import Rounds

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from ..sinks.prometheus import Metrics


class ServiceMetrics:
    """Adds the rounds to a process's metrics; asked when those are read."""

    def __init__(self, metrics: Metrics, rounds: Rounds) -> None:
        self._metrics = metrics
        self._rounds = rounds
        metrics.registry.register(self)

    def text(self) -> bytes:
        """All metrics of the process, in Prometheus's text format."""
        return self._metrics.text()

    def collect(self) -> Iterable[Metric]:
        """The counts now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        visitors = GaugeMetricFamily("ferstream_service_visitors", "Visitors.", labels=["kind"])
        visitors.add_metric(["live"], self._rounds.visitors)
        visitors.add_metric(["patient"], self._rounds.patient)
        yield visitors
        for name, count in self._rounds.counts.items():
            yield CounterMetricFamily(f"ferstream_service_{name}", f"{name} so far.", value=count)
        up = int(self._rounds.running)
        yield GaugeMetricFamily("ferstream_service_up", "1 while frames are scored.", value=up)

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return []
