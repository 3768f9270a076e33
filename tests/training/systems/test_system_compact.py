"""The default bundle's network as a system: its stages, what it takes over, export, stops."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources import open_source
from ferstream.training import cli
from ferstream.training.datasets.face_splits import Splits, load_splits
from ferstream.training.datasets.synthetic.expressions import ARKIT_NAMES
from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.run_folder import RunFolder, open_run, start_run
from ferstream.training.learning.system import loader_of, open_system, train_system, trained_network
from ferstream.training.systems.compact import (
    BEFORE,
    BLENDSHAPES,
    JOINT,
    CompactLearner,
    CompactOptions,
    compact_faces,
    compact_network,
    compact_stages,
    told_blendshapes,
)
from tests.training.conftest import lightning_warns
from tests.training.toy_runs import stage_weights, train_by_command
from tests.training.unit_layout import write_prepared

TOY: dict[str, Any] = {
    "epochs": 2,
    "blendshape_epochs": 1,
    "word_weight": 0.12,
    "beside": "wild",
    "pretrain": "fer2013plus",
    "pretrain_epochs": 1,
    "batch": 24,
    "rate": 0.01,
    "precision": "fp32",
    "average_decay": 0.5,
    "segmentation_weight": 0.5,
    "component_weight": 0.5,
    "segmentation_width": 8,
}


def weights(run: RunFolder, stage: str) -> dict[str, torch.Tensor]:
    """By their names in the network."""
    learned = stage_weights(run, stage)
    return {name.removeprefix("network."): value for name, value in learned.items()}


@pytest.fixture(scope="module")
def done(judged_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    with lightning_warns():
        return train_by_command(
            "compact", tmp_path_factory.mktemp("compact") / "run", judged_dir, TOY
        )


@pytest.fixture(scope="module")
def bundle(done: RunFolder, judged_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "compact"
    cli.export(done.path, out, str(judged_dir))
    return load_bundle(out)


@pytest.fixture(scope="module")
def data(judged_dir: Path) -> Splits:
    return load_splits("fer2013plus", str(judged_dir))


def test_a_run_learns_all_that_it_was_asked_to(done: RunFolder, data: Splits) -> None:
    metrics, found = done.metrics(), done.predictions()
    guess = found["test_logits"].argmax(1)
    assert metrics["test"]["top1"] == pytest.approx((guess == data.test.label).mean())
    company = {"loss_blendshapes", "loss_segmentation", "loss_components"}
    scales = {"loss_expression", "loss_coarse", "loss_ranking", "loss_words"}
    assert company | scales <= done.curves(BEFORE).keys()
    assert company | scales <= done.curves(JOINT).keys()
    curves = done.curves(BLENDSHAPES).keys()
    assert company <= curves and not scales & curves and "validation_loss" in curves


def test_a_stopped_run_ends_as_if_it_had_never_been_stopped(
    done: RunFolder, judged_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = CompactLearner.losses

    def stopped(self: Any, batch: Any) -> Any:
        if self.training and self.global_step == 6:
            raise RuntimeError("stopped")
        return losses(self, batch)

    system, options = open_system("compact"), CompactOptions(**TOY, save_every_min=0)
    with monkeypatch.context() as patched, lightning_warns(), pytest.raises(RuntimeError):
        patched.setattr(CompactLearner, "losses", stopped)
        train_system(system, options, tmp_path / "run", str(judged_dir))
    assert not open_run(tmp_path / "run").finished
    with lightning_warns():
        again = train_system(system, options, tmp_path / "run", str(judged_dir))
    wanted, found = weights(done, JOINT), weights(again, JOINT)
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())
    assert again.metrics() == done.metrics()


def test_stages_go_on_from_all_but_the_heads(done: RunFolder, judged_dir: Path) -> None:
    """The heads' labels may be another set's: they start afresh."""
    options = CompactOptions(**TOY)
    stages = compact_stages(options, compact_faces(options, str(judged_dir)), done)
    assert [stage.name for stage in stages] == [BEFORE, BLENDSHAPES, JOINT]
    torch.manual_seed(0)
    fresh = compact_network(options, 8).state_dict()
    for before, stage in zip((BEFORE, BLENDSHAPES), stages[1:], strict=True):
        learned, begun = weights(done, before), stage.learner().network.state_dict()
        for name, value in begun.items():
            head = name.startswith(("head", "coarse_head"))
            assert torch.equal(value, (fresh if head else learned)[name]), name


def test_the_head_says_of_features_what_the_network_says_of_crops(
    done: RunFolder, data: Splits
) -> None:
    network: Any = trained_network(open_system("compact"), done, 8)
    crops = torch.from_numpy(data.test.crops(48)[:5])
    out = network.recognise(crops)
    torch.testing.assert_close(network.head(out.feature), out.logits)
    looked, units, zoom = network.look(crops)
    torch.testing.assert_close(looked.logits, out.logits)
    torch.testing.assert_close(units.logit(), network(crops).blendshapes)
    assert units.shape == (5, 52) and 0 <= float(zoom.min()) <= float(zoom.max()) <= 1


def test_a_bundle_plays_the_sample(bundle: Bundle) -> None:
    assert bundle.manifest.crop.px == 48 and bundle.manifest.name == "compact"
    with Recognizer(bundle, threads=1) as recognizer:
        results = [recognizer.process(frame) for frame in islice(open_source("sample").frames(), 3)]
    (face,) = results[-1].faces
    assert sum(face.emotions.basic8.values()) == pytest.approx(1, abs=1e-4)
    units = bundle.manifest.head("au")
    assert units.labels == ARKIT_NAMES and units.supervision == "weakly supervised"
    values = face.blendshape_values
    assert values.shape == (52,) and 0 < values.min() <= values.max() < 1


def test_faces_without_blendshapes_are_learned_from_without(data: Splits, tmp_path: Path) -> None:
    some = data.train.take(np.arange(60))
    folder = write_prepared(tmp_path / "set", some, (), ("happiness", "anger"))
    estimated = compact_faces(CompactOptions(faces=str(folder)), None)
    assert estimated.train.blendshapes is not None and estimated.validation.blendshapes is not None
    _, how, note = told_blendshapes(CompactOptions(faces=str(folder)))
    assert how == "weakly supervised" and "the default bundle estimates" in note
    with pytest.raises(OptionsWrong, match="has no judged faces"):
        compact_faces(CompactOptions(faces=str(folder), blendshape_weight=0, word_weight=1), None)
    options = CompactOptions(faces=str(folder), blendshape_weight=0.0, batch=8)
    assert told_blendshapes(options)[:2] == ((), "derived")
    _, how, note = told_blendshapes(CompactOptions(faces=str(folder), pretrain="synthetic"))
    assert how == "trained" and "synthetic" in note and str(folder) not in note
    faces = compact_faces(options, None)
    run = start_run(tmp_path / "run", "compact", options, faces.about())
    (stage,) = compact_stages(options, faces, run)
    learner: Any = stage.learner()
    batch = next(iter(loader_of(stage.train(), options, training=True)))
    loss, parts = learner.losses(batch)
    assert parts.keys() == {"expression", "coarse", "ranking"}
    torch.autograd.backward(loss)
    assert all(p.grad is not None for p in learner.parameters() if p.requires_grad)
    _, units, _ = learner.network.look(batch["crop"])
    assert units.shape == (len(batch["crop"]), 0)


def test_the_losses_are_added_with_their_weights(done: RunFolder, judged_dir: Path) -> None:
    changes = {"coarse_weight": 0.3, "ranking_weight": 0.7, "blendshape_weight": 3.0}
    changes |= {"segmentation_weight": 0.2, "component_weight": 0.4, "word_weight": 0.6}
    options = CompactOptions(**{**TOY, **changes})
    stages = compact_stages(options, compact_faces(options, str(judged_dir)), done)
    batch = next(iter(loader_of(stages[-1].train(), options, training=True)))
    loss, parts = stages[-1].learner().losses(batch)
    weight = {"expression": 1.0, "coarse": 0.3, "ranking": 0.7, "blendshapes": 3.0}
    weight |= {"segmentation": 0.2, "components": 0.4, "words": 0.6, "fine": 0.6}
    weight |= {"affect": 0.5}
    assert parts.keys() == weight.keys()
    wanted = torch.stack([weight[name] * part for name, part in parts.items()]).sum()
    torch.testing.assert_close(loss, wanted)


def test_a_few_steps_learn_a_batch(done: RunFolder, judged_dir: Path) -> None:
    """All losses together fall; the blendshapes' stage leaves every head but its own alone."""
    options = CompactOptions(**TOY)
    stages = compact_stages(options, compact_faces(options, str(judged_dir)), done)
    for stage in stages[1:]:
        learner: Any = stage.learner().train()
        batch = next(iter(loader_of(stage.train(), options, training=True)))
        optimizer = torch.optim.AdamW(learner.parameters(), lr=0.002)
        found = []
        for _ in range(8):
            loss, _ = learner.losses(batch)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            found.append(loss.item())
        assert found[-1] < 0.8 * found[0]
        network = learner.network
        heads = (network.head, network.coarse_head, network.judged.words)
        assert all((head.weight.grad is None) == (stage.name == BLENDSHAPES) for head in heads)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"augmentation": "poor"}, "there are crops, rich, varied, corners"),
        ({"rate": 0.0}, "rate is 0.0: it must be above 0"),
        ({"warmup": 1.0}, "warmup is 1.0: it must be below 1"),
        ({"segmentation_weight": -0.1}, "segmentation_weight is -0.1: it must be 0 or more"),
        ({"pretrain_epochs": 0}, "pretrain_epochs is 0: it must be 1 or more"),
    ],
)
def test_wrong_options_end_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsWrong, match=said) as caught:
        CompactOptions(**{**TOY, **changes})
    assert "\n" not in str(caught.value)
