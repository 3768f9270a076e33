"""Every script of examples/ does what its first line says, on what is here."""

from __future__ import annotations

import base64
import csv
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import media

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *arguments: object) -> None:
    """An example's `main`."""
    main: Callable[..., None] = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    main(*arguments)


def test_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotated = tmp_path / "annotated.png"
    run("picture", str(EXAMPLES.parent / "docs" / "sample.png"), str(annotated))
    told = capsys.readouterr().out
    assert "face 1 at (" in told and annotated.stat().st_size > 10_000


def test_a_clip_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas", reason="an extra: tables")
    run("clip_table", "sample")
    told = capsys.readouterr().out
    assert "AU12" in told and len(told.splitlines()) > 18


def test_a_webcam(capsys: pytest.CaptureFixture[str]) -> None:
    run("webcam", "sample", 2.0)
    assert capsys.readouterr().out.startswith("face 1: ")


def test_a_camera_as_events(capsys: pytest.CaptureFixture[str]) -> None:
    run("rtsp_events", "sample")
    rows: list[dict[str, Any]] = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [rows[0]["event"], rows[-1]["event"]] == ["new", "end"]


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    media.video(folder / "b.mp4", 6)
    media.image(folder / "a.png")
    (folder / "c.mp4").write_text("no clip")
    run("folder", str(folder), str(tmp_path / "all.csv"))
    told = capsys.readouterr()
    assert "c.mp4" in told.err and "all.csv" in told.out
    with (tmp_path / "all.csv").open(encoding="utf-8") as file:
        rows = [(Path(row["source"]).name, row["frame"]) for row in csv.DictReader(file)]
    assert rows == [("a.png", "0"), ("b.mp4", "0"), ("b.mp4", "2"), ("b.mp4", "4")]


def test_the_notebook_runs_as_it_was_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a kernel of its own; its outputs are of the kinds that stand in the file."""
    pytest.importorskip("ipykernel", reason="what tests need: ipykernel")
    pytest.importorskip("nbclient", reason="what tests need: nbclient")
    pytest.importorskip("pandas", reason="an extra: tables")
    nbformat: Any = pytest.importorskip("nbformat", reason="comes with nbclient")
    shown = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    nbformat.validate(shown)
    copy, start = tmp_path / "again", "from nbclient.cli import main; main()"
    # Kernels are found, and leave files, in folders of the user's.
    environment = {
        **os.environ,
        **{f"{name}_DIR": str(tmp_path) for name in ("JUPYTER_RUNTIME", "JUPYTER_CONFIG")},
        "IPYTHONDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", start, "--timeout=300", f"--output={copy}", "tour.ipynb"],
        cwd=EXAMPLES,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    again = nbformat.read(copy.with_suffix(".ipynb"), as_version=4)
    kinds = [
        [
            [(out.output_type, *sorted(out.get("data", ()))) for out in cell.outputs]
            for cell in cells
        ]
        for cells in ([c for c in nb.cells if c.cell_type == "code"] for nb in (shown, again))
    ]
    assert kinds[0] == kinds[1]
    assert [cell.execution_count for cell in shown.cells if cell.cell_type == "code"] == list(
        range(1, len(kinds[0]) + 1)
    )
    pictures = [
        out.data["image/png"]
        for c in again.cells
        for out in c.get("outputs", ())
        if "image/png" in out.get("data", ())
    ]
    assert len(pictures) == 1 and base64.b64decode(pictures[0]).startswith(b"\x89PNG")


def test_each_script_is_tested() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    text = Path(__file__).read_text("utf-8")
    assert names == {name for name in names if f'run("{name}"' in text} and len(names) == 5
