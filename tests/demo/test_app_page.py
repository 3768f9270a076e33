"""The whole page in a real Chromium: tabs, clips, timeline, downloads, keyboard, two visitors."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest

from ferstream.demo.app import Settings, page
from ferstream.stream.recognize import Recognizer
from ferstream.stream.serve.guard import Limits
from tests.needs import needs

from .browser import LAPTOP, PHONE, Picture, Visit, served, until, visit
from .clip_page import (
    CONTRAST,
    LEVEL,
    SCORED,
    WATCH_PLACES,
    drawn,
    filmed,
    focus,
    slider,
    tab,
    tab_to,
    upload,
    viewer,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Launch = Callable[..., Browser]

needs("gradio")

LIMITS = Limits(upload_bytes=2_000_000, clip_duration_s=30.0)


@pytest.fixture(scope="module")
def url(recognizer: Recognizer) -> Iterator[str]:
    with served(page(recognizer, Settings(limits=LIMITS))) as address:
        yield address


@pytest.fixture
def opened(launch: Launch, webcam: Path, url: str) -> Iterator[Callable[..., Visit]]:
    """`opened(size=, dark=)`: a visit to the page, closed after the test."""
    visits: list[Visit] = []

    def get(**how: Any) -> Visit:
        visits.append(visit(launch(webcam), url, accept_downloads=True, **how))
        visits[-1].page.wait_for_selector("ferstream-notice button")
        return visits[-1]

    yield get
    for seen in visits:
        seen.page.context.close()


@pytest.fixture(scope="module")
def clip(sample: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's first two seconds as a video: a straight mouth, then a smile."""
    return filmed(tmp_path_factory.mktemp("clip") / "my clip.mp4", sample[:60])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_every_tab_fits_and_asks_nobody_else(
    opened: Callable[..., Visit], size: tuple[int, int], dark: bool
) -> None:
    seen = opened(size=size, dark=dark)
    assert seen.page.get_by_text("estimates expressions, not feelings").first.is_visible()
    assert seen.page.evaluate("document.body.classList.contains('dark')") == dark
    for name in ("Live", "Clip", "About"):
        tab(seen.page, name)
        seen.page.wait_for_timeout(150)
        wide = seen.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{name} is {wide} px wide"
    assert seen.page.get_by_text("machine-judged").first.is_visible()
    assert not seen.page.get_by_role("tab", name="Camera").count()
    assert seen.elsewhere == [] and seen.complaints == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read(opened: Callable[..., Visit], dark: bool) -> None:
    """Contrast of what is written on the clip tab and its notice, as WCAG AA asks for."""
    seen = opened(dark=dark)
    tab(seen.page, "Clip")
    seen.page.wait_for_timeout(300)
    for selector in (
        ".fs-name",
        ".fs-what",
        ".fs-notice details p + p",
        "ferstream-clip h2",
        "ferstream-clip .fs-small",
        "ferstream-clip [data-do=choose]",
        "ferstream-clip [data-do=sample]",
    ):
        ratio = seen.page.evaluate(CONTRAST, selector)
        assert ratio >= 4.5, f"{selector}: {ratio:.2f}"


def test_notice_is_read_once(opened: Callable[..., Visit]) -> None:
    found = opened().page
    found.get_by_role("button", name="I understand").click()
    found.reload()
    found.wait_for_selector(".fs-reminder")
    assert not found.get_by_role("button", name="I understand").count()


def test_clip_is_sent_scored_and_scrubbed(opened: Callable[..., Visit], clip: Path) -> None:
    seen = opened()
    found = seen.page
    upload(found, clip)
    assert found.get_by_role("heading", name="my clip.mp4").is_visible()
    slider = found.get_by_role("slider", name="Place in the clip")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    found.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    until(found, lambda: abs(viewer(found, "video.currentTime") - 1.5) < 0.06, what="the seek")
    told = found.evaluate(
        """() => { const { view, timeS } = document.querySelector('ferstream-clip').viewer;
        const at = view.faces[0].t.findLastIndex((t) => t <= timeS + 1e-3);
        return view.faces[0].moments[at].w.map(([word]) => view.legend.words[word]); }"""
    )
    until(found, lambda: sorted(drawn(found)) == sorted(told), what="the words of the moment")
    assert "joy" in found.locator("ferstream-clip .fs-legend").inner_text()
    # Dragging goes on seeking.
    found.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20)
    found.mouse.down()
    found.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + 20, steps=6)
    found.mouse.up()
    until(found, lambda: viewer(found, "video.currentTime") < 0.3, what="the drag")
    assert seen.elsewhere == [] and seen.complaints == []


