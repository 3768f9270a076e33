"""Faces with several words each: targets, pairs, cleaning, and paper 000's system on them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ferstream.training.datasets.face_splits import Splits, load_splits
from ferstream.training.datasets.judged import GRADES, load_judged_photographs
from ferstream.training.datasets.learning_faces import (
    NAME,
    LearningFaces,
    judged_word_faces,
    kept_faces,
    one_word_each,
    set_targets,
    spread_faces,
)
from ferstream.training.datasets.word_meaning import word_meaning
from ferstream.training.learning.run_folder import RunFolder
from ferstream.training.learning.system import loader_of
from ferstream.training.papers.emo135.figures import meaning_figures, set_figures
from ferstream.training.papers.emo135.labels import find_correlations, load_correlations
from ferstream.training.papers.emo135.similarity import word_matrix
from ferstream.training.systems.emo135 import emo135_stages
from tests.training.conftest import lightning_warns
from tests.training.judged_layout import write_words
from tests.training.systems.test_system_emo135 import TOY, toy
from tests.training.toy_runs import train_by_command


@pytest.fixture(scope="module")
def folder(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = shutil.copytree(tiny_dir, tmp_path_factory.mktemp("words") / "data")
    write_words(place)
    return place


@pytest.fixture(scope="module")
def faces(folder: Path) -> LearningFaces:
    return judged_word_faces("train", folder)


def few(faces: LearningFaces, named: list[list[int]]) -> LearningFaces:
    """The first faces with these words."""
    rows = np.array([[*row, *[-1] * (5 - len(row))] for row in named])
    taken = faces.take(np.arange(len(rows)))
    return replace(taken, named=rows, target=set_targets(rows, len(faces.labels)))


def test_targets_fall_with_the_place() -> None:
    found = set_targets(np.array([[3, 1, -1], [2, -1, -1], [-1, -1, -1]]), 5)
    total = GRADES[0] + GRADES[1]
    expected = np.zeros((3, 5))
    expected[0, 1], expected[0, 3], expected[1, 2] = GRADES[1] / total, GRADES[0] / total, 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_faces_that_show_something(folder: Path, faces: LearningFaces) -> None:
    judged = load_judged_photographs("train", folder)
    assert faces.name == NAME and len(faces.labels) == 135
    assert len(faces) == (judged.judged.basic > 0).sum()
    assert faces.named is not None
    np.testing.assert_array_equal(faces.label, faces.named[:, 0])
    row = int(np.flatnonzero(judged.judged.basic > 0)[4])
    np.testing.assert_array_equal(faces.pixels[4], judged.photographs.pixels[row])
    np.testing.assert_allclose(faces.target.sum(axis=1), 1, rtol=1e-5)


def test_one_word_each(faces: LearningFaces) -> None:
    pairs = one_word_each(few(faces, [[7, 3], [5], [7, 9, 1]]))
    assert pairs.label.tolist() == [7, 3, 5, 7, 9, 1]
    assert pairs.names == tuple(
        f"{faces.names[row]}#{place}"
        for row, place in ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2))
    )
    np.testing.assert_array_equal(pairs.pixels[1], faces.pixels[0])
    assert one_word_each(pairs) is pairs, "they have one label now"


def test_cleaning_takes_words_and_then_faces(faces: LearningFaces) -> None:
    kept = kept_faces(
        few(faces, [[7, 3], [5], [7, 9, 1]]), np.array([False, True, False, True, False, True])
    )
    assert kept.names == (faces.names[0], faces.names[2])
    assert kept.named is not None
    assert kept.named[:, :3].tolist() == [[-1, 3, -1], [7, -1, 1]]
    assert kept.target[0, 3] == 1 and kept.target[1, 1] < kept.target[1, 7] < 1
    np.testing.assert_allclose(kept.target.sum(axis=1), 1, rtol=1e-6)


def test_sets_of_like_words_are_near(faces: LearningFaces) -> None:
    """Fury and rage have no word in common; spread by meaning they are nearer than to bliss."""
    at = [faces.labels.index(word) for word in ("fury", "rage", "bliss")]
    plain = few(faces, [[one] for one in at])
    spread = spread_faces(plain, word_matrix(word_meaning()))
    np.testing.assert_allclose(spread.target.sum(axis=1), 1, rtol=1e-5)

    def apart(found: LearningFaces, one: int, other: int) -> float:
        root = np.sqrt(found.target)
        return float(np.linalg.norm(root[one] - root[other]) / 2**0.5)

    assert apart(plain, 0, 1) == apart(plain, 0, 2) == pytest.approx(1)
    assert apart(spread, 0, 1) < 0.7 * apart(spread, 0, 2)


def test_a_word_without_faces_is_like_itself() -> None:
    points = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    label = np.repeat([0, 2], 20)
    found = find_correlations(
        points, label, ("a", "b", "c"), np.eye(3, dtype=np.float32),
        neighbours=3, threshold=9.0, complete=False,
    )  # fmt: skip
    assert found.similarity.tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]]
    assert np.isinf(found.hausdorff[0, 1]) and found.hausdorff[1, 1] == 0


def test_figures_of_sets_by_hand() -> None:
    logits = np.zeros((2, 135))
    logits[0, 4], logits[1, 9] = 1, 1
    named = np.array([[2, 4, -1], [120, 121, -1]])
    found = set_figures(logits, named)
    assert found["top1_among"] == 0.5
    assert found["recall_at_10"] == 0.5, "2 is among the first ten too, as all are alike"
    similar = np.eye(135, dtype=np.float32)
    similar[2, 4] = 0.75
    far = meaning_figures(logits, named[:, 0], similar)
    assert far["distance_top1"] == pytest.approx((0.25 + 1) / 2)
    assert set(far) == {"distance_top1", "distance_top5", "distance_top10"}


SETS: dict[str, Any] = {
    "faces": NAME,
    "blendshape_share": 0.0,
    "neighbours": 1,
    "threshold": 1e-5,
    "epochs": 1,
}
"""A word has two or three faces here; with more neighbours all would be kept for its sake."""


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run on sets of words."""
    options = {**TOY, **SETS}
    with lightning_warns():
        return train_by_command("emo135", tmp_path_factory.mktemp("run") / "run", folder, options)


