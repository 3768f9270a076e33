"""Rows over TCP and HTTP to real servers on loopback: broken, restarted, refusing, slow."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from ferstream.stream.errors import SinkError, SinkLost, SinkRefused
from ferstream.stream.sinks.background import BackgroundWriter
from ferstream.stream.sinks.http import HttpPost
from ferstream.stream.sinks.rows import FrameRows, RowSink
from ferstream.stream.sinks.tcp import TcpLines
from ferstream.stream.sources.supervised import Backoff

from .fakes import face
from .receivers import ROW_INFO, HttpReceiver, TcpReceiver, free_port, give_rows, until

QUICK = Backoff(first_s=0.02, ceiling_s=0.05)
HEADER = {"schema": 1, "kind": "header", "source": "cam", "purpose": "a test"}


@pytest.fixture
def tcp() -> Iterator[TcpReceiver]:
    receiver = TcpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def http() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


def row(number: int, text: str = "") -> dict[str, Any]:
    return {"schema": 1, "source": "cam", "frame": number, "text": text}


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [row["frame"] for row in rows if "frame" in row]


def test_lines_over_tcp_begin_with_the_header(tcp: TcpReceiver) -> None:
    sink = RowSink(FrameRows(), BackgroundWriter(TcpLines(f"tcp://127.0.0.1:{tcp.port}")))
    sink.open(ROW_INFO)
    give_rows(sink, [index / 30 for index in range(30)], [face()])
    sink.close()
    header, *rows = until(lambda: len(tcp.rows()) == 31 and tcp.rows())
    assert (header["kind"], header["purpose"]) == ("header", "a test")
    assert numbers(rows) == list(range(30))
    assert rows[0]["faces"][0]["id"] == 1
    assert len(tcp.connections) == 1


def test_a_receiver_that_hangs_up_loses_no_row_that_comes_after(tcp: TcpReceiver) -> None:
    writer = TcpLines(f"tcp://127.0.0.1:{tcp.port}")
    writer.open(HEADER)
    writer.write(row(0))
    until(lambda: numbers(tcp.rows()) == [0])
    tcp.hang_up()
    until(lambda: _has_ended(writer))
    writer.write(row(1))
    until(lambda: len(tcp.connections) == 2 and numbers(tcp.rows()) == [1])
    assert tcp.rows()[0] == HEADER
    writer.close()


def _has_ended(writer: TcpLines) -> bool:
    """Whether the news of the hanging up has come."""
    assert writer._connection is not None
    writer._connection.setblocking(False)
    try:
        return writer._connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        writer._connection.settimeout(3)


def test_a_receiver_that_is_started_late_and_restarted(tcp: TcpReceiver) -> None:
    port = free_port()
    said: list[str] = []
    writer = BackgroundWriter(
        TcpLines(f"tcp://127.0.0.1:{port}"),
        name="desk",
        on_failure=said.append,
        on_return=said.append,
        backoff=QUICK,
    )
    writer.open(HEADER)
    writer.write(row(0))
    until(lambda: said)
    assert said[0] == (
        f"tcp://127.0.0.1:{port} refuses connections: start the receiver, or name another; "
        "trying again"
    )
    receivers = []
    for number in range(3):
        receivers.append(TcpReceiver(port))
        until(lambda: numbers(receivers[-1].rows()))
        assert receivers[-1].rows() == [HEADER, row(number)]
        receivers[-1].close()
        told = len(said)
        writer.write(row(number + 1))
        until(lambda told=told: len(said) > told)  # type: ignore[misc]
    writer.close()
    assert said[1] == "desk is back; 0 dropped meanwhile"
    assert writer.dropped == 1


def test_a_receiver_that_does_not_read_is_given_up_in_time(tcp: TcpReceiver) -> None:
    """A listener that never accepts: the system takes some, then nothing more."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        writer = TcpLines(f"tcp://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.2)
        writer.open(HEADER)
        with pytest.raises(SinkLost, match="does not answer"):
            writer.write(row(0, "x" * 20_000_000))
        assert writer._connection is None


