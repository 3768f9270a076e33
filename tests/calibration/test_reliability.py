"""Figures against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calibration.reliability import (
    brier_score,
    divergence,
    expected_calibration_error,
    negative_log_likelihood,
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
