"""The way to a camera: redirects are followed, its password stays with the host that was named, and
with the certificate that was named."""

from __future__ import annotations

import hashlib
import re
import socket
import socketserver
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ferstream.stream.errors import (
    SourceDenied,
    SourceError,
    SourceMissing,
    SourceRedirected,
    SourceRefused,
    SourceUnreadable,
    SourceUntrusted,
)
from ferstream.stream.sources import open_live, open_source
from ferstream.stream.sources.gst import has_gst
from ferstream.stream.sources.tunnel import Tunnel, follow_camera
from tests.rtsp_camera import Camera, require_rtsp

from .test_network_rows import certificate

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
            first = "" if re.match("R[^ ]*[ \t]", told) else "RTSP/1.0 "
            head = f"{first}{told}\r\nCSeq: {fields['CSeq']}\r\n{length}\r\n"
            self.wfile.write(f"{head}{body}".encode())
            head = ""


@contextmanager
def speaking(reply: Reply) -> Iterator[Speaker]:
    with Speaker(reply) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
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


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize(
    ("moment", "status"),
    [
        *((moment, "RTSP/1.0 302 Moved") for moment in ("OPTIONS", "DESCRIBE", "SETUP", "PLAY")),
        ("DESCRIBE", "RTSP/1.0  301"),
        ("DESCRIBE", "RTSP/7.77\t+302 x"),
        ("DESCRIBE", "RT\rSP/1.0 302 x"),
        ("DESCRIBE", "REDIRECT rtsp://x/ RTSP/1.0"),
    ],
)
def test_whenever_and_however_it_redirects(capture: str, moment: str, status: str) -> None:
    """Also late, and in words that only a decoder takes for a redirect."""
    places: list[str] = []

    def reply(method: str, address: str, fields: dict[str, str]) -> str:
        if "Authorization" not in fields:
            return basic(method, address, fields)
        if method != moment:
            return only_udp("PLAY" if method == "SETUP" else method, address, fields)
        return f"{status}\r\nLocation: rtsp://{places[0]}/film"

    with speaking(basic) as other, speaking(reply) as camera:
        places.append(other.place)
        with pytest.raises(SourceError) as caught:
            url = f"rtsp://{USER}:{PASSWORD}@{camera.place}/film"
            next(open_source(url, capture, stall_s=3).frames())
    given = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert given in "".join(camera.heard) and given not in "".join(other.heard)
    assert PASSWORD not in str(caught.value)


