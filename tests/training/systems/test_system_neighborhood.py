"""Paper 001's system from its one command: stages, masks, balance, stops, figures, bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources import open_source
from ferstream.training import cli
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.synthetic import write_packed
from ferstream.training.errors import OptionsWrong, RunUnfinished
from ferstream.training.learning.checkpoint import read_checkpoint
from ferstream.training.learning.run_folder import RunFolder, open_run
from ferstream.training.learning.system import loader_of, open_system, train_system, trained_network
from ferstream.training.networks.neighborhood import grey_picture
from ferstream.training.papers.neighborhood import figures
from ferstream.training.papers.neighborhood.figures import divergences
from ferstream.training.papers.neighborhood.masked_learner import ExpressionLearner
from ferstream.training.papers.neighborhood.neighbours import RefiningLearner, neighbour_generator
from ferstream.training.systems.neighborhood import NeighborhoodOptions
from tests.training.conftest import lightning_warns
from tests.training.tiny_head import tiny_kit
from tests.training.toy_runs import stage_weights, train_by_command

TOY = NeighborhoodOptions(
    epochs=2,
    batch=16,
    crop_px=32,
    widths=(4, 6, 8, 10, 6),
    full=(6, 4),
    code_widths=(4, 4, 6, 6),
    code=8,
    classifier_epochs=1,
    autoencoder_epochs=1,
    autoencoder_batch=16,
    refine_epochs=2,
    refine_batch=8,
    refine_rate=1e-3,
    precision="fp32",
    augmentation="rich",
)
STAGES = ("autoencoder", "classifier", "refine", "expression")
SYSTEM = open_system("neighborhood")


def told(options: NeighborhoodOptions) -> dict[str, Any]:
    """The options that are not the usual ones."""
    usual = NeighborhoodOptions().to_json()
    return {name: value for name, value in options.to_json().items() if value != usual[name]}


@pytest.fixture(scope="module")
def data(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The drawn faces, and a made-up 3D face for the sequences."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "fer2013plus").symlink_to(tiny_dir / "fer2013plus")
    (folder / "ict_facekit").mkdir()
    write_packed(tiny_kit(), folder / "ict_facekit" / "ict_facekit.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "A_WORD", 2)
        yield folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run by the one command, never stopped; tests leave it as it is."""
    path = tmp_path_factory.mktemp("neighborhood") / "run"
    with lightning_warns():
        return train_by_command("neighborhood", path, data, told(TOY))


def test_the_command_trains_all_stages_and_measures(run: RunFolder) -> None:
    assert [stage for stage in STAGES if (run.path / stage / "finished").exists()] == list(STAGES)
    metrics = run.metrics()
    test = metrics["test"]
    assert test["n"] == 96 and 0 <= test["consistent_failures"] <= test["failure_cases"] <= 1
    peaks, steady, masked = metrics["tables"].values()
    assert peaks["rows"][0][:2] == ["synthetic onsets of 7 expressions", "14"]
    assert [row[0] for row in steady["rows"]] == ["validation", "test"]
    assert [row[0] for row in masked["rows"]] == ["all", *metrics["labels"]]
    page = (run.path / "report.html").read_text("utf-8")
    assert "Table VII" in page and "neighbours" in page and (run.path / "neighbours.png").exists()


def test_each_epoch_tells_whom_it_masked(run: RunFolder) -> None:
    curves = run.curves("expression")
    shares = [share for _, share in curves["masked"]]
    assert len(shares) == 2 and all(0 < share < 1 for share in shares)
    of_classes = np.mean([curves[f"masked_{name}"][-1][1] for name in run.metrics()["labels"]])
    assert of_classes == pytest.approx(shares[-1]), "every class was shown as often"
    assert "masked" not in run.curves("classifier")


def test_the_refinement_leaves_the_encoder_as_it_is(run: RunFolder) -> None:
    before, after = stage_weights(run, "autoencoder"), stage_weights(run, "refine")
    parts: dict[str, list[bool]] = {"encoder": [], "decoder": []}
    for name, value in before.items():
        part = name.split(".")[1]
        parts[part].append(
            torch.equal(value, after[name.replace("network.", "network.generator.")])
        )
    assert all(parts["encoder"]) and not all(parts["decoder"])
    critic = [value for name, value in after.items() if name.startswith("network.discriminator.")]
    assert max(float(value.abs().max()) for value in critic) <= 0.01


