"""Rows over MQTT to a real broker: topics, last will, wrong password, killed and restarted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ferstream.stream.errors import SinkError, SinkLost
from ferstream.stream.sinks.background import BackgroundWriter
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.mqtt import MqttWriter, topic_of
from ferstream.stream.sinks.rows import FrameRows, RowSink
from ferstream.stream.sources.base import SourceEvent, State
from ferstream.stream.sources.supervised import Backoff

from .broker import Broker, Heard, listening
from .fakes import face
from .receivers import ROW_INFO, give_rows, until
from .test_network_rows import HEADER, certificate, row

QUICK = Backoff(first_s=0.02, ceiling_s=0.05)


def said(heard: Heard, topic: str) -> list[Any]:
    """What came on one topic; rows as objects."""
    texts = [text for at, text, _ in list(heard) if at == topic]
    return [json.loads(text) if text.startswith("{") else text for text in texts]


def test_each_kind_of_row_has_its_topic_and_late_listeners_know_the_rest(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, listening(broker) as heard:
        writer = MqttWriter(f"mqtt://127.0.0.1:{broker.port}/house/faces")
        sink = RowSink(FrameRows(2), BackgroundWriter(writer))
        name = "rtsp://ada:***@door.example:554/live"
        sink.open(SinkInfo(name, live=True, about={"purpose": "p"}))
        at = "house/faces/door.example-554-live"
        until(lambda: said(heard, f"{at}/status"))  # before there is any row
        sink.on_event(SourceEvent(name, State.live, 1.0))
        give_rows(sink, [0.1, 0.2], [face(3)])
        until(lambda: len(said(heard, f"{at}/frame")) == 2)
        with listening(broker) as late:
            until(lambda: len(late) == 3)
        sink.close()
        until(lambda: said(heard, f"{at}/status") == ["online", "offline"])
    assert {topic for topic, _, _ in heard} == {
        f"{at}/{kind}" for kind in ("status", "header", "state", "frame")
    }
    assert said(heard, f"{at}/header")[0]["purpose"] == "p"
    assert [row["faces"][0]["id"] for row in said(heard, f"{at}/frame")] == [3, 3]
    assert {(topic.rpartition("/")[2], kept) for topic, _, kept in late} == {
        *(("status", True), ("header", True), ("state", True))
    }
    assert "ada" not in str([topic for topic, _, _ in heard])


def test_a_broker_killed_and_restarted_gets_what_waited(tmp_path: Path) -> None:
    threads = threading.active_count()
    told: list[str] = []
    with Broker(tmp_path) as broker:
        writer = BackgroundWriter(
            MqttWriter(f"mqtt://127.0.0.1:{broker.port}", timeout_s=1.0),
            name="broker",
            on_failure=told.append,
            on_return=told.append,
            backoff=QUICK,
        )
        writer.open(HEADER)
        with listening(broker) as heard:
            writer.write(row(0))
            until(lambda: said(heard, "ferstream/cam/frame"))
        for number in (1, 2):
            count = len(told)
            broker.kill()
            writer.write(row(number))
            until(lambda count=count: len(told) > count)  # type: ignore[misc]
            assert "127.0.0.1" in told[-1] and told[-1].endswith("; trying again")
            broker.start()
            until(lambda: not writer.failure)
            with listening(broker) as heard:
                until(lambda: len(heard) == 2)
                assert said(heard, "ferstream/cam/status") == ["online"]
                writer.write(row(10 + number))
                until(lambda: said(heard, "ferstream/cam/frame"))
        assert told[1] == "broker is back; 0 dropped meanwhile"
        assert writer.dropped == 0
        writer.close()
    until(lambda: threading.active_count() == threads)


def test_a_broker_started_late_gets_every_row_that_waited(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    writer = BackgroundWriter(
        MqttWriter(f"mqtt://127.0.0.1:{broker.port}"),
        capacity=50,
        backoff=Backoff(first_s=1, ceiling_s=1),
    )
    writer.open(HEADER)
    until(lambda: "refuses connections" in writer.failure)
    for number in range(50):
        writer.write(row(number))
    with broker, listening(broker) as heard:
        until(lambda: len(said(heard, "ferstream/cam/frame")) >= 50)
        writer.close()
    assert [row["frame"] for row in said(heard, "ferstream/cam/frame")] == list(range(50))
    assert writer.dropped == 0


DOOMED = """
import sys, time
from ferstream.stream.sinks.mqtt import MqttWriter
writer = MqttWriter(sys.argv[1], qos=0)
writer.open({"kind": "header", "source": "cam"})
writer.write({"frame": 1})
time.sleep(60)
"""


def test_the_last_will_speaks_for_a_process_that_was_killed(
    tmp_path: Path, repository: Path
) -> None:
    with Broker(tmp_path) as broker, listening(broker) as heard:
        address = f"mqtt://127.0.0.1:{broker.port}/x"
        child = subprocess.Popen([sys.executable, "-c", DOOMED, address], cwd=repository)
        try:
            until(lambda: said(heard, "x/cam/frame"), 30)
            assert said(heard, "x/cam/status") == ["online"]
        finally:
            child.kill()
            child.wait()
        until(lambda: said(heard, "x/cam/status") == ["online", "offline"])


def test_a_password_that_fits_and_one_that_does_not(tmp_path: Path) -> None:
    with Broker(tmp_path, "ada", "l@dy") as broker:
        wrong = MqttWriter(f"mqtt://ada:secret@127.0.0.1:{broker.port}")
        wrong.open(HEADER)
        with pytest.raises(SinkLost, match="refuses us: not authorized") as caught:
            wrong.write(row(0))
        assert "secret" not in str(caught.value) and "ada:***@" in str(caught.value)
        right = MqttWriter(f"mqtt://ada:l%40dy@127.0.0.1:{broker.port}")
        right.open(HEADER)
        with listening(broker, "ada", "l@dy") as heard:
            right.write(row(0))
            until(lambda: said(heard, "ferstream/cam/frame"))
        right.close()


def test_tls_with_a_certificate_that_is_known_and_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = certificate(tmp_path)
    with Broker(tmp_path, certificate=paths) as broker:
        address = f"mqtts://localhost:{broker.port}"
        stranger = MqttWriter(address)
        stranger.open(HEADER)
        with pytest.raises(SinkLost, match="certificate verify failed"):
            stranger.write(row(0))
        monkeypatch.setenv("SSL_CERT_FILE", str(paths[0]))
        known = MqttWriter(address)
        known.open(HEADER)
        known.write(row(0))
        known.close()
        plain = MqttWriter(f"mqtt://127.0.0.1:{broker.port}", timeout_s=0.5)
        plain.open(HEADER)
        with pytest.raises(SinkLost):
            plain.write(row(0))


@pytest.mark.parametrize(
    "address",
    ["mqtt://", "mqtt://h/a+b", "mqtt://h/a/%23", "http://h", "mqtt://u:secret@h:0x1", "broker"],
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(SinkError, match="give") as caught:
        MqttWriter(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "topic"),
    [
        ("0", "0"),
        ("/dev/video0", "dev-video0"),
        ("rtsp://u:***@cam:554/a/b?x=1", "cam-554-a-b-x-1"),
        ("gst:videotestsrc ! #+/x", "videotestsrc-x"),
        ("clip.mp4", "clip.mp4"),
        ("Zoë", "Zoë"),
        ("///", "source"),
    ],
)
def test_a_source_is_one_level_of_a_topic(source: str, topic: str) -> None:
    assert topic_of(source) == topic


def test_a_missing_library_says_so_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho", None)
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        MqttWriter("mqtt://h")
    assert (caught.value.name or "").startswith("paho")


def test_rows_are_rows_for_a_list_of_frames(tmp_path: Path) -> None:
    """At quality of service 0 too, nothing is lost on a connection that holds."""
    with Broker(tmp_path) as broker, listening(broker) as heard:
        sink = RowSink(FrameRows(), MqttWriter(f"mqtt://127.0.0.1:{broker.port}", qos=0))
        sink.open(ROW_INFO)
        give_rows(sink, [index / 30 for index in range(60)])
        sink.close()
        until(lambda: len(said(heard, "ferstream/cam/frame")) == 60)
