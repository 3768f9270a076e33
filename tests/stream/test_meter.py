"""Percentiles that are right, in memory that does not grow."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from ferstream.stream.summary import Histogram, Meter


@pytest.mark.parametrize("percent", [5, 50, 95, 99])
def test_percentiles_are_within_a_few_percent(percent: float) -> None:
    durations_ms = np.random.default_rng(0).lognormal(1.5, 1.0, 20_000)
    histogram = Histogram()
    for duration_ms in durations_ms:
        histogram.add(float(duration_ms))
    assert histogram.count == 20_000
    expected = float(np.percentile(durations_ms, percent))
    assert histogram.percentile_ms(percent) == pytest.approx(expected, rel=0.02)


def test_a_single_duration_is_told_as_it_is() -> None:
    histogram = Histogram()
    histogram.add(12.5)
    times = histogram.times()
    assert times.median_ms == times.p95_ms == times.total_ms == 12.5


def test_extremes_are_counted() -> None:
    histogram = Histogram()
    for duration_ms in (0.0, -1.0, 1e12):
        histogram.add(duration_ms)
    assert histogram.count == 3
    assert histogram.percentile_ms(100) <= 1e12


def test_nothing_measured_is_not_a_number() -> None:
    assert math.isnan(Histogram().percentile_ms(50))
    assert Meter().stages() == {}
    assert Meter().drops == {}


def test_stages_are_timed_also_when_they_fail() -> None:
    ticks = iter([0.0, 0.010, 1.0, 1.030])
    meter = Meter(clock=lambda: next(ticks))
    with meter.stage("detect"):
        pass
    with pytest.raises(KeyError), meter.stage("detect"):
        raise KeyError
    times = meter.stages()["detect"]
    assert times.count == 2
    assert times.median_ms == pytest.approx(10, rel=0.02)
    assert times.p95_ms == pytest.approx(30, rel=0.02)


def test_drops_are_counted_per_cause() -> None:
    meter = Meter()
    meter.drop("late")
    meter.drop("too slow")
    assert meter.drops == {"late": 1, "too slow": 1}


def test_memory_stays_the_same() -> None:
    histogram = Histogram()
    histogram.add(1.0)
    before = sys.getsizeof(histogram._counts)
    for duration_ms in range(10_000):
        histogram.add(float(duration_ms))
    assert sys.getsizeof(histogram._counts) == before
