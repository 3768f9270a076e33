"""Triplets of a whole batch, cleaning with no label lost, and labels as alike as their words."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.training.datasets.word_meaning import word_meaning
from ferstream.training.errors import OptionsWrong
from ferstream.training.papers.emo135.embedding import all_triplets_loss, triplet_loss
from ferstream.training.papers.emo135.figures import meaning_tops, models_table
from ferstream.training.papers.emo135.labels import find_correlations, load_correlations
from ferstream.training.papers.emo135.similarity import (
    matrix_of_labels,
    rolled_up,
    shared_similarity,
    similarity_of_labels,
    word_matrix,
)

Array = npt.NDArray[Any]
BASIC8 = load_taxonomy("basic8").labels


def on_sphere(points: Array) -> Array:
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float32)


def test_all_triplets_are_those_that_one_would_list() -> None:
    rng = np.random.default_rng(0)
    points = torch.from_numpy(on_sphere(rng.normal(size=(7, 4))))
    side = torch.from_numpy(rng.uniform(0, 1, (7, 7)).astype(np.float32))
    wanted, label = (side + side.T) / 2, torch.tensor([0, 0, 0, 1, 1, 0, 2])
    wanted.fill_diagonal_(0)
    wanted[5, :] = wanted[:, 5] = torch.inf
    losses = []
    for a, b, odd in itertools.product((0, 1, 2, 3, 4, 6), repeat=3):
        clear = wanted[a, b] + 0.1 < min(wanted[a, odd], wanted[b, odd])
        if len({a, b, odd}) == 3 and a < b and clear:
            same = len({int(label[at]) for at in (a, b, odd)}) == 1
            margin = torch.tensor([0.1 if same else 0.2])
            first, second, third = (points[at][None] for at in (a, b, odd))
            losses.append(triplet_loss(first, second, third, margin))
    assert len(losses) > 5
    found = all_triplets_loss(points, wanted, label, 0.1, (0.1, 0.2))
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    nothing = all_triplets_loss(points, torch.zeros(7, 7), label, 0.1, (0.1, 0.2))
    assert nothing.item() == 0


def test_no_label_loses_all_its_faces(tmp_path: Path) -> None:
    """A tight label loses its outlier; a scattered one keeps its K + 1 most typical faces."""
    rng = np.random.default_rng(1)
    tight = np.concatenate([rng.normal(3, 0.1, (30, 8)), -np.ones((1, 8))])
    points = on_sphere(np.concatenate([tight, rng.normal(size=(40, 8)), rng.normal(-3, 1, (9, 8))]))
    label = np.repeat([0, 1, 2], [31, 40, 9])
    names, meaning = ("a", "b", "c"), np.eye(3, dtype=np.float32)
    found = find_correlations(points, label, names, meaning, neighbours=5, threshold=0.05)
    assert not found.keep[30] and found.keep[:30].all()
    assert found.keep[31:71].sum() == 6 == found.rescued[31:71].sum()
    rescued = found.distance[31:71][found.rescued[31:71]]
    assert rescued.max() <= found.distance[31:71][~found.keep[31:71]].min()
    found.save(tmp_path)
    stored = load_correlations(tmp_path)
    assert stored is not None
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(stored, name), value)
    whole = find_correlations(
        points, label, names, meaning, neighbours=5, threshold=0.05, clean=False
    )
    assert whole.keep.all() and whole.removed == 0
    assert not np.allclose(whole.similarity, found.similarity), "an outlier moves F_exp"
    some = find_correlations(points, label, names, meaning, neighbours=5, threshold=9.0, share=0.25)
    assert (some.distance >= some.threshold).mean() == pytest.approx(0.25, abs=0.01)
    assert not some.keep[30] and some.removed <= 0.26
    with pytest.raises(OptionsWrong, match="no training face of d"):
        find_correlations(points, label, (*names, "d"), meaning, neighbours=5, threshold=0.05)


def test_expressions_are_as_alike_as_their_words() -> None:
    alike = similarity_of_labels(BASIC8)
    assert np.allclose(alike, alike.T, atol=1e-6) and np.allclose(alike.diagonal(), 1)
    at = {name: place for place, name in enumerate(BASIC8)}
    assert not alike[at["neutral"]].sum() - 1, "no word is neutral"
    assert alike[at["anger"], at["contempt"]] > alike[at["anger"], at["happiness"]] + 0.2
    assert alike[at["surprise"], at["fear"]] > alike[at["surprise"], at["disgust"]] + 0.2


def test_words_are_as_alike_as_shipped() -> None:
    words = load_taxonomy("emo135").labels
    np.testing.assert_allclose(similarity_of_labels(words), word_meaning(), atol=1e-6)
    share = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.float32)
    found = shared_similarity(share, np.eye(2, dtype=np.float32))
    assert found[0, 2] == pytest.approx(0.5**0.5) and found[0, 1] == 0
    assert found[3].tolist() == [0, 0, 0, 1]
    strange = similarity_of_labels(("anger", "blorp", "rage"))
    assert strange[1].tolist() == [0, 1, 0], "nobody knows what it is like"
    assert strange[0, 2] == pytest.approx(similarity_of_labels(("anger", "rage"))[0, 1])


def test_f_word_of_expressions_comes_through_their_words() -> None:
    """For the 135 words it is eq. 5; of the eight each stays mostly itself, and neutral wholly."""
    words = load_taxonomy("emo135").labels
    plain = word_matrix(word_meaning())
    np.testing.assert_allclose(matrix_of_labels(words, plain), plain, atol=1e-6)
    matrix = matrix_of_labels(BASIC8, similarity_of_labels(BASIC8))
    assert np.allclose(matrix.sum(1), 1) and matrix[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    off = matrix - np.diag(matrix.diagonal())
    assert (matrix.diagonal() > 2 * off.max(axis=1)).all() and off.max() > 0
    by_vectors = matrix_of_labels(("a", "b", "c"), np.full((3, 3), 0.3, np.float32), vectors=True)
    assert np.allclose(by_vectors.diagonal(), 0.5), "eq. 5"
    share = np.array([[1, 1, 0, 0], [0, 0, 1, 0]], np.float32)
    word = np.array([[6, 2, 2, 0], [2, 6, 0, 2], [2, 0, 6, 2], [0, 2, 2, 6]], np.float32) / 10
    expected = np.array([[0.8, 0.2], [0.1, 0.6]]) / np.array([[1.0], [0.7]])
    np.testing.assert_allclose(rolled_up(share, word), expected, atol=1e-6)


def test_a_word_model_is_compared_with_ratings_and_looks(tmp_path: Path) -> None:
    """Ratings that are the shipped similarities themselves agree with them fully."""
    rng, labels = np.random.default_rng(2), BASIC8
    points, label = on_sphere(rng.normal(size=(80, 4))), np.arange(80) % 8
    meaning = similarity_of_labels(labels)
    found = find_correlations(points, label, labels, meaning, neighbours=3, threshold=2.0)
    file = tmp_path / "ratings.csv"
    rows = [",".join([name, *map(str, row)]) for name, row in zip(labels, meaning, strict=True)]
    file.write_text("\n".join([",".join(["", *labels]), *rows]))
    table = models_table(found, labels, file, "")
    assert table["head"][1:] == ["ratings (ratings.csv)", "looks (F_exp)"]
    cells = {row[0]: row[1:] for row in table["rows"]}
    assert cells["words named together, and norms (shipped)"][0] == "1.000"
    assert cells["looks (F_exp)"][1] == "", "not with itself"
    assert models_table(found, labels, None, "")["head"][1:] == ["looks (F_exp)"]


def test_fewer_words_are_looked_at_where_there_are_few() -> None:
    assert meaning_tops(135) == (1, 5, 10)
    assert meaning_tops(8) == (1, 2, 3) and meaning_tops(3) == (1,)
