"""The commands of the training side, called as functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from ferstream.training import cli, stages
from ferstream.training.data.fer import DataMissing
from ferstream.training.stages import DEFAULT, StageMissing

from .conftest import Exported


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


def test_export_needs_the_stages(tmp_path: Path, tiny_dir: Path) -> None:
    with pytest.raises(StageMissing, match="ferstream train spatial"):
        cli.export(tmp_path / "run", tmp_path / "bundle", str(tiny_dir))


@pytest.mark.parametrize("stage", ["spatial", "temporal", "attention"])
def test_a_stage_takes_its_options(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(stages, f"train_{stage}", lambda *given: asked.append(given))
    getattr(cli, stage)(run=tmp_path, data="here", epochs=3, seed=7)
    getattr(cli, stage)(run=tmp_path)
    (run, data, options), (_, _, usual) = asked
    assert (run, data, options.epochs, options.seed) == (tmp_path, "here", 3, 7)
    assert usual == (DEFAULT if stage == "spatial" else type(usual)())


def test_default_runs_the_stages_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for stage in ("spatial", "heads", "temporal", "attention"):
        monkeypatch.setattr(
            stages,
            f"train_{stage}",
            lambda *given, stage=stage: asked.append(stage),
        )
    monkeypatch.setattr(stages, "take_over", lambda *given: asked.append(given[-1]))
    cli.default()
    assert asked == ["spatial", "heads", "temporal", "attention"]
    asked.clear()
    cli.default(start="some")
    assert asked == ["some", "heads", "temporal"], "what the bundle has is kept"
