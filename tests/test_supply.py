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
    "aiohttp": "<3.12.14",
    "gradio": "<5.31.0",
    "h11": "<0.16.0",
    "jinja2": "<3.1.6",
    "onnx": "<1.17.0",
    "pillow": "<10.3.0,>=11.2.0,<11.3.0",
    "protobuf": "<4.25.8",
    "python-multipart": "<0.0.18",
    "requests": "<2.32.4",
    "setuptools": "<78.1.1",
    "starlette": "<0.49.1",
    "torch": "<2.6.0",
    "urllib3": "<2.5.0",
}
"""Releases with published faults, of what strangers' bytes reach; kept by hand."""


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
    found = [
        f"{name} {version}: {ranges}"
        for name, version in pairs()
        for ranges in [FAULTY.get(name)]
        if ranges and any(Version(version) in SpecifierSet(one) for one in _alternatives(ranges))
    ]
    assert not found


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
        if ranges and least:
            bad = any(min(least) in SpecifierSet(one) for one in _alternatives(ranges))
            assert not bad, f"{requirement} allows {min(least)}"


def _alternatives(ranges: str) -> list[str]:
    """`<a,>=b,<c` as `<a` or `>=b,<c`."""
    parts = re.findall(r">=[^,]+,<[^,]+|<[^,]+", ranges)
    assert parts
    return parts
