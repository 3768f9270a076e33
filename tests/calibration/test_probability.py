from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.probability import LEAST, MOST, fit_temperature, softmax

Floats = NDArray[np.float64]


def logits(count: int = 4000) -> Floats:
    return np.asarray(np.random.default_rng(0).normal(0, 2, (count, 8)))


def test_softmax_rows() -> None:
    row = softmax(np.log([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(row, [[1 / 8, 2 / 8, 5 / 8]])
    np.testing.assert_allclose(softmax(np.log([[1.0, 4.0]]), 2.0), [[1 / 3, 2 / 3]])
    assert np.isfinite(softmax(np.array([[1e4, -1e4]], np.float32))).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 3.0])
def test_a_known_temperature_is_recovered_from_votes(temperature: float) -> None:
    made = logits()
    assert fit_temperature(made, softmax(made, temperature)) == pytest.approx(temperature, rel=1e-3)


def test_and_from_labels_drawn_with_it() -> None:
    made, rng = logits(), np.random.default_rng(1)
    drawn = (softmax(made, 1.7).cumsum(1) < rng.random((len(made), 1))).sum(1)
    assert fit_temperature(made, np.eye(8)[drawn]) == pytest.approx(1.7, rel=0.06)


def test_samples_count_by_their_weight() -> None:
    made = logits(200)
    votes = np.concatenate([softmax(made[:100], 0.6), softmax(made[100:], 2.5)])
    first = np.repeat([1.0, 0.0], 100)
    assert fit_temperature(made, votes, first) == pytest.approx(0.6, rel=1e-3)
    assert fit_temperature(made, votes, first[::-1]) == pytest.approx(2.5, rel=1e-3)
    assert 0.6 < fit_temperature(made, votes) < 2.5


def test_a_row_without_votes_does_not_count() -> None:
    made = logits(50)
    votes = softmax(made, 1.5)
    more = np.concatenate([votes, np.zeros_like(votes)])
    assert fit_temperature(np.concatenate([made, -made]), more) == pytest.approx(1.5, rel=1e-3)


def test_temperatures_stay_within_their_bounds() -> None:
    made = logits(100)
    right, wrong = np.eye(8)[made.argmax(1)], np.eye(8)[made.argmin(1)]
    assert fit_temperature(made, right) == pytest.approx(LEAST, rel=0.01)
    assert fit_temperature(made, wrong) == pytest.approx(MOST, rel=0.01)


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        fit_temperature(np.zeros((0, 8)), np.zeros((0, 8)))
