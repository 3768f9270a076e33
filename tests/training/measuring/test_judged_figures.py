"""Figures of words and affect on cases whose answers are worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.training.datasets.judged import GRADES, Judgements
from ferstream.training.measuring.judged_figures import (
    affect_section,
    basic_section,
    by_confidence,
    by_group,
    by_quality,
    concordance,
    correlation,
    expressive,
    measured,
    steady_section,
    words_section,
)
from ferstream.training.measuring.word_figures import (
    log_odds,
    overlap_within,
    ranking,
    ridge_residuals,
    word_gaps,
)

WORDS = len(load_taxonomy("emo135").labels)


def numbers(*rows: list[int], width: int = 5) -> npt.NDArray[np.int64]:
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], np.int64)


def judged(words: npt.NDArray[np.int64], **columns: Any) -> Judgements:
    """Angry faces with these words, but for the columns given."""
    count = len(words)
    usual = {
        "basic": np.full(count, 4),
        "intensity": np.zeros(count, np.float32),
        "valence": np.zeros(count, np.float32),
        "arousal": np.zeros(count, np.float32),
    }
    given = {name: np.asarray(value) for name, value in columns.items()}
    return Judgements(words=words, **{**usual, **given})


def test_ranking_by_hand() -> None:
    """Found first; found second and third; found at the seventh and tenth place; not found."""
    named = numbers([7, 8, 9], [7, 8, 9], [7, 8], [7, 8, 9, 10, 11])
    ours = numbers([7, 1, 2], [8, 7, 3], [1, 2, 3, 4, 5, 6, 7, 0, 12, 8], [1, 2, 3, 4], width=10)
    found = ranking(ours, named, GRADES)
    assert found["top1"].tolist() == [1, 0, 0, 0]
    assert found["top1_among"].tolist() == [1, 1, 0, 0]
    assert found["first_in_top5"].tolist() == [1, 1, 0, 0]
    assert found["first_in_top10"].tolist() == [1, 1, 1, 0]
    assert found["recall_at_10"].tolist() == pytest.approx([1 / 3, 2 / 3, 1, 0])
    second, third, eighth, eleventh = 1 / np.log2([3, 4, 8, 11])
    ideal = 1 + 0.8 * second + 0.6 * third
    expected = [
        1 / ideal,
        (0.8 + second) / ideal,
        (eighth + 0.8 * eleventh) / (1 + 0.8 * second),
        0,
    ]
    assert found["ndcg_at_10"].tolist() == pytest.approx(expected)


def test_the_judges_own_order_is_worth_one() -> None:
    named = numbers([3, 1, 2], [5, 4, 9, 8, 0])
    found = ranking(named, named, GRADES)
    for values in found.values():
        assert values.tolist() == pytest.approx([1, 1])


def test_words_beyond_ten_do_not_count() -> None:
    ours = numbers([*range(20, 30), 7], width=11)
    found = ranking(ours, numbers([7, 8]), GRADES)
    assert not any(values.any() for values in found.values())


def test_word_gaps_by_hand() -> None:
    """Word 0 is named of half the faces and was said to be so of all; word 1 is exact; word 2 is
    5 % off in one bin and 10 % the other way in another, which do not cancel."""
    said = np.array([[0.9, 0.5, 0.05], [0.9, 0.5, 0.05], [0.9, 0.5, 0.9], [0.9, 0.5, 0.9]])
    so = np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1]], bool)
    np.testing.assert_allclose(word_gaps(said, so), [0.4, 0, 0.05 / 2 + 0.1 / 2])


def test_certainty_falls_into_the_last_bin() -> None:
    np.testing.assert_allclose(word_gaps(np.ones((3, 2)), np.ones((3, 2), bool)), [0, 0])


def test_log_odds() -> None:
    assert log_odds(np.array([0.5, 0.8])).tolist() == pytest.approx([0, np.log(4)])
    assert log_odds(np.array([0.5]), odds=False).tolist() == pytest.approx([np.log(0.5)])
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()


def test_what_follows_from_the_predictors_leaves_nothing() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(400, 9))
    follows, other = known @ rng.normal(size=(9, 5)), rng.normal(size=(400, 5))

    def share(wanted: npt.NDArray[np.float64]) -> float:
        left, spread = ridge_residuals(wanted, known)
        return 1 - float(left.sum() / spread.sum())

    assert share(follows) > 0.99
    assert share(other) < 0.02, "unseen noise is not explained"
    assert share(follows + other * follows.std(0)) == pytest.approx(0.5, abs=0.06)


def test_overlap_within_groups_by_hand() -> None:
    """Two of group 0 share one of three words, one is alone in its group."""
    ranked = np.array([[0, 1], [1, 2], [0, 1]])
    assert overlap_within(ranked, np.array([0, 0, 1])).tolist() == pytest.approx([1 / 3, 1 / 3])
    assert overlap_within(ranked, np.array([0, 0, 0])).tolist() == pytest.approx(
        [2 / 3, 1 / 3, 2 / 3]
    )
    assert len(overlap_within(ranked, np.array([0, 1, 2]))) == 0


def test_concordance_and_correlation_by_hand() -> None:
    one: npt.NDArray[np.float64] = np.array([0.0, 1.0, 2.0])
    assert concordance(one, one) == pytest.approx(1)
    assert concordance(one, one + 1.0) == pytest.approx(2 * (2 / 3) / (4 / 3 + 1))
    assert correlation(one, 3.0 * one + 1.0) == pytest.approx(1)
    assert correlation(one, -one) == pytest.approx(-1)
    assert concordance(one, 2.0 - one) == pytest.approx(-1)
    assert correlation(one, np.ones(3)) == 0 and concordance(np.ones(3), np.ones(3)) == 0


def test_affect_leaves_neutral_and_unreadable_faces_out() -> None:
    faces = judged(
        numbers([1], [1], [1], [1], []),
        basic=[0, 4, 4, 4, -1],
        valence=[1, -1, 0, 1, -1],
        arousal=[0, 0, 0.5, 1, 1],
        intensity=[1, 0, 0.5, 1, 0],
    )
    said = np.array([[-1, 1, 0], [-1, 0, 1], [0, 0.5, 0.5], [1, 1, 0], [1, -1, 1]])
    found = affect_section(said, np.zeros(5), faces, faces)
    assert found["n"] == 3
    assert found["valence_ccc"] == found["valence_r"] == found["arousal_ccc"] == pytest.approx(1)
    assert found["intensity_r"] == pytest.approx(-1)
    assert found["judges"]["intensity_r"] == pytest.approx(1)


def test_without_affect_there_is_the_shown_intensity() -> None:
    faces = judged(numbers([1], [1], [1]), intensity=[0, 0.5, 1])
    found = affect_section(None, np.array([0.1, 0.2, 0.3]), faces)
    assert set(found) == {"n", "intensity_r", "intervals"}
    assert found["intensity_r"] == pytest.approx(1)


def test_words_of_a_small_set() -> None:
    """Four faces of two kinds: the words of the first are known surely, of the second missed."""
    named = numbers([0, 1, 2], [0, 1, 2], [20, 21, 22], [])
    faces = judged(named, basic=[4, 4, 3, 0])
    p = np.full((4, WORDS), 0.001)
    p[:2, :3] = (0.99, 0.98, 0.97)
    p[2:, 40:50] = 0.5
    found = words_section(p, np.full((4, 8), 1 / 8), np.full(4, 0.5), faces, faces)
    assert found["n"] == 3
    for name in ("top1", "top1_among", "first_in_top5", "first_in_top10", "ndcg_at_10"):
        assert found[name] == pytest.approx(2 / 3)
        low, high = found["intervals"][name]
        assert 0 <= low < 2 / 3 < high <= 1
    assert found["recall_at_10"] == pytest.approx(2 / 3)
    assert found["words_used"] == 20
    assert found["judges"]["top1"] == 1
    assert "r2_from_basic" not in found, "three faces say nothing of it"


def test_word_calibration_of_a_small_set() -> None:
    """Of four faces half have the first word, which is said to be sure of all; one word more is
    shown of each that is never named; one face is neutral."""
    faces = judged(numbers([0], [0], [1], [1], [0]), basic=[4, 4, 4, 4, 0])
    p = np.zeros((5, WORDS))
    p[:, 0], p[:4, 1], p[:, 9] = 1.0, 0.5, 0.2
    found = words_section(p, np.full((5, 8), 1 / 8), np.full(5, 0.5), faces)
    assert found["ece"] == pytest.approx((0.5 + 0 + 0.2) / WORDS)
    assert found["ece_weighted"] == pytest.approx(0.5 / 2)
    assert found["ece_all_faces"] == pytest.approx((0.4 + 0 + 0.2) / WORDS)
    # ten words are shown of each face: at 1 half are right, at 0.5 too, at 0.2 and 0 none
    assert found["ece_shown"] == pytest.approx((0.5 + 0 + 0.2) / 10)
    assert "judges" not in found


def test_the_second_judge_may_have_seen_nothing() -> None:
    first, second = judged(numbers([0, 1], [5, 6])), judged(numbers([1, 0], []), basic=[4, 0])
    p = np.random.default_rng(0).random((2, WORDS))
    found = words_section(p, np.full((2, 8), 1 / 8), np.full(2, 0.5), first, second)["judges"]
    assert (found["top1"], found["top1_among"], found["first_in_top5"]) == (0, 0.5, 0.5)
    assert found["recall_at_10"] == 0.5


def test_nothing_expressive() -> None:
    faces = judged(numbers([1], []), basic=[0, -1])
    assert not expressive(faces).any()
    assert words_section(np.ones((2, WORDS)), np.ones((2, 8)), np.ones(2), faces) == {"n": 0}
    assert affect_section(None, np.ones(2), faces) == {"n": 0}
    assert basic_section(np.ones((0, 8)), np.zeros(0, np.int64)) == {"n": 0}


def test_basic_by_hand() -> None:
    """Three of four happy faces and none of one afraid, all said with 0.8."""
    label = np.array([1, 1, 1, 1, 6])
    p = np.full((5, 8), 0.2 / 7)
    p[np.arange(5), [1, 1, 1, 4, 4]] = 0.8
    found = basic_section(p, label)
    assert (found["n"], found["basic_top1"]) == (5, pytest.approx(0.6))
    assert found["basic_macro_recall"] == pytest.approx((0.75 + 0) / 2)
    assert found["ece"] == pytest.approx(0.2)


def test_groups_stand_in_the_order_of_their_ages() -> None:
    groups = np.array(["20-29", "3-9", "20-29", "70+", "3-9"])
    found = by_group(np.array([True, False, False, True, False]), groups)
    assert list(found) == ["3-9", "20-29", "70+"]
    assert [group["basic_top1"] for group in found.values()] == [0, 0.5, 1]
    assert [group["n"] for group in found.values()] == [2, 2, 1]


def test_intervals_cover_a_known_share() -> None:
    """Of 400 faces half are right: the interval of that is near 0.5 +- 1.96 * 0.025."""
    right = np.arange(400) % 2
    found = measured({"share": lambda at: float(right[at].mean())}, 400)
    assert found["share"] == 0.5
    np.testing.assert_allclose(found["intervals"]["share"], [0.451, 0.549], atol=0.01)


def test_steady_by_hand() -> None:
    """Of three faces that count two keep their first word one way, one the other way."""
    words = np.eye(WORDS)[[4, 5, 6, 7]]
    said = SimpleNamespace(emo135=words, basic8=np.eye(8)[[1, 1, 1, 1]])
    one = SimpleNamespace(emo135=np.eye(WORDS)[[4, 5, 9, 9]], basic8=np.eye(8)[[1, 1, 1, 0]])
    other = SimpleNamespace(emo135=np.eye(WORDS)[[4, 9, 9, 9]], basic8=np.eye(8)[[1, 1, 1, 0]])
    found = steady_section(said, [one, other], np.array([0, 1, 2]))
    assert found["n"] == 3
    assert found["first_word"] == pytest.approx((2 / 3 + 1 / 3) / 2) and found["basic"] == 1
    assert steady_section(said, [one], np.zeros(0, np.int64)) == {"n": 0}


def test_risk_falls_with_coverage_where_quality_knows() -> None:
    quality = np.array([0.1, 0.9, 0.8, 0.2, 0.7, 0.6, 0.5, 0.4, 0.95, 0.3])
    right = quality > 0.35
    found = by_quality(right, quality)
    assert found["coverage"] == {"1": 0.7, "0.9": 7 / 9, "0.8": 7 / 8, "0.7": 1, "0.6": 1, "0.5": 1}
    assert found["trusted"] == {"n": 7, "top1": 1.0}
    assert found["untrusted"] == {"n": 3, "top1": 0.0}
    assert by_quality(right[:0], quality[:0])["coverage"] == {}


def test_confidence_is_the_probability_of_a_trusted_view() -> None:
    right = np.array([True, True, False, False])
    basic = np.full((4, 8), 0.01)
    basic[range(4), 1] = (0.93, 0.6, 0.4, 0.93)
    found = by_confidence(right, basic, np.array([0.9, 0.9, 0.9, 0.1]))
    assert found["coverage"]["0.5"] == 1 and found["coverage"]["1"] == 0.5
    assert found["certain"] == {"n": 2, "top1": 1.0}
    assert found["uncertain"] == {"n": 2, "top1": 0.0}
