"""The commands of the training side, called as functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from ferstream.training import cli
from ferstream.training.datasets.fer import DataMissing
from ferstream.training.errors import RunUnfinished
from tests.training.conftest import Exported


def test_evaluate_prints_one_json_document(
    exported: Exported, tiny_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.evaluate(bundle=str(exported[0].path), data=str(tiny_dir), precision="int8", json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["basic8"]["n"] == 96 and found["precision"] == "int8"


def test_evaluate_shows_a_table_of_clips_too(
    exported: Exported, tiny_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.evaluate(bundle=str(exported[0].path), data=str(tiny_dir), split="validation", clips=True)
    shown = capsys.readouterr().out
    for name in ("basic8 top1", "recall fear", "second_family", "weight_on_spoiled", "fused"):
        assert name in shown


def test_evaluate_knows_two_splits(exported: Exported) -> None:
    with pytest.raises(typer.BadParameter, match="'train'"):
        cli.evaluate(bundle=str(exported[0].path), split="train")


def test_missing_data_is_said(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="fer2013plus"):
        cli.evaluate(bundle=str(exported[0].path), data=str(tmp_path))


def test_export_needs_a_run(tmp_path: Path, tiny_dir: Path) -> None:
    with pytest.raises(RunUnfinished, match="make one with `ferstream train SYSTEM"):
        cli.export(tmp_path / "run", tmp_path / "bundle", str(tiny_dir))
