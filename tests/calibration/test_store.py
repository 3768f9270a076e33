"""A changed bundle written whole, or the old one left whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from ferstream.calibration.errors import BundleUnwritten
from ferstream.calibration.quantize import kept_files, stored
from ferstream.engines import bundle as bundles
from ferstream.engines.bundle import Bundle, load_bundle


def content(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(folder.iterdir())}


def test_it_is_written_in_place(bundle: Bundle) -> None:
    changed = replace(bundle.manifest, calibration={"int8": {"spatial": {"samples": 500}}})
    written = stored(bundle.path, changed, kept_files(bundle))
    assert load_bundle(bundle.path).manifest.calibration == changed.calibration
    assert written.manifest.files == bundle.manifest.files
    assert {p.name for p in bundle.path.parent.iterdir()} == {"bundle"}


def test_a_manifest_without_calibration_is_read(bundle: Bundle) -> None:
    text = (bundle.path / "manifest.json").read_text().replace(' "calibration": {},\n', "")
    assert "calibration" not in text
    (bundle.path / "manifest.json").write_text(text)
    assert load_bundle(bundle.path).manifest.calibration == {}


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full: make room"),
        (errno.EROFS, "read-only: name another folder with --out"),
        (errno.EACCES, "Permission denied: name another folder with --out"),
    ],
)
def test_a_failed_write_leaves_the_old_bundle(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    before = content(bundle.path)

    def fail(self: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(BundleUnwritten, match=f"{bundle.path}, what was there .*{says}") as caught:
        stored(bundle.path, replace(bundle.manifest, version="2"), kept_files(bundle))
    assert isinstance(caught.value, OSError) and "\n" not in str(caught.value)
    assert content(bundle.path) == before
    assert {p.name for p in bundle.path.parent.iterdir()} == {"bundle"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_said(bundle: Bundle) -> None:
    bundle.path.parent.chmod(0o500)
    try:
        with pytest.raises(BundleUnwritten, match=r"Permission denied.*--out"):
            stored(bundle.path, bundle.manifest, kept_files(bundle))
    finally:
        bundle.path.parent.chmod(0o700)


KILLED = """
    import sys
    from dataclasses import replace
    from ferstream.calibration.quantize import kept_files, stored
    from ferstream.engines.bundle import load_bundle

    bundle = load_bundle(sys.argv[1])
    print("ready", flush=True)
    for turn in range(10_000):
        manifest = replace(bundle.manifest, version=str(turn))
        stored(bundle.path, manifest, kept_files(bundle))
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_bundle(bundle: Bundle) -> None:
    for wait_s in (0.005, 0.02, 0.033, 0.05, 0.071):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(bundle.path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        try:
            child.wait(wait_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert load_bundle(bundle.path).manifest.name == "tiny"


def test_without_an_exchange_two_moves_do(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_exchanged", lambda fresh, place: False)
    stored(bundle.path, replace(bundle.manifest, version="2"), kept_files(bundle))
    assert load_bundle(bundle.path).manifest.version == "2"
    assert {p.name for p in bundle.path.parent.iterdir()} == {"bundle"}
