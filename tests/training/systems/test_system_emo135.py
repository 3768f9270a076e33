"""Emo135 (paper 000) at toy size, by its one command, from triplets to a bundle that plays."""

from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import ferstream
from ferstream.engines.bundle import load_bundle
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources import open_source
from ferstream.training import cli
from ferstream.training.datasets.face_splits import Splits, load_splits
from ferstream.training.datasets.label_lists import lists_for
from ferstream.training.datasets.learning_faces import LearningFaces
from ferstream.training.errors import CheckpointForeign, OptionsWrong
from ferstream.training.exporting.image import manifest_of
from ferstream.training.learning.losses import vote_cross_entropy
from ferstream.training.learning.run_folder import RunFolder
from ferstream.training.learning.system import loader_of, open_system, train_system
from ferstream.training.networks.emo135 import CorrelationLayer
from ferstream.training.papers.emo135.embedding import transformed_cross_entropy, triplet_loss
from ferstream.training.papers.emo135.labels import Correlations, load_correlations
from ferstream.training.papers.emo135.similarity import expression_similarity
from ferstream.training.papers.emo135.triplets import FaceTriplets
from ferstream.training.systems.emo135 import VARIANTS, Emo135Options, WordLearner, emo135_stages
from tests.training.conftest import lightning_warns
from tests.training.toy_runs import command_of, stage_weights, train_by_command

TOY: dict[str, Any] = {
    "epochs": 2,
    "batch": 16,
    "crop_px": 32,
    "widths": (8, 16),
    "blocks": 1,
    "rate": 0.05,
    "triplet_batch": 16,
    "embedding_epochs": 1,
    "embedding_rate": 2e-3,
    "threshold": 0.01,
    "precision": "fp32",
    "save_every_min": 0.0,
}


def toy(**changes: Any) -> Emo135Options:
    return Emo135Options(**{**TOY, **changes})


