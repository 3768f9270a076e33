"""The live panel in a real Chromium, its webcam a video file, against the real service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from stream.recognize import Recognizer

from .browser import LAPTOP, PHONE, Picture, Visit, served, until, visit, webcam_file

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    Launch = Callable[..., Browser]

pytest.importorskip("fastapi")


@contextmanager
def bare_page(recognizer: Recognizer, max_visitors: int = 8, port: int = 0) -> Iterator[Served]:
    """A page with nothing but the panel, the service's WebSocket beside it."""
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    from demo.live.live import live_assets, live_page
    from stream.serve.live import live_router
    from stream.serve.rounds import Rounds

    app = FastAPI()
    app.mount("/live", live_assets())
    app.add_api_route("/", live_page, response_class=HTMLResponse)
    with Rounds(recognizer, max_visitors=max_visitors) as rounds:
        app.include_router(live_router(rounds))
        with served(app, port) as url:
            yield Served(url, rounds)


class Served:
    """A page's address and the rounds behind it."""

    def __init__(self, url: str, rounds: Any) -> None:
        self.url = url
        self.rounds = rounds


@pytest.fixture(scope="module")
def bare(recognizer: Recognizer) -> Iterator[Served]:
    with bare_page(recognizer) as page:
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


def test_top_ten_follow_the_face_at_ten_updates_a_second(opened: Callable[..., Visit]) -> None:
    seen = opened()
    page = seen.page
    start(page)
    await_reading(page)
    until(page, lambda: number(page, ".rate") >= 10, what="10 updates a second")
    assert number(page, ".delay") > 0
    joys: list[float] = []

    def has_moved() -> bool:
        joys.append(family(page, "joy"))
        return max(joys) - min(joys) > 25

    # The sample smiles and stops smiling within its 3.6 s.
    until(page, has_moved, what="joy that comes and goes with the smile")
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
    assert page.locator(".unsure").is_hidden()
    # The sample is a clear face; the service's answers are altered on their way to the panel.
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
    before = bare.rounds.visitors
    page = opened().page
    start(page)
    await_reading(page)
    assert bare.rounds.visitors == before + 1
    stop_button(page).click()
    until(page, lambda: bare.rounds.visitors == before, what="the place given back")
    start(page)
    await_reading(page)
    page.close()
    end_s = time.monotonic() + 10
    while bare.rounds.visitors != before:
        assert time.monotonic() < end_s, "a closed page keeps its place"
        time.sleep(0.05)


def test_blurred_faces_are_never_shown(opened: Callable[..., Visit]) -> None:
    page = opened().page
    start(page)
    await_reading(page)
    page.get_by_text("Blur faces").click()
    assert page.locator("video").is_hidden()
    look = """panel => {
        const face = panel.people.here[0];
        const canvas = panel.shadowRoot.querySelector(".covered");
        if (!face || !canvas.width) return null;
        const [x, y, w, h] = face.box.map(Math.round);
        const part = canvas.getContext("2d").getImageData(x, y, w, h).data;
        const seen = new Set(new Uint32Array(part.buffer));
        const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const colours = new Set(new Uint32Array(all.buffer)).size;
        return colours > 1 ? [seen.size, colours] : null; // nothing is drawn yet
    }"""
    panel = page.locator("ferstream-live")
    for _ in range(5):
        inside, everywhere = until(page, lambda: panel.evaluate(look), what="a covered picture")
        # Some fifty cells stand for the face; the rest of the picture is untouched.
        assert inside <= 100
        assert everywhere > 2000
        page.wait_for_timeout(150)
    page.get_by_text("Blur faces").click()
    assert page.locator("video").is_visible()


def test_face_is_covered_before_it_is_found(
    opened: Callable[..., Visit], launch: Launch, sample: list[Picture], tmp_path: Path
) -> None:
    """Beside one who stays another comes and goes; new faces are looked for only now and then."""
    pairs = []
    for index, picture in enumerate(sample):
        pair = np.hstack([picture, np.full_like(picture, 120)])
        if index >= 54:
            # Small, so that the picture as a whole changes too little to count as a cut.
            pair[120:360, 800:1120] = cv2.resize(picture[:, ::-1], (320, 240))
        pairs.append(pair)
    page = opened(launch(webcam_file(tmp_path / "comes.mjpeg", pairs))).page
    page.get_by_text("Everyone").wait_for()
    start(page)
    place = "document.querySelector('ferstream-live').people?.lately[1]?.box"
    box = until(page, lambda: page.evaluate(place), what="the second face")
    page.get_by_text("Blur faces").click()
    most, blank, covered = page.evaluate(
        """async (box) => {
            const canvas = document.querySelector("ferstream-live").stage.canvas;
            const counts = [];
            for (const end = performance.now() + 5000; performance.now() < end; ) {
                await new Promise((done) => setTimeout(done, 30));
                const [x, y, w, h] = box.map(Math.round);
                const part = canvas.getContext("2d").getImageData(x, y, w, h).data;
                counts.push(new Set(new Uint32Array(part.buffer)).size);
            }
            return [Math.max(...counts), counts.filter((n) => n < 15).length,
                counts.filter((n) => n >= 15).length];
        }""",
        box,
    )
    # A bare face has thousands of colours, a covered one a few dozen cells, the wall hardly any.
    assert most < 150
    assert blank > 10 and covered > 10


