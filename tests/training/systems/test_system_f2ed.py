"""The system of paper 004 from its one command to a bundle that plays, on a tiny 3D head."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources import open_source
from ferstream.training import cli
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.synthetic import write_packed
from ferstream.training.datasets.task_faces import TaskFaces, load_task, people_of, pose_codes
from ferstream.training.errors import OptionsWrong, RunMismatch
from ferstream.training.learning.draws import Draw
from ferstream.training.learning.run_folder import RunFolder
from ferstream.training.learning.system import train_system
from ferstream.training.papers.f2ed.pose_gan import FaPELearner, kept_faces
from ferstream.training.papers.f2ed.pose_images import held_out_pairs, pairs_to_learn, with_made
from ferstream.training.systems.f2ed import (
    SYSTEM,
    F2edOptions,
    FaNetLearner,
    f2ed_faces,
    f2ed_stages,
)
from tests.training.conftest import lightning_warns
from tests.training.layout import write_layout
from tests.training.tiny_head import tiny_kit
from tests.training.toy_runs import stage_weights, train_by_command

TOY: dict[str, Any] = {
    **{"limit": 216, "epochs": 2, "batch": 64, "crop_px": 32, "gan_epochs": 1, "gan_batch": 16},
    **{"gan_width": 4, "gan_blocks": 1, "layers": 9, "widths": (4, 4, 8, 8, 8), "rate": 1e-3},
    **{"pretrain_epochs": 1, "pretrain_batch": 32, "pretrain_rate": 1e-3, "schedule": "cycle"},
    **{"save_every_min": 0.0, "precision": "fp32", "validation_share": 0.3},
}
STAGES = {"gan", "pretrain", "expressions"}


def toy(**changes: Any) -> F2edOptions:
    """Two epochs of four steps on 216 faces of 32 pixels."""
    return F2edOptions(**{**TOY, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Drawn photographs and a made-up 3D face."""
    place = write_layout(tmp_path_factory.mktemp("f2ed"))
    (place / "ict_facekit").mkdir()
    write_packed(tiny_kit(), place / "ict_facekit" / "ict_facekit.npz")
    return str(place)


