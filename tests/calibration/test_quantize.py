"""Networks in a lower precision: made, judged, kept or left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ferstream.calibration.data import calibration_data_of, photograph_examples
from ferstream.calibration.errors import NotFinite
from ferstream.calibration.gate import Budget, Examples
from ferstream.calibration.int8 import LayerError, hurting, layer_errors, measured, quantized
from ferstream.calibration.quantize import CalibrationData, Options, fp16_tried, int8_tried, taken
from ferstream.calibration.ranges import fingerprint
from ferstream.engines.bundle import Bundle, load_bundle

from . import small

RNG = np.random.default_rng(0)
LIGHT = RNG.uniform(0.05, 1, (600, 1, 1, 1)) * RNG.uniform(0, 1, (600, 1, 1, 8))
CROPS = (RNG.integers(128, 256, (600, 1, 8, 8)) * LIGHT).astype(np.uint8)
ANY_SPEED = Options(rounds=0, budget=Budget(top1=0.05, macro_recall=0.05, kl=0.05, ece=0.05))


def made(bundle: Bundle) -> CalibrationData:
    """Labels are what the float network says, so that it is always right."""
    examples = photograph_examples(bundle, CROPS, np.zeros(len(CROPS), np.int64))
    from ferstream.engines.engine import open_engine

    engine = open_engine(bundle, "spatial")
    label = examples.predictions(engine).basic8.argmax(axis=1)
    engine.close()
    return calibration_data_of({"crop": CROPS}, replace(examples, label=label))


def test_a_good_form_is_kept_with_what_made_it(bundle: Bundle) -> None:
    given = made(bundle)
    tried = int8_tried(bundle, "spatial", given, ANY_SPEED)
    assert tried.verdict.passed, tried.verdict.line()
    assert tried.verdict.exact.top1 == 1 and tried.verdict.n == 600
    written = taken(bundle, bundle.path, "int8", [tried], {"spatial": given}, ANY_SPEED)
    assert written is not None and written.precisions("spatial") == ("fp32", "int8")
    known = load_bundle(bundle.path).manifest.calibration["int8"]["spatial"]
    assert known["fingerprint"] == fingerprint({"crop": CROPS}) and known["samples"] == 600
    assert known["method"] == "minmax" and known["target"] == "cpu"
    assert known["gate"]["passed"] and known["gate"]["speed"] is None
    assert {"first", "second"} <= small.dequantized_inputs(tried.onnx)


def test_a_refused_form_leaves_the_bundle_alone(bundle: Bundle) -> None:
    strict = replace(ANY_SPEED, budget=Budget(kl=-1.0))
    given = made(bundle)
    before = (bundle.path / "manifest.json").stat()
    tried = int8_tried(bundle, "spatial", given, strict)
    assert [f for f in tried.verdict.failures if "KL to float rises by" in f]
    assert set(tried.kept) == {"first", "second"}, "all layers went back to float in vain"
    assert taken(bundle, bundle.path, "int8", [tried], {"spatial": given}, strict) is None
    assert (bundle.path / "manifest.json").stat() == before


def test_a_slow_form_is_refused_without_more_trials(bundle: Bundle) -> None:
    slow = replace(ANY_SPEED, rounds=5, budget=replace(ANY_SPEED.budget, speedup=1000.0))
    tried = int8_tried(bundle, "spatial", made(bundle), slow)
    assert len(tried.verdict.failures) == 1 and not tried.kept
    assert "times as fast as float's" in tried.verdict.failures[0]
    assert tried.verdict.speed is not None and tried.verdict.speed.float_ms > 0


def test_half_precision_of_every_network(bundle: Bundle) -> None:
    given = made(bundle)
    tried = fp16_tried(bundle, "spatial", given, ANY_SPEED)
    assert tried.verdict.passed and tried.verdict.change.kl < 1e-4
    written = taken(bundle, bundle.path, "fp16", [tried], {"spatial": given}, ANY_SPEED)
    assert written is not None and written.precisions("spatial") == ("fp32", "fp16")
    known = written.manifest.calibration["fp16"]["spatial"]
    assert "method" not in known and known["samples"] == 600


def test_what_overflows_half_precision_stays_in_float(tmp_path: Path) -> None:
    """Everything up to the pooled values goes beyond 65,504."""
    loud = small.bundle(tmp_path / "bundle", broken=1e5)
    tried = fp16_tried(loud, "spatial", made(loud), ANY_SPEED)
    assert {"first", "second"} <= set(tried.kept)
    kinds = {name: value.dtype for name, value in small.stored(tried.onnx).items()}
    assert kinds["k1"] == kinds["k2"] == np.float32
    quiet = small.bundle(tmp_path / "quiet")
    assert not fp16_tried(quiet, "spatial", made(quiet), ANY_SPEED).kept


def test_nan_in_activations_is_said_before_anything_is_written(tmp_path: Path) -> None:
    broken = small.bundle(tmp_path / "bundle", broken=float("nan"))
    examples = photograph_examples(broken, CROPS, np.zeros(len(CROPS), np.int64))
    given = calibration_data_of({"crop": CROPS}, examples)
    with pytest.raises(NotFinite, match="on the calibration samples"):
        int8_tried(broken, "spatial", given, ANY_SPEED)


def test_one_layer_at_a_time(bundle: Bundle, tmp_path: Path) -> None:
    """The sum of the parts is about the whole; a form with one layer has Q/DQ there alone."""
    given = made(bundle)
    found = measured(bundle.path / "spatial.onnx", given.samples)
    spec = bundle.manifest.networks["spatial"]
    rows = layer_errors(found, spec, given.sweep, "cpu", tmp_path)
    assert {row.layer for row in rows} == {"first", "second"}
    assert rows[0].kl >= rows[1].kl > 0 and all(0 < row.agree <= 1 for row in rows)
    alone = small.stored(quantized(found, ("second",)))
    assert "k1_quantized" in alone and "k2_quantized" not in alone


def test_layers_that_hurt() -> None:
    rows = [LayerError("a", 0.001, 0.9), LayerError("b", 0.0004, 1), LayerError("c", 0.0, 1)]
    assert hurting(rows, 0.002) == ("a",)
    assert hurting(rows, 0.0004) == ("a", "b")
    assert hurting(rows, 1.0) == ()


def test_what_hurts_goes_back_to_float(bundle: Bundle) -> None:
    # Each layer costs 1e-6 and more in INT8; what is left between two float forms is rounding.
    tight = replace(ANY_SPEED, budget=replace(ANY_SPEED.budget, kl=1e-7))
    tried = int8_tried(bundle, "spatial", made(bundle), tight)
    assert set(tried.kept) == {"first", "second"} and tried.verdict.passed


def test_the_tensorrt_form_is_not_timed_without_a_gpu(bundle: Bundle) -> None:
    options = replace(ANY_SPEED, target="tensorrt", rounds=5)
    tried = int8_tried(bundle, "spatial", made(bundle), options)
    assert tried.verdict.speed is None and "speed not judged here" in tried.verdict.line()
    stored = small.stored(tried.onnx)
    points = [v for name, v in stored.items() if name.endswith("zero_point")]
    assert points and all(v.dtype == np.int8 and not v.any() for v in points)


def test_examples_of_a_sweep_are_some_of_all(bundle: Bundle) -> None:
    given = made(bundle)
    assert isinstance(given.sweep, Examples) and len(given.sweep.label) == 400
    kinds = set(given.examples.label.tolist())
    assert set(given.sweep.label.tolist()) == kinds
