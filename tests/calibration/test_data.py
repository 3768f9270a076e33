"""What networks are quantized with and judged on, from drawn faces and the default bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferstream.calibration.data import (
    calibration_data,
    crop_samples,
    photographs,
    representative,
    sharpness_of,
)
from ferstream.calibration.errors import SamplesUnfit
from ferstream.calibration.gate import change
from ferstream.calibration.quantize import CalibrationData, Options, fp16_tried
from ferstream.engines.bundle import load_bundle
from ferstream.engines.engine import open_engine
from tests.training.layout import write_layout

COUNT = 40


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CalibrationData]:
    folder = write_layout(tmp_path_factory.mktemp("few"), per_class=6)
    networks = ("spatial", "temporal", "fusion")
    return calibration_data(
        load_bundle(), networks, str(folder), samples=COUNT, seed=0, least=COUNT
    )


def test_every_network_has_inputs_that_keep_its_contract(given: dict[str, CalibrationData]) -> None:
    for name in given:
        spec = load_bundle().manifest.networks[name]
        samples = given[name].samples
        spec.check(samples, ranges=True)
        assert {len(array) for array in samples.values()} == {COUNT}
        assert len(given[name].examples.label) >= 40
        assert len(given[name].sweep.label) <= len(given[name].examples.label)


def test_clips_are_of_all_lengths_and_some_are_heard(given: dict[str, CalibrationData]) -> None:
    samples = given["fusion"].samples
    assert len(np.unique(samples["mask"].sum(axis=1))) > 4
    assert samples["has_motion"].min() < samples["has_motion"].max()
    assert np.ptp(samples["feature"], axis=1).mean() > 0.01, "the views differ"


@pytest.mark.parametrize("network", ["spatial", "temporal", "fusion"])
def test_int8_and_float_read_the_same_examples(
    given: dict[str, CalibrationData], network: str
) -> None:
    engine = open_engine(load_bundle(), network, precision="fp32")
    predicted = given[network].examples.predictions(engine)
    engine.close()
    np.testing.assert_allclose(predicted.basic8.sum(axis=1), 1, atol=1e-5)
    assert (predicted.words is None) == (network == "temporal")
    assert change(predicted, predicted).kl == 0


def test_fusion_in_half_precision_says_the_same(given: dict[str, CalibrationData]) -> None:
    options = Options(target="tensorrt")
    tried = fp16_tried(load_bundle(), "fusion", given["fusion"], options)
    assert tried.verdict.change.kl < 1e-4 and tried.verdict.change.agree == 1
    assert len(tried.onnx) < 1_500_000


def test_samples_hold_every_emotion_and_quality(faces_dir: Path) -> None:
    faces = photographs("train", str(faces_dir), 48)
    chosen = representative(faces, 504, seed=0)
    assert np.bincount(chosen.data.majority, minlength=8).min() >= 60
    limits = np.quantile(sharpness_of(faces.crops), (1 / 3, 2 / 3))
    third = np.searchsorted(limits, sharpness_of(chosen.crops))
    assert np.bincount(third, minlength=3).min() >= 150
    crops = crop_samples(chosen, seed=0)
    spoiled = (crops != chosen.crops).any(axis=(1, 2, 3))
    assert spoiled.sum() == 126 and not spoiled[1::4].any()
    with pytest.raises(SamplesUnfit, match="520 samples are too few"):
        representative(faces, 1000, seed=0, least=600)
