"""Backends: the same numbers from each, and clear words where one cannot be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ferstream.engines import engine as engine_module
from ferstream.engines.bundle import Bundle, write_bundle
from ferstream.engines.contract import Array, Tensors
from ferstream.engines.engine import open_engine, present_backends
from ferstream.engines.errors import BundleError, ContractMismatch, EngineFailed, EngineUnavailable
from ferstream.engines.ort import OrtEngine

from . import tiny
from .function import FunctionEngine

BACKENDS = present_backends()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.mark.parametrize("network", tiny.SPECS)
def test_backends_agree(bundle: Bundle, network: str) -> None:
    assert set(BACKENDS) >= {"onnxruntime", "openvino"}, "install the test extra"
    inputs = tiny.SPECS[network].example(seed=3, B=2, T=5)
    results = []
    for backend in BACKENDS:
        engine = open_engine(bundle, network, backend=backend, precision="fp32", threads=1)
        assert (engine.backend, engine.precision) == (backend, "fp32")
        outputs = engine.run(inputs)
        engine.spec.check_outputs(outputs, ranges=True)
        results.append(outputs)
        engine.close()
    for outputs in results[1:]:
        assert outputs.keys() == results[0].keys()
        for name, array in outputs.items():
            np.testing.assert_allclose(array, results[0][name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_engine_against_arithmetic(bundle: Bundle, backend: str) -> None:
    """Attention by hand: softmax over the frames that are there, none on empty places."""
    engine = open_engine(bundle, "fusion", backend=backend)
    inputs = tiny.SPECS["fusion"].example(T=4)
    inputs["mask"] = np.array([[0, 1, 1, 0]], np.float32)
    inputs["has_motion"] = np.zeros((1, 1), np.float32)
    outputs = engine.run(inputs)
    assert outputs["attention"][0, [0, 3]].max() == 0
    assert outputs["attention"].sum() == pytest.approx(1, abs=1e-6)
    moved = engine.run({**inputs, "has_motion": np.ones((1, 1), np.float32)})
    np.testing.assert_allclose(moved["basic8"] - outputs["basic8"], inputs["temporal"], atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_equals_one_by_one(bundle: Bundle, backend: str) -> None:
    engine = open_engine(bundle, "spatial", backend=backend)
    crops = tiny.SPECS["spatial"].example(B=3)["crop"]
    batch = engine.run({"crop": crops})["basic8"]
    for row, crop in zip(batch, crops, strict=True):
        np.testing.assert_allclose(engine.run({"crop": crop[None]})["basic8"][0], row, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_are_the_callers_to_keep(bundle: Bundle, backend: str) -> None:
    engine = open_engine(bundle, "temporal", backend=backend)
    first, second = (tiny.SPECS["temporal"].example(seed=seed) for seed in (1, 2))
    kept = engine.run(first)["basic8"]
    copy = kept.copy()
    engine.run(second)
    assert np.array_equal(kept, copy)


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_input_is_refused(bundle: Bundle, backend: str) -> None:
    engine = open_engine(bundle, "spatial", backend=backend)
    with pytest.raises(ContractMismatch, match="crop: got float32"):
        engine.run({"crop": np.zeros((1, 1, 8, 8), np.float32)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_graph_is_held_to_the_manifest(tmp_path: Path, backend: str) -> None:
    """The manifest is in order, but the file is another network."""
    files = {f"{name}.onnx": tiny.network(name) for name in tiny.SPECS}
    files["spatial.onnx"] = tiny.network("temporal")
    swapped = write_bundle(tmp_path / "b", tiny.manifest(), files)
    with pytest.raises(ContractMismatch, match=r"spatial\.onnx takes motion .* expected crop"):
        open_engine(swapped, "spatial", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_that_a_runtime_cannot_run(tmp_path: Path, backend: str) -> None:
    model = onnx.load_from_string(tiny.network("fusion"))
    model.graph.node[0].input[0] = "of nowhere"
    files: dict[str, bytes | Path] = {f"{name}.onnx": tiny.network(name) for name in tiny.SPECS}
    files["fusion.onnx"] = model.SerializeToString()
    damaged = write_bundle(tmp_path / "b", tiny.manifest(), files)
    with pytest.raises(EngineUnavailable, match=r"cannot open .*fusion\.onnx"):
        open_engine(damaged, "fusion", backend=backend)


def test_auto_takes_int8_where_it_is_and_the_first_backend(bundle: Bundle) -> None:
    assert open_engine(bundle, "spatial").precision == "int8"
    assert open_engine(bundle, "fusion").precision == "fp32"
    assert open_engine(bundle, "fusion").backend == BACKENDS[0]


def test_a_precision_by_name_is_where_the_bundle_has_it(bundle: Bundle) -> None:
    assert open_engine(bundle, "spatial", precision="int8").precision == "int8"
    assert open_engine(bundle, "fusion", precision="int8").precision == "fp32"
    assert open_engine(bundle, "spatial", precision="fp32").precision == "fp32"


@pytest.mark.parametrize(
    ("backend", "precision", "said"),
    [
        ("tensorrt", "auto", "'tensorrt' is not available: .*use auto"),
        ("abacus", "auto", "there are auto, onnxruntime, openvino, tensorrt"),
        ("auto", "fp16", "has fusion in fp32, not in 'fp16'"),
    ],
)
def test_what_cannot_be_had(bundle: Bundle, backend: str, precision: str, said: str) -> None:
    with pytest.raises(EngineUnavailable, match=said):
        open_engine(bundle, "fusion", backend=backend, precision=precision)


def test_backend_that_is_not_installed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "present_backends", lambda: ("onnxruntime",))
    with pytest.raises(EngineUnavailable, match=r"pip install 'ferstream\[openvino\]'"):
        open_engine(bundle, "fusion", backend="openvino")
    assert isinstance(open_engine(bundle, "fusion"), OrtEngine)


def test_unknown_network(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no network 'audio'"):
        open_engine(bundle, "audio")


def test_function_engine_is_held_to_its_spec_on_both_sides() -> None:
    spec = tiny.SPECS["temporal"]

    def scores(inputs: Tensors) -> dict[str, Array]:
        return {"basic8": np.zeros((len(inputs["motion"]), 8), np.float32)}

    engine = FunctionEngine(spec, scores)
    assert engine.run(spec.example(B=3))["basic8"].shape == (3, 8)
    with pytest.raises(ContractMismatch, match="input"):
        engine.run({})
    with pytest.raises(ContractMismatch, match="temporal, output"):
        FunctionEngine(spec, lambda inputs: {}).run(spec.example())


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_number_is_not_passed_on(bundle: Bundle, backend: str, tmp_path: Path) -> None:
    """A damaged or hostile network's weights; what stands behind could not say so."""
    model = onnx.load_from_string(tiny.network("temporal"))
    weight = next(one for one in model.graph.initializer if one.name == "basic8_w")
    weight.raw_data = np.full(len(weight.raw_data) // 4, np.nan, np.float32).tobytes()
    files: dict[str, bytes | Path] = {name: bundle.path / name for name in bundle.manifest.files}
    files["temporal.onnx"] = model.SerializeToString()
    spoiled = write_bundle(tmp_path / "spoiled", bundle.manifest, files)
    engine = open_engine(spoiled, "temporal", backend=backend, precision="fp32")
    with pytest.raises(EngineFailed, match=r"in fp32 on .* gave NaN or infinity in 'basic8'"):
        engine.run(tiny.SPECS["temporal"].example(seed=3, B=2, T=5))
    engine.close()
