"""Prediction sets: the promise is kept on faces that were not fitted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ferstream.calibration.reliability import fit_sets, measure, with_threshold

Array = npt.NDArray[np.float64]


def faces(
    count: int, seed: int, sharpness: float = 2.0, overconfidence: float = 1.0
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Probabilities over eight classes and labels drawn from what they should have said."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(count, 8))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = np.array([rng.choice(8, p=row) for row in true])
    predicted = np.exp(overconfidence * logits)
    return predicted / predicted.sum(1, keepdims=True), label


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 3.0])
def test_the_promise_holds_however_wrong_the_probabilities_are(
    coverage: float, overconfidence: float
) -> None:
    """Within three standard errors of both samples."""
    sets = fit_sets(*faces(4000, 1, overconfidence=overconfidence), coverage)
    found = measure(sets, *faces(4000, 2, overconfidence=overconfidence))
    assert found.covered >= coverage - 3 * np.sqrt(
        coverage * (1 - coverage) * (1 / 2000 + 1 / 4000)
    )


def test_surer_faces_get_smaller_sets() -> None:
    sure, unsure = faces(3000, 3, sharpness=5.0), faces(3000, 4, sharpness=1.0)
    sets = fit_sets(np.concatenate([sure[0], unsure[0]]), np.concatenate([sure[1], unsure[1]]))
    assert measure(sets, *sure).size < 0.7 * measure(sets, *unsure).size


def test_hardship_is_provided_for() -> None:
    """The same labels seen less well, and overconfidently: sets chosen with that in view cover
    more of them than sets chosen for the smallest size."""
    predicted, label = faces(4000, 5, sharpness=3.0)
    noise = np.random.default_rng(6).normal(size=predicted.shape)
    poor = predicted * np.exp(2.0 * noise)
    poor /= poor.sum(1, keepdims=True)
    small, ready = fit_sets(predicted, label), fit_sets(predicted, label, harder=[poor])
    assert ready.penalty < small.penalty
    assert measure(ready, poor, label).covered > measure(small, poor, label).covered
    assert measure(small, predicted, label).size <= measure(ready, predicted, label).size


def test_too_few_faces_promise_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        with_threshold(*faces(8, 7), 0.9, 0.01)
    with pytest.raises(ValueError, match="between 0 and 1"):
        with_threshold(*faces(100, 8), 1.0, 0.01)


def test_counts_of_a_small_example() -> None:
    sets = with_threshold(np.eye(8)[:2].repeat(50, 0), np.zeros(100, np.int64), 0.4, 0.01)
    found = measure(sets, np.eye(8)[[0, 0, 1]], np.zeros(3, np.int64))
    assert (found.n, found.single) == (3, 1.0)
    assert found.covered == found.single_right == pytest.approx(2 / 3)
