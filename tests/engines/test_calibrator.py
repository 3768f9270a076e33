"""Calibrators and prediction sets: what a manifest keeps, applied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream.engines.bundle import load_bundle, write_bundle
from ferstream.engines.calibrator import Calibrator, PredictionSets, temperature
from ferstream.engines.errors import ContractMismatch

from . import tiny

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, 0.4, 3.0]], np.float32)


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    odds = np.exp(scores)
    return np.asarray(odds / odds.sum(1, keepdims=True))


def test_each_kind_does_what_its_row_in_the_table_says() -> None:
    np.testing.assert_allclose(temperature(2.0).probabilities(LOGITS), softmax(LOGITS / 2), 1e-5)
    scale, shift = (1.0, 2.0, 0.5), (0.1, -0.2, 0.3)
    vector = Calibrator("vector", scale, shift)
    np.testing.assert_allclose(vector.probabilities(LOGITS), softmax(LOGITS * scale + shift), 1e-5)
    turned = np.roll(np.eye(3), 1, axis=1)
    matrix = Calibrator("matrix", tuple(turned.ravel().tolist()), shift)
    expected = softmax(LOGITS @ turned.T + shift)
    np.testing.assert_allclose(matrix.probabilities(LOGITS), expected, 1e-5)


def test_a_curve_per_class_is_read_off_and_normalised() -> None:
    flat = ((0.0, 0.0), (1.0, 1.0))
    halved = ((0.0, 0.0), (1.0, 0.5))
    same = Calibrator("isotonic", (1.0,), knots=(flat, flat, flat))
    np.testing.assert_allclose(same.probabilities(LOGITS), softmax(LOGITS), 1e-5)
    less = Calibrator("isotonic", (1.0,), knots=(halved, flat, flat)).probabilities(LOGITS)
    np.testing.assert_allclose(less.sum(1), 1, atol=1e-6)
    assert (less[:, 0] < softmax(LOGITS)[:, 0]).all()


def test_huge_logits_do_not_overflow() -> None:
    assert temperature(1.0).probabilities(np.array([[1e4, 0.0]]))[0, 0] == 1


@pytest.mark.parametrize(
    ("calibrator", "classes"),
    [
        (Calibrator("temperature", ()), 3),
        (Calibrator("vector", (1.0, 1.0), (0.0, 0.0)), 3),
        (Calibrator("matrix", (1.0,) * 8, (0.0,) * 3), 3),
        (Calibrator("isotonic", (1.0,), knots=((),) * 3), 3),
    ],
)
def test_a_bundle_whose_calibrator_does_not_fit_is_refused(
    tmp_path: Path, calibrator: Calibrator, classes: int
) -> None:
    assert not calibrator.fits(classes)
    bundle = tiny.bundle(tmp_path / "good")
    heads = tuple(
        replace(head, calibrator=calibrator) if head.name == "basic8" else head
        for head in bundle.manifest.heads
    )
    files = {name: bundle.path / name for name in bundle.manifest.files}
    with pytest.raises(ContractMismatch, match="calibrator of head basic8"):
        write_bundle(tmp_path / "bad", replace(bundle.manifest, heads=heads), files)


def test_calibrators_and_sets_survive_the_manifest(tmp_path: Path) -> None:
    bundle = tiny.bundle(tmp_path / "one")
    fresh = Calibrator("vector", (1.5,) * 8, (0.25,) * 8)
    sets = PredictionSets("basic8", 0.9, 0.999, 0.01, 1, {"blur": {"covered": 0.91}})
    heads = tuple(
        replace(head, calibrator=fresh) if head.name == "basic8" else head
        for head in bundle.manifest.heads
    )
    files = {name: bundle.path / name for name in bundle.manifest.files}
    manifest = replace(bundle.manifest, heads=heads, sets=sets)
    again = load_bundle(write_bundle(tmp_path / "two", manifest, files).path).manifest
    assert again.head("basic8").calibrator == fresh
    assert again.sets == sets


def test_a_set_holds_the_likeliest_classes_up_to_the_threshold() -> None:
    said = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])
    sets = PredictionSets("basic8", 0.9, threshold=0.95, penalty=0.0, free=1)
    assert sets.members(said).tolist() == [
        [True, True, False],
        [False, True, True],
        [True, False, False],
    ], "the best class belongs to the set even where it alone is above the threshold"
    strict = replace(sets, penalty=0.1)
    assert strict.members(said).tolist() == [
        [True, False, False],
        [False, False, True],
        [True, False, False],
    ], "a second class costs a tenth more: 0.9 + 0.1 is above 0.95"
