"""Algorithm 1 and the matrices of paper 000 against arithmetic done by hand and by brute force."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.training.errors import OptionsWrong
from ferstream.training.papers.emo135.labels import cleaned, neighbour_distance
from ferstream.training.papers.emo135.similarity import (
    FLOOR,
    expression_similarity,
    hausdorff,
    hausdorff_matrix,
    row_normalised,
)

Points = NDArray[np.float32]


def sphere(rng: np.random.Generator, count: int, about: Any = None, spread: float = 1.0) -> Points:
    points = rng.normal(size=(count, 16)) * spread
    if about is not None:
        points = points + about
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float32)


def test_mean_squared_distance_to_the_nearest_by_hand() -> None:
    line = np.array([[0.0], [1.0], [3.0]])
    assert neighbour_distance(line, 1).tolist() == [1, 1, 4]
    assert neighbour_distance(line, 2).tolist() == [5, 2.5, 6.5]
    assert neighbour_distance(line, 10).tolist() == [5, 2.5, 6.5], "no more than there are"


def test_blocks_change_nothing() -> None:
    points = sphere(np.random.default_rng(0), 301)
    whole = neighbour_distance(points, block=1000)
    assert np.allclose(whole, neighbour_distance(points, block=37), atol=1e-6)
    square = ((points[:, None] - points) ** 2).sum(2)
    np.fill_diagonal(square, np.inf)
    assert np.allclose(whole, np.sort(square, axis=1)[:, :10].mean(1), atol=1e-5)


def test_outliers_of_each_category_go() -> None:
    """The same expression is at home in one category and an outlier in the other."""
    rng = np.random.default_rng(1)
    here, there = np.eye(16)[0], np.eye(16)[1]
    points = np.concatenate(
        [
            sphere(rng, 60, here, 0.05),
            sphere(rng, 3, there, 0.05),
            sphere(rng, 60, there, 0.05),
        ]
    )
    label = np.repeat([0, 1], [63, 60])
    found = cleaned(points, label)
    assert np.flatnonzero(~found.keep).tolist() == [60, 61, 62]
    assert found.removed == pytest.approx(3 / 123)
    assert cleaned(points, np.zeros(123, int)).keep[60:63].all(), "at home among the others"


def test_more_neighbours_and_a_lower_threshold_are_stricter() -> None:
    points = sphere(np.random.default_rng(2), 400, np.eye(16)[0], 0.12)
    label = np.zeros(400, int)
    kept = [cleaned(points, label, neighbours=k).keep.sum() for k in (2, 10, 60)]
    assert kept[0] > kept[1] > kept[2]
    kept = [cleaned(points, label, threshold=s).keep.sum() for s in (0.3, 0.2, 0.15)]
    assert kept[0] > kept[1] > kept[2]


def test_the_threshold_itself_removes() -> None:
    """Step 4: d_n >= sigma goes."""
    pair = np.array([[0.0], [0.5]])
    assert cleaned(pair, np.zeros(2, int), threshold=0.25).keep.tolist() == [False, False]
    assert cleaned(pair, np.zeros(2, int), threshold=0.26).keep.tolist() == [True, True]
    assert cleaned(pair, np.arange(2)).keep.tolist() == [True, True], "nothing to judge it by"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, "at least 1"),
        ({"threshold": 0.0}, "keeps nothing"),
        ({"label_N": np.zeros(2, int)}, "3 embeddings and 2 labels"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], message: str) -> None:
    given = {"embedding_ND": np.zeros((3, 16)), "label_N": np.zeros(3, int), **options}
    with pytest.raises(OptionsWrong, match=message):
        cleaned(**given)


def test_directed_hausdorff_by_hand() -> None:
    """Eq. 1: what lies in B is near to B, but not the other way round."""
    a, b = np.array([[0.0], [1.0]]), np.array([[0.0], [1.0], [4.0]])
    assert hausdorff(a, b) == (0, 9)
    assert hausdorff(b, a) == (9, 0)


def test_hausdorff_in_blocks_is_brute_force() -> None:
    rng = np.random.default_rng(3)
    a, b = sphere(rng, 130), sphere(rng, 77)
    square = ((a[:, None] - b) ** 2).sum(2)
    wanted = (square.min(1).max(), square.min(0).max())
    assert hausdorff(a, b, block=32) == pytest.approx(wanted, rel=1e-4)


def test_the_matrix_takes_each_direction_from_its_own_side() -> None:
    points = np.array([[4.0], [0.0], [1.0], [0.0], [1.0]])
    label = np.array([1, 0, 0, 1, 1])
    assert hausdorff_matrix(points, label, 2).tolist() == [[0, 0], [9, 0]]


def test_expression_similarity_by_hand() -> None:
    """Eq. 2: 1 / d^2; eq. 3: the diagonal is the rest's sum; then rows sum to 1."""
    distance = np.array([[0, 1, 2], [0.5, 0, 1], [1, 1, 0]])
    wanted = np.array([[1.25, 1, 0.25], [4, 5, 1], [1, 1, 2]])
    similarity = expression_similarity(distance)
    assert np.allclose(similarity, wanted / wanted.sum(axis=1, keepdims=True))
    assert np.allclose(similarity.sum(axis=1), 1)
    assert np.allclose(similarity.diagonal(), 0.5)


def test_emotions_that_look_the_same_stay_finite() -> None:
    similarity = expression_similarity(np.zeros((3, 3)))
    assert np.allclose(similarity, expression_similarity(np.full((3, 3), FLOOR)))
    assert np.isfinite(similarity).all()


def test_an_emotion_like_no_other_is_its_own() -> None:
    assert row_normalised(np.array([[0.0, 0.0], [1.0, 0.0]])).tolist() == [[1, 0], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("label", "message"), [([0, 2, 2], r"emotions \[1\]"), ([0, 1, 3], "label 3 is outside")]
)
def test_every_emotion_needs_an_image(label: list[int], message: str) -> None:
    with pytest.raises(OptionsWrong, match=message):
        hausdorff_matrix(np.zeros((3, 16)), np.array(label), 3)


def test_memory_does_not_grow_with_the_square_of_the_images() -> None:
    """All distances at once: 256 MB here, 2 TB for the paper's 728,946 images, 655 MB for a pair
    of its largest categories (12,794)."""
    points = sphere(np.random.default_rng(4), 8_000)
    label = np.arange(8_000) % 2
    tracemalloc.start()
    try:
        hausdorff_matrix(points, label, 2, block=512)
        used_by_hausdorff = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        neighbour_distance(points, block=128)
        used_by_cleaning = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used_by_hausdorff < 8e6
    assert used_by_cleaning < 20e6
