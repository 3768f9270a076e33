"""Which samples stand for the work."""

from __future__ import annotations

import numpy as np
import pytest

from ferstream.calibration.errors import CalibrationError, SamplesUnfit
from ferstream.calibration.ranges import LEAST, fingerprint, hold_fit, stratified, thirds


def test_rare_strata_give_all_and_the_rest_share_alike() -> None:
    stratum = np.repeat([0, 1, 2], [1000, 500, 7])
    chosen = stratified(stratum, 307, seed=0)
    assert len(set(chosen.tolist())) == 307
    assert np.bincount(stratum[chosen]).tolist() == [150, 150, 7]


def test_more_than_there_are_gives_all() -> None:
    assert sorted(stratified(np.array([0, 1, 1]), 10, seed=0).tolist()) == [0, 1, 2]


def test_the_seed_decides() -> None:
    stratum = np.arange(600) % 5
    assert (stratified(stratum, 50, 1) == stratified(stratum, 50, 1)).all()
    assert set(stratified(stratum, 50, 1)) != set(stratified(stratum, 50, 2))


def test_thirds_are_of_equal_size() -> None:
    third = thirds(np.random.default_rng(0).normal(size=300))
    assert np.bincount(third).tolist() == [100, 100, 100]


def test_a_fingerprint_tells_values_names_types_and_shapes() -> None:
    array = np.arange(6, dtype=np.float32)
    known = {
        fingerprint({"a": array}),
        fingerprint({"b": array}),
        fingerprint({"a": array.reshape(2, 3)}),
        fingerprint({"a": array.astype(np.float64)}),
        fingerprint({"a": array + 1}),
    }
    assert len(known) == 5 and all(len(text) == 64 for text in known)
    assert fingerprint({"a": array, "b": array}) == fingerprint({"b": array, "a": array})


def test_too_few_and_one_class_are_refused() -> None:
    hold_fit(np.arange(LEAST) % 2)
    with pytest.raises(SamplesUnfit, match=r"^499 samples are too few .* 500 are needed.*--data"):
        hold_fit(np.arange(499) % 8)
    with pytest.raises(SamplesUnfit, match=r"all 600 samples are of one class \(number 3\)"):
        hold_fit(np.full(600, 3))
    assert issubclass(SamplesUnfit, CalibrationError) and issubclass(SamplesUnfit, ValueError)
