"""The default bundle's training on the tiny data: a few steps of each stage, stopped, gone on with,
and begun with a bundle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.training.datasets.fer import FerPlus
from ferstream.training.datasets.motion import load_motion_set
from ferstream.training.errors import OptionsWrong, RunMismatch
from ferstream.training.learning.default_learners import MotionLearner, MotionRows, varied
from ferstream.training.learning.draws import Draw, sampling_weights
from ferstream.training.learning.run_folder import RunFolder, open_run
from ferstream.training.learning.system import DONE, train_system
from ferstream.training.networks.compact_msau import features_of
from ferstream.training.systems.default import (
    SYSTEM,
    DefaultOptions,
    trained_attention,
    trained_spatial,
    trained_temporal,
)
from tests.training.conftest import SMALL, Exported, lightning_warns
from tests.training.toy_runs import stage_weights

STEPS = {"blendshapes": 3, "joint": 3, "heads": 12, "temporal": 4, "attention": 2}


def steps_of(run: Path, stage: str) -> int:
    stored = torch.load(run / stage / "last.ckpt", map_location="cpu", weights_only=True)
    return int(stored["global_step"])


def train(run: Path, folder: Path, options: DefaultOptions = SMALL) -> RunFolder:
    with lightning_warns():
        return train_system(SYSTEM, options, run, str(folder))


def test_every_stage_leaves_its_checkpoint_and_log(trained: Path) -> None:
    assert {stage: steps_of(trained, stage) for stage in STEPS} == STEPS
    for stage in STEPS:
        assert list((trained / stage).glob("log/version_0/metrics.csv"))
    run = open_run(trained)
    assert set(run.curves("attention")) >= {"top1", "averaging", "on_spoiled", "loss_peaked"}
    assert set(run.curves("heads")) >= {"top1", "first_in_top10", "loss_words"}
    assert run.metrics()["test"]["n"] == 96 and (trained / "report.html").is_file()


def test_networks_come_back_ready_for_use(trained: Path, tiny: FerPlus) -> None:
    run = open_run(trained)
    spatial, temporal = trained_spatial(SMALL, run), trained_temporal(run)
    attention = trained_attention(run, spatial.features)
    assert spatial.judged is not None and spatial.segmentation is None, "its tasks are dropped"
    for network in (spatial, temporal, attention):
        assert not network.training
        assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert attention.kernel.abs().sum() > 0, "it has learned something"
    joint = trained_spatial(SMALL, run, heads=False)
    assert not torch.equal(joint.head.weight, spatial.head.weight), "heads learned on by themselves"
    features = features_of(spatial, tiny.pixels[:5])
    assert features.shape == (5, spatial.features) and features.dtype == torch.float32
    exact = features_of(spatial, tiny.pixels[:5], exact=True)
    torch.testing.assert_close(features, exact, rtol=0.1, atol=0.1)


class PowerCut(RuntimeError):
    """Stands for whatever stops a training."""


def test_a_stopped_training_ends_as_if_it_had_never_been(
    trained: Path, judged_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second epoch of the temporal network: finished stages are not touched, made
    sets are not made again, and the rest is the same to the bit."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for stage in ("temporal", "attention"):
        for file in (run / stage).iterdir():
            if file.suffix != ".npz":
                shutil.rmtree(file) if file.is_dir() else file.unlink()
    (run / "attention" / "train.npz").unlink()
    about = {**open_run(run).about, "finished": None}
    (run / "run.json").write_text(json.dumps(about))
    kept = {file: file.stat().st_mtime_ns for file in run.glob("[hjt]*/*.*") if file.is_file()}
    seen: list[int] = []
    step = MotionLearner.training_step

    def cut(self: Any, batch: Any, index: int) -> Any:
        if self.global_step == 3 and len(seen) == 3:
            raise PowerCut
        seen.append(self.current_epoch)
        return step(self, batch, index)

    monkeypatch.setattr(MotionLearner, "training_step", cut)
    with pytest.raises(PowerCut):
        train(run, judged_dir)
    assert seen == [0, 0, 1], "stopped within the second epoch"
    assert steps_of(run, "temporal") == 2 and not (run / "temporal" / DONE).exists()
    seen.append(-1)
    finished = train(run, judged_dir)
    assert seen[4:] == [1, 1] and finished.finished, "one epoch was lost at most"
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    for stage in ("temporal", "attention"):
        for name, value in stage_weights(open_run(trained), stage).items():
            assert torch.equal(stage_weights(finished, stage)[name], value), (stage, name)
    assert finished.metrics() == open_run(trained).metrics()


def test_a_bundle_is_kept_to_begin_with(
    exported: Exported, trained: Path, judged_dir: Path, tmp_path: Path
) -> None:
    """Its spatial network and attention stay, heads and motion are learned anew; the run keeps
    them, whatever becomes of the bundle."""
    bundle = tmp_path / "bundle"
    shutil.copytree(exported[0].path, bundle)
    options = replace(SMALL, start=str(bundle), heads_epochs=1, motion_epochs=1)
    run = train(tmp_path / "run", judged_dir, options)
    shutil.rmtree(bundle)
    assert [steps_of(run.path, stage) for stage in ("joint", "attention")] == [0, 0]
    assert steps_of(run.path, "heads") == 6 and not (run.path / "blendshapes").exists()
    before = trained_spatial(SMALL, open_run(trained))
    after = trained_spatial(options, run)
    torch.testing.assert_close(
        features_of(after, np.full((1, 48, 48), 99, np.uint8), exact=True),
        features_of(before, np.full((1, 48, 48), 99, np.uint8), exact=True),
        rtol=0.02,
        atol=0.02,
    )
    attention = trained_attention(open_run(trained), after.features).kernel
    kept = trained_attention(run, after.features).kernel
    torch.testing.assert_close(kept, attention, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"faces": "synthetic"}, "from fer2013plus alone.*ferstream train compact"),
        ({"taxonomy": "words.json"}, "from fer2013plus alone"),
        ({"word_weight": 0.0}, "word_weight is 0"),
        ({"start": "default", "pretrain": "synthetic"}, "pretrain has nothing to teach"),
        ({"stacks": 0}, "stacks is 0"),
    ],
)
def test_what_makes_no_default_bundle_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsWrong, match=said):
        replace(SMALL, **changed)


def test_another_training_is_refused_in_its_folder(trained: Path, judged_dir: Path) -> None:
    with pytest.raises(RunMismatch, match="heads_epochs 2, not 3"):
        train(trained, judged_dir, replace(SMALL, heads_epochs=3))


def test_without_judged_faces_nothing_is_written(tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionsWrong, match="no judged faces"):
        train(tmp_path / "run", tiny_dir)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def rows(trained: Path, judged_dir: Path) -> dict[str, MotionRows]:
    """Both splits' motion, as the run left it."""
    return {
        split: MotionRows(
            trained / "temporal" / f"{split}.npz", split, str(judged_dir), SMALL.motion
        )
        for split in ("train", "validation")
    }