def test_a_receiver_that_does_not_read_costs_the_capture_nothing() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        writer = BackgroundWriter(
            TcpLines(f"tcp://127.0.0.1:{port}", timeout_s=0.2), capacity=20, backoff=QUICK
        )
        writer.open(HEADER)
        start_s = time.perf_counter()
        for number in range(500):
            writer.write(row(number, "x" * 100_000))
        assert time.perf_counter() - start_s < 10, "500 waits for the receiver take 100 s"
        assert writer.dropped > 0
        until(lambda: "does not answer" in writer.failure)
        writer.close()
        assert writer.dropped >= 20


def test_outages_leave_nothing_behind(tcp: TcpReceiver, http: HttpReceiver) -> None:
    """Twenty of them: hardly more threads and open files than after the first."""
    writers = [
        BackgroundWriter(TcpLines(f"tcp://127.0.0.1:{tcp.port}"), backoff=QUICK),
        BackgroundWriter(HttpPost(http.url, every_s=0.0), backoff=QUICK),
    ]
    process = psutil.Process()
    held: list[tuple[int, int]] = []
    for writer in writers:
        writer.open(HEADER)
    for number in range(21):
        for writer in writers:
            writer.write(row(number))
        until(lambda n=number: numbers(tcp.rows())[-1:] == [n])  # type: ignore[misc]
        until(lambda n=number: len(http.bodies) > n)  # type: ignore[misc]
        tcp.hang_up()
        http.hang_up()
        until(lambda: _settled(tcp, http))
        held.append((threading.active_count(), process.num_fds()))
    for writer in writers:
        writer.close()
        assert writer.dropped == 0
    first, last = held[0], held[-1]
    assert last[0] <= first[0] + 3 and last[1] <= first[1] + 6, held


def _settled(*receivers: TcpReceiver | HttpReceiver) -> bool:
    """Whether the receivers' own threads for connections have gone."""
    names = [thread.name for thread in threading.enumerate()]
    return not any("_read" in name or "process_request" in name for name in names)


def test_rows_over_http_are_posted_in_batches_with_the_header(http: HttpReceiver) -> None:
    sink = RowSink(FrameRows(), BackgroundWriter(HttpPost(http.url, every_s=0.2)))
    sink.open(ROW_INFO)
    give_rows(sink, [0.0])
    until(lambda: http.bodies)
    give_rows(sink, [index / 30 for index in range(1, 21)], [face()])
    sink.close()
    first, second = http.batches()
    assert [batch[0]["kind"] for batch in (first, second)] == ["header", "header"]
    assert first[0]["purpose"] == "a test"
    assert (len(first), len(second)) == (2, 21)
    assert http.connections == 1
    assert http.headers[0][":path"] == "/rows?room=1"
    assert http.headers[0]["Content-Type"] == "application/x-ndjson"
    assert "Authorization" not in http.headers[0]


def test_a_password(http: HttpReceiver) -> None:
    address = http.url.replace("//", "//ada:l%40dy@")
    writer = HttpPost(address)
    assert "dy" not in writer.name and writer.name.startswith("http://ada:***@127.0.0.1:")
    writer.open(HEADER)
    writer.write_all([row(0), row(1)])
    writer.close()
    assert [json.loads(line) for line in http.bodies[0].splitlines()] == [HEADER, row(0), row(1)]
    pair = http.headers[0]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(pair) == b"ada:l@dy"


def test_a_connection_that_went_stale_is_opened_anew_at_once(http: HttpReceiver) -> None:
    writer = HttpPost(http.url)
    writer.open(HEADER)
    for number in range(3):
        writer.write(row(number))
        http.hang_up()
    writer.close()
    assert [numbers(batch) for batch in http.batches()] == [[0], [1], [2]]
    assert http.connections == 3


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (400, SinkRefused, "does not take these rows"),
        (413, SinkRefused, "does not take these rows"),
        (422, SinkRefused, "does not take these rows"),
        (401, SinkLost, "give name and password in the address"),
        (403, SinkLost, "give name and password in the address"),
        (404, SinkLost, "answers 404"),
        (429, SinkLost, "answers 429"),
        (500, SinkLost, "answers 500"),
        (307, SinkLost, r"has moved to http://else:\*\*\*@where/: give that"),
    ],
)
def test_what_a_server_answers(
    http: HttpReceiver, status: int, error: type[SinkError], text: str
) -> None:
    http.answer = lambda: (status, {"Location": "http://else:secret@where/"})
    writer = HttpPost(http.url)
    writer.open(HEADER)
    with pytest.raises(SinkLost, match=text) as caught:
        writer.write(row(0))
    assert type(caught.value) is error
    http.answer = lambda: (200, {})
    writer.write(row(1))
    writer.close()
    assert [numbers(batch) for batch in http.batches()] == [[1]]
    assert http.connections == 1


