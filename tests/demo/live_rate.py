"""Updates a second of the page's live panel: python -m tests.demo.live_rate

Server, browser and its fake webcam (the built-in sample, 640x480 at 30 frames a second) share this
machine. Each number of visitors is watched for `--seconds`; the JSON gives, over all visitors and
readings, the median and the lowest updates a second and the median delay from a picture's being
taken to its answer's being shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from ferstream.stream.sources.sample import SampleSource

from .browser import chromium, launched, visit, webcam_file
from .panel import bare_page, number


def measure(page_url: str, chrome: Any, visitors: int, seconds: int) -> dict[str, float]:
    """One row of the report."""
    seen = [visit(chrome, page_url) for _ in range(visitors)]
    for one in seen:
        one.page.get_by_label("Everyone in view").check()
        one.page.get_by_role("button", name="Start").click()
        one.page.locator(".words .row:not(.gone)").nth(9).wait_for()
    seen[0].page.wait_for_timeout(4000)
    rates: list[float] = []
    delays: list[float] = []
    for _ in range(seconds):
        seen[0].page.wait_for_timeout(1000)
        for one in seen:
            for selector, kept in ((".rate", rates), (".delay", delays)):
                kept.append(number(one.page, selector))
    for one in seen:
        one.page.context.close()
    return {
        "visitors": visitors,
        "updates_hz_median": statistics.median(rates),
        "updates_hz_lowest": min(rates),
        "delay_ms_median": statistics.median(delays),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="updates a second of the live panel")
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 2])
    asked = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as folder,
        bare_page() as page,
        sync_playwright() as playwright,
    ):
        pictures = [frame.pixels for frame in SampleSource().frames()]
        film = webcam_file(Path(folder) / "sample.mjpeg", pictures)
        with launched(playwright, chromium(), film) as chrome:
            rows = [measure(page.url, chrome, n, asked.seconds) for n in asked.visitors]
    print(json.dumps({"schema": 1, "kind": "live page", "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
