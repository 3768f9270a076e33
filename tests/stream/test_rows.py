"""Rows and the file they go to: header, frames, changes of state; standard output as a place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import SinkInfo
from ferstream.stream.sinks.jsonl import JsonlFile
from ferstream.stream.sinks.rows import BaseRowWriter, FrameRows, RowSink, header, line
from ferstream.stream.sources.base import SourceEvent, State

from .fakes import face, jsonl_sink
from .receivers import ROW_INFO, blank, give_rows

LOST = SourceEvent("cam", State.lost, 12.3456, "LOST", "the camera hung up", 1)


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_a_change_of_state_is_a_row(tmp_path: Path) -> None:
    sink = jsonl_sink(tmp_path / "o.jsonl", top=2)
    sink.open(SinkInfo("cam", live=True, about={"purpose": "a test"}))
    give_rows(sink, [1.0], [face(4)])
    sink.on_event(LOST)
    sink.close()
    first, row, state = json_lines(tmp_path / "o.jsonl")
    assert (first["kind"], first["purpose"], first["live"]) == ("header", "a test", True)
    assert row["faces"][0]["id"] == 4 and len(row["faces"][0]["top"]) == 2
    assert state == {
        "schema": 2,
        "kind": "state",
        "source": "cam",
        "state": "lost",
        "time_s": 12.346,
        "code": "LOST",
        "message": "the camera hung up",
        "attempt": 1,
    }


def test_a_line_is_json_whatever_the_source_is_called() -> None:
    odd = os.fsdecode(b"caf\xe9.mp4")
    text = line(header(SinkInfo(odd)))
    assert text.endswith("}\n") and text.count("\n") == 1
    assert json.loads(text.encode())["source"] == odd
    assert "Zoë" in line({"source": "Zoë"})
    with pytest.raises(ValueError, match="Out of range"):
        line({"p": float("nan")})


def test_standard_output_gets_whole_rows_from_several_sources(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Long rows through one pipe, from two threads."""
    print("before", flush=False)
    sinks = [jsonl_sink(Path("-"), top=135) for _ in range(2)]
    for sink in sinks:
        sink.open(ROW_INFO)
    times_s = [index / 30 for index in range(40)]
    people = [face(number) for number in range(1, 5)]
    threads = [threading.Thread(target=give_rows, args=(sink, times_s, people)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
        sinks[threads.index(thread)].close()
    print("after")
    said = capfd.readouterr().out.splitlines()
    rows = [json.loads(text) for text in said[1:-1]]
    assert (said[0], said[-1], len(rows)) == ("before", "after", 2 + 2 * 40)


PIPED = """
import sys
from pathlib import Path
from ferstream.stream.errors import SinkError
from ferstream.stream.sinks.jsonl import JsonlFile
file = JsonlFile(Path("-"))
file.open({"kind": "header"})
print("ready", file=sys.stderr, flush=True)
try:
    while True:
        file.write({"kind": "frame", "text": "x" * 1000})
except SinkError as error:
    print(error, file=sys.stderr)
"""


def test_a_reader_that_leaves_ends_standard_output_in_one_clear_line(repository: Path) -> None:
    """As with `| head -1`."""
    child = subprocess.Popen(
        [sys.executable, "-c", PIPED],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stderr is not None
    assert child.stderr.readline() == "ready\n"
    child.stdout.close()
    complaint = child.stderr.read()
    child.stderr.close()
    assert child.wait(30) == 0
    assert complaint == "nobody reads standard output any more; the rows end here\n"


def test_a_pipe_that_does_not_block_still_gets_whole_rows(tmp_path: Path) -> None:
    """The reader's end was set so; the writer waits instead of repeating itself."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = JsonlFile(pipe)
    file.open({"kind": "header"})
    descriptor = file._file._file.fileno()  # type: ignore[union-attr]
    os.set_blocking(descriptor, False)
    os.set_blocking(reader, True)
    received: list[bytes] = []

    def read_all() -> None:
        while chunk := os.read(reader, 65536):
            received.append(chunk)

    thread = threading.Thread(target=read_all)
    row = {"text": "y" * 300_000}
    threading.Timer(0.1, thread.start).start()
    file.write(row)
    file.close()
    thread.join(10)
    os.close(reader)
    rows = [json.loads(text) for text in b"".join(received).splitlines()]
    assert rows == [{"kind": "header"}, row]


class Breaking(BaseRowWriter):
    """A writer whose third row fails."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.closed = 0

    def open(self, header: Any) -> None:
        self.rows.append(header)

    def write(self, row: Any) -> None:
        if len(self.rows) == 2:
            raise SinkError("no room")
        self.rows.append(row)

    def close(self) -> None:
        self.closed += 1


class Closing(FrameRows):
    """Rows left at the end."""

    def finish(self) -> list[dict[str, Any]]:
        return [{"kind": "last"}]


def test_what_is_left_goes_out_at_the_end_and_a_failure_there_still_closes() -> None:
    writer = Breaking()
    sink = RowSink(Closing(), writer)
    sink.open(ROW_INFO)
    sink.close()
    assert [row["kind"] for row in writer.rows] == ["header", "last"]
    writer = Breaking()
    sink = RowSink(Closing(), writer)
    sink.open(ROW_INFO)
    sink.write(blank(0.0), Result(0, 0.0, "cam", []))
    with pytest.raises(SinkError, match="no room"):
        sink.close()
    assert writer.closed == 1