def test_playing_moves_the_playhead_and_nothing_else(
    opened: Callable[..., Visit], clip: Path
) -> None:
    found = opened(size=PHONE).page
    upload(found, clip)
    found.evaluate(WATCH_PLACES)
    found.locator("[name=speed]").select_option("0.25")
    found.get_by_role("button", name="Play").click()
    until(found, lambda: float(slider(found, "aria-valuenow")) > 0.8, what="playing")
    found.get_by_role("button", name="Pause").click()
    stopped = viewer(found, "video.currentTime")
    found.wait_for_timeout(200)
    assert viewer(found, "video.currentTime") == stopped
    places = found.evaluate("[...window.places]")
    assert len(places) == 1, f"the page moves under what is read: {places}"


def test_phone_begins_with_what_is_to_be_done(opened: Callable[..., Visit]) -> None:
    found = opened(size=PHONE).page
    notice = found.locator(".fs-notice").bounding_box()
    button = found.get_by_role("button", name="Start camera").bounding_box()
    assert notice is not None and notice["height"] < 0.3 * PHONE[1]
    assert button is not None and button["y"] + button["height"] <= PHONE[1]
    found.get_by_text("What it does, and the law").click()
    assert found.get_by_text("Art. 50(3), since 2 August 2026").is_visible()


def test_downloads_open(opened: Callable[..., Visit], clip: Path, tmp_path: Path) -> None:
    found = opened().page
    upload(found, clip)
    files: dict[str, Path] = {}
    for link in found.locator(".fs-files a").all():
        with found.expect_download() as coming:
            link.click()
        name = coming.value.suggested_filename
        files[name] = tmp_path / name
        coming.value.save_as(files[name])
    assert set(files) == {"my clip.jsonl", "my clip.csv", "my clip.vtt", "my clip.annotated.mp4"}
    lines = files["my clip.jsonl"].read_text("utf-8").splitlines()
    assert len(lines) == 61 and json.loads(lines[1])["source"] == "my clip.mp4"
    with files["my clip.csv"].open(newline="") as text:
        assert len({row["frame"] for row in csv.DictReader(text)}) == 60
    assert "-->" in files["my clip.vtt"].read_text("utf-8")
    with av.open(str(files["my clip.annotated.mp4"])) as video:
        assert sum(1 for _ in video.decode(video=0)) == 60


def test_keyboard_alone_is_enough(opened: Callable[..., Visit]) -> None:
    found = opened().page
    keys = found.keyboard
    tab_to(found, "I understand")
    keys.press("Enter")
    tab_to(found, "Live")
    keys.press("Tab")
    assert focus(found)["name"] == "Clip"
    keys.press("Enter")
    tab_to(found, "Try the sample")
    assert focus(found)["outline"] != "none"
    keys.press("Enter")
    found.wait_for_selector(SCORED, timeout=60_000)
    assert focus(found)["name"] == "sample"
    tab_to(found, "Place in the clip")
    assert focus(found)["outline"] != "none"
    keys.press("End")
    assert float(slider(found, "aria-valuenow")) > 3.4
    keys.press("Home")
    for _ in range(3):
        keys.press("ArrowRight")
    assert float(slider(found, "aria-valuenow")) == pytest.approx(0.3, abs=0.02)
    keys.press("PageUp")
    assert float(slider(found, "aria-valuenow")) == pytest.approx(1.3, abs=0.02)
    assert "%" in slider(found, "aria-valuetext")
    keys.press("Space")
    until(found, lambda: not viewer(found, "video.paused"), what="playing by the space bar")
    keys.press("Space")
    tab_to(found, "JSON lines")
    with found.expect_download() as coming:
        keys.press("Enter")
    assert coming.value.suggested_filename == "sample.jsonl"


def test_wrong_files_are_refused_in_words(opened: Callable[..., Visit], tmp_path: Path) -> None:
    found = opened().page
    tab(found, "Clip")
    text = tmp_path / "letter.mp4"
    text.write_text("Dear video, " * 100)
    found.set_input_files("ferstream-clip input[type=file]", text)
    fault = found.locator("ferstream-clip [role=alert]")
    until(found, lambda: "letter.mp4" in fault.inner_text(), what="the refusal")
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(LIMITS.upload_bytes + 1))
    found.set_input_files("ferstream-clip input[type=file]", large)
    until(found, lambda: "larger than" in fault.inner_text(), what="the refusal")
    assert found.get_by_role("button", name="Choose a clip").is_enabled()


