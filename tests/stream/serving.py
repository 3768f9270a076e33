"""The real service on loopback, for tests: uvicorn in a thread, a real recogniser."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import httpx
import uvicorn

from ferstream.stream.frame import Frame
from ferstream.stream.pipeline import MOST_EVERY, Pipeline
from ferstream.stream.recognize import Recognizer
from ferstream.stream.report import about
from ferstream.stream.serve.app import create_app
from ferstream.stream.serve.guard import Limits
from ferstream.stream.serve.scoring import Scoring
from ferstream.stream.serve.server import server_config
from ferstream.stream.sources import open_source


@dataclass
class Served:
    """A service under test."""

    port: int
    pipeline: Pipeline
    scoring: Scoring

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def live(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/live"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def until_empty(self) -> None:
        """Wait until nobody visits and nothing is kept of anybody."""
        recognizer: Any = self.pipeline._recognizer
        end_s = time.monotonic() + 60
        while any(self.pipeline.clients.values()) or recognizer._finder.trackers:
            assert time.monotonic() < end_s, "somebody stays"
            time.sleep(0.01)


@contextmanager
def served(
    recognizer: Recognizer,
    limits: Limits | None = None,
    *,
    max_visitors: int = 32,
    **options: Any,
) -> Iterator[Served]:
    """The service, on a free port, until the block ends."""
    bounds = limits or Limits()
    with Pipeline(recognizer, most_live=max_visitors, most_every=MOST_EVERY) as pipeline:
        scoring = Scoring(pipeline, about(recognizer), bounds)
        app = create_app(scoring, **options)
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
            server = uvicorn.Server(server_config(app, bounds))
            thread = threading.Thread(target=server.run, args=([listening],))
            thread.start()
            try:
                while not server.started:
                    assert thread.is_alive(), "the server does not start"
                    time.sleep(0.005)
                yield Served(listening.getsockname()[1], pipeline, scoring)
            finally:
                server.should_exit = True
                thread.join(20)
                scoring.close()
        assert not thread.is_alive()


def frames(every: int = 1) -> list[Frame]:
    """Frames of the sample."""
    return list(open_source("sample").frames())[::every]


def jpegs(every: int = 1) -> list[bytes]:
    """The sample as JPEG pictures."""
    return [encoded(frame, ".jpg") for frame in frames(every)]


def encoded(frame: Frame, suffix: str) -> bytes:
    """A frame as an image file's bytes."""
    _, data = cv2.imencode(suffix, cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))
    return bytes(data)


def clip(path: Path, clip_frames: Sequence[Frame]) -> Path:
    """Frames as an MP4."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"crf": "12"})
        height, width = clip_frames[0].pixels.shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in clip_frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def form(name: str, data: bytes) -> dict[str, Any]:
    """An upload as the one file of a form."""
    return {"file": (name, io.BytesIO(data), "application/octet-stream")}
