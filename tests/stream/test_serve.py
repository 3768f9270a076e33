"""The HTTP service with real parts: uvicorn on loopback, the default bundle, real uploads."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ferstream.stream.recognize import Recognizer
from ferstream.stream.run import run
from ferstream.stream.serve.guard import Limits
from ferstream.stream.sinks.tally import TallySink
from ferstream.stream.sources import open_source
from tests import media

from . import hostile
from .serving import Served, clip, encoded, form, frames, served
from .small_disk import small_disk

TOKEN = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def service(recognizer: Recognizer) -> Iterator[Served]:
    limits = Limits(upload_bytes=4 * 2**20, clip_frames=200, image_pixels=2_000_000, uploads=2)
    with served(recognizer, limits) as one:
        yield one


@pytest.fixture
def client(service: Served) -> Iterator[httpx.Client]:
    with service.client() as one:
        yield one


@pytest.fixture(scope="module")
def smile() -> bytes:
    return encoded(frames()[45], ".jpg")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("film") / "sample.mp4", frames(3))


def refused(answer: httpx.Response, status: int, code: str, words: str = "") -> None:
    """One line of JSON that says what is wrong."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    assert words in error["message"]
    assert "\n" not in error["message"]
    assert not re.search(r"/(work|home|usr|opt|root)/|Traceback", error["message"])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_an_image_as_body_and_in_a_form(client: httpx.Client, suffix: str) -> None:
    data = encoded(frames()[45], suffix)
    raw = client.post("/v1/image?top=3", content=data)
    posted = client.post("/v1/image?top=3", files=form(f"a smile{suffix}", data))
    for answer, name in ((raw, "image"), (posted, f"a smile{suffix}")):
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["schema"], told["source"], told["size"]) == (2, name, [640, 480])
        assert told["heads"]["emo135"]["supervision"] == "machine-judged"
        (face,) = told["faces"]
        assert max(face["basic8"], key=face["basic8"].__getitem__) == "happiness"
        assert len(face["top"]) == 3
        assert len(face["blendshapes"]) == 12
        assert face["eyes"]["right"] > 0.5 and face["eyes"]["blink"] is None
        assert "mouthSmileLeft" in list(face["blendshapes"])[:3]
    assert raw.headers["cache-control"] == "no-store"


def test_a_clip_is_told_as_score_tells_it(client: httpx.Client, film: Path) -> None:
    answer = client.post("/v1/clip?top=5", files=form("../../etc/film.mp4", film.read_bytes()))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    summary = told["clip"]
    assert summary["source"] == "film.mp4"
    assert summary["frames"] == len(told["rows"]) == 36
    assert summary["faces_seen"] == 1
    assert summary["faces"][0]["frames"] == 36
    assert {row["source"] for row in told["rows"]} == {"film.mp4"}
    assert [row["frame"] for row in told["rows"]] == list(range(36))
    assert {len(row["faces"][0]["top"]) for row in told["rows"]} == {5}
    with Recognizer() as another:
        tally = TallySink()
        run(open_source(film), another, [tally])
    assert [face.to_json(5) for face in tally.faces()] == summary["faces"]
    brief = client.post("/v1/clip?rows=false", content=film.read_bytes()).json()
    assert "rows" not in brief
    same = {**brief["clip"]["faces"][0], "top": []}
    assert same == {**summary["faces"][0], "top": []}, "clips are scored alike, whoever was before"


def test_an_image_without_a_face_has_none(client: httpx.Client, tmp_path: Path) -> None:
    data = media.image(tmp_path / "p.png").read_bytes()
    told = client.post("/v1/image", content=data).json()
    assert (told["size"], told["faces"]) == ([64, 48], [])
    tiny = media.image(tmp_path / "t.png", media.picture(0, (2, 2))).read_bytes()
    assert client.post("/v1/image", content=tiny).json()["faces"] == []