def test_several_people_have_tabs(
    opened: Callable[..., Visit], launch: Launch, sample: list[Picture], tmp_path: Path
) -> None:
    later = [*sample[54:], *sample[:54]]
    pairs = [
        np.hstack([one, np.asarray(other[:, ::-1])])
        for one, other in zip(sample, later, strict=True)
    ]
    film = webcam_file(tmp_path / "pair.mjpeg", [cv2.resize(pair, (1280, 480)) for pair in pairs])
    seen = opened(launch(film))
    page = seen.page
    start(page)
    tabs = page.get_by_role("tab")
    until(page, lambda: tabs.count() == 2, what="two people")
    chosen = page.locator("[role=tab][aria-selected=true]")
    assert chosen.count() == 1
    first = chosen.get_attribute("data-id")
    chosen.focus()
    page.keyboard.press("ArrowRight")
    second = chosen.get_attribute("data-id")
    assert second != first
    until(page, lambda: page.locator(f".face.picked[data-id='{second}']").count(), what="the box")
    page.locator(f".face[data-id='{first}']").click(force=True)
    assert chosen.get_attribute("data-id") == first
    assert seen.complaints == []


def test_two_visitors_stay_apart(
    opened: Callable[..., Visit], launch: Launch, sample: list[Picture], tmp_path: Path
) -> None:
    """One smiles at the left, one is surprised at the right: neither sees the other's reading."""
    smiling = [np.roll(picture, -120, axis=1) for picture in sample[36:56]]
    surprised = [np.roll(picture, 120, axis=1) for picture in sample[70:86]]
    pages = []
    for name, pictures in (("smiling", smiling), ("surprised", surprised)):
        there_and_back = [*pictures, *pictures[::-1]]
        film = webcam_file(tmp_path / f"{name}.mjpeg", there_and_back)
        page = opened(launch(film)).page
        start(page)
        await_reading(page)
        pages.append(page)
    for _ in range(12):
        places = [page.locator(".face").bounding_box() for page in pages]
        stages = [page.locator(".stage").bounding_box() for page in pages]
        middles = [
            (place["x"] + place["width"] / 2 - stage["x"]) / stage["width"]
            for place, stage in zip(places, stages, strict=True)
            if place and stage
        ]
        # Mirrored, the one at the picture's left is seen at the right.
        assert middles[0] > 0.55 and middles[1] < 0.45
        brows = [page.evaluate(BROWS) for page in pages]
        assert brows[1] > brows[0] + 0.15
        pages[0].wait_for_timeout(150)


BROWS = """document.querySelector("ferstream-live").people.person.movements["Outer brows raised"]
    ?? 0"""


def test_full_server_is_said_and_waited_for(
    opened: Callable[..., Visit], recognizer: Recognizer, launch: Launch, webcam: Path
) -> None:
    with bare_page(recognizer, max_visitors=1) as small:
        occupant = small.rounds.join(lambda frame, result: None)
        page = opened(launch(webcam), small.url).page
        start(page)
        hint = page.locator(".hint")
        until(page, lambda: "The server is full" in hint.inner_text(), what="the reason")
        occupant.leave()
        await_reading(page)
        page.context.close()


def test_lost_connection_comes_back(
    opened: Callable[..., Visit], recognizer: Recognizer, launch: Launch, webcam: Path
) -> None:
    with bare_page(recognizer) as first:
        page = opened(launch(webcam), first.url).page
        start(page)
        await_reading(page)
    until(page, lambda: page.locator(".hint").inner_text(), what="words about the loss")
    assert "by itself" in page.locator(".hint").inner_text()
    assert page.locator(".face").count() == 0
    with bare_page(recognizer, port=int(first.url.rstrip("/").rsplit(":", 1)[1])):
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


def test_panel_lives_in_the_gradio_page(
    launch: Launch, webcam: Path, recognizer: Recognizer
) -> None:
    pytest.importorskip("gradio")
    from demo.app import Settings, page

    with served(page(recognizer, Settings())) as url:
        seen = visit(launch(webcam), url, size=LAPTOP, dark=True)
        inside = seen.page
        inside.get_by_label("Everyone in view").wait_for()
        start(inside)
        await_reading(inside)
        until(inside, lambda: number(inside, ".rate") >= 10, what="10 updates a second")
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