def test_moving_words_are_on_as_far_as_the_expression(
    rows: dict[str, MotionRows], trained: Path
) -> None:
    made = load_motion_set(trained / "temporal" / "train.npz")
    assert len(rows["train"]) == len(made.target) == SMALL.stacks
    row = int(np.flatnonzero((made.level > 0.1) & (made.level < 0.9))[0])
    item, photograph = rows["train"][Draw(row, 0)], made.photograph[row]
    assert item["judged"] == 1, "all of these faces were judged"
    for name in ("words", "affect"):
        wanted = getattr(rows["train"], name)[photograph] * made.level[row]
        torch.testing.assert_close(item[name], wanted)


def test_mirrored_motion_turns_its_horizontal_velocities(rows: dict[str, MotionRows]) -> None:
    plain = rows["validation"][Draw(3, 0)]["motion"].numpy()
    stored = rows["validation"].columns["motion"][3].float().numpy()
    np.testing.assert_array_equal(plain, stored)
    turned = plain[:, :, ::-1].copy()
    turned[0::2] *= -1
    kinds = set()
    for key in range(20):
        found = varied(plain.copy(), np.random.default_rng(key))
        likeness = [
            max(
                float((found * np.roll(wanted, (y, x), (1, 2))).sum())
                for y in (-1, 0, 1)
                for x in (-1, 0, 1)
            )
            for wanted in (plain, turned)
        ]
        shown = np.abs(found).sum((1, 2)) > 0  # the oldest fields may be left out
        assert max(likeness) > 0.99 * np.linalg.norm(found) * np.linalg.norm(plain[shown])
        kinds.add(int(np.argmax(likeness)))
    assert kinds == {0, 1}


def test_rare_emotions_are_shown_more_often() -> None:
    votes = np.eye(8, dtype=np.float32)[[1] * 8 + [6] * 2]
    np.testing.assert_allclose(sampling_weights(votes, 0.0), 1)
    weights = sampling_weights(votes, 1.0)
    assert float(weights[:8].sum()) == pytest.approx(float(weights[8:].sum()))
    half = sampling_weights(votes, 0.5)
    assert float(half[-1] / half[0]) == pytest.approx(2.0)
