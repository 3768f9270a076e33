"""Splits of paper 004: its own counts, and properties that hold for any set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ferstream.training.datasets.task_faces import (
    Parts,
    leaks,
    standard,
    unbalanced_expressions,
    unbalanced_poses,
    zero_shot_subjects,
)
from ferstream.training.errors import OptionsWrong

IMAGES = 219_719
POSES = {0: 47_053, 1: 49_152, 2: 74_985, 3: 48_529}
"""Half left, half right, front, bird view (section 3.2)."""
Codes = NDArray[np.int64]


def whole(parts: Parts, count: int) -> None:
    """No row twice, none lost, every part sorted."""
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    assert np.array_equal(np.sort(rows), np.arange(count))
    assert all(np.all(np.diff(part) > 0) for part in (parts.train, parts.validation, parts.test))


def f2ed(seed: int = 0) -> tuple[Codes, Codes, Codes]:
    """Subject, pose and expression of as many images as F2ED has."""
    rng = np.random.default_rng(seed)
    pose = np.repeat(list(POSES), list(POSES.values()))
    return rng.integers(0, 119, IMAGES), pose, rng.integers(0, 54, IMAGES)


def test_standard_has_the_papers_counts() -> None:
    parts = standard(IMAGES, seed=0)
    whole(parts, IMAGES)
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [175_000, 19_719, 25_000]


def test_unbalanced_poses_has_the_papers_counts() -> None:
    _, pose, _ = f2ed()
    parts = unbalanced_poses(pose, 0, seed=0)
    whole(parts, IMAGES)
    assert (len(parts.train), len(parts.test)) == (177_372, 42_347)
    assert set(pose[parts.test]) == {0}
    assert set(pose[parts.train]) == {0, 1, 2, 3}


def test_unbalanced_expressions_has_the_papers_proportions() -> None:
    """11 of 54 classes; with classes of equal size the paper's 40,730 test images come near."""
    _, _, expression = f2ed()
    parts = unbalanced_expressions(expression, seed=0)
    whole(parts, IMAGES)
    rare = set(expression[parts.test])
    assert len(rare) == 11
    assert set(expression[parts.train]) == set(range(54))
    assert len(parts.test) == pytest.approx(40_730, rel=0.03)
    for value in rare:
        share = (expression[parts.test] == value).sum() / (expression == value).sum()
        assert share == pytest.approx(0.9, abs=0.001)


def test_zero_shot_subjects_has_the_papers_proportions() -> None:
    subject, _, _ = f2ed()
    parts = zero_shot_subjects(subject, seed=0)
    whole(parts, IMAGES)
    assert len(set(subject[parts.test])) == 21
    assert len(set(subject[parts.train])) == 98
    assert leaks(subject, parts) == []
    assert len(parts.validation) == 0
    assert len(leaks(subject, standard(IMAGES, seed=0))) == 119, "ER-SS is no test of new people"


sets = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(
        st.just(seed), st.integers(3, 12), st.integers(2, 9), st.integers(30, 400)
    )
)


@settings(max_examples=60, deadline=None)
@given(sets, st.sampled_from([0.0, 0.1, 0.4]))
def test_any_set_is_cut_whole_and_by_its_seed(
    made: tuple[int, int, int, int], share: float
) -> None:
    seed, subjects, classes, count = made
    rng = np.random.default_rng(seed)
    subject = rng.integers(0, subjects, count)
    subject[:subjects] = np.arange(subjects)
    code = np.concatenate([np.repeat(np.arange(classes), 2), rng.integers(0, classes, count)])
    for split, arguments in (
        (zero_shot_subjects, (subject,)),
        (unbalanced_expressions, (code,)),
        (unbalanced_poses, (code, 1)),
    ):
        make: Any = split
        parts = make(*arguments, seed=seed, validation_share=share)
        whole(parts, len(arguments[0]))
        again = make(*arguments, seed=seed, validation_share=share)
        assert np.array_equal(parts.test, again.test)
        assert np.array_equal(parts.train, again.train)
        assert len(parts.train)
        assert len(parts.test)
        assert bool(len(parts.validation)) == bool(share) or split is not zero_shot_subjects
        if split is zero_shot_subjects:
            assert leaks(subject, parts) == []
            assert not set(subject[parts.validation]) & set(subject[parts.train])
        else:
            assert set(code[parts.train]) == set(code), "every class has something to learn from"


def test_another_seed_is_another_split() -> None:
    subject = np.arange(200) % 20
    first, second = (zero_shot_subjects(subject, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.test, second.test)


def test_the_rare_ones_can_be_named() -> None:
    code = np.arange(100) % 5
    assert set(code[unbalanced_expressions(code, seed=0, rare=[2, 4]).test]) == {2, 4}
    assert set(code[zero_shot_subjects(code, seed=0, tested=[3]).test]) == {3}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: standard(4, seed=0), "4 images leave none to validate"),
        (lambda: standard(10, seed=0, proportions=(0, 0, 0)), "three numbers"),
        (lambda: unbalanced_poses(np.zeros(9, int), 0, seed=0), "every pose"),
        (lambda: unbalanced_poses(np.arange(9), 11, seed=0), "no image of pose 11"),
        (lambda: unbalanced_poses(np.arange(9), 3, seed=0), "need two at least"),
        (lambda: unbalanced_expressions(np.arange(8) % 2, seed=0, rare=[]), "no expression chosen"),
        (lambda: zero_shot_subjects(np.zeros(9, int), seed=0), "every subject"),
        (
            lambda: zero_shot_subjects(np.arange(2), seed=0, validation_share=0.5),
            "2 subjects are too few",
        ),
        (
            lambda: zero_shot_subjects(np.arange(9), seed=0, validation_share=1.0),
            "a validation share of 1.0",
        ),
    ],
)
def test_sets_that_cannot_be_cut_say_why(make: Any, message: str) -> None:
    with pytest.raises(OptionsWrong, match=message):
        make()