def test_too_much_at_once_is_halved(http: HttpReceiver) -> None:
    answers = iter([413, 413, 204, 204, 204])
    http.answer = lambda: (next(answers), {})
    writer = HttpPost(http.url)
    writer.open(HEADER)
    writer.write_all([row(number) for number in range(4)])
    writer.close()
    assert [numbers(batch) for batch in http.batches()] == [[0], [1], [2, 3]]


def test_a_server_that_comes_back_gets_what_waited(http: HttpReceiver) -> None:
    writer = BackgroundWriter(HttpPost(http.url, every_s=0.01), backoff=QUICK)
    http.answer = lambda: (503, {})
    writer.open(HEADER)
    for number in range(10):
        writer.write(row(number))
    until(lambda: len(http.headers) > 3)
    assert writer.failure.endswith("answers 503 and did not take the rows; trying again")
    http.answer = lambda: (204, {})
    until(lambda: [n for batch in http.batches() for n in numbers(batch)] == list(range(10)))
    writer.close()
    assert (writer.dropped, writer.failure) == (0, "")


@pytest.mark.parametrize("talk", [b"", b"SSH-2.0-none\r\n"])
def test_what_is_no_http_server(talk: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(10_000)
                client.sendall(talk)

        thread = threading.Thread(target=answer)
        thread.start()
        writer = HttpPost(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=2)
        writer.open(HEADER)
        with pytest.raises(SinkLost, match="start the server, or name another"):
            writer.write(row(0))
        writer.close()
        thread.join()


def test_a_silent_server_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        writer = HttpPost(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.1)
        writer.open(HEADER)
        with pytest.raises(SinkLost, match="does not answer"):
            writer.write(row(0))


@pytest.mark.parametrize(
    ("writer", "address"),
    [
        (TcpLines, "tcp://desk"),
        (TcpLines, "tcp://:9000"),
        (TcpLines, "tcp://desk:99999"),
        (TcpLines, "desk:9000"),
        (TcpLines, "tcp://desk:9000/rows"),
        (TcpLines, "tcp://ada:secret@desk:9000"),
        (TcpLines, "tcp://ada:secret@desk"),
        (TcpLines, f"tcp://{'d' * 70}:9000"),
        (HttpPost, "http://"),
        (HttpPost, "https://ada:secret@/x"),
        (HttpPost, "ftp://ada:secret@desk/"),
        (HttpPost, "http://desk/#here"),
    ],
)
def test_an_address_that_is_none(writer: Any, address: str) -> None:
    with pytest.raises(SinkError, match=r"(give|leave)") as caught:
        writer(address)
    assert not isinstance(caught.value, SinkLost)
    assert "secret" not in str(caught.value)


def test_odd_paths_and_addresses_of_six_groups(http: HttpReceiver) -> None:
    assert TcpLines("tcp://[::1]:9000").name == "tcp://[::1]:9000"
    writer = HttpPost(http.url.replace("/rows", "/mon été/%20"))
    writer.open(HEADER)
    writer.write(row(0))
    writer.close()
    assert http.headers[0][":path"] == "/mon%20%C3%A9t%C3%A9/%20?room=1"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl to make a certificate")
    paths = folder / "cert.pem", folder / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-out", str(paths[0]), "-keyout", str(paths[1])),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return paths


def test_https_with_a_certificate_that_is_known_and_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate_path, key_path = certificate(tmp_path)
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(HTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        address = f"https://localhost:{server.server_address[1]}/"
        stranger = HttpPost(address)
        stranger.open(HEADER)
        with pytest.raises(SinkLost, match="certificate verify failed"):
            stranger.write(row(0))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate_path))
        known = HttpPost(address)
        known.open(HEADER)
        known.write(row(1))
        known.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [json.loads(text) for text in bodies[0].splitlines()] == [HEADER, row(1)]