def test_the_critic_learns_always_and_then_once_in_ten(run: RunFolder) -> None:
    """Twelve batches an epoch: twelve steps, then one; the decoder takes all 24."""
    generator, discriminator = read_checkpoint(run.path / "refine" / "last.ckpt")[
        "optimizer_states"
    ]
    assert {int(state["step"]) for state in generator["state"].values()} == {24}
    assert {int(state["step"]) for state in discriminator["state"].values()} == {13}


def test_the_option_weighs_what_the_classifier_sees(run: RunFolder, data: Path) -> None:
    """Without it eq. 5 is the pixels' part alone."""
    losses = []
    for weights in ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)):
        options = replace(TOY, perceived_weights=weights)
        stage = SYSTEM.stages(options, SYSTEM.data(options, str(data)), run)[2]
        learner: Any = stage.learner()
        batch = next(iter(loader_of(stage.train(), options, training=True)))
        torch.manual_seed(0)
        losses.append(learner.losses(batch)[1]["picture"])
    generator, picture = learner.network.generator, grey_picture(batch["crop"])
    with torch.no_grad():
        pixels = (generator.decoder(generator.encoder(picture)) - picture).square().mean()
    assert losses[0].item() == pytest.approx(pixels.item(), rel=1e-4)
    assert losses[1].item() > losses[0].item()


def test_the_masked_network_begins_anew_and_the_autoencoder_stays(run: RunFolder) -> None:
    made, refined = stage_weights(run, "expression"), stage_weights(run, "refine")
    kept = {name: value for name, value in made.items() if name.startswith("generator.")}
    assert kept
    for name, value in kept.items():
        before = refined[name.replace("generator.autoencoder.", "network.generator.")]
        assert torch.equal(value, before), name


class Stopped(Exception):
    """Ends a training as a kill would, but for the process."""


