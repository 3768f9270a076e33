"""A camera's redirect: followed, and its password stays with the host that was named."""

from __future__ import annotations

import hashlib
import re
import socketserver
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from stream.errors import SourceDenied, SourceError, SourceRefused, SourceTimeout
from stream.gst import has_gst
from stream.sources import open_source
from stream.sources.redirect import led_to

USER, PASSWORD = "ann", "s3cret"
Reply = Callable[[str, str, dict[str, str]], str]
"""Method, address and fields of a request to the answer's status line and fields."""


class Speaker(socketserver.ThreadingTCPServer):
    """Speaks RTSP as it is told, and keeps what it heard."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.reply, self.heard = reply, list[str]()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Visit(socketserver.StreamRequestHandler):
    server: Speaker

    def handle(self) -> None:
        head = ""
        while line := self.rfile.readline().decode("latin-1"):
            head += line
            if line.strip():
                continue
            self.server.heard.append(head)
            fields = dict(re.findall(r"(?m)^([\w-]+): (.*?)\r?$", head))
            method, address = head.split()[:2]
            said = self.server.reply(method, address, fields)
            told, _, body = said.partition("\r\n\r\n")
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            head = f"RTSP/1.0 {told}\r\nCSeq: {fields['CSeq']}\r\n{length}\r\n"
            self.wfile.write(f"{head}{body}".encode())
            head = ""


@contextmanager
def speaking(reply: Reply) -> Iterator[Speaker]:
    with Speaker(reply) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def basic(method: str, address: str, fields: dict[str, str]) -> str:
    """Asks everybody for a password, and never likes it."""
    return '401 Unauthorized\r\nWWW-Authenticate: Basic realm="cam"'


def digest(method: str, address: str, fields: dict[str, str]) -> str:
    return '401 Unauthorized\r\nWWW-Authenticate: Digest realm="cam", nonce="n0nce"'


def moved(to: str, after_password: bool = False) -> Reply:
    def reply(method: str, address: str, fields: dict[str, str]) -> str:
        if method == "OPTIONS":
            return "200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY"
        if after_password and "Authorization" not in fields:
            return basic(method, address, fields)
        return f"302 Moved Temporarily\r\nLocation: {to}"

    return reply


CAPTURES = ["pyav", *(["gstreamer"] if has_gst() else [])]


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("trap", [basic, digest])
@pytest.mark.parametrize(("after_password", "user"), [(False, USER), (True, USER), (False, "")])
def test_a_password_stays_with_its_host(
    capture: str, trap: Reply, after_password: bool, user: str
) -> None:
    with (
        speaking(trap) as other,
        speaking(moved(f"rtsp://{other.place}/film", after_password)) as camera,
        pytest.raises(SourceError, match="password of its own: name that") as caught,
    ):
        open_source(f"rtsp://{user}:{PASSWORD}@{camera.place}/film", capture, stall_s=3)
    assert other.heard, "the redirect was followed"
    assert "Authorization" not in "".join(other.heard)
    assert PASSWORD not in str(caught.value) + "".join(other.heard)


@pytest.mark.parametrize("capture", CAPTURES)
def test_another_port_of_the_same_host_gets_no_password(capture: str) -> None:
    """The way back to the host that was named gets it again."""
    places: list[str] = []

    def camera_reply(method: str, address: str, fields: dict[str, str]) -> str:
        if address.endswith("/end"):
            return basic(method, address, fields)
        return moved(f"rtsp://{places[0]}/between")(method, address, fields)

    with (
        speaking(camera_reply) as camera,
        speaking(moved(f"rtsp://{camera.place}/end")) as other,
    ):
        places.append(other.place)
        with pytest.raises(SourceDenied):
            open_source(f"rtsp://{USER}:{PASSWORD}@{camera.place}/film", capture, stall_s=3)
    assert "Authorization" not in "".join(other.heard)
    given = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert any(f"Authorization: Basic {given}" in head for head in camera.heard)


def test_where_it_leads() -> None:
    def unknown(method: str, address: str, fields: dict[str, str]) -> str:
        return "404 Not Found" if method == "DESCRIBE" else "200 OK"

    user = f"{USER}:{PASSWORD}@"
    with speaking(unknown) as end:
        assert led_to(f"rtsp://{end.place}/film", 3) == f"rtsp://{end.place}/film"
        same = f"rtsp://{user}{end.place}/film"
        assert led_to(same, 3) == same
        with speaking(moved(f"rtsp://{end.place}/x?y=1")) as camera:
            assert led_to(f"rtsp://{user}{camera.place}/f", 3) == f"rtsp://{end.place}/x?y=1"
    replies: list[Reply] = [moved("/there")]
    with speaking(lambda *asked: replies[0](*asked)) as camera:

        def once(method: str, address: str, fields: dict[str, str]) -> str:
            done = address.endswith("/there")
            return (unknown if done else moved("/there"))(method, address, fields)

        replies[0] = once
        there = led_to(f"rtsp://{user}{camera.place}/film", 3)
        assert there == f"rtsp://{user}{camera.place}/there"


def test_redirects_without_end_or_sense() -> None:
    user = f"{USER}:{PASSWORD}@"
    for to, words in (
        ("/round", "without end"),
        ("http://127.0.0.1/", "no camera"),
        ("file:///etc/passwd", "no camera"),
        ("rtsp:///", "without end"),
        ("", "without end"),
    ):
        with speaking(moved(to)) as camera:
            with pytest.raises(SourceRefused, match=words) as caught:
                led_to(f"rtsp://{user}{camera.place}/film", 3)
            assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_circle_without_a_password_is_the_captures_to_end(capture: str) -> None:
    with speaking(moved("/round")) as camera:
        begun_s = time.monotonic()
        with pytest.raises(SourceError):
            next(open_source(f"rtsp://{camera.place}/film", capture, stall_s=1).frames())
        assert time.monotonic() - begun_s < 30


def test_a_camera_that_never_ends_its_answer() -> None:
    class Endless(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                while True:
                    self.request.sendall(b"X: y\r\n")
                    time.sleep(0.05)
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Endless) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        begun_s = time.monotonic()
        for user in ("", f"{USER}:{PASSWORD}@"):
            with pytest.raises(SourceTimeout):
                led_to(f"rtsp://{user}127.0.0.1:{server.server_address[1]}/", 0.5)
        assert time.monotonic() - begun_s < 60
        server.shutdown()


@pytest.mark.parametrize("qop", [None, "auth"])
@pytest.mark.parametrize("algorithm", [None, "MD5", "SHA-256"])
def test_digests(algorithm: str | None, qop: str | None) -> None:
    """Answered as RFC 7616 wants it: the camera computes the same."""
    seen: list[bool] = []

    def reply(method: str, address: str, fields: dict[str, str]) -> str:
        told = 'Digest realm="a, b", nonce="n0nce"'
        told += f', qop="{qop}"' if qop else ""
        told += f", algorithm={algorithm}" if algorithm else ""
        if "Authorization" not in fields:
            return f"401 Unauthorized\r\nWWW-Authenticate: {told}"
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', fields["Authorization"].replace("a, b", "")))
        kind = hashlib.sha256 if algorithm == "SHA-256" else hashlib.md5

        def h(text: str) -> str:
            return kind(text.encode()).hexdigest()

        middle = f":{given['nc']}:{given['cnonce']}:auth" if qop else ""
        right = h(f"{h(f'ann:a, b:{PASSWORD}')}:n0nce{middle}:{h(f'{method}:{address}')}")
        seen.append(given["response"] == right)
        return "200 OK"

    with speaking(reply) as camera:
        led_to(f"rtsp://{USER}:{PASSWORD}@{camera.place}/film", 3)
    assert seen == [True, True]


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("status", ["503 Service Unavailable", "453 Not Enough Bandwidth"])
def test_a_camera_that_is_busy_may_be_free_later(capture: str, status: str) -> None:
    """Whoever captures: it is no fault that ends a run at its start."""
    with speaking(lambda *_: status) as camera, pytest.raises(SourceRefused):
        open_source(f"rtsp://{camera.place}/film", capture, stall_s=3)


def only_udp(method: str, address: str, fields: dict[str, str]) -> str:
    """A camera that sends its pictures beside the connection only."""
    if method == "OPTIONS":
        return "200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
    if method == "DESCRIBE":
        lines = ("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=film", "t=0 0")
        video = ("m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000", "a=control:track1")
        body = "".join(f"{line}\r\n" for line in (*lines, *video))
        return f"200 OK\r\nContent-Type: application/sdp\r\nContent-Base: {address}/\r\n\r\n{body}"
    return "461 Unsupported Transport" if method == "SETUP" else "200 OK"


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_camera_that_sends_by_udp_alone_is_named(capture: str) -> None:
    with speaking(only_udp) as camera, pytest.raises(SourceRefused, match="UDP alone"):
        open_source(f"rtsp://{camera.place}/film", capture, stall_s=10)
