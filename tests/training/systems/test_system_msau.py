"""MSAU-Net by its one command at toy size: both trainings, figures, export, stops, ablations."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources import open_source
from ferstream.training import cli
from ferstream.training.datasets.face_splits import Splits, load_splits
from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.run_folder import RunFolder, open_run, start_run
from ferstream.training.learning.system import loader_of, open_system, train_system, trained_network
from ferstream.training.systems.msau import (
    JOINT,
    UNITS,
    JointLearner,
    MsauOptions,
    UnitsLearner,
    msau_stages,
    told_units,
)
from tests.training.conftest import lightning_warns
from tests.training.toy_runs import stage_weights, train_by_command
from tests.training.unit_layout import write_prepared

TOY: dict[str, Any] = {
    "epochs": 2,
    "unit_epochs": 2,
    "batch": 24,
    "precision": "fp32",
    "crop_px": 74,
    "grid": 4,
    "stem": 3,
    "middle": 4,
    "last": 8,
    "hidden": 16,
    "full": 12,
    "optimizer": "adamw",
    "rate": 2e-3,
}
FEATURES = 2 * (12 + 8)


def weights(run: RunFolder, stage: str) -> dict[str, torch.Tensor]:
    """By their names in the network."""
    learned = stage_weights(run, stage)
    return {name.removeprefix("network."): value for name, value in learned.items()}


@pytest.fixture(scope="module")
def done(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    with lightning_warns():
        return train_by_command("msau", tmp_path_factory.mktemp("msau") / "run", tiny_dir, TOY)


@pytest.fixture(scope="module")
def bundle(done: RunFolder, tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "msau"
    cli.export(done.path, out, str(tiny_dir))
    return load_bundle(out)


@pytest.fixture(scope="module")
def data(tiny_dir: Path) -> Splits:
    return load_splits("fer2013plus", str(tiny_dir))


def test_a_run_tells_figures_units_and_where_it_looks(done: RunFolder, data: Splits) -> None:
    metrics, found = done.metrics(), done.predictions()
    guess, label = found["test_logits"].argmax(1), data.test.label
    assert metrics["test"]["top1"] == pytest.approx((guess == label).mean())
    # Disgust (5) and contempt (7) are anger (4), neutral is itself.
    above = np.array([0, 1, 2, 3, 4, 4, 6, 4])
    assert metrics["test"]["basic_top1"] == pytest.approx((above[guess] == above[label]).mean())
    units, places = metrics["tables"].values()
    assert [row[0] for row in units["rows"]][:3] == ["AU1", "AU2", "AU4"]
    assert 0 <= metrics["test"]["unit_f1"] <= 1
    shares = [int(cell.removesuffix(" %")) for cell in places["rows"][0][1:]]
    assert [row[0] for row in places["rows"]] == list(data.labels) and abs(sum(shares) - 100) < 3
    sheet = cv2.imread(str(done.path / "zoom.png"))
    assert sheet is not None and (sheet.max(2).astype(int) - sheet.min(2) > 100).mean() > 0.01
    assert "Where the second scale looks" in (done.path / "report.html").read_text("utf-8")
    assert {"loss_leaves", "loss_basic", "loss_ranking"} <= done.curves(JOINT).keys()
    assert {"loss_coarse", "loss_fine", "validation_loss"} <= done.curves(UNITS).keys()


def test_the_second_training_leaves_detection_as_the_first_made_it(done: RunFolder) -> None:
    """Weights of convolutions, regions and units, and batch normalisation's statistics (IV-A)."""
    before, after = weights(done, UNITS), weights(done, JOINT)
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    fixed = {name for name in before if "trunk" in name or ".units." in name}
    assert fixed == same and any("running_mean" in name for name in fixed)
    torch.manual_seed(0)
    fresh = open_system("msau").network(MsauOptions(**TOY), 8).state_dict()
    for name, value in fresh.items():
        idle = "heads" in name or name.endswith("num_batches_tracked")
        assert torch.equal(before[name], value) == idle or "running" in name or "batches" in name