def test_wrong_uploads_are_refused(client: httpx.Client, tmp_path: Path, smile: bytes) -> None:
    video = media.video(tmp_path / "v.mp4", 40).read_bytes()
    known = set()
    for path, data, status, code in (
        ("image", b"", 422, "empty"),
        ("clip", b"", 422, "empty"),
        ("image", b"no picture", 415, "unsupported"),
        ("image", video, 415, "unsupported"),
        ("image", smile[:100], 415, "unsupported"),
        ("image", smile[:-2000], 422, "unreadable"),
        ("image", b"\xff\xd8" + b"\xff" * 3_000_000, 415, "unsupported"),
        ("image", hostile.png_header(60_000, 60_000), 413, "too_large"),
        ("image", hostile.png_bomb(3000), 413, "too_large"),
        ("clip", b"\x00" * 5000, 415, "unsupported"),
        ("clip", video[: len(video) // 2], 415, "unsupported"),
        ("clip", hostile.png_header(60_000, 60_000), 422, "unreadable"),
        ("clip", hostile.endless_gif(tmp_path / "g.gif", 300).read_bytes(), 413, "too_large"),
        ("clip", b"\x00" * (4 * 2**20 + 1), 413, "too_large"),
    ):
        answer = client.post(f"/v1/{path}", content=data)
        refused(answer, status, code)
        if (path, code) not in known:
            refused(client.post(f"/v1/{path}", files=form("x", data)), status, code)
        known.add((path, code))
    secret = media.video(tmp_path / "secret.mp4")
    for playlist in hostile.playlists(tmp_path, secret):
        answer = client.post("/v1/clip", files=form(playlist.name, playlist.read_bytes()))
        refused(answer, 415, "unsupported")


def test_a_very_large_upload_is_refused_and_not_kept(service: Served, client: httpx.Client) -> None:
    before = psutil.Process().memory_info().rss
    refused(client.post("/v1/clip", content=b"\x00" * 100_000_000), 413, "too_large", "4 MB")

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"\x00" * 2**20

    # It may write on when the service has answered and hung up.
    with suppress(httpx.WriteError):
        refused(client.post("/v1/clip", content=endless()), 413, "too_large")
    assert psutil.Process().memory_info().rss - before < 300_000_000
    assert client.get("/healthz").status_code == 200


def test_odd_requests_are_refused(client: httpx.Client, smile: bytes) -> None:
    refused(client.get("/v1/nothing"), 404, "not_found")
    refused(client.get("/docs"), 404, "not_found")
    refused(client.get("/v1/image"), 405, "method")
    refused(client.post("/v1/image?top=0", content=smile), 422, "invalid", "top")
    refused(client.post("/v1/clip?rows=maybe", content=smile), 422, "invalid", "rows")
    kind = {"content-type": "multipart/form-data"}
    refused(client.post("/v1/image", content=smile, headers=kind), 400, "form")
    kind = {"content-type": "multipart/form-data; boundary=x"}
    refused(client.post("/v1/image", content=b"--x\r\nodd", headers=kind), 422, "empty")
    refused(client.post("/v1/image", files=[("file", smile), ("file", smile)]), 400, "form", "many")
    refused(client.post("/v1/image", data={"file": "text"}, files={}), 415, "unsupported")
    headers = b'--x\r\nContent-Disposition: form-data; name="' + b"a" * 10**6
    refused(client.post("/v1/image", content=headers, headers=kind), 400, "form")


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "..\\..\\windows\\win.ini",
        "/etc/passwd",
        "a\x00b.jpg",
        ".htaccess",
        "x" * 3000,
        "\u202egpj.exe",
        "con",
        "-rf",
        "|id",
        "file:///etc/passwd",
        "%2e%2e%2f",
    ],
)
def test_path_tricks_in_names_are_only_shown(client: httpx.Client, smile: bytes, name: str) -> None:
    answer = client.post("/v1/image", files=form(name, smile))
    if answer.status_code == 400:
        return  # not even a form any more
    told = answer.json()
    assert answer.status_code == 200, told
    assert len(told["faces"]) == 1
    shown = told["source"]
    assert shown.isprintable()
    assert len(shown) <= 80
    assert "/" not in shown
    assert "\\" not in shown
    assert not shown.startswith(".")


