"""A real Chromium whose webcam is a video file, and a real server for it to visit.

The browser can reach nobody but this machine, and `Visit` keeps a list of all it asked for.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright, ViewportSize

Picture = NDArray[np.uint8]

LAPTOP = (1280, 900)
PHONE = (390, 844)


def chromium() -> str:
    """The browser's path: FERSTREAM_CHROMIUM, else the one installed; skips where there is none."""
    pytest.importorskip("playwright.sync_api")
    named = os.environ.get("FERSTREAM_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on this machine; install it or set FERSTREAM_CHROMIUM")
    return found


def webcam_file(path: Path, pictures: Sequence[Picture], rate_hz: int = 30) -> Path:
    """An .mjpeg file for the browser's fake webcam, which plays it again and again."""
    with av.open(str(path), "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=rate_hz, options={"qmin": "2", "qmax": "3"})
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        stream.bit_rate = 60_000_000
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return path


@dataclass
class Visit:
    """One page in the browser, with all that it asked for and complained about."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def elsewhere(self) -> list[str]:
        """Addresses asked for that are not the page's own server."""
        home = urlsplit(self.page.url).netloc
        here = ("data", "blob", "about")
        return [
            url
            for url in self.asked
            if urlsplit(url).scheme not in here and urlsplit(url).netloc != home
        ]


@contextmanager
def launched(
    playwright: Playwright, path: str, webcam: Path | None = None, allow_camera: bool = True
) -> Iterator[Browser]:
    """Chromium without a window; `webcam` is what its camera sees, None for no camera."""
    arguments = [
        # Names lead nowhere, so that a page that asks somebody else fails at it.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
    ]
    if webcam is not None:
        arguments += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={webcam}",
        ]
        if allow_camera:
            arguments.append("--use-fake-ui-for-media-stream")
    chrome = playwright.chromium.launch(
        executable_path=path, args=arguments, chromium_sandbox=os.geteuid() != 0
    )
    try:
        yield chrome
    finally:
        chrome.close()


def visit(
    chrome: Browser,
    url: str,
    *,
    size: tuple[int, int] = LAPTOP,
    dark: bool = False,
    **context: Any,
) -> Visit:
    """Open a page in a context of its own (no cookies, no settings of others)."""
    viewport: ViewportSize = {"width": size[0], "height": size[1]}
    scheme: Any = "dark" if dark else "light"
    page = chrome.new_context(viewport=viewport, color_scheme=scheme, **context).new_page()
    page.set_default_timeout(60_000)
    seen = Visit(page)
    page.on("request", lambda request: seen.asked.append(request.url))
    page.on("websocket", lambda socket: seen.asked.append(socket.url))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: seen.complaints.append(message.text) if message.type == "error" else None,
    )
    page.goto(url)
    return seen


def until(page: Page, holds: Callable[[], Any], timeout_s: float = 60.0, what: str = "it") -> Any:
    """Wait for `holds` to give something true, letting the page go on meanwhile; returns that."""
    end_s = time.monotonic() + timeout_s
    while not (found := holds()):
        if time.monotonic() > end_s:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s: {found!r}")
        page.wait_for_timeout(50)
    return found


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """The app on a real server on this machine; gives its address, which ends with a slash."""
    uvicorn = pytest.importorskip("uvicorn")
    settings = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        ws="websockets-sansio",
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    end_s = time.monotonic() + 20
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end_s:
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        address = server.servers[0].sockets[0].getsockname()
        yield f"http://127.0.0.1:{address[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
