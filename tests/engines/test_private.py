"""Private folders: for their owner alone, gone with it however it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ferstream.engines.files import PrivateFolder, is_private, sweep

_OWNER = (
    "import sys, time; from ferstream.engines.files import PrivateFolder\n"
    "folder = PrivateFolder('visits'); (folder.path / 'clip').write_text('x')\n"
    "print(folder.path, flush=True); input(); exec(sys.argv[1])"
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def owner(place: Path, then: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a folder, doing this once it has been told to go on."""
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, then],
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert (folder / "clip").exists()
        try:
            yield process, folder
        finally:
            process.kill()


def aged(folder: Path) -> Path:
    old_s = time.time() - 3600
    os.utime(folder, (old_s, old_s))
    return folder


def test_its_user_alone_may_look_into_it(place: Path) -> None:
    folder = PrivateFolder("visits")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert is_private(folder.path) and not is_private(place)
    folder.close()
    folder.close()
    assert not list(place.iterdir())


def test_a_folder_whose_owner_was_killed_is_removed_by_the_next(place: Path) -> None:
    with owner(place, "pass") as (process, folder):
        sweep()
        assert (folder / "clip").exists(), "its owner lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (folder / "clip").exists()
        PrivateFolder("cache").close()
        assert not folder.exists()


@pytest.mark.parametrize("then", ["pass", "sys.exit(3)", "1 / 0"])
def test_it_goes_with_a_process_that_ends(place: Path, then: str) -> None:
    with owner(place, f"sys.stderr.close(); {then}") as (process, folder):
        process.communicate("\n")
        assert not folder.exists()


def test_a_child_leaves_it_to_its_owner(place: Path) -> None:
    code = "import os\nif os.fork() == 0: sys.exit(0)\nos.wait(); print(folder.path.exists())"
    with owner(place, code) as (process, folder):
        out, _ = process.communicate("\n")
        assert out == "True\n"
        assert not folder.exists()


def test_what_is_not_such_a_folder_stays(
    place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Folders of others' rights, links and files that only have such a name."""
    (place / ".ferstream-new-cache-x").mkdir(mode=0o700)  # about to be locked
    elsewhere = aged(tmp_path_factory.mktemp("elsewhere"))
    open_to_all = place / "ferstream-cache-open"
    open_to_all.mkdir(mode=0o755)
    (place / "ferstream-cache-link").symlink_to(elsewhere)
    (place / "ferstream-cache-file").write_text("x")
    (place / "ferstream-notes").mkdir(mode=0o700)
    for path in (open_to_all, place / "ferstream-notes"):
        aged(path)
    sweep()
    assert len(list(place.iterdir())) == 5 and elsewhere.exists()
