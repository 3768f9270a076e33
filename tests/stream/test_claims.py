"""Outputs never take the place of inputs, of each other, or of another run's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ferstream.stream.errors import SinkError
from ferstream.stream.outputs import Claim, Outputs
from tests import media
from tests.commands import within
from tests.engines import tiny


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two clips, and a playlist with three segments whose names are an HLS output's."""
    monkeypatch.chdir(tmp_path)
    media.video(tmp_path / "a.mp4", 3)
    for name in ("b.mp4", "live-000000.ts", "live-000001.ts", "other-000000.ts"):
        shutil.copy("a.mp4", name)
    Path("in.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nlive-000001.ts\n")
    os.symlink("b.mp4", "linked.mp4")
    return tmp_path


def refused(words: str, to: str, *sources: str, overwrite: bool = True) -> None:
    before = sorted((p.name, p.stat().st_size) for p in Path().iterdir())
    with pytest.raises(SinkError, match=words):
        Outputs(to=(to,), overwrite=overwrite).for_sources(sources)
    assert sorted((p.name, p.stat().st_size) for p in Path().iterdir()) == before


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_source_is_no_output(folder: Path, overwrite: bool) -> None:
    for to, sources in (
        ("a.mp4", ["a.mp4"]),
        ("./a.mp4", [str(folder / "a.mp4")]),
        ("{source}.mp4", ["a.mp4", "b.mp4"]),
        ("b{source}.mp4", ["in.m3u8", "b.mp4", "bin.mp4"]),
        ("linked.mp4", ["b.mp4"]),
        ("b.mp4", ["linked.mp4"]),
        ("in.m3u8", ["in.m3u8"]),
        ("live.m3u8", ["in.m3u8"]),
        ("other.m3u8", ["other-000000.ts"]),
    ):
        if "bin.mp4" in sources:
            shutil.copy("a.mp4", "bin.mp4")
        refused("would replace the source", to, *sources, overwrite=overwrite)


def test_what_is_read_beside_the_sources_is_no_output(folder: Path) -> None:
    """A list of one source, and the bundle's files."""
    (folder / "one.streams").write_text("a.mp4\n")
    tiny.bundle(folder / "own")
    for words in (
        ("one.streams", "--jsonl", "one.streams"),
        ("a.mp4", "--bundle", "own", "--jsonl", "own/manifest.json"),
        ("a.mp4", "--bundle", "own", "--csv", "own/fusion.onnx"),
    ):
        before = Path(words[-1]).read_bytes()
        for command in ("score", "live"):
            done = within(command, *words, "--overwrite")
            assert done.status == 1
            assert f"{words[-1]} would replace {words[-1]}, which is read" in done.error
        assert Path(words[-1]).read_bytes() == before


def test_a_source_under_the_name_of_an_unfinished_output(folder: Path) -> None:
    shutil.copy("a.mp4", "x.mp4.part")
    refused("would replace the source x.mp4.part", "x.mp4", "x.mp4.part")
    shutil.copy("a.mp4", ".x.eaf.part")
    refused("would replace the source .x.eaf.part", "x.eaf", ".x.eaf.part")


def test_two_outputs_of_one_file(folder: Path) -> None:
    os.symlink(folder, "again")
    for first, second in (
        ("x.csv", "./x.csv"),
        ("x.csv", "again/x.csv"),
        ("x.m3u8", "x.M3U8"),
    ):
        with pytest.raises(SinkError, match="are the same file"):
            Outputs(to=(first, second)).for_sources(["a.mp4"])
    with pytest.raises(SinkError, match="same file"):
        Outputs(to=("x.csv",), csv=Path("again/x.csv")).for_sources(["a.mp4"])


def test_segments_of_an_earlier_run_are_not_deleted_unasked(folder: Path) -> None:
    refused("exists", "live.m3u8", "a.mp4", overwrite=False)
    Outputs(to=("live.m3u8",), overwrite=True).for_sources(["a.mp4"])
    Outputs(to=("new.m3u8", "x.mp4", "x.eaf", "y.csv")).for_sources(["a.mp4"])


def test_devices_are_nobody_s(folder: Path) -> None:
    os.symlink("/dev/null", "null.csv")
    first, second = (Outputs(csv=Path("null.csv"), overwrite=True) for _ in range(2))
    first.for_sources(["a.mp4"])
    second.for_sources(["a.mp4"])


def test_a_file_has_one_writer_at_a_time(folder: Path) -> None:
    first, second = (Outputs(to=(to,), overwrite=True) for to in ("x.csv", "./x.csv"))
    first.for_sources(["a.mp4"])
    with pytest.raises(SinkError, match="written by another run"):
        second.for_sources(["b.mp4"])
    first.for_sources(["b.mp4"])  # the same run may look again
    del first
    second.for_sources(["b.mp4"])


def test_a_killed_run_holds_nothing(folder: Path) -> None:
    code = "import sys; from pathlib import Path; from ferstream.stream.outputs import Claim\n"
    code += "held = Claim(Path('x.csv').resolve()); print(1, flush=True); input()"
    path = (folder / "x.csv").resolve()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(SinkError, match="another run"):
            Claim(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    Claim(path)
    assert not path.exists()
