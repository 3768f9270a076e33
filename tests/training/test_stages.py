"""Training end to end on the tiny data: a few steps of each stage, stopped and taken up again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.training.data.fer import FerPlus
from ferstream.training.data.judged import judged_columns
from ferstream.training.data.motion_set import load_motion_set
from ferstream.training.draws import sampling_weights
from ferstream.training.fit import fit
from ferstream.training.stages import (
    StageMissing,
    averaged_weights,
    train_attention,
    train_temporal,
    trained_attention,
    trained_spatial,
    trained_temporal,
)
from ferstream.training.systems.attention import features_of
from ferstream.training.systems.temporal import (
    MotionDataset,
    TemporalTraining,
    movable,
    temporal_loaders,
)

from .conftest import ATTENTION, TEMPORAL, lightning_warns


def steps_of(checkpoint: Path) -> int:
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return int(stored["global_step"])


def test_every_stage_leaves_its_checkpoint_and_log(trained: Path) -> None:
    for stage, steps in (
        ("spatial/blendshapes", 3),
        ("spatial/joint", 3),
        ("heads", 12),
        ("temporal", 4),
        ("attention", 2),
    ):
        assert steps_of(trained / stage / "last.ckpt") == steps
        assert list((trained / stage).glob("log/version_0/metrics.csv"))


def test_networks_come_back_ready_for_use(trained: Path, tiny: FerPlus) -> None:
    spatial, temporal = trained_spatial(trained), trained_temporal(trained)
    attention = trained_attention(trained, spatial.features)
    assert spatial.judged is not None and spatial.segmentation is None, "its company is dropped"
    for network in (spatial, temporal, attention):
        assert not network.training
        assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert attention.kernel.abs().sum() > 0, "it has learned something"
    features = features_of(spatial, tiny.pixels[:5])
    assert features.shape == (5, spatial.features) and features.dtype == torch.float32
    exact = features_of(spatial, tiny.pixels[:5], exact=True)
    torch.testing.assert_close(features, exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("stage", "ask"),
    [
        ("spatial", trained_spatial),
        ("temporal", trained_temporal),
        ("attention", lambda run: trained_attention(run, 672)),
        ("spatial", lambda run: train_attention(run, None, ATTENTION)),
    ],
)
def test_a_missing_stage_names_the_command(
    tmp_path: Path, stage: str, ask: Callable[[Path], Any]
) -> None:
    with pytest.raises(StageMissing, match=f"ferstream train {stage}") as caught:
        ask(tmp_path)
    assert isinstance(caught.value, FileNotFoundError) and str(tmp_path) in str(caught.value)


class PowerCut(RuntimeError):
    """Stands for whatever stops a training."""


def fit_temporal(run: Path, folder: Path, seen: list[int], cut_at_step: int | None = None) -> None:
    """Two epochs of the temporal network; notes each step's epoch, fails where asked."""

    class Watched(TemporalTraining):
        def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
            if self.global_step == cut_at_step:
                raise PowerCut
            seen.append(self.current_epoch)
            return super().training_step(batch, index)

    train, validation = temporal_loaders(TEMPORAL, run, str(folder))
    module = Watched(TEMPORAL, len(train))
    with lightning_warns():
        fit(module, train, validation, run=run, epochs=TEMPORAL.epochs, seed=0)


@pytest.fixture
def temporal_run(trained: Path, tmp_path: Path) -> Path:
    """A folder with the motion sets and nothing trained."""
    run = tmp_path / "temporal"
    run.mkdir()
    for split in ("train", "validation", "test"):
        shutil.copy(trained / "temporal" / f"{split}.npz", run)
    return run


def test_a_stopped_training_goes_on_where_it_was(temporal_run: Path, judged_dir: Path) -> None:
    first: list[int] = []
    with pytest.raises(PowerCut):
        fit_temporal(temporal_run, judged_dir, first, cut_at_step=3)
    assert first == [0, 0, 1], "stopped within the second epoch"
    assert steps_of(temporal_run / "last.ckpt") == 2
    after: list[int] = []
    fit_temporal(temporal_run, judged_dir, after)
    assert after == [1, 1], "one epoch was lost at most"
    assert steps_of(temporal_run / "last.ckpt") == 4


def test_the_averaged_weights_are_taken(temporal_run: Path, judged_dir: Path) -> None:
    """The checkpoint of a stopped training holds the last step's weights beside the average."""
    with pytest.raises(PowerCut):
        fit_temporal(temporal_run, judged_dir, [], cut_at_step=3)
    path, name = temporal_run / "last.ckpt", "basic8.weight"
    stored = torch.load(path, map_location="cpu", weights_only=True)
    averaged = averaged_weights(path, "network.")
    assert torch.equal(averaged[name], stored["state_dict"][f"network.{name}"])
    assert not torch.equal(averaged[name], stored["current_model_state"][f"network.{name}"])
    assert set(averaged) == set(trained_temporal(temporal_run.parent).state_dict())


def test_a_finished_training_stays_as_it_is(temporal_run: Path, judged_dir: Path) -> None:
    fit_temporal(temporal_run, judged_dir, [])
    before = averaged_weights(temporal_run / "last.ckpt", "network.")
    again: list[int] = []
    fit_temporal(temporal_run, judged_dir, again)
    assert not again
    after = averaged_weights(temporal_run / "last.ckpt", "network.")
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)


def test_motion_sets_are_made_once(trained: Path, judged_dir: Path, temporal_run: Path) -> None:
    dates = {file.name: file.stat().st_mtime_ns for file in temporal_run.glob("*.npz")}
    with lightning_warns():
        train_temporal(temporal_run.parent, str(judged_dir), TEMPORAL)
    assert {f.name: f.stat().st_mtime_ns for f in temporal_run.glob("*.npz")} == dates
    train, test = (load_motion_set(temporal_run / f"{split}.npz") for split in ("train", "test"))
    assert len(train.target) == TEMPORAL.stacks
    assert not test.kind.any(), "the test set holds onsets alone"


def test_moving_words_are_on_as_far_as_the_expression(trained: Path, judged_dir: Path) -> None:
    made = load_motion_set(trained / "temporal" / "train.npz")
    judged = judged_columns(movable("train", str(judged_dir)), str(judged_dir), "train")
    dataset = MotionDataset(made, judged, mirror=False)
    row = int(np.flatnonzero((made.level > 0.1) & (made.level < 0.9))[0])
    item, photograph = dataset[row], made.photograph[row]
    assert item["judged"] == 1, "all of these faces were judged"
    wanted = judged.words[photograph] * made.level[row]
    np.testing.assert_allclose(item["words"].numpy(), wanted, atol=1e-6)
    np.testing.assert_allclose(
        item["affect"].numpy(), judged.affect[photograph] * made.level[row], atol=1e-6
    )


def test_mirrored_motion_turns_its_horizontal_velocities(trained: Path, judged_dir: Path) -> None:
    made = load_motion_set(trained / "temporal" / "train.npz")
    judged = judged_columns(movable("train", str(judged_dir)), str(judged_dir), "train")
    plain = MotionDataset(made, judged, mirror=False)[3]["motion"].numpy()
    np.testing.assert_array_equal(plain, made.motion[3].astype(np.float32))
    turned = plain[:, :, ::-1].copy()
    turned[0::2] *= -1
    kinds = set()
    dataset = MotionDataset(made, judged, mirror=True)
    for _ in range(20):
        found = dataset[3]["motion"].numpy()
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
