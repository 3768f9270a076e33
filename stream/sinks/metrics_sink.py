"""The sink that feeds the metrics: one source's counts, times and states."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from ..frame import Frame
from ..result import Result
from ..sources.base import without_password
from ..sources.event import SourceEvent, State
from .base import SinkInfo
from .prometheus import OTHER, Metrics
from .recent import Recent

_MOST_STAGES = 16
_CODES = (
    *("NOT_FOUND", "UNSUPPORTED", "REFUSED", "AUTH_FAILED", "UNTRUSTED", "REDIRECTED", "LOST"),
    *("TIMEOUT", "FAILED"),
)


class Output(Protocol):
    """What is watched of a background output."""

    @property
    def name(self) -> str:
        """What it is called; free of passwords."""

    @property
    def dropped(self) -> int:
        """What it was given and could not pass on, so far."""

    @property
    def failure(self) -> str:
        """Why it does not work at the moment; "" while it does."""


class MetricsSink:
    """Counts one source's results; put it before the sinks whose time is not its latency.

    Args:
        metrics: the process's metrics.
        outputs: the source's background outputs, to be watched.
        clock: the clock of the frames' times.
    """

    def __init__(
        self,
        metrics: Metrics,
        outputs: Sequence[Output] = (),
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
        self._told = False
        self._was_live = False
        self._last_id = 0
        self._stages: dict[str, Any] = {}
        self._series: dict[str, Any] = {}

    def open(self, info: SinkInfo) -> None:
        """Begin to count; every series of the source is there from now on."""
        metrics = self._metrics
        self._info, self.label = info, metrics.label_of(info.source)
        bundle = info.about.get("bundle") or {}
        metrics.info.labels(
            version=str(info.about.get("version") or _version()),
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
        if not self._told and self._state is State.connecting:
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

    def tell(self, event: SourceEvent) -> None:
        """Note the source's change of state."""
        self._told = True
        if event.state is State.live:
            if self._was_live:
                self._reconnects.inc()
            self._was_live = True
        elif event.code and event.state in (State.lost, State.ended):
            code = event.code if event.code in _CODES else "OTHER"
            self._metrics.failures.labels(self.label, code).inc()
        self._enter(event.state)

    def close(self) -> None:
        """The source is over; its counts stay to be read."""
        if self.open_now:
            self._enter(State.ended)
            self._series["faces"].set(0)
            self.open_now = False

    def drops(self) -> dict[str, int]:
        """Frames dropped by cause, and what the outputs were not given."""
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


def _version() -> str:
    try:
        return version("ferstream")
    except PackageNotFoundError:
        return "unknown"