def test_the_system_learns_from_sets(run: RunFolder, folder: Path) -> None:
    metrics = run.metrics()
    assert len(metrics["labels"]) == 135
    test = metrics["test"]
    assert test["n"] == sum(number % 8 > 0 for number in range(196, 293))
    for name in ("top1", "top5", "top10", "macro_f1", "top1_among", "recall_at_10", "ndcg_at_10"):
        assert 0 <= test[name] <= 1
    assert 0 <= test["distance_top1"] <= 1 and 0 < test["triplet_accuracy"] <= 1
    data = load_splits(NAME, str(folder))
    found = load_correlations(run.path)
    assert found is not None and len(found.keep) == len(one_word_each(data.train))
    assert 0 < found.removed < 1
    (whole, *_) = metrics["tables"]["Cleaning (Algorithm 1, sigma 1e-05)"]["rows"]
    assert int(whole[2]) == int((~found.keep).sum())


def test_what_its_stages_are_shown(run: RunFolder, folder: Path) -> None:
    data: Splits = load_splits(NAME, str(folder))
    embedding, words = emo135_stages(toy(**SETS), data, run)
    found = load_correlations(run.path)
    assert found is not None
    kept = kept_faces(data.train, found.keep)
    assert kept.named is not None and (kept.named >= 0).sum() == found.keep.sum()
    assert len(words.train()) == len(kept)
    batch = next(iter(loader_of(embedding.train(), toy(), training=True)))
    assert (batch["target"] > 0).sum(1).min() > 5, "sets are spread where they are compared"
    batch = next(iter(loader_of(words.train(), toy(), training=True)))
    assert (batch["target"] > 0).sum(1).max() <= 5
    learner = words.learner()
    assert torch.isfinite(learner.losses(batch)[0])
