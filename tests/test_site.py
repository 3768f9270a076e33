"""The site of docs/: built strictly, so that every link leads somewhere, and nothing is fetched."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

import ferstream

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not all(map(find_spec, ("mkdocs", "material", "mkdocstrings"))):
        pytest.skip("an extra: docs")
    place = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        ["make", "--no-print-directory", "site", f"SITE={place}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place


class Fetched(HTMLParser):
    """What a browser loads by itself when it shows a page."""

    LOADED = ("script", "img", "iframe", "source", "video", "audio", "embed", "object")
    LINKED = ("stylesheet", "preconnect", "preload", "icon", "prefetch", "dns-prefetch", "manifest")

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.classes.update(given.get("class", "").split())
        if tag in self.LOADED:
            self.places += [given[name] for name in ("src", "data", "poster") if name in given]
        if tag == "link" and set(given.get("rel", "").split()) & set(self.LINKED):
            self.places.append(given["href"])


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        fetched = Fetched()
        fetched.feed(page.read_text("utf-8"))
        assert all(not re.match(r"(https?:)?//", place) for place in fetched.places), page
        assert "mermaid" not in fetched.classes, "the theme fetches a script to draw diagrams"
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text("utf-8"))


def test_pages_from_beyond_the_folder_are_in(site: Path) -> None:
    for name in ("BENCHMARKS", "CHANGELOG", "SECURITY", "ARCHITECTURE", "CONTRIBUTING"):
        assert (site / f"{name}.html").is_file()
    assert (site / "stream" / "rows.schema.json").is_file()
    clips = (site / "guides" / "clips.html").read_text("utf-8")
    assert 'href="../BENCHMARKS.html"' in clips and 'href="../columns.html"' in clips
    assert not (site / "hooks.py").exists()


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    page = (site / "reference.html").read_text("utf-8")
    for name in set(ferstream.__all__) - {"__version__"}:
        assert f'id="ferstream.{name}"' in page, name
    told = re.sub(r"<[^>]+>", "", page)
    assert "0 (nothing shows) .. 1 (as strong as can be)." in told  # a field's own docstring
    assert "every so many-th frame of each source" in told  # an argument's