@pytest.fixture(scope="module")
def run(folder: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Trained by the one command, never stopped: pose synthesis and pre-training on ER-UP."""
    path = tmp_path_factory.mktemp("runs") / "f2ed"
    options = {**TOY, "pretrain": "synthetic", "protocol": "er-up"}
    with lightning_warns():
        return train_by_command("f2ed", path, folder, options)


def task(folder: str, protocol: str, **changes: Any) -> TaskFaces:
    return f2ed_faces(toy(protocol=protocol, **changes), folder)


def test_one_command_trains_and_measures(run: RunFolder) -> None:
    assert run.finished and all(run.checkpoint(stage).exists() for stage in STAGES)
    metrics, found = run.metrics(), run.predictions()
    assert len(metrics["labels"]) == 54 and found["test_logits"].shape[1] == 54
    hit = found["test_logits"].argmax(1) == found["test_target"].argmax(1)
    assert metrics["test"]["top1"] == pytest.approx(hit.mean())
    assert metrics["test"]["rare_pose_top1"] == pytest.approx(hit.mean()), "er-up tests that alone"
    assert 0 < metrics["test"]["made_l1"] < 1 and 0 < metrics["validation"]["made_l1"] < 1
    gan = run.curves("gan")
    assert {"loss_discriminator", "loss_adversarial", "loss_l1", "validation_loss"} <= gan.keys()
    ((_, total),), ((_, l1),) = gan["loss"], gan["loss_l1"]
    assert total == pytest.approx(gan["loss_adversarial"][0][1] + 10 * l1, rel=1e-4), "eq. 3"
    assert run.about["data"]["pretraining"] == "216 faces of synthetic"


def test_the_report_tells_of_the_task(run: RunFolder) -> None:
    tables = run.metrics()["tables"]
    rows = {row[0]: row[1:] for row in tables["The task (paper 004, section 4.1)"]["rows"]}
    made, wanted = kept_faces(run)
    assert rows["faces that FaPE-GAN made"][0] == f"{len(made):,}" and len(made) > 54
    assert len(made) == len(wanted.source) and made.std() > 5
    assert int(rows["of them known from training or validation"][-1]) > 0
    assert [row[0] for row in tables["Pose by pose"]["rows"]] == ["half_left"]
    assert len(tables["The rarest fifth of the expressions"]["rows"]) == 11
    sheet = cv2.imread(str(run.path / "samples.png"))
    assert sheet is not None and sheet.std() > 30
    page = (run.path / "report.html").read_text("utf-8")
    assert "FaPE-GAN on held-out faces (test)" in page and "Pose by pose" in page


def test_the_bundle_plays(run: RunFolder, folder: str, tmp_path: Path) -> None:
    cli.export(run.path, tmp_path / "bundle", folder)
    with Recognizer(tmp_path / "bundle", threads=1) as recognizer:
        results = [recognizer.process(frame) for frame in islice(open_source("sample").frames(), 3)]
    (face,) = results[-1].faces
    assert sum(face.emotions.basic8.values()) == pytest.approx(1, abs=1e-4)
    assert len(face.emotions.top(10)) == 10


def test_a_stopped_run_ends_as_if_it_had_never_been(
    run: RunFolder, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped within FaPE-GAN's training, then within Fa-Net's second one; equal in every bit."""

    class Stopped(Exception):
        pass

    def stopping(learner: type, calls: int, losses: Callable[..., Any]) -> None:
        left = [calls]

        def stop(self: Any, batch: Any) -> Any:
            left[0] -= self.training
            if left[0] < 0:
                raise Stopped
            return losses(self, batch)

        monkeypatch.setattr(learner, "losses", stop)

    options = toy(protocol="er-up", pretrain="synthetic")
    for learner, calls in ((FaPELearner, 3), (FaNetLearner, 6 + 2)):
        stopping(learner, calls, learner.losses)
        with lightning_warns(), pytest.raises(Stopped):
            train_system(SYSTEM, options, tmp_path / "run", folder)
        monkeypatch.undo()
    kept = (tmp_path / "run" / "gan" / "made.npz").stat().st_mtime_ns
    with lightning_warns():
        done = train_system(SYSTEM, options, tmp_path / "run", folder)
    assert (tmp_path / "run" / "gan" / "made.npz").stat().st_mtime_ns == kept, "the same made faces"
    for stage in STAGES:
        alone, stopped = stage_weights(run, stage), stage_weights(done, stage)
        assert all(torch.equal(value, stopped[name]) for name, value in alone.items()), stage
    assert done.metrics() == run.metrics()
    other = replace(options, pretrain="synthetic:fg33")
    with pytest.raises(RunMismatch, match="pretrain"):
        train_system(SYSTEM, other, tmp_path / "run", folder)


@pytest.mark.parametrize(
    ("protocol", "in_test"), [("er-ss", 54), ("er-ue", 11), ("er-up", 54), ("er-zid", 54)]
)
def test_protocols_cut_one_pool(folder: str, protocol: str, in_test: int) -> None:
    given = load_splits("synthetic:f2ed54:poses", folder, limit=216)
    data = task(folder, protocol)
    parts = (data.train, data.validation, data.test)
    names = [set(part.names) for part in parts]
    assert sum(map(len, names)) == len(set.union(*names)) == 324, "no face is in two parts"
    assert set.union(*names) == {*given.train.names, *given.validation.names, *given.test.names}
    assert len(set(data.test.label.tolist())) <= in_test
    trained = {*people_of(data.train).tolist(), *people_of(data.validation).tolist()}
    assert data.leaked == len(trained & set(people_of(data.test).tolist()))
    assert (data.leaked == 0) == (protocol == "er-zid")
    if protocol == "er-ue":
        assert set(data.rare) == set(data.test.label.tolist())
    if protocol == "er-up":
        assert set(pose_codes(data.test)[0]) == {"half_left"}


def test_the_generator_sees_training_faces_alone(folder: str) -> None:
    """Its pairs are rows of the training part; what it is measured on never was an answer."""
    data = task(folder, "er-up")
    pairs = pairs_to_learn(data.train, 0)
    assert max(pairs.source.max(), pairs.target.max()) < len(data.train) == len(pairs.source)
    held = held_out_pairs(data.train, data.test, 40, 0)
    assert held is not None
    faces, few = held
    assert len(few.target) == 40 and (few.target >= len(data.train)).all()
    assert (faces.label[few.source] == faces.label[few.target]).all()
    assert (people_of(faces)[few.source] == people_of(faces)[few.target]).all()
    stage = f2ed_stages(toy(protocol="er-up"), data, RunFolder(Path("none"), {}))[0]
    assert stage.name == "gan" and stage.batch == 16
    item = stage.train()[Draw(3, 1)]
    assert {name: tuple(v.shape) for name, v in item.items()} == {
        "face": (1, 32, 32), "pose": (1, 32, 32), "wanted": (1, 32, 32), "counts": ()
    }  # fmt: skip
    assert -1 <= item["face"].min() < item["face"].max() <= 1


def test_made_faces_fill_up_the_rare_pose(run: RunFolder, folder: str) -> None:
    data = f2ed_faces(toy(protocol="er-up", pretrain="synthetic"), folder)
    made, wanted = kept_faces(run)
    whole = with_made(data.train, made, wanted)
    assert len(whole) == len(data.train) + len(made)
    turned = whole.take(np.arange(len(data.train), len(whole)))
    assert (turned.label == data.train.label[wanted.source]).all()
    names, codes = pose_codes(whole)
    counts = np.zeros((54, len(names)), int)
    np.add.at(counts, (whole.label, codes), 1)
    assert (counts.min(1) == counts.max(1)).all(), "every pose of an expression is as frequent"
    assert np.array_equal(turned.crop(0, 32), made[0]), "made faces are aligned already"
    before, codes = pose_codes(data.train)
    assert names.index("half_left") == before.index("half_left")
    most = np.bincount(pose_codes(turned)[1], minlength=len(names)).argmax()
    assert pose_codes(turned)[0][int(most)] == "half_left"


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "er-ss", "synthesis": "no", "schedule": "steps", "layers": 29},
        {"protocol": "er-zid", "made_most": 2},
        {"faces": "fer2013plus", "protocol": "none", "synthesis": "no", "augmentation": "rich"},
        {"faces": "fer2013plus", "protocol": "none", "synthesis": "no", "pretrain": "synthetic"},
    ],
)
def test_every_variant_trains(folder: str, tmp_path: Path, changes: dict[str, Any]) -> None:
    options = toy(**{"epochs": 1, **changes})
    with lightning_warns():
        run = train_system(SYSTEM, options, tmp_path / "run", folder)
    stages = {stage for stage in STAGES if run.stage(stage).exists()}
    gan = options.synthesis == "yes"
    wanted = {"expressions": True, "gan": gan, "pretrain": bool(options.pretrain)}
    assert stages == {stage for stage, there in wanted.items() if there}
    assert gan == (run.stage("gan") / "made.npz").exists() == (run.path / "samples.png").exists()
    assert run.metrics()["test"]["n"] > 0
    assert json.loads((run.path / "run.json").read_text())["data"]["protocol"] == options.protocol
    (falls,) = {stage.learner().recipe.decay_epochs for stage in f2ed_stages(
        replace(options, epochs=31), f2ed_faces(options, folder), run)[-1:]}  # fmt: skip
    assert falls == ((10, 20, 30) if options.schedule == "steps" else ())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": "er-xx"}, "there are er-ss, er-ue, er-up, er-zid, none"),
        ({"synthesis": "maybe"}, "there are yes, no"),
        ({"crop_px": 40}, "multiple of 16"),
        ({"layers": 12}, "9 or 29"),
        ({"widths": (4, 4)}, "five numbers"),
        ({"validation_share": 1.0}, "below 1"),
        ({"gan_rate": 0.0}, "above 0"),
    ],
)
def test_wrong_options_end_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsWrong, match=said) as caught:
        toy(**changes)
    assert "\n" not in str(caught.value)


def test_faces_must_know_what_the_task_asks_for(folder: str, tmp_path: Path) -> None:
    for changes, said in (
        ({"protocol": "er-up"}, "from where faces are seen"),
        ({"protocol": "er-zid"}, "whose faces these are"),
        ({"protocol": "none"}, "from where faces are seen: choose --protocol none and --synthesis"),
    ):
        with pytest.raises(OptionsWrong, match=said):
            train_system(SYSTEM, toy(faces="fer2013plus", **changes), tmp_path / "run", folder)
    with pytest.raises(OptionsWrong, match=r"no face of .* has the pose 'behind': there are bird"):
        task(folder, "er-up", rare_pose="behind")
    with pytest.raises(OptionsWrong, match="nothing to pair"):
        front = load_task("synthetic", folder, "none", rare_pose="", validation_share=0.1, limit=80)
        pairs_to_learn(front.train, 0)