@pytest.mark.parametrize(("learner", "step"), [(UnitsLearner, 2), (JointLearner, 5)])
def test_a_stopped_run_ends_as_if_it_had_never_been_stopped(
    learner: Any,
    step: int,
    done: RunFolder,
    tiny_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = learner.losses

    def stopped(self: Any, batch: Any) -> Any:
        if self.training and self.global_step == step:
            raise RuntimeError("stopped")
        return losses(self, batch)

    system, options = open_system("msau"), MsauOptions(**TOY, save_every_min=0)
    with monkeypatch.context() as patched, lightning_warns(), pytest.raises(RuntimeError):
        patched.setattr(learner, "losses", stopped)
        train_system(system, options, tmp_path / "run", str(tiny_dir))
    assert not open_run(tmp_path / "run").finished
    with lightning_warns():
        again = train_system(system, options, tmp_path / "run", str(tiny_dir))
    wanted, found = weights(done, JOINT), weights(again, JOINT)
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())
    assert again.metrics() == done.metrics()


def test_the_head_says_of_features_what_the_network_says_of_crops(
    done: RunFolder, data: Splits
) -> None:
    network: Any = trained_network(open_system("msau"), done, 8)
    assert network.features == FEATURES
    out = network.recognise(torch.from_numpy(data.test.crops(74)[:5]))
    torch.testing.assert_close(network.head(out.feature), out.logits)


def test_a_bundle_plays_the_sample(bundle: Bundle, done: RunFolder) -> None:
    """The crop is magnified within the graph."""
    assert bundle.manifest.crop.px == 74 and bundle.manifest.name == "msau"
    assert bundle.manifest.measured["basic8"]["n"] == 96
    with Recognizer(bundle, threads=1) as recognizer:
        results = [recognizer.process(frame) for frame in islice(open_source("sample").frames(), 3)]
    (face,) = results[-1].faces
    assert sum(face.emotions.basic8.values()) == pytest.approx(1, abs=1e-4)
    units = bundle.manifest.head("au")
    assert units.labels[:2] == ("AU1", "AU2") and units.supervision == "weakly supervised"
    values = face.blendshape_values
    assert values.shape == (12,) and 0 < values.min() <= values.max() < 1


def stepped(
    path: Path, data: Splits, changes: dict[str, Any]
) -> dict[str, tuple[dict[str, float], Any]]:
    """One step of each stage's learner; the stages' loss parts and learners by name."""
    options = MsauOptions(**{**TOY, "unit_epochs": 1, **changes})
    run = start_run(path, "msau", options, data.about())
    found = {}
    for stage in msau_stages(options, data, run):
        learner = stage.learner()
        learner.on_train_start()
        batch = next(iter(loader_of(stage.train(), options, training=True)))
        loss, parts = learner.losses(batch)
        torch.autograd.backward(loss)
        torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], 1e-3).step()
        found[stage.name] = ({n: float(p.detach()) for n, p in parts.items()}, learner)
        run.stage(stage.name).mkdir(parents=True)
        state = {f"network.{n}": v for n, v in learner.network.state_dict().items()}
        mark = {"system": "msau", "stage": stage.name}
        torch.save({"state_dict": state, "ferstream": mark}, run.checkpoint(stage.name))
    return found


@pytest.mark.parametrize(
    ("changes", "stages", "parts"),
    [
        ({"variant": "plain-cnn"}, {JOINT}, {"leaves"}),
        ({"variant": "au-cnn"}, {UNITS, JOINT}, {"leaves"}),
        ({"variant": "au-z-cnn"}, {UNITS, JOINT}, {"leaves", "ranking"}),
        ({"regions": 3}, {UNITS, JOINT}, {"leaves", "basic", "ranking"}),
        (
            {"unit_detection": "learning", "balance": 0.0},
            {UNITS, JOINT},
            {"leaves", "basic", "ranking", "units"},
        ),
    ],
    ids=["plain-cnn", "au-cnn", "au-z-cnn", "three regions", "units learning"],
)
def test_every_variant_has_its_stages_and_losses(
    changes: dict[str, Any], stages: set[str], parts: set[str], data: Splits, tmp_path: Path
) -> None:
    """Table II, V-E, and the two readings of the second training."""
    found = stepped(tmp_path / "run", data, changes)
    assert found.keys() == stages
    losses, learner = found[JOINT]
    assert losses.keys() == parts
    branch = learner.network.coarse
    learns = any(p.requires_grad and p.grad is not None for p in branch.trunk.parameters())
    assert learns == (changes.get("variant") == "plain-cnn" or "unit_detection" in changes)
    assert learns == branch.trunk.training
    assert len(learner.network.fine) == (
        changes.get("regions", 1) if "cnn" not in str(changes) or "z" in changes["variant"] else 0
    )


