"""Fixtures for the page's tests: browsers with a webcam from a file, one recogniser for all.

They end with the module: while Playwright is there, its event loop runs in this thread, and no
other test's could.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources.sample import SampleSource

from .browser import Picture, Visit, chromium, launched, visit, webcam_file
from .panel import Served, bare_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Launch = Callable[..., Browser]


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """`launch(webcam=None, allow_camera=True)`: a Chromium, the same one for the same wish."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, ExitStack() as open_ones:
        running: dict[tuple[Path | None, bool], Browser] = {}

        def get(webcam: Path | None = None, allow_camera: bool = True) -> Browser:
            wish = (webcam, allow_camera)
            if wish not in running:
                started = launched(playwright, path, webcam, allow_camera)
                running[wish] = open_ones.enter_context(started)
            return running[wish]

        yield get


@pytest.fixture(scope="session")
def sample() -> list[Picture]:
    """The pictures of the built-in sample: a straight mouth, a smile, surprise, a smile."""
    return [np.asarray(frame.pixels) for frame in SampleSource().frames()]


@pytest.fixture(scope="session")
def webcam(sample: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A webcam that sees the sample."""
    return webcam_file(tmp_path_factory.mktemp("webcam") / "sample.mjpeg", sample)


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    """The default bundle's."""
    with Recognizer() as opened:
        yield opened


@pytest.fixture(scope="module")
def bare() -> Iterator[Served]:
    """A page with nothing but the live panel."""
    pytest.importorskip("fastapi")
    with bare_page() as page:
        yield page


@pytest.fixture
def opened(launch: Launch, webcam: Path, bare: Served) -> Iterator[Callable[..., Visit]]:
    """`opened(size=, dark=)`: a visit to the bare page; closed after the test."""
    visits: list[Visit] = []

    def get(chrome: Browser | None = None, url: str = "", **how: Any) -> Visit:
        visits.append(visit(chrome or launch(webcam), url or bare.url, **how))
        return visits[-1]

    yield get
    for seen in visits:
        seen.page.context.close()
