"""Figures against numbers worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest

from ferstream.calibration.reliability import (
    binned,
    brier_score,
    classwise_error,
    divergence,
    equal_mass_error,
    expected_calibration_error,
    interval,
    negative_log_likelihood,
    soft_error,
)

SURE = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.4, 0.6]])


def test_calibration_error() -> None:
    """Two at 0.95 of which one is right, two at 0.6, both right: (2 * 0.45 + 2 * 0.4) / 4."""
    label = np.array([0, 1, 0, 1])
    assert expected_calibration_error(SURE, label) == pytest.approx(0.425)


def test_gaps_of_one_bin_cancel() -> None:
    """In one bin for all, confidence is 0.775 on average and three of four are right."""
    assert expected_calibration_error(SURE, np.array([0, 1, 0, 1]), bins=1) == pytest.approx(0.025)


def test_certainty_that_is_right_has_no_error() -> None:
    sure = np.eye(3)
    assert expected_calibration_error(sure, np.arange(3)) == 0
    assert expected_calibration_error(sure, np.array([1, 2, 0])) == 1


def test_calibrated_guesses_have_hardly_any_error() -> None:
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.ones(4), 40_000)
    label = (probability.cumsum(1) < rng.random((40_000, 1))).sum(1)
    assert expected_calibration_error(probability, label) < 0.015
    sharper = probability**2 / (probability**2).sum(1, keepdims=True)
    assert expected_calibration_error(sharper, label) > 0.1


def test_likelihood_divergence_and_brier() -> None:
    """Votes 3 to 1 against an even guess, and a guess that is right."""
    votes = np.array([[0.75, 0.25], [1.0, 0.0]])
    guess = np.array([[0.5, 0.5], [1.0, 0.0]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert negative_log_likelihood(guess, votes) == pytest.approx(math.log(2) / 2)
    assert divergence(guess, votes) == pytest.approx((math.log(2) - entropy) / 2)
    assert brier_score(guess, votes) == pytest.approx((2 * 0.25**2) / 2)


def test_the_votes_themselves_diverge_by_nothing() -> None:
    votes = np.random.default_rng(0).dirichlet(np.ones(8), 50)
    assert divergence(votes, votes) == pytest.approx(0, abs=1e-9)
    assert brier_score(votes, votes) == 0


def test_certainty_that_is_wrong_stays_finite() -> None:
    wrong, votes = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert 20 < negative_log_likelihood(wrong, votes) < 30
    assert brier_score(wrong, votes) == 2


def test_bins_of_equal_mass() -> None:
    predicted = np.linspace(0, 1, 90)
    bins = binned(predicted, predicted**2, 9, equal_mass=True)
    assert [b.n for b in bins] == [10] * 9
    assert bins[0].low == 0 and bins[-1].high == 1
    assert all(one.high < other.low for one, other in itertools.pairwise(bins))
    wide = binned(predicted, predicted**2, 9)
    assert sum(b.n for b in wide) == 90 and wide[3].low == pytest.approx(1 / 3)


def test_empty_bins_are_left_out() -> None:
    assert [b.n for b in binned(np.array([0.05, 0.95]), np.array([0.0, 1.0]), 10)] == [1, 1]


def test_equal_mass_error_by_hand() -> None:
    """Two bins of two: (0.6 and 0.6, both right) and (0.95 and 0.95, one right)."""
    label = np.array([0, 1, 0, 1])
    assert equal_mass_error(SURE, label, bins=2) == pytest.approx(0.425)


def test_classwise_error_by_hand() -> None:
    """One bin: what is said of class 0 is 0.725 on average, and half of them are."""
    assert classwise_error(SURE, np.array([0, 1, 0, 1]), bins=1) == pytest.approx(0.225)


def test_the_error_against_votes_is_of_shares() -> None:
    votes = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    assert soft_error(SURE, votes) == pytest.approx(0.025)
    assert soft_error(votes, votes) == 0


def test_an_interval_holds_the_figure_and_shrinks_with_more_samples() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (100, 1600):
        values = rng.normal(0.5, 0.1, count)

        def mean(rows: npt.NDArray[np.int64], of: npt.NDArray[np.float64] = values) -> float:
            return float(of[rows].mean())

        low, high = interval(mean, count, 300)
        assert low < values.mean() < high
        widths.append(high - low)
    assert 3 < widths[0] / widths[1] < 5.5
    assert widths[0] == pytest.approx(2 * 1.96 * 0.1 / 10, rel=0.25)


def test_an_interval_is_not_shifted_by_resampling() -> None:
    """Resamples of calibrated guesses have a greater ECE than the guesses themselves."""
    rng = np.random.default_rng(1)
    probability = rng.dirichlet(np.ones(4), 1500)
    label = (probability.cumsum(1) < rng.random((1500, 1))).sum(1)
    low, high = interval(
        lambda rows: expected_calibration_error(probability[rows], label[rows]), 1500, 200
    )
    assert low < expected_calibration_error(probability, label) < high
