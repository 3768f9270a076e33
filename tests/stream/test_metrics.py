"""Metrics as Prometheus reads them: over HTTP, through its own parser, with its own rules."""

from __future__ import annotations

import math
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ferstream.stream.errors import SinkError, SinkLost
from ferstream.stream.result import Result
from ferstream.stream.run import Route, run_many
from ferstream.stream.sinks.background import BackgroundSink
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.metrics_sink import MetricsSink
from ferstream.stream.sinks.prometheus import MOST_SOURCES, Metrics, Recent
from ferstream.stream.sources.base import SourceEvent, State

from .fakes import FakeRecognizer, FakeSource, ListSink, face
from .receivers import blank

ABOUT = {"bundle": {"name": "default", "version": "2"}, "purpose": 'a "test"\nof \\ quotes'}
INFO = SinkInfo("rtsp://ada:***@cam/1", live=True, about=ABOUT, drops=lambda: {"too slow": 7})


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
    yield made
    made.close()


def fetch(metrics: Metrics, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}{path}", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def families(text: str) -> dict[str, Metric]:
    """The metrics by name, held against the rules of the format and of good names."""
    found: dict[str, Metric] = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} comes twice"
        assert family.type in ("counter", "gauge", "histogram", "summary"), family
        assert family.documentation, f"{family.name} has no help"
        found[family.name] = family
        series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(set(series)) == len(series), f"a series of {family.name} comes twice"
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total") and sample.value >= 0
        if family.type == "histogram":
            check_histogram(family)
    return found