def seen(url: str) -> tuple[str, str]:
    """Where a way leads in the end, asked once without a password, and what is answered there."""

    def opened(tunnel: Tunnel) -> tuple[str, str]:
        place = re.search(r"127\.0\.0\.1:(\d+)", tunnel.url)
        assert place
        with socket.create_connection(("127.0.0.1", int(place[1]))) as asked:
            asked.sendall(f"DESCRIBE {tunnel.url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            asked.settimeout(60)
            said = asked.recv(4096).decode()
        if not said:
            raise SourceMissing("nothing")
        tunnel.close()
        return tunnel.url.replace(f":{place[1]}", ""), said.partition("\r\n")[0]

    return follow_camera(url, 3, opened)


def test_where_it_leads() -> None:
    user = f"{USER}:{PASSWORD}@"
    with speaking(unknown) as end:
        assert seen(f"rtsp://{user}{end.place}/film?x=1") == (
            f"rtsp://{user}127.0.0.1/film?x=1",
            "RTSP/1.0 404 Not Found",
        )
        with speaking(moved(f"rtsp://{end.place}/x?y=1")) as camera:
            assert seen(f"rtsp://{user}{camera.place}/f")[0] == "rtsp://127.0.0.1/x?y=1"

    def once(method: str, address: str, fields: dict[str, str]) -> str:
        done = address.endswith("/there")
        # Itself, by the name that it was asked under, which is the way's.
        there = address.replace("/film", "/there").replace(f"{user}", "")
        return (unknown if done else moved(there))(method, address, fields)

    with speaking(once) as camera:
        assert seen(f"rtsp://{user}{camera.place}/film")[0] == f"rtsp://{user}127.0.0.1/there"


def unknown(method: str, address: str, fields: dict[str, str]) -> str:
    return "404 Not Found"


@pytest.mark.parametrize("user", ["", f"{USER}:{PASSWORD}@"])
@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("/round", "without end"),
        ("", "without end"),
        ("rtsp:///", "without end"),
        ("http://127.0.0.1/", "no camera"),
        ("file:///etc/passwd", "no camera"),
        ("rtsp://127.0.0.1:99999/", "no camera"),
        ("rtsp://[::1", "no camera"),
    ],
)
def test_redirects_without_end_or_sense(to: str, words: str, user: str) -> None:
    with speaking(moved(to)) as camera:
        with pytest.raises(SourceRedirected, match=words) as caught:
            seen(f"rtsp://{user}{camera.place}/film")
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_circle_is_named_and_a_camera_is_asked_no_more_than_needed(capture: str) -> None:
    with speaking(moved("/round")) as camera:
        with pytest.raises(SourceRedirected, match="without end"):
            open_source(f"rtsp://{camera.place}/film", capture, stall_s=3)
        assert sum(head.startswith("DESCRIBE") for head in camera.heard) == 5


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_place_that_may_not_be_reached(capture: str) -> None:
    """As for the page's visitors: neither at once nor by a redirect."""
    with speaking(unknown) as other, speaking(moved(f"rtsp://{other.place}/film")) as camera:

        def reach(host: str, port: int) -> tuple[str, int]:
            if port != camera.server_address[1]:
                raise SourceRedirected(f"{host} may not be opened")
            return host, port

        for place in (camera.place, other.place):
            with pytest.raises(SourceRedirected, match="may not be opened"):
                open_source(f"rtsp://{place}/film", capture, stall_s=3, reach=reach)
        assert other.heard == []


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_camera_that_never_ends_its_answer(capture: str) -> None:
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
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        begun_s = time.monotonic()
        with pytest.raises(SourceError) as caught:
            open_source(f"rtsp://127.0.0.1:{server.server_address[1]}/", capture, stall_s=0.5)
        assert caught.value.code in ("TIMEOUT", "REFUSED", "UNSUPPORTED")
        assert time.monotonic() - begun_s < 60
        server.shutdown()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Path, Path], str]:
    """A certificate that nobody vouches for, and its fingerprint."""
    paths = certificate(tmp_path_factory.mktemp("certificate"))
    data = ssl.PEM_cert_to_DER_cert(paths[0].read_text())
    return paths, hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def secured(signed: tuple[tuple[Path, Path], str]) -> Iterator[Camera]:
    """A camera that speaks TLS."""
    require_rtsp()
    with Camera((320, 240), 20, 5, user=USER, password=PASSWORD, certificate=signed[0]) as camera:
        yield camera


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_certificate_may_be_named(
    capture: str, secured: Camera, signed: tuple[tuple[Path, Path], str]
) -> None:
    shown = signed[1]
    colons = ":".join(shown.upper()[at : at + 2] for at in range(0, 64, 2))
    for pin in ("", f"#sha256={colons}"):
        source = open_source(secured.url_with_password + pin, capture, stall_s=10)
        assert next(source.frames()).pixels.shape == (240, 320, 3)
        source.close()
        assert source.name == secured.url.replace("://", f"://{USER}:***@")
    wrong = f"{secured.url_with_password}#sha256={'0' * 64}"
    with pytest.raises(SourceUntrusted, match=f"another certificate.*sha256={shown}") as caught:
        next(open_live(wrong, capture=capture, strict_start=True).frames())
    assert PASSWORD not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("pin", ["sha256=0", "sha1=" + "0" * 40, "x", "sha256=" + "z" * 64])
def test_what_is_no_fingerprint(pin: str) -> None:
    for scheme in ("rtsp", "rtsps"):
        with pytest.raises(SourceUnreadable, match="no certificate's fingerprint") as caught:
            open_source(f"{scheme}://ann:pa#s3cret@127.0.0.1:9/1#{pin}")
        assert "s3cret" not in str(caught.value)
    with pytest.raises(SourceUnreadable, match="no certificate's fingerprint"):
        open_source(f"rtsp://127.0.0.1:9/1#sha256={'0' * 64}")


def test_a_named_certificate_is_that_camera_s_alone(
    signed: tuple[tuple[Path, Path], str],
) -> None:
    """Another place that a redirect leads to has one of its own, whatever it shows."""
    paths, shown = signed
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    with speaking(unknown) as other, speaking(moved(f"rtsp://{other.place}/film")) as camera:
        camera.socket = context.wrap_socket(camera.socket, server_side=True)
        with pytest.raises(SourceRedirected, match="certificate was not named"):
            seen(f"rtsps://{camera.place}/film#sha256={shown}")
        assert other.heard == []


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