def test_no_file_outlives_its_request(
    service: Served, client: httpx.Client, film: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """While it is scored the upload has no name, afterwards no one has it open."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[list[str]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(os.listdir(tmp_path))
            time.sleep(0.005)

    looking = threading.Thread(target=look)
    looking.start()
    data = film.read_bytes() + b"\x00" * 2**21  # more than is kept in memory
    assert client.post("/v1/clip", content=data).status_code == 200
    refused(client.post("/v1/clip", content=b"\x00" * 2**21), 415, "unsupported")
    done.set()
    looking.join()
    assert len(seen) > 20
    assert not any(seen)
    own = [one.path for one in psutil.Process().open_files()]
    assert [path for path in own if str(tmp_path) in path] == []
    assert psutil.Process().children() == [] or all(
        "pictures" in " ".join(one.cmdline()) for one in psutil.Process().children()
    )
    service.until_empty()


def test_a_full_disk_refuses_uploads_in_words(
    client: httpx.Client, tmp_path: Path, smile: bytes, monkeypatch: Any
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        disk.fill()
        monkeypatch.setattr("tempfile.tempdir", str(disk.path))
        large = bytes(2**21)  # more than is kept in memory
        refused(client.post("/v1/clip", content=large), 507, "no_room", "no room for uploads")
        refused(client.post("/v1/clip", files=form("a.mp4", large)), 507, "no_room")
        assert client.post("/v1/image", content=smile).status_code == 200


def test_a_sender_that_goes_is_not_worked_for(service: Served, film: Path) -> None:
    body = film.read_bytes()
    head = f"POST /v1/clip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    for sent in (b"", body[:1000], body):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(head.encode() + sent)
            time.sleep(0.1)
    service.until_empty()
    end_s = time.monotonic() + 10
    while any("clip" in " ".join(_words(one)) for one in psutil.Process().children()):
        assert time.monotonic() < end_s, "its decoder goes on"
        time.sleep(0.02)
    with service.client() as client:
        assert client.post("/v1/clip?rows=false", content=body).status_code == 200


def _words(process: psutil.Process) -> list[str]:
    """Its command line; none where it has ended meanwhile."""
    try:
        words: list[str] = process.cmdline()
        return words
    except psutil.NoSuchProcess:  # a zombie, too
        return []


def test_slow_senders_and_too_many(recognizer: Recognizer, smile: bytes) -> None:
    limits = Limits(upload_s=0.5, uploads=1)
    with served(recognizer, limits) as service, service.client() as client:

        def drip() -> Iterator[bytes]:
            for byte in smile[:40]:
                yield bytes([byte])
                time.sleep(0.05)

        refused(client.post("/v1/image", content=drip()), 408, "slow")
        waiting = []
        for _ in range(4):
            connection = socket.create_connection(("127.0.0.1", service.port))
            waiting.append(connection)
            head = b"POST /v1/image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
            connection.sendall(head)
        time.sleep(0.15)
        answer = client.post("/v1/image", content=smile)
        refused(answer, 503, "full", "try again")
        assert answer.headers["retry-after"]
        for connection in waiting:
            connection.close()
        time.sleep(0.1)
        assert client.post("/v1/image", content=smile).status_code == 200


def test_the_guard_lets_no_foreign_page_in(
    recognizer: Recognizer, smile: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {
        "allow_origins": ["https://good.example"],
        "allow_hosts": ["faces.example"],
    }
    with served(recognizer, token=TOKEN, **options) as service, service.client() as client:
        known = {"authorization": f"Bearer {TOKEN}"}
        for path in ("/healthz", "/readyz"):
            assert client.get(path).status_code == 200
        for wrong in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}):
            answer = client.post("/v1/image", content=smile, headers=wrong)
            refused(answer, 401, "token")
            assert answer.headers["www-authenticate"] == "Bearer"
        refused(client.get("/openapi.json"), 401, "token")
        told = [one.getMessage() for one in caplog.records if "want of the token" in one.msg]
        assert told and "1, the last from 127.0.0.1" in told[0] and TOKEN not in " ".join(told)
        assert client.post("/v1/image", content=smile, headers=known).status_code == 200
        port = service.port
        for origin, status in (
            ("https://evil.example", 403),
            ("null", 403),
            (f"http://127.0.0.1:{port + 1}", 403),
            (f"https://127.0.0.1:{port}.evil.example", 403),
            (f"http://127.0.0.1:{port}", 200),
            ("https://good.example", 200),
        ):
            answer = client.get("/v1/about", headers={**known, "origin": origin})
            assert answer.status_code == status, origin
        for host, status in (
            ("evil.example", 421),
            (f"evil.example:{port}", 421),
            ("127.0.0.1.evil.example", 421),
            ("evil@127.0.0.1", 421),
            ("", 421),
            ("faces.example", 200),
            ("localhost:1", 200),
            ("[::1]:8000", 200),
            ("10.1.2.3", 200),
        ):
            answer = client.get("/v1/about", headers={**known, "host": host})
            assert answer.status_code == status, host
        asked = {"origin": "https://good.example", "access-control-request-method": "POST"}
        answer = client.options("/v1/image", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://good.example"
        asked["origin"] = "https://evil.example"
        answer = client.options("/v1/image", headers=asked)
        assert "access-control-allow-origin" not in answer.headers


def test_it_says_what_it_is(client: httpx.Client, service: Served) -> None:
    about = client.get("/v1/about").json()
    assert "not what anybody feels" in about["notice"]
    assert about["limits"]["upload_bytes"] == 4 * 2**20
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/v1/sources").json() == {"sources": []}
    refused(client.get("/v1/sources/front/latest"), 404, "not_found")
    description = client.get("/openapi.json").json()
    assert set(description["paths"]) == {
        "/healthz",
        "/readyz",
        "/v1/about",
        "/v1/image",
        "/v1/clip",
        "/v1/sources",
        "/v1/sources/{id}/latest",
    }
    assert "http" not in json.dumps(description["paths"])


def test_not_ready_once_the_pipeline_is_closed(recognizer: Recognizer, smile: bytes) -> None:
    with served(recognizer) as service, service.client() as client:
        service.pipeline.close()
        assert client.get("/healthz").status_code == 200
        refused(client.get("/readyz"), 503, "not_ready")
        refused(client.post("/v1/image", content=smile), 503, "closing")