def check_histogram(family: Metric) -> None:
    """Buckets grow and end with all that was counted."""
    buckets: dict[Any, list[tuple[float, float]]] = {}
    counts: dict[Any, float] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        key = tuple(sorted(labels.items()))
        if sample.name.endswith("_bucket"):
            buckets.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[key] = sample.value
    assert set(buckets) == set(counts)
    for key, pairs in buckets.items():
        assert pairs == sorted(pairs) and pairs[-1] == (math.inf, counts[key])
        assert [count for _, count in pairs] == sorted(count for _, count in pairs)


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    """One sample; its labels beside `source` are given."""
    values = [
        sample.value
        for family in found.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(values) == 1, f"{name} {labels}: {values}"
    return values[0]


def test_what_a_source_gives_is_counted(metrics: Metrics) -> None:
    now_s = [1000.0]
    sink = MetricsSink(metrics, clock=lambda: now_s[0])
    sink.open(INFO)
    unsure = face(9, label="anger", strength=0.4)
    unsure = replace(unsure, emotions=replace(unsure.emotions, uncertain=True))
    for index in range(40):
        now_s[0] += 0.05
        faces = [] if index % 4 == 0 else [face(1), unsure] if index > 20 else [face(1)]
        result = Result(index, now_s[0] - 0.045, "x", faces, {"detect": 3.0, "spatial": 70.0})
        sink.write(blank(now_s[0] - 0.045, index), result)
    metrics.serve("127.0.0.1:0")
    found = families(fetch(metrics))
    assert value(found, "ferstream_frames_total", source="rtsp://ada:***@cam/1") == 40
    assert value(found, "ferstream_faceless_frames_total") == 10
    assert value(found, "ferstream_fps") == pytest.approx(20, abs=0.1)
    assert value(found, "ferstream_no_face_ratio") == pytest.approx(0.25, abs=0.05)
    assert value(found, "ferstream_faces") == 2
    assert value(found, "ferstream_faces_seen_total") == 2
    assert value(found, "ferstream_expressions_total", expression="happiness") == 30
    assert value(found, "ferstream_expressions_total", expression="anger") == 15
    assert value(found, "ferstream_expressions_total", expression="fear") == 0
    assert value(found, "ferstream_uncertain_total") == 15
    assert value(found, "ferstream_confidence_count") == 45
    mean = value(found, "ferstream_confidence_sum") / 45
    assert mean == pytest.approx((30 * 0.8 + 15 * 0.4) / 45)
    assert value(found, "ferstream_stage_seconds_count", stage="detect") == 40
    assert value(found, "ferstream_stage_seconds_bucket", stage="spatial", le="0.064") == 0
    assert value(found, "ferstream_stage_seconds_bucket", stage="spatial", le="0.128") == 40
    assert value(found, "ferstream_latency_seconds_sum") == pytest.approx(40 * 0.045)
    assert value(found, "ferstream_drops_total", cause="too slow") == 7
    info = found["ferstream_info"].samples[0]
    assert info.labels["bundle"] == "default" and info.labels["bundle_version"] == "2"
    assert info.labels["purpose"] == ABOUT["purpose"] and info.labels["version"]
    assert value(found, "process_resident_memory_bytes") > 1e6
    # A source that stands still is seen to.
    now_s[0] += 60
    found = families(metrics.text().decode())
    assert value(found, "ferstream_fps") == 0
    assert math.isnan(value(found, "ferstream_no_face_ratio"))


def states(metrics: Metrics) -> set[str]:
    found = families(metrics.text().decode())["ferstream_source_state"]
    assert len(found.samples) == 5
    return {sample.labels["state"] for sample in found.samples if sample.value}


def test_how_a_camera_fares(metrics: Metrics) -> None:
    sink = MetricsSink(metrics)
    sink.open(INFO)
    assert states(metrics) == {"connecting"}
    for state, code in (
        (State.connecting, ""),
        (State.lost, "REFUSED"),
        (State.live, ""),
        (State.stalled, "TIMEOUT"),
        (State.lost, "LOST"),
        (State.connecting, ""),
        (State.live, ""),
        (State.lost, "what is new"),
    ):
        sink.on_event(SourceEvent("x", state, 1.0, code))
        assert states(metrics) == {state.value}
    found = families(metrics.text().decode())
    assert value(found, "ferstream_reconnects_total") == 1
    failures = {
        sample.labels["code"]: sample.value for sample in found["ferstream_source_failures"].samples
    }
    assert failures == {"REFUSED": 1, "LOST": 1, "OTHER": 1}
    sink.close()
    sink.close()
    assert states(metrics) == {"ended"}


def test_a_clip_is_live_with_its_first_frame_and_ends(metrics: Metrics) -> None:
    sink = MetricsSink(metrics)
    sink.open(SinkInfo("clip.mp4"))
    sink.write(blank(0.0), Result(0, 0.0, "clip.mp4", []))
    assert states(metrics) == {"live"}
    assert families(metrics.text().decode())["ferstream_latency_seconds"].samples == []
    sink.close()
    assert states(metrics) == {"ended"}


def test_outputs_that_fail_are_seen(metrics: Metrics) -> None:
    class Away(ListSink):
        def write(self, *_: object) -> None:
            raise SinkError("the disk is full")

    outputs = [
        BackgroundSink(Away(), name="tcp://u:secret@desk:1"),
        BackgroundSink(ListSink(), name="file"),
    ]
    sources = [FakeSource([0.0, 0.1, 0.2], name=name) for name in ("one", "two")]
    routes = [
        Route(sources[0], [MetricsSink(metrics, outputs), *outputs]),
        Route(sources[1], [MetricsSink(metrics)]),
    ]
    run_many(routes, FakeRecognizer(), about=ABOUT)
    found = families(metrics.text().decode())
    assert value(found, "ferstream_output_up", output="tcp://u:***@desk:1", source="one") == 0
    assert value(found, "ferstream_output_up", output="file") == 1
    assert value(found, "ferstream_drops_total", cause="output tcp://u:***@desk:1") == 3
    assert value(found, "ferstream_drops_total", cause="output file") == 0
    assert value(found, "ferstream_frames_total", source="two") == 3


def test_labels_do_not_grow_for_ever(metrics: Metrics) -> None:
    for number in range(MOST_SOURCES + 30):
        sink = MetricsSink(metrics)
        sink.open(SinkInfo(f"clip {number}"))
        stages = {f"stage {stage}": 1.0 for stage in range(30)} if number == 0 else {}
        sink.write(blank(0.0), Result(0, 0.0, "x", [face(number + 1)], stages))
        sink.close()
    found = families(metrics.text().decode())
    sources = {sample.labels["source"] for sample in found["ferstream_frames"].samples}
    assert len(sources) == MOST_SOURCES + 1 and "other" in sources
    assert value(found, "ferstream_frames_total", source="other") == 30
    counted = [s for s in found["ferstream_stage_seconds"].samples if s.name.endswith("_count")]
    assert len(counted) == 17
    assert len(metrics._sinks) <= MOST_SOURCES + 1


def test_two_registries_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    MetricsSink(first).open(SinkInfo("one"))
    assert b'source="one"' in first.text() and b'source="one"' not in second.text()


def test_where_they_are_served(metrics: Metrics) -> None:
    metrics.serve("0")
    assert families(fetch(metrics))
    with socket.create_connection(("127.0.0.1", metrics.port or 0)) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"
    second = Metrics()
    with pytest.raises(SinkError, match="address already in use; give another HOST:PORT"):
        second.serve(f"127.0.0.1:{metrics.port}")
    second.close()
    port = metrics.port
    metrics.close()
    metrics.close()
    assert metrics.port is None
    second.serve(f":{port}")
    second.close()


def asked(metrics: Metrics, head: str) -> str:
    with socket.create_connection(("127.0.0.1", metrics.port or 0), timeout=60) as connection:
        connection.sendall(f"GET /metrics HTTP/1.0\r\n{head}\r\n".encode())
        return connection.makefile().readline()


def test_a_name_made_to_point_here_is_told_nothing(metrics: Metrics) -> None:
    metrics.serve("0")
    for known in ("localhost:1", "127.0.0.1", "[::1]:9100", socket.gethostname()):
        assert " 200 " in asked(metrics, f"Host: {known}\r\n"), known
    for other in ("evil.example", "127.0.0.1.evil.example:9100", "user@localhost", ""):
        assert " 421 " in asked(metrics, f"Host: {other}\r\n"), other
    assert " 421 " in asked(metrics, "")


def test_silent_connections_do_not_gather(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those that drip; another address finds room meanwhile."""
    monkeypatch.setattr("ferstream.stream.sinks.metrics_sink._MOST_CONNECTIONS", 6)
    monkeypatch.setattr("ferstream.stream.sinks.metrics_sink._SILENT_S", 3.0)
    metrics.serve("0")
    place = ("127.0.0.1", metrics.port or 0)
    held = [socket.create_connection(place, timeout=60) for _ in range(8)]
    assert [connection.recv(1) for connection in held[3:]] == [b""] * 5
    with socket.create_connection(place, 60, ("127.0.0.2", 0)) as other:
        other.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in other.recv(100)
    begun_s = time.monotonic()
    with suppress(OSError):
        while time.monotonic() - begun_s < 60:
            held[0].sendall(b"X")
            time.sleep(0.1)
    assert time.monotonic() - begun_s < 60
    for connection in held:
        connection.close()


@pytest.mark.parametrize("address", ["desk", "desk:", "127.0.0.1:99999", "http://desk:x", ""])
def test_an_address_that_is_none(metrics: Metrics, address: str) -> None:
    with pytest.raises(SinkError, match="give HOST:PORT") as caught:
        metrics.serve(address)
    assert not isinstance(caught.value, SinkLost)


def test_a_missing_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        Metrics()
    assert caught.value.name == "prometheus_client"


def test_recent_forgets() -> None:
    now_s = [50.0]
    recent = Recent(lambda: now_s[0])
    assert recent.rate_hz() == 0 and math.isnan(recent.share())
    for tick in range(300):
        now_s[0] = 50.0 + tick / 10
        recent.add(tick >= 250)
    assert recent.rate_hz() == pytest.approx(10)
    assert recent.share() == pytest.approx(0.45, abs=0.06)
    assert len(recent._bins) <= 21
    now_s[0] += 5
    assert recent.rate_hz() == pytest.approx(5, abs=0.6)
    now_s[0] += 10
    assert recent.rate_hz() == 0
