"""Labels that trained bundles have a share in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ferstream.engines.bundle import load_bundle
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.learning_faces import LearningFaces
from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.from_bundles import answers_of, taught
from ferstream.training.systems.compact import CompactOptions, compact_faces

SHARE = 0.25


@pytest.fixture(scope="module")
def faces(judged_dir: Path) -> LearningFaces:
    found = load_splits("fer2013plus", str(judged_dir)).train
    assert found.judge is not None
    unjudged = found.judge.copy()
    unjudged[0] = 0
    return replace(found, judge=unjudged)


def test_a_share_of_every_label_is_the_teachers(faces: LearningFaces) -> None:
    answers, told = answers_of([load_bundle("default")], faces), taught(faces, ["default"], SHARE)
    assert answers.words is not None and answers.affect is not None
    assert told.words is not None and told.affect is not None and told.judge is not None
    assert faces.words is not None and faces.affect is not None and faces.judge is not None
    np.testing.assert_allclose(answers.basic.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(
        told.target, 0.75 * faces.target + 0.25 * answers.basic, rtol=0, atol=1e-6
    )
    judged = faces.judge.any(axis=1)
    assert judged.any() and not judged[0]
    for label, answer, mixed in (
        (faces.words, answers.words, told.words),
        (faces.affect, answers.affect, told.affect),
    ):
        np.testing.assert_allclose(
            mixed[judged], 0.75 * label[judged] + 0.25 * answer[judged], rtol=0, atol=1e-6
        )
        np.testing.assert_array_equal(mixed[~judged], answer[~judged])
    np.testing.assert_array_equal(told.judge[judged], faces.judge[judged])
    # A face that nobody judged counts by the teachers' share.
    np.testing.assert_allclose(told.judge[~judged].sum(1), SHARE, atol=1e-6)


def test_teachers_of_one_mind_are_one_teacher(faces: LearningFaces) -> None:
    one, two = taught(faces, ["default"], SHARE), taught(faces, ["default", "default"], SHARE)
    np.testing.assert_allclose(one.target, two.target, atol=1e-6)


def test_faces_beside_keep_the_judge_alone(judged_dir: Path) -> None:
    plain = CompactOptions(word_weight=0.12, beside="wild")
    without = compact_faces(plain, str(judged_dir)).train
    with_them = compact_faces(replace(plain, teachers="default"), str(judged_dir)).train
    beside = np.array([name.startswith("wild/") for name in without.names])
    same = (without.target == with_them.target).all(axis=1)
    assert beside.any() and same[beside].all() and not same[~beside].any()


def test_a_teacher_of_other_expressions(faces: LearningFaces) -> None:
    others = replace(faces, labels=tuple(reversed(faces.labels)))
    with pytest.raises(OptionsWrong, match=r"bundle default tells neutral, .*cannot teach"):
        taught(others, ["default"], SHARE)