def test_two_visitors_see_their_own(
    opened: Callable[..., Visit], clip: Path, tmp_path: Path
) -> None:
    """One with a face, one without, at the same time; one leaves, the other's stays."""
    empty = filmed(tmp_path / "empty.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 40)
    one, two = opened().page, opened().page
    for found, path in ((one, clip), (two, empty)):
        tab(found, "Clip")
        found.set_input_files("ferstream-clip input[type=file]", path)
    for found in (one, two):
        found.wait_for_selector(SCORED, timeout=60_000)
    assert one.get_by_text("60 frames · 1 face").is_visible()
    assert two.get_by_text("40 frames · no faces").is_visible()
    video = viewer(two, "video.src")
    two.context.close()
    until(
        one,
        lambda: one.evaluate("(url) => fetch(url).then((r) => r.status)", video) == 404,
        what="the end of the other's visit",
    )
    one.evaluate("document.querySelector('ferstream-clip').viewer.seek(1.2)")
    until(one, lambda: not viewer(one, "video.seeking"), what="the seek")


def test_second_clip_shows_its_own_video(opened: Callable[..., Visit], tmp_path: Path) -> None:
    found = opened().page
    tab(found, "Clip")
    found.get_by_role("button", name="Try the sample").click()
    found.get_by_role("button", name="Cancel").click()
    addresses = []
    for name, level in (("dark.mp4", 40), ("bright.mp4", 200)):
        picture = np.full((240, 320, 3), level, np.uint8)
        upload(found, filmed(tmp_path / name, [picture] * 20))
        assert found.get_by_role("heading", name=name).is_visible()
        assert abs(found.evaluate(LEVEL) - level) < 8
        addresses.append(viewer(found, "video.src"))
        found.get_by_role("button", name="Delete").click()
    assert addresses[0] != addresses[1]
    ask = "(all) => Promise.all(all.map((at) => fetch(at).then((r) => r.status)))"
    until(found, lambda: found.evaluate(ask, addresses) == [404, 404], what="the deletion")


def test_picture_is_shown_as_a_picture(
    opened: Callable[..., Visit], sample: list[Picture], tmp_path: Path
) -> None:
    seen = opened()
    found = seen.page
    path = tmp_path / "me.png"
    assert cv2.imwrite(str(path), sample[40][..., ::-1])
    tab(found, "Clip")
    found.set_input_files("ferstream-clip input[type=file]", path)
    found.wait_for_selector(SCORED)
    picture = found.get_by_role("img", name="me.png, annotated")
    until(found, lambda: picture.evaluate("e => e.naturalWidth") == 640, what="the picture")
    assert found.get_by_text("picture · 1 face").is_visible()
    assert len(drawn(found)) == 10
    assert not found.locator("ferstream-clip :is(video, [role=slider])").count()
    assert found.locator(".fs-files b").all_inner_texts() == ["JSON lines", "CSV", "Picture"]
    assert seen.complaints == []


def test_live_session_is_saved(opened: Callable[..., Visit], tmp_path: Path) -> None:
    seen = opened()
    found = seen.page
    assert not found.get_by_role("button", name="Save CSV").is_visible()
    found.get_by_label("Everyone in view").check()
    found.get_by_role("button", name="Start camera").click()
    kept = found.locator(".kept")
    until(found, lambda: (kept.inner_text() or "0:00 ")[:4] >= "0:02", what="two seconds")
    found.get_by_role("button", name="Stop camera").click()
    texts = {}
    for name in ("Save JSON lines", "Save CSV"):
        with found.expect_download() as coming:
            found.get_by_role("button", name=name).click()
        saved = tmp_path / coming.value.suggested_filename
        coming.value.save_as(saved)
        texts[saved.suffix] = saved.read_text("utf-8")
    head, *rows = [json.loads(line) for line in texts[".jsonl"].splitlines()]
    assert head["kind"] == "header" and head["live"] and head["bundle"]["name"]
    times = [row["time_s"] for row in rows]
    assert times[0] == 0 and times == sorted(times) and times[-1] >= 2
    assert {row["source"] for row in rows} == {"webcam"} and rows[-1]["faces"]
    table = list(csv.DictReader(texts[".csv"].splitlines()))
    assert [int(row["frame"]) for row in table] == list(range(len(rows)))
    assert seen.elsewhere == [] and seen.complaints == []


def test_live_works_within_the_page(opened: Callable[..., Visit]) -> None:
    seen = opened()
    seen.page.get_by_label("Everyone in view").check()
    seen.page.get_by_role("button", name="Start camera").click()
    words = seen.page.locator("ferstream-live .words ol.bars li .name")
    until(seen.page, lambda: words.count() >= 10, what="ten words")
    assert seen.elsewhere == [] and seen.complaints == []
