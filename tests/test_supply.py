"""What is installed: locked by hashes, as pyproject.toml asks, without faults that are known of."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
UNLOCKED = {"torch"}
"""Which build of it is installed depends on the package index; pyproject.toml pins its release."""
HERE = {"python_version": "3.11", "python_full_version": "3.11.9", "sys_platform": "linux"}

FAULTY = {
    "aiohttp": "<3.13.3",
    "brotli": "<1.2.0",
    "filelock": "<3.20.3",
    "fonttools": ">=4.33.0,<4.60.2",
    "gradio": "<5.31.0",
    "h11": "<0.16.0",
    "jinja2": "<3.1.6",
    "onnx": "<1.17.0",
    "opencv-contrib-python": "<4.12.0",
    "opencv-python": "<4.12.0",
    "pillow": "<12.1.1",
    "protobuf": "<4.25.8",
    "python-multipart": "<0.0.22",
    "requests": "<2.32.4",
    "setuptools": "<78.1.1",
    "starlette": "<0.49.1",
    "torch": "<2.8.0",
    "urllib3": "<2.6.3",
}
"""Releases with published faults, of what strangers' bytes reach; kept by hand, as its keeper knew
them early in 2026: what was published since it cannot know."""
ACCEPTED = {"opencv-contrib-python", "opencv-python"}
"""No release without the fault goes with the rest; SECURITY.md says what is done about it."""


def locked() -> dict[str, tuple[str, int]]:
    """Each package's version and how many hashes it may have."""
    entries = LOCK.read_text("utf-8").replace("\\\n", " ").splitlines()
    found: dict[str, tuple[str, int]] = {}
    for line in entries:
        named = re.match(r"([\w.-]+)==(\S+)", line)
        assert named, f"{line[:80]} is not pinned"
        found[named[1].lower()] = (named[2], line.count("--hash=sha256:"))
    return found


def asked() -> list[Requirement]:
    """What the base and the extra `test` want, extras within extras resolved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    wanted, todo = [*project["dependencies"]], ["test"]
    while todo:
        for text in extras[todo.pop()]:
            requirement = Requirement(text)
            if requirement.name == project["name"]:
                todo += requirement.extras
            else:
                wanted.append(text)
    found = [Requirement(text) for text in wanted]
    return [one for one in found if one.marker is None or one.marker.evaluate(HERE)]


def test_the_lock_holds_what_is_asked_for_by_hash() -> None:
    """Where this fails: `make lock`."""
    lock = locked()
    assert all(hashes for _, hashes in lock.values())
    for requirement in asked():
        name = requirement.name.lower()
        if name not in UNLOCKED:
            assert name in lock, f"{name} is not in {LOCK.name}"
            assert requirement.specifier.contains(lock[name][0]), f"{name} {lock[name][0]}"


def pairs() -> list[tuple[str, str]]:
    exact = [(one.name.lower(), next(iter(one.specifier)).version) for one in asked()]
    torch = [(name, version) for name, version in exact if name in UNLOCKED]
    return [*((name, version) for name, (version, _) in locked().items()), *torch]


def test_no_release_with_a_fault_that_is_known_of() -> None:
    found = {
        name
        for name, version in pairs()
        for ranges in [FAULTY.get(name)]
        if ranges and any(Version(version) in SpecifierSet(one) for one in _alternatives(ranges))
    }
    assert found == ACCEPTED
    told = (ROOT / "SECURITY.md").read_text("utf-8").lower()
    assert all(name.partition("-")[0] in told for name in ACCEPTED)


def test_no_release_that_the_packaged_list_names() -> None:
    """The newest list that comes as a package is of July 2021: later faults it cannot know."""
    try:
        files = importlib.metadata.files("safety-db") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("safety-db is not installed")
    (listing,) = (file for file in files if file.name == "insecure_full.json")
    known = json.loads(Path(str(listing.locate())).read_text("utf-8"))
    assert len(known) > 1000
    found = [
        f"{name} {version}: {fault['advisory'][:80]}"
        for name, version in pairs()
        for fault in known.get(name, ())
        for ranges in fault["specs"]
        if Version(version) in SpecifierSet(ranges)
    ]
    assert not found


def test_the_least_releases_asked_for_have_no_known_fault() -> None:
    """Whoever installs without the lock gets what the bounds allow."""
    for requirement in asked():
        ranges = FAULTY.get(requirement.name.lower())
        least = [
            Version(one.version) for one in requirement.specifier if one.operator in (">=", "==")
        ]
        if ranges and least and requirement.name.lower() not in ACCEPTED:
            bad = any(min(least) in SpecifierSet(one) for one in _alternatives(ranges))
            assert not bad, f"{requirement} allows {min(least)}"


def _alternatives(ranges: str) -> list[str]:
    """`<a,>=b,<c` as `<a` or `>=b,<c`."""
    parts = re.findall(r">=[^,]+,<[^,]+|<[^,]+", ranges)
    assert parts
    return parts


def test_the_notice_names_what_is_brought_and_what_is_needed() -> None:
    """Every library of the base, and every data file that tells of a source of its own."""
    notice = (ROOT / "NOTICE").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for text in project["dependencies"]:
        assert re.search(rf"\b{re.escape(Requirement(text).name)}\b", notice), text
    for name in ("word_norms.csv", "mesh_vertices.json", "landmark_groups.json", "emo135.json"):
        assert any(ROOT.glob(f"*/**/{name}")) and name in notice
    manifest = (ROOT / "engines/bundles/default/manifest.json").read_text("utf-8")
    for photographs in ("FER2013", "FER+", "muxspace/facial_expressions"):
        assert photographs in notice and photographs in manifest
    assert "Glasgow Norms" in notice and "CC BY 4.0" in notice
