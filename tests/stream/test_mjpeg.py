"""A camera's row of JPEGs over HTTP, which has no time stamps and no end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ferstream.stream.sources import open_clip, open_source
from tests import media

COUNT, STEP_S = 30, 0.1


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no fault."""


@contextmanager
def camera(pictures: list[bytes], step_s: float, boundary: str = "frame") -> Iterator[str]:
    """Sends the pictures at a pace and hangs up; the address."""

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.send_response(200)
            kind = f"multipart/x-mixed-replace; boundary={boundary}"
            self.send_header("Content-Type", kind)
            self.end_headers()
            for data in pictures:
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(step_s)

    with _Quiet(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/video"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder: Path = tmp_path_factory.mktemp("jpegs")
    paths = [media.image(folder / f"{k}.jpg", media.picture(k, (160, 120))) for k in range(COUNT)]
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("boundary", ["frame", "--frame", '"frame"'])
def test_scored_it_is_a_clip_whose_times_are_those_of_arrival(
    jpegs: list[bytes], boundary: str
) -> None:
    with camera(jpegs, STEP_S, boundary) as address:
        source = open_clip(address)
        frames = list(source.frames())
    assert (source.live, source.rate_hz) == (False, None)
    assert [media.level(frame.pixels) for frame in frames] == [k % 20 for k in range(len(frames))]
    # The last one's end is the next one's boundary, which never comes.
    assert len(frames) >= COUNT - 1
    assert frames[0].time_s == 0
    # At 25 pictures a second, as FFmpeg makes them up, it would be 1.2 s.
    assert 0.9 * STEP_S * COUNT < frames[-1].time_s + 2 * STEP_S < 2 * STEP_S * COUNT
    (note,) = source.notes
    assert "was lost after" in note


def test_a_slow_camera_is_not_late(jpegs: list[bytes]) -> None:
    """Ten a second fall ever further behind the made-up stamps."""
    with camera(jpegs, STEP_S) as address:
        source = open_source(address)
        assert source.live
        with pytest.raises(ConnectionError):
            list(source.frames())
    assert dict(getattr(source, "drops")) == {}  # noqa: B009


def test_a_file_on_a_server_is_a_file(tmp_path: Path) -> None:
    """A bare stream has no duration, but a length in bytes."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler

    class Still(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    media.video(tmp_path / "bare.h264", 40)
    with _Quiet(("127.0.0.1", 0), partial(Still, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/bare.h264")
        assert not source.live
        assert len(list(source.frames())) == 40
        server.shutdown()
        thread.join()
