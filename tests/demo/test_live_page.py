"""The live panel in a real Chromium, its webcam a video file, against the real service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ferstream.stream.recognize import Recognizer
from tests.needs import needs

from .browser import LAPTOP, PHONE, Visit, served, until, visit, webcam_file
from .panel import BROWS, Served, await_reading, family, headline, number, start, stop_button

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Launch = Callable[..., Browser]

needs("fastapi")


def test_nothing_happens_before_consent(opened: Callable[..., Visit], bare: Served) -> None:
    seen = opened()
    page = seen.page
    button = page.get_by_role("button", name="Start camera")
    button.wait_for()
    assert button.is_disabled()
    page.evaluate("document.querySelector('ferstream-live').start()")
    page.wait_for_timeout(300)
    assert not any("v1/live" in url for url in seen.asked)
    assert page.evaluate("document.querySelector('ferstream-live').stream ?? null") is None
    assert "cannot know" in page.locator(".consent").inner_text()
    assert page.locator(".host").inner_text() in bare.url


def test_top_ten_follow_the_face(opened: Callable[..., Visit]) -> None:
    seen = opened()
    page = seen.page
    start(page)
    await_reading(page)
    # How fast they come is the machine's: tests/demo/live_rate.py measures it.
    until(page, lambda: number(page, ".rate") > 0 and number(page, ".delay") > 0, what="a rate")
    joys: list[float] = []
    brows: list[float] = []

    def have_moved() -> bool:
        joys.append(family(page, "joy"))
        brows.append(page.evaluate(BROWS))
        return max(joys) - min(joys) > 8 and max(brows) - min(brows) > 0.3

    # The sample's mouth widens to a smile and its brows go up and down, again and again. A slow
    # machine sees a picture of each only: of motion, which tells more, nothing is asked.
    until(page, have_moved, what="a smile and brows that come and go")
    rows = page.locator(".words .row:not(.gone)").all()
    keys = [row.get_attribute("data-key") for row in rows]
    assert len(set(keys)) == len(keys) >= 10
    assert page.locator(".moves .row:not(.gone)").count() > 0
    assert page.locator(".boxes .face").count() == 1
    painted = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert page.locator(".strip").evaluate(painted) > 3
    assert seen.complaints == []
    assert seen.elsewhere == []


def test_real_smile_raises_joy(
    opened: Callable[..., Visit], launch: Launch, clips_dir: Path, tmp_path: Path
) -> None:
    from tests.stream.footage import pictures_of

    pictures = pictures_of(clips_dir / "single_face.mp4", (640, 360))
    # Held at both ends, so that the reading has time to settle.
    calm, smile = [pictures[0]] * 45, [pictures[-1]] * 45
    film = webcam_file(tmp_path / "smile.mjpeg", calm + pictures + smile)
    page = opened(launch(film)).page
    start(page)
    await_reading(page)
    until(page, lambda: family(page, "joy") < 10, what="a calm face")
    until(page, lambda: family(page, "joy") > 50, what="joy of the smile")
    assert page.locator(".row:not(.gone)[data-tone=joy]").count() >= 5


def test_keyboard_alone(opened: Callable[..., Visit]) -> None:
    page = opened().page
    page.get_by_role("button", name="Start camera").wait_for()
    for key in ("Tab", "Space", "Tab", "Enter"):
        page.keyboard.press(key)
    await_reading(page)
    assert focused(page) == "Stop camera"
    page.keyboard.press("Tab")
    outline = "e => getComputedStyle(e.nextElementSibling).outlineStyle"
    assert page.locator("[name=mirror]").evaluate(outline) == "solid"
    before = page.locator("video.mirrored").count()
    page.keyboard.press("Space")
    assert page.locator("video.mirrored").count() == 1 - before
    page.keyboard.press("Shift+Tab")
    track = page.evaluate_handle(
        "document.querySelector('ferstream-live').stream.getVideoTracks()[0]"
    )
    page.keyboard.press("Enter")
    until(page, lambda: track.evaluate("t => t.readyState") == "ended", what="the camera's end")
    assert focused(page) == "Start again"
    assert page.locator(".boxes .face").count() == 0
    assert page.locator(".said").inner_text() == "The camera is off."


def focused(page: Page) -> str:
    """The name of what has the focus."""
    return str(
        page.evaluate(
            "(e => e.ariaLabel || e.innerText.trim())"
            "(document.querySelector('ferstream-live').shadowRoot.activeElement)"
        )
    )


def test_uncertain_is_shown_as_such(opened: Callable[..., Visit]) -> None:
    page = opened().page
    start(page)
    await_reading(page)
    # The sample's smile is a clear face; while its mouth is bent straight it may look like a drawn
    # one. The service's answers are altered on their way to the panel.
    until(page, lambda: page.locator(".unsure").is_hidden(), what="a clear face")
    page.evaluate(
        """() => {
            const panel = document.querySelector("ferstream-live");
            const take = panel.link.on.answer;
            panel.link.on.answer = (row, entry) => {
                for (const face of row.faces) face.uncertain = true;
                take(row, entry);
            };
        }"""
    )
    page.locator(".unsure").wait_for()
    until(page, lambda: page.locator(".tag").inner_text() == "uncertain", what="the box's words")
    faint = page.locator(".words .bars.faint .bar").first
    assert float(faint.evaluate("bar => getComputedStyle(bar).opacity")) < 1
    if folder := os.environ.get("FERSTREAM_SHOTS"):
        page.screenshot(path=Path(folder) / "live-uncertain.png")


def test_leaving_frees_the_place(opened: Callable[..., Visit], bare: Served) -> None:
    page = opened().page
    # Visitors of earlier tests may still be leaving.
    until(page, lambda: bare.pipeline.clients["latest"] == 0, what="an empty service")
    start(page)
    await_reading(page)
    assert bare.pipeline.clients["latest"] == 1
    stop_button(page).click()
    until(page, lambda: bare.pipeline.clients["latest"] == 0, what="the place given back")
    start(page)
    await_reading(page)
    page.close()
    end_s = time.monotonic() + 10
    while bare.pipeline.clients["latest"] != 0:
        assert time.monotonic() < end_s, "a closed page keeps its place"
        time.sleep(0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_phone_has_room_and_contrast(opened: Callable[..., Visit], dark: bool) -> None:
    page = opened(size=PHONE, dark=dark, has_touch=True).page
    width = "document.scrollingElement.scrollWidth"
    page.get_by_label("Everyone in view").wait_for()
    assert page.evaluate(width) <= PHONE[0]
    start(page)
    await_reading(page)
    assert page.evaluate(width) <= PHONE[0]
    for control in (stop_button(page), *page.locator("label.switch").all()):
        place = control.bounding_box()
        assert place is not None and place["height"] >= 40
    assert page.locator("ferstream-live").get_attribute("data-theme") == (
        "dark" if dark else "light"
    )
    for selector in (".row .name", ".row .value", "h3", ".stats dt", ".label .word"):
        assert contrast(page, selector) >= 4.5, selector
    for tone in ("joy", "anger", "sadness", "fear", "love", "surprise", "neutral"):
        assert contrast(page, f".legend [data-tone={tone}] .dot", "backgroundColor") >= 2.5, tone


def contrast(page: Page, selector: str, of: str = "color") -> float:
    """Contrast of an element's colour with the panel's ground, 1 to 21 (WCAG 2)."""
    pixels = page.locator(selector).first.evaluate(
        """(element, of) => {
            const brush = document.createElement("canvas").getContext("2d");
            const host = document.querySelector("ferstream-live");
            const paper = getComputedStyle(host).getPropertyValue("--paper");
            return [getComputedStyle(element)[of], paper].map((colour) => {
                brush.fillStyle = colour;
                brush.fillRect(0, 0, 1, 1);
                return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
            });
        }""",
        of,
    )
    bright = sorted(_luminance(np.array(rgb, float)) for rgb in pixels)
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def _luminance(rgb: Any) -> float:
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def test_panel_lives_in_the_gradio_page(launch: Launch, webcam: Path) -> None:
    needs("gradio")
    from ferstream.demo.app import Settings, page

    with Recognizer() as recognizer, served(page(recognizer, Settings())) as url:
        seen = visit(launch(webcam), url, size=LAPTOP, dark=True)
        inside = seen.page
        inside.get_by_label("Everyone in view").wait_for()
        start(inside)
        await_reading(inside)
        until(inside, lambda: number(inside, ".rate") > 0, what="a rate")
        assert inside.locator("ferstream-live").get_attribute("data-theme") == "dark"
        assert headline(inside) != "–"
        # Out of sight means off.
        inside.get_by_role("tab", name="About").click()
        stream = "document.querySelector('ferstream-live')?.stream ?? null"
        until(inside, lambda: inside.evaluate(stream) is None, what="the camera's end")
        inside.get_by_role("tab", name="Live").click()
        inside.get_by_role("button", name="Start again").wait_for()
        assert seen.complaints == []
        assert seen.elsewhere == []
        inside.context.close()
