"""Where rows go by name, and the whole way: faces in a clip to a receiver, with the metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ferstream.stream.errors import SinkError, SinkLost
from ferstream.stream.recognize import Recognizer
from ferstream.stream.run import Route, run_many
from ferstream.stream.sinks.background import BackgroundWriter, row_writer
from ferstream.stream.sinks.http import HttpPost
from ferstream.stream.sinks.jsonl import JsonlFile
from ferstream.stream.sinks.metrics_sink import MetricsSink
from ferstream.stream.sinks.mqtt import MqttWriter
from ferstream.stream.sinks.prometheus import Metrics
from ferstream.stream.sinks.rows import FrameRows, RowMaker, RowSink
from ferstream.stream.sinks.spans import EventRows, WindowRows
from ferstream.stream.sinks.tcp import TcpLines
from ferstream.stream.sources import open_source

from .receivers import HttpReceiver, TcpReceiver, until
from .test_metrics import families, value


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("-", JsonlFile),
        ("tcp://desk:9000", TcpLines),
        ("http://desk/rows", HttpPost),
        ("https://ada:secret@desk/rows", HttpPost),
        ("mqtt://desk/faces", MqttWriter),
        ("mqtts://ada:secret@desk", MqttWriter),
        ("TCP://desk:9000", TcpLines),
    ],
)
def test_a_place_that_could_be_slow_has_a_thread_of_its_own(target: str, kind: type) -> None:
    writer = row_writer(target)
    assert isinstance(writer, BackgroundWriter)
    assert isinstance(writer._writer, kind)
    assert "secret" not in writer.name
    writer.close()


def test_a_file_is_written_at_once(tmp_path: Path) -> None:
    assert isinstance(row_writer(str(tmp_path / "o.jsonl")), JsonlFile)
    assert not (tmp_path / "o.jsonl").exists()
    with pytest.raises(SinkError, match="make it first"):
        row_writer(str(tmp_path / "none" / "o.jsonl"))


@pytest.mark.parametrize(
    "target", ["ftp://ada:secret@desk/", "udp://desk:1", "tcp://desk", "mqtt://"]
)
def test_places_that_are_none(target: str) -> None:
    with pytest.raises(SinkError) as caught:
        row_writer(target)
    assert not isinstance(caught.value, SinkLost)
    assert "secret" not in str(caught.value)


@pytest.mark.mediapipe
def test_from_faces_to_receivers_and_metrics(tmp_path: Path) -> None:
    """The built-in clip, read by the real networks: every place tells the same story."""
    tcp, http, metrics = TcpReceiver(), HttpReceiver(), Metrics()
    makers: dict[str, RowMaker] = {
        str(tmp_path / "frames.jsonl"): FrameRows(3),
        f"tcp://127.0.0.1:{tcp.port}": FrameRows(3),
        http.url: EventRows(),
        str(tmp_path / "windows.jsonl"): WindowRows(2.0, at_least=1),
    }
    writers = {target: row_writer(target, capacity=10_000) for target in makers}
    watched = [writer for writer in writers.values() if isinstance(writer, BackgroundWriter)]
    sinks = [RowSink(maker, writers[target]) for target, maker in makers.items()]
    with Recognizer() as recognizer:
        source = open_source("sample")
        name = source.name
        route = Route(source, [MetricsSink(metrics, watched), *sinks])
        (summary,) = run_many([route], recognizer, about={"purpose": "a test"}, seconds=60)
    file = _lines(tmp_path / "frames.jsonl")
    assert len(file) == summary.frames + 1 > 30
    until(lambda: len(tcp.rows()) == len(file))
    assert tcp.rows() == file
    header, *events = http.batches()[0]
    events += [row for batch in http.batches()[1:] for row in batch[1:]]
    assert header["purpose"] == "a test"
    assert events[0]["event"] == "new" and events[-1]["event"] == "end"
    assert events[-1]["duration_s"] > 1 and events[-1]["face"] == events[0]["face"]
    windows = _lines(tmp_path / "windows.jsonl")[1:]
    assert sum(row["frames"] for row in windows) == summary.frames
    assert max(windows[0]["shares"].values()) > 0.3
    found = families(metrics.text().decode())
    assert value(found, "ferstream_frames_total", source=name) == summary.frames
    assert value(found, "ferstream_output_up", output=f"tcp://127.0.0.1:{tcp.port}") == 1
    assert value(found, "ferstream_faces_seen_total") == summary.faces
    for receiver in (tcp, http, metrics):
        receiver.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]