def test_units_may_be_learned_from_another_set(data: Splits, tmp_path: Path) -> None:
    """Their faces know AU12 alone and no expression; the second training is on the faces."""
    folder = write_prepared(tmp_path / "disfa", data.train.take(np.arange(60)), ("AU12",))
    found = stepped(tmp_path / "run", data, {"units": str(folder)})
    _, learner = found[UNITS]
    gradient = learner.network.coarse.units.weight.grad
    at = MsauOptions().unit_names.index("AU12")
    assert gradient[at].abs().sum() > 0
    assert gradient.abs().sum() == gradient[at].abs().sum(), "the other units are not known"
    assert found[JOINT][0].keys() == {"leaves", "basic", "ranking"}


def test_a_set_without_units_gets_the_default_bundles(data: Splits, tmp_path: Path) -> None:
    """As `ferstream data prepare RAF-DB` leaves it: expressions and no units."""
    folder = write_prepared(
        tmp_path / "raf", data.train.take(np.arange(60)), (), ("happiness", "sadness", "anger")
    )
    found = stepped(tmp_path / "run", load_splits(str(folder), None), {})
    gradient = found[UNITS][1].network.coarse.units.weight.grad
    assert gradient.abs().sum() > 0
    assert found[JOINT][0].keys() == {"leaves", "basic", "ranking"}
    names, supervision, note = told_units(MsauOptions(faces=str(folder)))
    assert names == MsauOptions().unit_names and supervision == "weakly supervised"
    assert "the default bundle's blendshapes, which are no annotation" in note
    known = write_prepared(
        tmp_path / "known", data.train.take(np.arange(60)), ("AU12",), ("a", "b")
    )
    assert told_units(MsauOptions(faces=str(known)))[1] == "trained"


def test_the_losses_are_added_with_the_papers_weights(data: Splits, tmp_path: Path) -> None:
    paper = MsauOptions()
    assert (paper.leaf_weight, paper.basic_weight, paper.ranking_weight) == (0.5, 0.5, 0.5)
    assert (paper.rate, paper.momentum, paper.weight_decay, paper.batch) == (1e-4, 0.9, 5e-4, 8)
    changes = {"leaf_weight": 0.3, "basic_weight": 0.7, "ranking_weight": 2.0, "dropout": 0.0}
    _, learner = stepped(tmp_path / "run", data, changes)[JOINT]
    rows = torch.arange(4)
    batch = {
        "crop": torch.from_numpy(data.train.crops(74)[:4]),
        "target": torch.from_numpy(data.train.target)[rows],
        "counts": torch.ones(4),
    }
    loss, parts = learner.losses(batch)
    wanted = 0.3 * parts["leaves"] + 0.7 * parts["basic"] + 2 * parts["ranking"]
    torch.testing.assert_close(loss, wanted)
    target_BP = learner.parents_KP.T @ batch["target"].T
    assert target_BP[4].tolist() == pytest.approx(
        batch["target"][:, [4, 5, 7]].sum(1).tolist(), abs=1e-6
    ), "anger, disgust and contempt"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "cnn"}, "variant 'cnn' is unknown: there are plain-cnn, au-cnn"),
        ({"unit_detection": "off"}, "there are fixed, learning"),
        ({"optimizer": "adam"}, "there are sgd, adamw"),
        ({"regions": 6}, "regions is 6: it must be 1 to 5"),
        ({"variant": "au-cnn", "regions": 2}, "looks at nothing closely"),
        ({"crop_px": 75}, "less 10 it must be a multiple of 8"),
        ({"action_units": (1, 1)}, "each once"),
        ({"rate": 0.0}, "rate is 0.0: it must be above 0"),
        ({"momentum": 1.0}, "momentum is 1.0: it must be below 1"),
        ({"margin": -0.1}, "margin is -0.1"),
    ],
)
def test_wrong_options_end_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsWrong, match=said) as caught:
        MsauOptions(**{**TOY, **changes})
    assert "\n" not in str(caught.value)


def test_too_few_basic_classes_are_said(data: Splits, tmp_path: Path) -> None:
    with pytest.raises(OptionsWrong, match="give --basic-classes 6"):
        stepped(tmp_path / "run", data, {"basic_classes": 5})
