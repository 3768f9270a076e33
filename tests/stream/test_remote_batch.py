"""Batches whose outputs and ledger lie on a file server: nothing lost, doubled or changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferstream.stream.batch import remote
from ferstream.stream.batch.remote import RemoteFolder
from ferstream.stream.batch.store import Store, is_remote
from ferstream.stream.errors import SinkError
from ferstream.stream.sources.sample import PHOTOGRAPH

from ..commands import within

pytest.importorskip("pyftpdlib")

COMMAND = (sys.executable, "-m", "ferstream", "score")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which a real server gives it."""
    folder = tmp_path_factory.mktemp("served")
    script = Path(__file__).with_name("ftp_server.py")
    server = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    yield folder, f"ftp://ada:s3cret@127.0.0.1:{port}"
    server.kill()
    server.communicate()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in "abcd":
        shutil.copy(PHOTOGRAPH, folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def local(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same batch in a folder of this machine."""
    folder = tmp_path_factory.mktemp("local")
    assert score(clips, str(folder)) == 0
    return folder


def arguments(clips: Path, base: str) -> list[str]:
    outputs = ["--to", f"{base}/all.parquet", "--csv", f"{base}/all.csv"]
    more = ["--to", f"{base}/{{source}}.jsonl", "--summary", f"{base}/faces.csv"]
    return [str(clips), *outputs, *more, "--min-face", "20"]


def score(clips: Path, base: str, *more: str) -> int:
    return within("score", *arguments(clips, base), *more).status


def contents(folder: Path) -> dict[str, bytes]:
    """What users see of a batch; the ledger holds times of files."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return {n: c for n, c in files.items() if not n.endswith((".ledger", ".batch"))}


def test_outputs_at_an_address_are_those_of_this_machine(
    served: tuple[Path, str], clips: Path, local: Path
) -> None:
    folder, base = served
    assert score(clips, f"{base}/whole") == 0
    assert contents(folder / "whole") == contents(local)
    assert sorted(path.name for path in (folder / "whole").iterdir()) == sorted(
        [*contents(local), "all.parquet.ledger", "all.parquet.batch"]
    )


@pytest.mark.parametrize("kill_after", [1, 2, 4])
def test_a_run_that_is_killed_is_gone_on_with_from_nowhere_but_there(
    served: tuple[Path, str], clips: Path, local: Path, kill_after: int
) -> None:
    """Killed once so many clips are at the address; nothing of it is left on this machine."""
    folder, base = served
    place = folder / f"killed{kill_after}"
    run = subprocess.Popen([*COMMAND, *arguments(clips, f"{base}/{place.name}"), "--jobs", "1"])
    end_s = time.monotonic() + 60
    while len(list(place.glob("*.jsonl"))) < kill_after and run.poll() is None:
        assert time.monotonic() < end_s
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    remote_s, remote._SILENT_S = remote._SILENT_S, 1.0  # the dead run's lock is still there
    try:
        assert score(clips, f"{base}/{place.name}", "--resume") == 0
    finally:
        remote._SILENT_S = remote_s
    assert contents(place) == contents(local)
    assert sorted(path.name for path in place.iterdir()) == sorted(
        [*contents(local), "all.parquet.ledger", "all.parquet.batch"]
    )
    entries = [json.loads(x) for x in (place / "all.parquet.ledger").read_text().splitlines()]
    scored = [entry["source"] for entry in entries if "source" in entry]
    assert len(scored) == len(set(scored)) == 4


def test_a_batch_that_was_ended_takes_more_clips(
    served: tuple[Path, str], clips: Path, tmp_path: Path
) -> None:
    folder, base = served
    some = tmp_path / "some"
    some.mkdir()
    shutil.copy(clips / "a.png", some)
    words = ["score", str(some), "--csv", f"{base}/more/all.csv"]
    assert within(*words, "--jobs", "1").status == 0
    before = (folder / "more/all.csv").read_text()
    shutil.copy(clips / "b.png", some)
    assert within(*words, "--resume").status == 0
    after = (folder / "more/all.csv").read_text()
    assert after.startswith(before) and len(after.splitlines()) == 2 * len(before.splitlines()) - 1


def test_what_is_replaced_counts_until_the_list_names_the_new_one(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends between both leaves a list that names the new object beside the old one."""
    folder, base = served
    target = f"{base}/replaced/x.csv"

    def opened() -> RemoteFolder:
        return RemoteFolder([target], resume=True, overwrite=False)

    with opened() as one:
        Path(one.local(target)).write_text("old")
        one.push()
        Path(one.local(target)).write_text("newer")
        with monkeypatch.context() as patch, pytest.raises(SinkError, match="--resume goes on"):
            patch.setattr(Store, "move", cut_off(Store.move, "x.csv"))
            one.push()
        assert (folder / "replaced/x.csv").read_text() == "old"
    with opened() as two:
        assert Path(two.local(target)).read_text() == "newer"
        two.push()
    assert (folder / "replaced/x.csv").read_text() == "newer"
    assert not (folder / "replaced/x.csv.new").exists()


def cut_off(move: Callable[[Store, str], None], name: str) -> Callable[[Store, str], None]:
    def moving(self: Store, moved: str) -> None:
        if moved == name:
            raise ConnectionError("the network is gone")
        move(self, moved)

    return moving


def test_one_run_at_a_time(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_BEAT_S", 0.2)
    monkeypatch.setattr(remote, "_SILENT_S", 3.0)
    target = f"{served[1]}/one/x.csv"
    with RemoteFolder([target], resume=False, overwrite=False):
        second = RemoteFolder([target], resume=False, overwrite=False)
        with pytest.raises(SinkError, match=r"x\.csv is being written by another run, on "), second:
            pass
    with RemoteFolder([target], resume=False, overwrite=False):
        pass


def test_nothing_there_is_replaced_unasked(served: tuple[Path, str], clips: Path) -> None:
    folder, base = served
    (folder / "theirs").mkdir()
    (folder / "theirs/all.csv").write_text("somebody's")
    words = ["score", str(clips / "a.png"), "--csv", f"{base}/theirs/all.csv"]
    for option in ([], ["--resume"]):
        done = within(*words, *option)
        assert done.status == 1 and "all.csv exists" in done.error
    assert (folder / "theirs/all.csv").read_text() == "somebody's"
    assert within(*words, "--overwrite").status == 0
    assert "somebody's" not in (folder / "theirs/all.csv").read_text()
    done = within(*words)
    assert done.status == 1 and "all.csv exists" in done.error


@pytest.mark.parametrize(
    ("target", "more", "said"),
    [
        ("BASE/whole/all.parquet", ["--min-face", "30", "--resume"], "batch with other options"),
        ("BASE/new/x.csv", ["--shard", "1/2"], "--shard is for a folder that all machines share"),
        ("ftp://ada:hunter2@HOST/x/x.csv", [], "cannot be reached: 530 Authentication failed."),
        ("ftp://guest:guest@HOST/y/x.csv", [], "cannot be written: 550 Not enough privileges."),
        ("ftp://ada:hunter2@127.0.0.1:9/x/x.csv", [], "Connection refused"),
        ("smb://ada:hunter2@127.0.0.1/x/x.csv", [], "smb://ada:***@127.0.0.1/x: "),
        ("nowhere://ada:hunter2@x/x.csv", [], "nothing can be sent to nowhere://ada:***@x"),
    ],
)
def test_what_a_store_refuses_is_one_line_without_secrets(
    served: tuple[Path, str], clips: Path, local: Path, target: str, more: list[str], said: str
) -> None:
    base = served[1]
    target = target.replace("BASE", base).replace("HOST", base.partition("@")[2])
    if "whole" in target:
        assert score(clips, f"{base}/whole") in (0, 1)  # there, by this or an earlier test
    done = within("score", clips, "--to", target, "--jobs", "1", *more)
    assert done.status == 1 and len(done.error.splitlines()) == 1
    assert said in done.error
    assert not re.search("hunter2|s3cret|guest:guest|ferstream-batch", done.out + done.error)


def test_only_addresses_of_stores_are_taken_for_such() -> None:
    assert is_remote("s3://a/b.csv") and is_remote("s3:/a/b.csv") and is_remote("FTP://a/b.csv")
    for other in ("a/b.csv", "mqtt://a", "http://a/b", "-", "s3", "C:/a.csv", "rtsp://a/b"):
        assert not is_remote(other)


def test_a_batch_on_this_machine_does_not_load_what_stores_need() -> None:
    code = (
        "import sys, ferstream.stream.batch.command, ferstream.stream.cli\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'fsspec']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
