"""`ferstream data` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer.testing

from ferstream.stream.sources import open_source
from ferstream.training.data_cli import app
from ferstream.training.datasets.readers import DataError, read_set
from ferstream.training.datasets.readers.pixels import read_picture
from ferstream.training.datasets.readers.sheet import (
    SheetOptions,
    draw_sheet,
    row_count,
    write_sheet,
)

from . import layouts

runner = typer.testing.CliRunner()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes in two splits."""
    layouts.classes(tmp_path / "set")
    return tmp_path / "set"


def run(*words: str | Path) -> typer.testing.Result:
    return runner.invoke(app, [str(word) for word in words])


def test_check_shows_counts(root: Path) -> None:
    result = run("check", root)
    assert result.exit_code == 0, result.output
    for said in ("(folders): 9 images", "confused", "train", "validation", "nothing wrong"):
        assert said in result.output


def test_check_ends_with_one_where_something_is_wrong(root: Path) -> None:
    (root / "val/bored/0.png").write_bytes(b"gone")
    result = run("check", root)
    assert result.exit_code == 1 and "val/bored/0.png: " in result.output
    quick = run("check", root, "--quick")
    assert quick.exit_code == 0 and "no picture was read" in quick.output


def test_check_as_json(root: Path) -> None:
    (root / "train/bored/twin.png").write_bytes((root / "val/amused/0.png").read_bytes())
    result = run("check", root, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1 and not found["ok"] and found["exact_count"] == 1
    assert found["exact"][0]["across"] == "train / validation"
    assert found["counts"]["train"]["bored"] == 3


def test_check_of_action_units_and_of_a_named_layout(tmp_path: Path) -> None:
    layouts.disfa(tmp_path)
    result = run("check", tmp_path, "--layout", "disfa")
    assert result.exit_code == 0 and "AU12" in result.output and "2 people" in result.output


def test_long_lists_are_cut_short(root: Path) -> None:
    for number in range(30):
        (root / f"train/amused/bad{number}.png").write_bytes(b"x")
    result = run("check", root)
    assert "30 wrong:" in result.output and "and 10 more" in result.output


def test_layouts_are_listed() -> None:
    result = run("layouts", "--json")
    found = json.loads(result.stdout)
    assert "list_patition_label.txt" in found["raf-basic"]["expected"] and len(found) > 20
    assert "raf-compound" in run("layouts").output


def test_prepare_and_its_sheet(tmp_path: Path) -> None:
    frames = [frame.pixels for frame in open_source("sample").frames()]
    for name, at in (("a/0.png", 0), ("a/1.png", 40), ("b/0.png", 70)):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "set" / name), frames[at][..., ::-1])
    layouts.picture(tmp_path / "set/b/nobody.png")
    out = tmp_path / "out"
    result = run("prepare", tmp_path / "set", out, "--crop-px", "48")
    assert result.exit_code == 0, result.output
    assert "3 of 4 faces" in result.output and "no face found" in result.output
    facts = json.loads(run("prepare", tmp_path / "set", out, "--crop-px", "48", "--json").stdout)
    assert facts["complete"] and facts["fingerprint"][:16] in result.output
    assert run("sheet", out, tmp_path / "sheet.png").exit_code == 0
    assert read_picture(tmp_path / "sheet.png").shape[1] > 12 * 72
    assert run("check", out).exit_code == 0


def test_sheet_has_a_row_a_class(root: Path, tmp_path: Path) -> None:
    result = run("sheet", root, tmp_path / "sheet.png", "--faces", "3", "--tile-px", "40")
    assert result.exit_code == 0 and "sheet.png: " in result.output
    sheet = read_picture(tmp_path / "sheet.png")
    one = run("sheet", root, tmp_path / "val.png", "--split", "validation")
    assert one.exit_code == 0
    faces = read_set(root)
    assert row_count(faces) == 3
    assert np.array_equal(sheet, draw_sheet(faces, SheetOptions(3, 40)))
    assert (sheet[84:124] != sheet[0, 0]).any(), "the first row is drawn"


@pytest.mark.parametrize("name", ["emo135", "disfa", "afew"])
def test_sheets_of_many_words_of_units_and_of_clips(name: str, tmp_path: Path) -> None:
    layouts.WRITERS[name][1](tmp_path)
    faces = read_set(tmp_path)
    told: list[int] = []
    sheet = draw_sheet(faces, SheetOptions(2, 24), progress=told.append)
    assert told[-1] == row_count(faces) == len(faces.labels or faces.units)
    assert sheet.shape[0] < 84 + 40 * 28 + 24, "many rows stand in several columns"


def test_unreadable_pictures_are_not_shown(root: Path) -> None:
    for path in (root / "train/amused").iterdir():
        path.write_bytes(b"no picture")
    sheet = draw_sheet(read_set(root), SheetOptions(2, 40))
    assert sheet.shape[2] == 3


def test_where_no_sheet_can_be_written(root: Path, tmp_path: Path) -> None:
    sheet = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(DataError, match=r"a contact sheet is a \.png"):
        write_sheet(tmp_path / "sheet.jpg", sheet)
    with pytest.raises(DataError, match="cannot be written"):
        write_sheet(tmp_path / "nowhere/sheet.png", sheet)
    assert not (tmp_path / "nowhere").exists()


def test_wrong_input_is_one_line(tmp_path: Path, repository: Path) -> None:
    code = (
        "import sys, ferstream\n"
        "from ferstream.training.data_cli import app\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "except Exception as error: print(ferstream._one_line(error), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "check", str(tmp_path)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stderr.count("\n") == 1 and "none of the layouts" in ended.stderr
    assert "Traceback" not in ended.stderr and not ended.stdout