@pytest.fixture(scope="module")
def run(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run, never stopped."""
    path = tmp_path_factory.mktemp("emo135") / "run"
    with lightning_warns():
        return train_by_command("emo135", path, tiny_dir, TOY)


def found_in(run: RunFolder) -> Correlations:
    found = load_correlations(run.path)
    assert found is not None
    return found


def test_both_stages_were_trained_and_measured(run: RunFolder) -> None:
    metrics = run.metrics()
    accuracy = run.curves("embedding")["triplet_accuracy"][-1][1]
    assert metrics["validation"]["triplet_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert run.curves("words")["top1"][-1][1] == pytest.approx(metrics["validation"]["top1"])
    assert metrics["test"]["n"] == 96 and 0 <= metrics["test"]["macro_f1"] <= 1
    assert 0.2 < metrics["test"]["triplet_accuracy"] <= 1
    report = (run.path / "report.html").read_text("utf-8")
    for title in metrics["tables"]:
        assert title.split(" (")[0] in report
    picture = cv2.imread(str(run.path / "f_exp.png"))
    assert picture is not None and picture.std() > 5


def test_cleaning_is_told_label_by_label(run: RunFolder, tiny_dir: Path) -> None:
    """Algorithm 1 took faces away, no label lost all of its own, and the table adds up."""
    found, train = found_in(run), load_splits("fer2013plus", str(tiny_dir)).train
    assert 0 < found.removed < 1
    left = np.bincount(train.label[found.keep], minlength=8)
    assert left.min() >= min(11, np.bincount(train.label).min())
    plainly = found.keep & ~found.rescued
    assert (found.distance[plainly] < 0.01).all() and (found.distance[~found.keep] >= 0.01).all()
    whole, *labels = run.metrics()["tables"]["Cleaning (Algorithm 1, sigma 0.01)"]["rows"]
    assert int(whole[2]) == sum(int(row[2]) for row in labels) == int((~found.keep).sum())
    assert (run.path / "removed.png").is_file()


def test_the_correlation_layers_begin_as_f_exp_and_learn(run: RunFolder, tiny_dir: Path) -> None:
    found, data = found_in(run), load_splits("fer2013plus", str(tiny_dir))
    assert np.allclose(found.similarity, expression_similarity(found.hausdorff))
    assert np.allclose(found.similarity.sum(1), 1) and np.allclose(found.similarity.diagonal(), 0.5)
    learner = emo135_stages(toy(), data, run)[1].learner()
    assert isinstance(learner, WordLearner)
    layers = [part for part in learner.network.modules() if isinstance(part, CorrelationLayer)]
    assert len(layers) == 3
    assert all(np.array_equal(layer.weight.detach(), found.similarity) for layer in layers)
    before, after = stage_weights(run, "embedding"), stage_weights(run, "words")
    for name, value in learner.network.backbone.state_dict().items():
        assert torch.equal(value, before[f"network.{name}"]), "the embedding goes on from stage 1"
    first = "network.backbone.trunk.stem.0.weight"
    assert not torch.equal(after[first], before["network.trunk.stem.0.weight"]), "and is trained"
    name = next(name for name in after if name.endswith("classifier.3.weight"))
    assert not np.allclose(after[name], found.similarity), "so are the correlation layers"


def test_only_kept_faces_teach_the_words(run: RunFolder, tiny_dir: Path) -> None:
    data = load_splits("fer2013plus", str(tiny_dir))
    stages = emo135_stages(toy(), data, run)
    assert [stage.name for stage in stages] == ["embedding", "words"]
    assert len(stages[0].train()) == len(data.train) == 96
    assert len(stages[1].train()) == int(found_in(run).keep.sum()) < 96
    assert len(stages[1].validation()) == 96, "validation is not cleaned"


def test_an_embedding_is_taken_from_another_run(
    run: RunFolder, tiny_dir: Path, tmp_path: Path
) -> None:
    """The same run comes of it: its embedding is the one that it would have trained."""
    options = {**TOY, "embedding": str(run.path)}
    with lightning_warns():
        again = train_by_command("emo135", tmp_path / "again", tiny_dir, options)
    assert not again.stage("embedding").exists()
    one, other = run.predictions(), again.predictions()
    assert np.allclose(one["test_logits"], other["test_logits"], atol=1e-4)
    assert np.array_equal(found_in(run).keep, found_in(again).keep)


def test_an_embedding_of_another_size_is_refused(run: RunFolder, tiny_dir: Path) -> None:
    data = load_splits("fer2013plus", str(tiny_dir))
    with pytest.raises(CheckpointForeign):
        emo135_stages(toy(embedding=str(run.path), widths=(8, 24)), data, run)


@pytest.fixture(scope="module")
def words_run(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on drawn faces that stand, one each, under the 135 words; with vectors of those."""
    folder, tiny = tmp_path_factory.mktemp("words"), load_splits("fer2013plus", str(tiny_dir))
    names, rng = load_taxonomy("emo135").labels, np.random.default_rng(0)
    lines = [" ".join([name, *map(str, rng.normal(size=4).round(3))]) for name in names]
    (folder / "vectors.txt").write_text("\n".join(lines))

    def under_words(faces: LearningFaces) -> LearningFaces:
        shown = faces.take(np.arange(150) % len(faces))
        target = np.eye(len(names), dtype=np.float32)[np.arange(150) % len(names)]
        return dataclasses.replace(shown, labels=names, target=target)

    data = Splits(*(under_words(part) for part in (tiny.train, tiny.validation, tiny.test)))
    system = dataclasses.replace(open_system("emo135"), data=lambda options, folder: data)
    options = toy(epochs=1, batch=50, word_vectors=str(folder / "vectors.txt"))
    with lightning_warns():
        return train_system(system, options, folder / "run", None)


def test_the_papers_words_are_learned_and_measured(words_run: RunFolder) -> None:
    metrics = words_run.metrics()
    test, tables = metrics["test"], metrics["tables"]
    assert 0 <= test["top1"] <= test["top5"] <= test["top10"] <= 1
    near = tables["Word distances to the truth (Table 4)"]
    assert near["head"][1:] == ["top 1", "top 5", "top 10"]
    assert all(0 < float(cell) < 2 for row in near["rows"] for cell in row[1:])
    models = [row[0] for row in tables["Word models (Table 3)"]["rows"]]
    assert models == ["word vectors (vectors.txt)", "words named together, and norms (shipped)"]
    assert found_in(words_run).meaning.min() < 0, "the vectors' cosines, kept with the run"
    manifest = manifest_of(open_system("emo135"), words_run, lists_for(metrics["labels"]), 32, 16)
    assert manifest.head("emo135").supervision == "trained"


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("step", [2, 5])
def test_a_stopped_run_ends_as_if_it_had_not_been(
    run: RunFolder, tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Stopped among the words and taken up: equal in every bit, by the same cleaning."""
    losses, data = WordLearner.losses, str(tiny_dir)

    def stopping(self: WordLearner, batch: Any) -> Any:
        if self.global_step == step:
            raise Stopped
        return losses(self, batch)

    monkeypatch.setattr(WordLearner, "losses", stopping)
    system = open_system("emo135")
    with lightning_warns(), pytest.raises(Stopped):
        train_system(system, toy(), tmp_path / "run", data)
    kept = (tmp_path / "run" / "correlations.npz").stat().st_mtime_ns
    monkeypatch.setattr(WordLearner, "losses", losses)
    with lightning_warns():
        done = train_system(system, toy(), tmp_path / "run", data)
    assert (tmp_path / "run" / "correlations.npz").stat().st_mtime_ns == kept
    for name, value in stage_weights(run, "words").items():
        assert torch.equal(value, stage_weights(done, "words")[name]), name
    assert done.metrics() == run.metrics()


@pytest.fixture(scope="module")
def variants(tiny_dir: Path, run: RunFolder) -> dict[str, tuple[WordLearner, Any]]:
    """A learner of each ablation and a batch."""
    data = load_splits("fer2013plus", str(tiny_dir))
    found = {}
    for variant in VARIANTS:
        stage = emo135_stages(toy(variant=variant), data, run)[1]
        loader = loader_of(stage.train(), toy(), training=True)
        found[variant] = (stage.learner(), next(iter(loader)))
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_has_its_parts_and_learns(
    variants: dict[str, tuple[WordLearner, Any]], variant: str
) -> None:
    learner, batch = variants[variant]
    network, parts = learner.network, VARIANTS[variant]
    layers = [part for part in network.modules() if isinstance(part, CorrelationLayer)]
    assert len(layers) == (3 if parts.layers else 0)
    assert network.features == (16 if parts.embedding else TOY["widths"][-1])
    loss, _ = learner.losses(batch)
    logits, target = network(batch["crop"]), batch["target"]
    if parts.label:
        wanted = transformed_cross_entropy(logits, target, learner.word)
    else:
        wanted = vote_cross_entropy(logits, target, batch["counts"])
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(12):
        optimizer.zero_grad()
        after = learner.losses(batch)[0]
        torch.autograd.backward(after)
        optimizer.step()
    assert after.item() < loss.item()


def test_a_file_of_triplets_teaches_instead(run: RunFolder, tiny_dir: Path, tmp_path: Path) -> None:
    """Those of other splits' faces are not learned from; a foreign name is refused."""
    data, file = load_splits("fer2013plus", str(tiny_dir)), tmp_path / "triplets.csv"
    lines = [",".join(data.train.names[at : at + 3]) for at in range(20)]
    mixed = f"{data.train.names[0]},{data.train.names[1]},{data.validation.names[0]}"
    file.write_text("\n".join([*lines, mixed, ",".join(data.validation.names[:3])]))
    stage = emo135_stages(toy(triplets=str(file)), data, run)[0]
    shown = stage.train()
    assert isinstance(shown, FaceTriplets) and len(shown) == 20 and len(stage.validation()) == 1
    batch = next(iter(loader_of(shown, toy(), training=True)))
    learner = stage.learner()
    points = learner.network(batch["crop"].flatten(0, 1)).unflatten(0, (16, 3))
    wanted = triplet_loss(points[:, 0], points[:, 1], points[:, 2], torch.full((16,), 0.2))
    assert learner.losses(batch)[0].item() == pytest.approx(wanted.item(), rel=1e-4)
    file.write_text("a,b,c\n")
    with pytest.raises(OptionsWrong, match="no image 'a'"):
        emo135_stages(toy(triplets=str(file)), data, run)[0].train()


def test_the_bundle_plays(run: RunFolder, tiny_dir: Path, tmp_path: Path) -> None:
    cli.export(run.path, tmp_path / "bundle", str(tiny_dir))
    bundle = load_bundle(tmp_path / "bundle")
    assert (bundle.manifest.name, bundle.manifest.crop.px) == ("emo135", 32)
    with Recognizer(bundle, threads=1) as recognizer:
        results = [recognizer.process(frame) for frame in islice(open_source("sample").frames(), 2)]
    (face,) = results[-1].faces
    assert sum(face.emotions.basic8.values()) == pytest.approx(1, abs=1e-4)
    assert len(face.emotions.top(10)) == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--variant", "best"], "variant 'best': there are full, no-embedding"),
        (["--cleaning", "maybe"], "cleaning is 'maybe': it must be yes or no"),
        (["--remove", "1.5"], "remove is 1.5: it must be 0 to 1"),
        (["--threshold", "0"], "threshold is 0.0: it must be above 0"),
        (["--word-vectors", "nowhere.txt"], "no file of word vectors at nowhere.txt"),
        (["--ratings", "nowhere.csv"], "no file of rated similarities at nowhere.csv"),
        (["--triplets", "nowhere.csv"], "no file of triplets at nowhere.csv"),
    ],
)
def test_wrong_options_end_in_one_line(
    words: list[str],
    said: str,
    tiny_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="1"):
        ferstream.main([*command_of("emo135", tmp_path / "run", tiny_dir, TOY), *words])
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
