"""How tests work the page's clip tab."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from .browser import Picture, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCORED = "ferstream-clip[data-state=view]"


def filmed(path: Path, pictures: Sequence[Picture]) -> Path:
    """These pictures at 30 a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"crf": "20"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def tab(found: Page, name: str) -> None:
    found.get_by_role("tab", name=name, exact=True).click()


def upload(found: Page, path: Path) -> None:
    tab(found, "Clip")
    found.set_input_files("ferstream-clip input[type=file]", path)
    found.wait_for_selector(SCORED, timeout=60_000)
    ready = "document.querySelector('ferstream-clip video').readyState >= 2"
    # The page's policy forbids what Page.wait_for_function evaluates once it has to wait.
    until(found, lambda: found.evaluate(ready), what="the video")


def viewer(found: Page, expression: str) -> Any:
    return found.evaluate(f"document.querySelector('ferstream-clip').viewer.{expression}")


def drawn(found: Page) -> list[str]:
    """The words of the bars, from the top."""
    rows = found.locator("ferstream-clip .fs-bars .row:not(.gone)")
    placed = [
        (int(row.evaluate("row => row.style.getPropertyValue('--at')")), row.inner_text())
        for row in rows.all()
    ]
    return [text.split("\n")[0] for _, text in sorted(placed)]


def slider(found: Page, attribute: str) -> str:
    value = found.get_by_role("slider", name="Place in the clip").get_attribute(attribute)
    assert value is not None
    return value


def focus(found: Page) -> dict[str, str]:
    told: dict[str, str] = found.evaluate(
        """() => { let e = document.activeElement;
        while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
        const name = e.getAttribute('aria-label') ?? e.innerText ?? '';
        return { name: name.trim(), outline: getComputedStyle(e).outlineStyle }; }"""
    )
    return told


def tab_to(found: Page, name: str, most: int = 40) -> None:
    """Press Tab until that element has the focus."""
    passed = []
    for _ in range(most):
        found.keyboard.press("Tab")
        passed.append(focus(found)["name"])
        if passed[-1].startswith(name):
            return
    raise AssertionError(f"{name} is not reached by Tab: {passed}")


LEVEL = """() => {
  const video = document.querySelector('ferstream-clip video');
  const brush = document.createElement('canvas').getContext('2d');
  brush.drawImage(video, 0, 0);
  return brush.getImageData(20, 20, 1, 1).data[1];
}"""
"""The grey level of a clip's video, as it is shown."""

WATCH_PLACES = """() => {
  window.places = new Set();
  const top = (name) => Math.round(document.querySelector(name).getBoundingClientRect().top
    + window.scrollY);
  const look = () => {
    window.places.add([".fs-bars", ".fs-affect", ".fs-moves", ".fs-files"].map(top).join());
    requestAnimationFrame(look);
  };
  look();
}"""

CONTRAST = """(selector) => {
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const brush = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const parsed = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const element = document.querySelector(selector);
  let behind = element;
  while (parsed(getComputedStyle(behind).backgroundColor)[3] < 255 && behind.parentElement) {
    behind = behind.parentElement;
  }
  const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
    .map((colour) => light(parsed(colour))).sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""
