"""Subtitles in a real Chromium, over the annotated video they belong to."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ferstream.stream.frame import Frame
from ferstream.stream.result import Result
from ferstream.stream.sinks.base import Sink, SinkInfo
from ferstream.stream.sinks.subtitles import SubtitleSink
from ferstream.stream.sinks.video import VideoSink
from tests import media
from tests.demo.browser import chromium, launched

from .fakes import face

INFO = SinkInfo("clip.mp4", (320, 240), 25.0, about={"purpose": "a test"})
# Python's own web server knows no byte ranges, without which nothing can be sought: hence a blob.
PAGE = """<!doctype html><title>subtitles</title>
<video id="video" muted width="640">
<track id="track" default kind="subtitles" srclang="en" src="clip.vtt"></video>
<script>
fetch("clip.mp4").then(file => file.blob()).then(blob => video.src = URL.createObjectURL(blob));
</script>"""
CUES = """() => Array.from(track.track.cues).map(
    cue => [cue.startTime, cue.endTime, cue.getCueAsHTML().textContent])"""
AT = """time_s => new Promise(done => {
    video.addEventListener("seeked", done, {once: true});
    video.currentTime = time_s;
})"""
SHOWN = """texts => !video.seeking && JSON.stringify(texts) == JSON.stringify(
    Array.from(track.track.activeCues).map(cue => cue.getCueAsHTML().textContent))"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a page with the video and its subtitles."""
    sinks: list[Sink] = [VideoSink(tmp_path / "clip.mp4"), SubtitleSink(tmp_path / "clip.vtt")]
    for sink in sinks:
        sink.open(INFO)
    for index in range(150):
        time_s = index / 25
        faces = [face(1, (40, 40, 80, 90), "happiness" if time_s < 3 else "sadness")]
        if 1 <= time_s < 4:
            faces.append(face(2, (200, 40, 80, 90), "neutral"))
        for sink in sinks:
            frame = Frame(media.picture(index, (320, 240)), time_s, index, "clip.mp4")
            sink.write(frame, Result(index, time_s, "clip.mp4", faces))
    for sink in sinks:
        sink.close()
    (tmp_path / "index.html").write_text(PAGE)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()
        thread.join()


def test_they_play(site: str, tmp_path: Path) -> None:
    path = chromium()
    from playwright.sync_api import sync_playwright

    joyful, sad = (face(label=name).emotions.label for name in ("happiness", "sadness"))
    with sync_playwright() as playwright, launched(playwright, path) as browser:
        page = browser.new_page()
        page.goto(site)
        page.wait_for_function("video.readyState >= 2 && track.readyState == 2")
        cues = page.evaluate(CUES)
        assert [text for _, _, text in cues] == [
            f"Face 1: {joyful}",
            "Face 2: neutral",
            f"Face 1: {sad}",
        ]
        assert [start_s for start_s, _, _ in cues][:2] == [0.0, 1.0]
        first, second, third = (text for _, _, text in cues)
        for time_s, texts in ((0.5, [first]), (5.0, [third]), (2.0, [first, second])):
            page.evaluate(AT, time_s)
            page.wait_for_function(SHOWN, arg=texts, timeout=60_000)
        page.screenshot(path=str(tmp_path / "subtitles.png"))
        assert page.evaluate("video.error") is None