@pytest.mark.parametrize(
    ("stage", "kind", "at"), [("refine", RefiningLearner, 17), ("expression", ExpressionLearner, 4)]
)
def test_a_stopped_run_ends_as_if_it_had_not_been(
    stage: str,
    kind: type[Any],
    at: int,
    run: RunFolder,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped within the second epoch of the refinement, within the first of the last stage."""
    path, losses, calls = tmp_path / "run", kind.losses, []
    for before in STAGES[: STAGES.index(stage)]:
        shutil.copytree(run.path / before, path / before)
    (path / "run.json").write_text(json.dumps({**run.about, "finished": None}))

    def stopping(self: Any, batch: Any) -> Any:
        if self.training and self.mark["stage"] == stage:
            calls.append(stage)
            if len(calls) == at:
                raise Stopped
        return losses(self, batch)

    with monkeypatch.context() as patch, lightning_warns(), pytest.raises(Stopped):
        patch.setattr(kind, "losses", stopping)
        train_system(SYSTEM, replace(TOY, save_every_min=0), path, str(data))
    assert (path / stage / "last.ckpt").exists() and not (path / stage / "finished").exists()
    with lightning_warns():
        done = train_system(SYSTEM, TOY, path, str(data))
    for name in STAGES:
        alone, again = stage_weights(run, name), stage_weights(open_run(path), name)
        assert alone.keys() == again.keys()
        assert all(torch.equal(value, again[key]) for key, value in alone.items()), name
    assert done.metrics() == run.metrics()


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": "none"},
        {"mask": "none", "focus": 0.0},
        {"mask": "none", "balance": "weighted"},
        {"mask": "none", "balance": "none"},
        {"mask": "threshold", "threshold": 0.01},
        {"mask": "batch", "batch": 8, "one_cycle": 0.3},
    ],
    ids=str,
)
def test_every_ablation_shares_a_teacher(
    changes: dict[str, Any], run: RunFolder, data: Path, tmp_path: Path
) -> None:
    options = replace(TOY, **{"epochs": 1, "teacher": str(run.path), **changes})
    with lightning_warns():
        done = train_system(SYSTEM, options, tmp_path / "run", str(data))
    assert [stage for stage in STAGES if (done.path / stage).exists()] == ["expression"]
    assert ("masked" in done.curves("expression")) == (options.mask != "none")
    assert len(done.metrics()["tables"]) == (3 if options.mask != "none" else 1)


def learner_of(run: RunFolder, data: Path, **changes: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """The last stage's learner, and a batch of its training."""
    options = replace(TOY, teacher=str(run.path), **changes)
    stage = SYSTEM.stages(options, SYSTEM.data(options, str(data)), run)[-1]
    loader = loader_of(stage.train(), options, training=True, alike=stage.alike)
    learner: Any = stage.learner()
    learner.mark = {}
    return learner, next(iter(loader))


def test_a_masked_face_teaches_nothing(
    run: RunFolder, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its label can be anything: eq. 11 does not see it."""
    learner, batch = learner_of(run, data, dropout=0.0)
    mask = torch.arange(16) % 2
    monkeypatch.setattr(ExpressionLearner, "mask", lambda self, picture: mask)
    other = {**batch, "target": batch["target"].clone()}
    other["target"][mask == 0] = batch["target"][mask == 0].roll(1, 1)
    loss, changed = learner.losses(batch)[0], learner.losses(other)[0]
    assert torch.equal(loss, changed) and loss > 0
    other["target"][1] = batch["target"][1].roll(1, 0)
    assert not torch.equal(loss, learner.losses(other)[0])


def test_masks_follow_the_threshold_and_leave_the_network_alone(run: RunFolder, data: Path) -> None:
    loose, batch = learner_of(run, data, mask="threshold", threshold=1e3)
    strict, _ = learner_of(run, data, mask="threshold", threshold=0.0)
    picture, before = grey_picture(batch["crop"]), dict(loose.network.state_dict())
    before = {name: value.clone() for name, value in before.items()}
    assert loose.train().mask(picture).all() and not strict.mask(picture).any()
    assert loose.network.training and not loose.generator.autoencoder.training
    assert all(torch.equal(v, before[k]) for k, v in loose.network.state_dict().items())
    even, _ = learner_of(run, data)
    assert 0 < float(even.mask(picture).mean()) < 1


def test_batches_hold_as_many_of_every_class(run: RunFolder, data: Path) -> None:
    counts = torch.bincount(learner_of(run, data)[1]["target"].argmax(1), minlength=8)
    assert counts.tolist() == [2] * 8
    with pytest.raises(OptionsWrong, match=r"batch is 12: .* multiple of the 8 classes"):
        learner_of(run, data, batch=12)


def test_more_noise_means_more_divergence(run: RunFolder, data: Path) -> None:
    network, faces = trained_network(SYSTEM, run, 8), load_splits("fer2013plus", str(data)).test
    found = [
        divergences(network, neighbour_generator(TOY.autoencoder_size, scale, run), faces, 32)  # type: ignore[arg-type]
        for scale in (0.1, 2.0)
    ]
    assert 0 < found[0].mean() < found[1].mean()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mask": "all"}, "mask 'all': there are none, threshold, batch"),
        ({"balance": "even"}, "balance 'even'"),
        ({"crop_px": 40}, "multiple of 16"),
        ({"widths": (3, 4)}, "it must be 5 numbers"),
        ({"perceived_weights": (1.0, 1.0)}, "it must be three numbers from 0 on"),
        ({"perceived_weights": (1.0, -1.0, 1.0)}, "it must be three numbers from 0 on"),
        ({"clip": 0.0}, "clip is 0.0: it must be above 0"),
        ({"dropout": 1.0}, "below 1"),
        ({"autoencoder_batch": 9, "accumulate": 2}, "autoencoder_batch 9 cannot be split"),
    ],
)
def test_wrong_options_end_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsWrong, match=said) as caught:
        replace(TOY, **changes)
    assert "\n" not in str(caught.value)


def test_a_teacher_must_have_an_autoencoder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(
        json.dumps({"system": "neighborhood", "options": {}, "finished": None, "data": {}})
    )
    for teacher, said in ((tmp_path, "has no refined autoencoder"), (tmp_path / "x", "is no run")):
        options = replace(TOY, teacher=str(teacher))
        with pytest.raises(RunUnfinished, match=said) as caught:
            train_system(SYSTEM, options, tmp_path / said, str(data))
        assert "\n" not in str(caught.value)


def test_the_run_becomes_a_bundle_that_plays(run: RunFolder, data: Path, tmp_path: Path) -> None:
    cli.export(run.path, tmp_path / "bundle", str(data))
    with Recognizer(tmp_path / "bundle", threads=1) as recognizer:
        results = [recognizer.process(frame) for frame in islice(open_source("sample").frames(), 3)]
    (face,) = results[-1].faces
    assert sum(face.emotions.basic8.values()) == pytest.approx(1, abs=1e-4)
