"""Batches with as many of every class, and the weights that stand for them."""

from __future__ import annotations

import numpy as np
import pytest

from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.draws import class_weights, selective_batches

LABEL = np.repeat([0, 1, 2], [70, 16, 3])


def test_every_batch_has_as_many_of_every_class() -> None:
    batches = selective_batches(LABEL, 3, 9, seed=1)
    assert batches.shape == (len(LABEL) // 9, 9)
    for batch in batches:
        assert np.bincount(LABEL[batch]).tolist() == [3, 3, 3]


def test_no_sample_comes_twice_before_all_of_its_class_came() -> None:
    batches = selective_batches(LABEL, 3, 9, seed=1)
    count = np.bincount(batches.ravel(), minlength=len(LABEL))
    for k in range(3):
        of_class = count[np.flatnonzero(k == LABEL)]
        assert of_class.max() - of_class.min() <= 1


def test_large_classes_show_another_part_in_another_epoch() -> None:
    first, same, second = (
        selective_batches(LABEL, 3, 9, seed=1, epoch=epoch) for epoch in (0, 0, 1)
    )
    assert np.array_equal(first, same) and not np.array_equal(np.sort(first), np.sort(second))


def test_the_batch_must_be_a_multiple_of_the_classes() -> None:
    with pytest.raises(OptionsWrong, match="10"):
        selective_batches(LABEL, 3, 10, seed=1)
    with pytest.raises(OptionsWrong):
        selective_batches(np.zeros(0, np.int64), 3, 9, seed=1)


def test_a_class_that_does_not_occur_takes_no_place() -> None:
    batches = selective_batches(LABEL, 8, 9, seed=1)
    assert set(LABEL[batches[0]].tolist()) == {0, 1, 2}


def test_a_small_set_gives_one_batch() -> None:
    assert selective_batches(np.array([0, 1]), 2, 8, seed=0).shape == (1, 8)


def test_class_weights() -> None:
    """Classes of 6, 2 and no samples of 8: N / (K n) = 8/12 and 8/4."""
    label = np.array([0] * 6 + [1] * 2)
    weight = class_weights(label, 3)
    assert weight.tolist() == pytest.approx([2 / 3, 2.0, 0.0])
    assert weight[label].mean() == pytest.approx(1.0)
