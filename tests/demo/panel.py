"""The live panel on a page of its own, and how tests work it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ferstream.stream.recognize import Recognizer

from .browser import served

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BROWS = """document.querySelector("ferstream-live").views.people.person
    ?.movements["Outer brows raised"] ?? 0"""
"""Gives how far the brows of the picked person are up, 0..1."""


class Served:
    """A page's address and the pipeline behind it."""

    def __init__(self, url: str, pipeline: Any) -> None:
        self.url = url
        self.pipeline = pipeline


@contextmanager
def bare_page(max_visitors: int = 8, port: int = 0) -> Iterator[Served]:
    """A page with nothing but the panel, the service's WebSocket beside it."""
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    from ferstream.demo.live.live import live_assets, live_page
    from ferstream.stream.pipeline import Pipeline
    from ferstream.stream.serve.live import live_router

    app = FastAPI()
    app.mount("/live", live_assets())
    app.add_api_route("/", live_page, response_class=HTMLResponse)
    with Recognizer() as recognizer, Pipeline(recognizer, most_live=max_visitors) as pipeline:
        app.include_router(live_router(pipeline))
        with served(app, port) as url:
            yield Served(url, pipeline)


def start(page: Page) -> None:
    """Agree and start the camera."""
    page.get_by_label("Everyone in view").check()
    page.get_by_role("button", name="Start").click()


def stop_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Stop camera")


def headline(page: Page) -> str:
    return page.locator(".label .word").inner_text()


def family(page: Page, name: str) -> float:
    """What the panel writes for a family, in percent."""
    words = page.locator(f".legend [data-name={name}] .value").inner_text()
    return float(words.rstrip(" %")) if words != "–" else 0.0


def number(page: Page, selector: str) -> float:
    words = page.locator(selector).inner_text().split()[0]
    return float(words) if words != "–" else 0.0


def await_reading(page: Page) -> None:
    page.locator(".words .row:not(.gone)").nth(9).wait_for()
