"""The benchmark tables: what is missing is trained, what is finished is shown."""

from __future__ import annotations

import json
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ferstream
from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.run_folder import RunFolder
from ferstream.training.measuring import tables
from ferstream.training.measuring.table_runs import Queue, run_rows
from ferstream.training.measuring.tables import (
    ROWS,
    TITLES,
    Row,
    command,
    finished,
    markdown,
)
from ferstream.training.systems import SYSTEMS
from tests.training.toy_runs import TOY

TOYS = {
    **{name: ",".join(map(str, v)) if isinstance(v, tuple) else v for name, v in TOY.items()},
    "epochs": 1,
}
FIRST = Row("faces", "first", "slfer", {**TOYS, "variant": "baseline"}, figures=("top1",))
WRONG = Row("faces", "wrong", "slfer", {**TOYS, "variant": "none"})
NEXT = Row("faces", "next", "slfer", TOYS, after="first", after_option="pretrained")


@pytest.fixture
def toy_rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    rows = [FIRST, WRONG, NEXT]
    monkeypatch.setattr(tables, "ROWS", tuple(rows))
    return rows


def test_every_row_is_a_command_that_its_system_understands() -> None:
    """Options are checked as the command line would, without training."""
    names = [(row.table, row.name) for row in ROWS]
    assert len(set(names)) == len(names)
    for row in ROWS:
        assert row.system in SYSTEMS and row.table in TITLES
        assert not row.after or (row.table, row.after) in names
        options = command(Path("runs"), row, 0)[3:]
        with pytest.raises(SystemExit) as stopped:
            ferstream.main(["train", row.system, *options, "--data", "nowhere", "--help"])
        assert stopped.value.code == 0


def test_missing_runs_are_trained_and_shown(
    toy_rows: list[Row], tiny_dir: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    failed = run_rows(tmp_path, [FIRST, WRONG], [3], data=str(tiny_dir), told=told.append)
    assert failed == [tmp_path / "faces" / "wrong-3"]
    assert "variant 'none'" in (failed[0] / "train.log").read_text()
    assert finished(tmp_path / "faces" / "first-3") and not finished(failed[0])
    assert f"--run {tmp_path / 'faces' / 'first-3'}" in told[0]
    again: list[str] = []
    assert run_rows(tmp_path, [FIRST], [3], data=str(tiny_dir), told=again.append) == []
    assert again == [], "it is not trained again"
    shown = markdown(tmp_path, toy_rows, [3])
    test = json.loads((tmp_path / "faces" / "first-3" / "metrics.json").read_text())["test"]
    assert f"| first | 1 | {100 * test['top1']:.1f} % |" in shown and "wrong" not in shown


def test_seeds_make_a_mean(toy_rows: list[Row], paper_run: RunFolder, tmp_path: Path) -> None:
    for seed, top1 in ((0, 0.5), (1, 0.7)):
        path = tmp_path / "faces" / f"first-{seed}"
        shutil.copytree(paper_run.path, path)
        metrics = json.loads((path / "metrics.json").read_text())
        metrics["test"]["top1"] = top1
        (path / "metrics.json").write_text(json.dumps(metrics))
    assert "| first | 2 | 60.0 ± 14.1 % |" in markdown(tmp_path, toy_rows, [0, 1, 2])
    validated = paper_run.metrics()["validation"]["top1"]
    shown = markdown(tmp_path, toy_rows, [0, 1, 2], "validation")
    assert f"| first | 2 | {100 * validated:.1f} ± 0.0 % |" in shown
    with pytest.raises(OptionsWrong, match="there are test, validation"):
        markdown(tmp_path, toy_rows, [0], "training")


def test_rows_are_compared_face_by_face(
    toy_rows: list[Row], paper_run: RunFolder, tmp_path: Path
) -> None:
    """A run that is right about ten faces more than the same run otherwise."""
    for name in ("first", "next"):
        shutil.copytree(paper_run.path, tmp_path / "faces" / f"{name}-0")
    file = tmp_path / "faces" / "next-0" / "predictions.npz"
    found = paper_run.predictions()
    wrong = found["test_logits"].argmax(1) != found["test_target"].argmax(1)
    rows = np.flatnonzero(wrong)[:10]
    found["test_logits"][rows] = 9 * found["test_target"][rows]
    np.savez(file, **found)
    points = 100 * len(rows) / len(wrong)
    told = tables.gained(tmp_path, replace(NEXT, against="first"), [0, 1])
    gain, low, high = (float(part) for part in re.findall(r"[+-][0-9.]+", told))
    assert len(rows) == 10 and gain == pytest.approx(points, abs=0.05)
    assert 0 < low < gain < high
    for name in ("first", "next"):
        folder = tmp_path / "faces"
        shutil.copytree(folder / f"{name}-0", folder / f"{name}-1")
    again = tables.gained(tmp_path, replace(NEXT, against="first"), [0, 1])
    assert again == told, "the same faces twice are not twice as many"
    assert tables.gained(tmp_path, FIRST, [0]) == "", "held against nothing"
    same = tables.gained(tmp_path, replace(NEXT, against="first"), [0], "validation")
    assert same == "+0.0 (+0.0 to +0.0)", "its answers on validation are the same"


def test_seeds_may_judge_other_faces(
    toy_rows: list[Row], paper_run: RunFolder, tmp_path: Path
) -> None:
    """As protocols do that draw their test faces by the seed: every seed counts as much, however
    many faces it has."""
    found = paper_run.predictions()
    for name, gain in (("first", False), ("next", True)):
        for seed, count in ((0, 20), (1, 5)):
            path = tmp_path / "faces" / f"{name}-{seed}"
            shutil.copytree(paper_run.path, path)
            kept = {key: values[:count] for key, values in found.items()}
            wrong = np.roll(kept["test_target"], 1, axis=1)
            kept["test_logits"] = kept["test_target"] if gain and seed else wrong
            np.savez(path / "predictions.npz", **kept)
    told = tables.gained(tmp_path, replace(NEXT, against="first"), [0, 1])
    assert told == "+50.0 (+50.0 to +50.0)", "all of one seed's faces, none of the other's"


def test_a_run_waits_for_the_one_it_builds_on(toy_rows: list[Row], tmp_path: Path) -> None:
    queue = Queue(tmp_path, [(NEXT, 0), (FIRST, 0)])
    assert queue.take() == (FIRST, 0)
    got: list[object] = []
    waiter = threading.Thread(target=lambda: got.append(queue.take()))
    waiter.start()
    waiter.join(0.1)
    assert waiter.is_alive() and not got
    queue.done(FIRST, 0, 1)
    waiter.join(10)
    assert got == [None], "its ground failed"
    assert queue.failed == [tmp_path / "faces" / "first-0", tmp_path / "faces" / "next-0"]
    assert f"--pretrained {tmp_path}/faces/first-0" in " ".join(command(tmp_path, NEXT, 0))


def test_rows_and_seeds_that_are_none() -> None:
    with pytest.raises(OptionsWrong, match="no row begins with 'fac/': there are faces/slfer"):
        tables.chosen_rows("fac/")
    with pytest.raises(OptionsWrong, match="seeds '0;1'"):
        tables.seeds_of("0;1")
