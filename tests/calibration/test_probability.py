from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.calibration.errors import SamplesUnfit
from ferstream.calibration.probability import (
    LEAST,
    MOST,
    choose,
    cross_entropy,
    fit_each,
    fit_temperature,
    fit_vector,
    fitted,
    softmax,
)
from ferstream.engines.calibrator import Kind

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


def crooked(count: int, seed: int) -> tuple[Floats, Floats]:
    """Logits of four classes, the first said too boldly and the last too shyly; labels one-hot."""
    rng = np.random.default_rng(seed)
    true = 1.5 * rng.normal(size=(count, 4))
    odds = np.exp(true)
    label = np.array([rng.choice(4, p=row / row.sum()) for row in odds])
    return (true - [-1.5, 0, 0, 1.5]) / [0.5, 1, 1, 2], np.eye(4)[label]


def test_vector_scaling_finds_what_was_bent() -> None:
    logits, target = crooked(20_000, 0)
    scale, shift = fit_vector(logits, target)
    np.testing.assert_allclose(scale, [0.5, 1, 1, 2], rtol=0.12)
    np.testing.assert_allclose(shift - shift[1], [-1.5, 0, 0, 1.5], atol=0.25)


@pytest.mark.parametrize("kind", ["vector", "matrix", "isotonic"])
def test_every_kind_helps_on_faces_it_has_not_seen(kind: Kind) -> None:
    fresh, target = crooked(4000, 2)
    even = np.ones(4000)
    plain = fitted("temperature", *crooked(4000, 1)).probabilities(fresh)
    better = fitted(kind, *crooked(4000, 1)).probabilities(fresh)
    assert cross_entropy(better, target, even) < cross_entropy(plain, target, even) - 0.02


def test_the_best_kind_is_chosen_and_the_plain_one_where_nothing_is_bent() -> None:
    chosen = choose(*crooked(3000, 3))
    assert chosen.calibrator.kind in ("vector", "matrix")
    assert chosen.nll["vector"] < chosen.nll["temperature"]
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(3000, 4))
    odds = np.exp(2 * logits)
    label = np.array([rng.choice(4, p=row / row.sum()) for row in odds])
    plain = choose(logits, np.eye(4)[label])
    assert plain.calibrator.kind == "temperature"
    assert 1 / plain.calibrator.scale[0] == pytest.approx(0.5, rel=0.1)


def test_a_kind_that_takes_the_balance_back_is_out() -> None:
    """A rare class that training favours: shifts would gain likelihood and lose its recall."""
    rng = np.random.default_rng(5)
    label = (rng.random(6000) < 0.1).astype(int)
    seen = rng.normal(size=6000) + 2.0 * label
    logits = np.stack([-seen + 1.0, seen - 1.0], axis=1)
    target = np.eye(2)[label]
    assert choose(logits, target, most_recall_lost=None).calibrator.kind != "temperature"
    assert choose(logits, target).calibrator.kind == "temperature"


def test_heads_of_many_labels_get_few_parameters() -> None:
    logits = np.random.default_rng(6).normal(size=(60, 40))
    chosen = choose(logits, np.eye(40)[np.arange(60) % 40])
    assert set(chosen.nll) == {"temperature", "vector"}
    with pytest.raises(SamplesUnfit, match="cannot be split"):
        choose(logits[:3], np.eye(40)[:3])


def test_words_on_their_own_are_said_as_often_as_they_are_named() -> None:
    """One slope for all and a shift of each; a word without faces keeps the shift of all."""
    rng = np.random.default_rng(0)
    truth = rng.normal(-2, 1.5, (4000, 6))
    named = (rng.random(truth.shape) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    offset = np.array([0.0, 1.0, -1.0, 0.5, 2.0, -2.0])
    logits = (truth - offset) / 0.5
    found = fit_each(logits, named)
    assert found.kind == "logistic" and len(set(found.scale)) == 1
    assert found.scale[0] == pytest.approx(0.5, abs=0.06)
    predicted = found.probabilities(logits)
    np.testing.assert_allclose(predicted.mean(axis=0), named.mean(axis=0), atol=0.01)
    with pytest.raises(ValueError, match="nothing to fit"):
        fit_each(logits[:0], named[:0])


def test_a_rare_word_is_held_to_the_others() -> None:
    logits = np.full((300, 40), -3.0)
    named = np.zeros_like(logits)
    named[:15] = 1
    named[:, 0] = 0
    shifts = fit_each(logits, named).shift
    usual = float(np.median(shifts))
    assert shifts[0] < usual, "it was never named"
    assert np.isfinite(shifts[0]) and shifts[0] > usual - 6, "yet not ruled out"
