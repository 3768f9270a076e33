"""Pictures of the live panel for the documentation: python -m tests.demo.shots FOLDER"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ferstream.demo.app import Settings, page
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources.sample import SampleSource

from .browser import LAPTOP, PHONE, chromium, launched, served, until, visit, webcam_file
from .panel import await_reading, family, start

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHOTS = (
    ("live-light", LAPTOP, False, False),
    ("live-dark", LAPTOP, True, False),
    ("live-blurred", LAPTOP, False, True),
    ("live-phone", PHONE, True, False),
)
"""File name, window, dark, faces blurred."""


def main(folder: Path) -> None:
    """Take them all, each in the middle of the sample's smile."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Recognizer() as recognizer,
        served(page(recognizer, Settings())) as url,
        sync_playwright() as playwright,
    ):
        pictures = [frame.pixels for frame in SampleSource().frames()]
        film = webcam_file(Path(scratch) / "sample.mjpeg", pictures)
        with launched(playwright, chromium(), film) as chrome:
            for name, size, dark, blurred in SHOTS:
                # Without motion, so that nothing is caught half way.
                seen = visit(chrome, url, size=size, dark=dark, reduced_motion="reduce")
                shown = seen.page
                shown.get_by_label("Everyone in view").wait_for()
                notice = shown.locator("ferstream-notice button")
                if notice.count():
                    notice.first.click()
                start(shown)
                await_reading(shown)
                if blurred:
                    shown.get_by_text("Blur faces").click()
                # By then the strip is nearly full.
                shown.wait_for_timeout(11_000)
                until(shown, partial(_smiles, shown), what="the smile")
                shown.screenshot(path=folder / f"{name}.png", full_page=size == PHONE)
                shown.context.close()


def _smiles(shown: Page) -> bool:
    return family(shown, "joy") > 75


if __name__ == "__main__":
    main(Path(sys.argv[1]))
