"""What the live panel says, and does, when camera or server fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .browser import Visit, until
from .panel import await_reading, bare_page, start

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Launch = Callable[..., Browser]

pytest.importorskip("fastapi")


def test_full_server_is_said_and_waited_for(
    opened: Callable[..., Visit], launch: Launch, webcam: Path
) -> None:
    with bare_page(max_visitors=1) as small:
        occupant = small.pipeline.join(lambda frame, result: None)
        page = opened(launch(webcam), small.url).page
        start(page)
        hint = page.locator(".hint")
        until(page, lambda: "The server is full" in hint.inner_text(), what="the reason")
        occupant.leave()
        await_reading(page)
        page.context.close()


def test_lost_connection_comes_back(
    opened: Callable[..., Visit], launch: Launch, webcam: Path
) -> None:
    with bare_page() as first:
        page = opened(launch(webcam), first.url).page
        start(page)
        await_reading(page)
    until(page, lambda: page.locator(".hint").inner_text(), what="words about the loss")
    assert "by itself" in page.locator(".hint").inner_text()
    assert page.locator(".face").count() == 0
    with bare_page(port=int(first.url.rstrip("/").rsplit(":", 1)[1])):
        await_reading(page)
        page.context.close()


def test_camera_failures_in_words(
    opened: Callable[..., Visit], launch: Launch, webcam: Path
) -> None:
    for chrome, words in (
        (launch(None), "No camera was found"),
        (launch(webcam, allow_camera=False), "did not allow the camera"),
    ):
        page = opened(chrome).page
        start(page)
        fault = page.get_by_role("alert")
        fault.wait_for()
        assert words in fault.inner_text()
        assert page.get_by_role("button", name="Start again").is_enabled()
