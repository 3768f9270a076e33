"""Which cameras the page opens, and that the way there leads nowhere else."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from ferstream.demo.camera import CameraHosts
from ferstream.demo.errors import NotAllowed
from ferstream.stream.errors import SourceRedirected
from ferstream.stream.pipeline import Pipeline

from ..stream.fakes import FakeRecognizer
from .browser import served

ADDRESSES = {
    "camera.local": ["192.0.2.7"],
    "192.0.2.9": ["192.0.2.9"],
    "cam6.local": ["2001:db8::7"],
    "evil.example": ["192.0.2.7"],
    "localhost": ["127.0.0.1"],
}


def hosts(*named: str) -> CameraHosts:
    return CameraHosts(named, lambda host: ADDRESSES.get(host.lower(), []))


@pytest.mark.parametrize(
    ("named", "address", "ip", "port"),
    [
        ("camera.local", "rtsp://camera.local/stream", "192.0.2.7", 554),
        ("camera.local", "rtsp://CAMERA.local.:8554/stream", "192.0.2.7", 8554),
        ("camera.local", "rtsp://192.0.2.7/stream", "192.0.2.7", 554),
        ("192.0.2.7", "rtsp://192.0.2.7/stream", "192.0.2.7", 554),
        ("camera.local:8554", "rtsp://me:secret@camera.local:8554/a?b=c", "192.0.2.7", 8554),
        ("[2001:db8::7]:554", "rtsp://[2001:DB8:0::7]/", "2001:db8::7", 554),
    ],
)
def test_named_hosts_are_reached(named: str, address: str, ip: str, port: int) -> None:
    known = {**ADDRESSES, "2001:db8::7": ["2001:db8::7"], "192.0.2.7": ["192.0.2.7"]}
    found = CameraHosts([named], lambda host: known.get(host.lower(), []))
    target = found.target(address)
    parts = urlsplit(target.url)
    assert found.reach(parts.hostname or "", parts.port or 0) == (ip, port)
    assert "secret" not in target.shown and ("secret" in target.url) == ("secret" in address)


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://other.local/stream",
        "rtsp://evil.example/stream",  # a stranger's name for the same address may soon change
        "rtsp://192.0.2.8/",
        "rtsp://127.0.0.1/",
        "rtsp://2130706433/",
        "rtsp://0x7f.1/",
        "rtsp://camera.local@127.0.0.1/",
        "rtsp://camera.local%2f@127.0.0.1/",
        "rtsp://127.0.0.1\\@camera.local/",
        "rtsp://camera.local /stream",
        "rtsp://camera.local/\nrtsp://127.0.0.1/",
        "rtsp://camera.local:99999/",
        "rtsp:camera.local",
        "http://camera.local/",
        "https://camera.local/stream.m3u8",
        "file:///etc/passwd",
        "gst:videotestsrc",
        "/dev/video0",
        "0",
        "",
        "rtsp://camera.local/" + "a" * 2000,
    ],
)
def test_everything_else_is_refused(address: str) -> None:
    with pytest.raises(NotAllowed):
        hosts("camera.local").target(address)


def test_named_port_is_the_only_one() -> None:
    with pytest.raises(NotAllowed, match=r"camera\.local:554"):
        hosts("camera.local:8554").target("rtsp://camera.local/")


def test_refusal_names_no_password() -> None:
    with pytest.raises(NotAllowed) as refusal:
        hosts("camera.local").target("rtsp://me:secret@other.local/stream")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("path", ["/a@b/c", "/%41%2f?x=@127.0.0.1", "/#f", "//evil.example/x"])
def test_odd_paths_stay_paths(path: str) -> None:
    url = hosts("camera.local").target(f"rtsp://camera.local{path}").url
    assert url.startswith("rtsp://camera.local:554/") and "#" not in url


@pytest.mark.parametrize("named", ["", "a/b", "me@host", "http://x", "[::1"])
def test_what_is_no_host_is_said_at_the_start(named: str) -> None:
    with pytest.raises(ValueError, match="no host"):
        CameraHosts([named])


def test_where_a_redirect_leads_is_asked_like_what_was_named() -> None:
    """By whoever connects; tests/stream/test_redirect.py has the captures do it."""
    named = hosts("camera.local", "192.0.2.9:8554")
    assert named.reach("camera.local", 554) == ("192.0.2.7", 554)
    assert named.reach("192.0.2.9", 8554) == ("192.0.2.9", 8554)
    for host, port in (("192.0.2.9", 554), ("127.0.0.1", 554), ("evil.example", 554)):
        with pytest.raises(SourceRedirected, match=f"{host}:{port} is no camera that this page"):
            named.reach(host, port)


def test_one_address_leaves_cameras_to_others() -> None:
    fastapi = pytest.importorskip("fastapi")
    connect = pytest.importorskip("websockets.sync.client").connect
    from ferstream.demo.camera import PATH, camera_router

    app = fastapi.FastAPI()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Pipeline(FakeRecognizer()) as pipeline,
    ):
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        app.include_router(camera_router(pipeline, CameraHosts([place]), most=4))
        with served(app) as url, ExitStack() as open_:

            def asked(host: str) -> dict[str, object]:
                way = socket.create_connection(
                    ("127.0.0.1", urlsplit(url).port or 0), 60, source_address=(host, 0)
                )
                address = f"ws{url.removeprefix('http')}{PATH.lstrip('/')}"
                visit = open_.enter_context(connect(address, sock=way))
                visit.send(json.dumps({"address": f"rtsp://{place}/film"}))
                answer: dict[str, object] = json.loads(visit.recv(60))
                return answer

            first = [asked("127.0.0.2") for _ in range(3)]
            assert [one.get("state") for one in first] == ["connecting", "connecting", None]
            assert "from your address" in str(first[2]["error"])
            assert asked("127.0.0.3")["state"] == "connecting"
