"""INT8 on a small convolutional network made node by node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ferstream.calibration.int8 import TARGETS, Target, qdq_from_onnx
from ferstream.calibration.ranges import METHODS, Method
from ferstream.engines.contract import NetworkSpec, TensorSpec
from ferstream.engines.errors import EngineUnavailable
from ferstream.engines.ort import OrtEngine

SPEC = NetworkSpec(
    "small",
    (TensorSpec("picture", "float32", ("B", 1, 8, 8)),),
    (TensorSpec("score", "float32", ("B", 4)),),
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolution, rectifier, mean and a dense layer."""
    rng = np.random.default_rng(0)
    constants = {
        "kernel": rng.normal(0, 0.4, (8, 1, 3, 3)) * rng.uniform(0.2, 5, (8, 1, 1, 1)),
        "dense": rng.normal(0, 0.5, (8, 4)),
        "shift": rng.normal(0, 0.1, 4),
    }
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["map"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["map"], ["rectified"], name="relu"),
        helper.make_node("GlobalAveragePool", ["rectified"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "dense", "shift"], ["score"], name="gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["B", 1, 8, 8])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B", 4])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20)]
    path = tmp_path_factory.mktemp("int8") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 1, (50, 1, 8, 8)).astype(np.float32)


def scores(file: Path, pictures: NDArray[np.float32]) -> NDArray[Any]:
    engine = OrtEngine(file, SPEC, threads=1)
    found = engine.run({"picture": pictures})["score"]
    engine.close()
    return found


def quantized_nodes(file: Path) -> set[str]:
    """Kinds of nodes whose first input comes out of a DequantizeLinear."""
    graph = onnx.load(str(file)).graph
    made = {out for node in graph.node if node.op_type == "DequantizeLinear" for out in node.output}
    return {node.op_type for node in graph.node if node.input and node.input[0] in made}


def quantize(network: Path, target: Path, pictures: NDArray[np.float32], **how: Any) -> Path:
    """Also dense layers as small as this network's."""
    qdq_from_onnx(network, target, {"picture": pictures}, few_weights=1, **how)
    return target


@pytest.mark.parametrize("form", TARGETS)
@pytest.mark.parametrize("method", METHODS)
def test_int8_scores_nearly_the_same(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path, method: Method, form: Target
) -> None:
    target = quantize(network, tmp_path / "int8.onnx", pictures, batch=16, method=method, form=form)
    wanted = scores(network, pictures)
    error = np.abs(scores(target, pictures) - wanted)
    assert 0 < error.mean() < 0.05 * wanted.std()
    assert {"Conv", "Gemm"} <= quantized_nodes(target)


def test_weights_are_eight_bits_per_channel(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    target = quantize(network, tmp_path / "int8.onnx", pictures)
    weights = {w.name: numpy_helper.to_array(w) for w in onnx.load(str(target)).graph.initializer}
    assert weights["kernel_quantized"].dtype == np.int8
    assert weights["kernel_scale"].shape == (8,)
    assert not weights["kernel_zero_point"].any(), "symmetric"


def test_the_cpu_form_drops_the_rectifier(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    """The layer's output keeps from nothing up, in uint8, and is quantized at once."""
    graph = onnx.load(str(quantize(network, tmp_path / "int8.onnx", pictures))).graph
    assert "Relu" not in {node.op_type for node in graph.node}
    (conv,) = (node for node in graph.node if node.op_type == "Conv")
    (reader,) = (node for node in graph.node if conv.output[0] in node.input)
    assert reader.op_type == "QuantizeLinear"
    stored = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    assert stored[reader.input[2]].dtype == np.uint8 and stored[reader.input[2]] == 0


def test_the_tensorrt_form_has_no_zero_point_and_float_biases(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    target = quantize(network, tmp_path / "int8.onnx", pictures, form="tensorrt")
    graph = onnx.load(str(target)).graph
    stored = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert stored[node.input[2]].dtype == np.int8 and not stored[node.input[2]].any()
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            readers = {r.op_type for r in graph.node if node.output[0] in r.input}
            assert "QuantizeLinear" not in readers
    assert "Relu" in {node.op_type for node in graph.node}
    assert stored["shift"].dtype == np.float32


def test_no_operator_set_is_named_that_no_node_uses(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    target = quantize(network, tmp_path / "int8.onnx", pictures)
    assert [opset.domain for opset in onnx.load(str(target)).opset_import] == [""]


def test_layers_can_be_kept_in_float(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    target = quantize(network, tmp_path / "int8.onnx", pictures, kept=("gemm",))
    assert "Gemm" not in quantized_nodes(target) and "Conv" in quantized_nodes(target)
    quantize(network, target, pictures, kept=("conv",))
    assert "Conv" not in quantized_nodes(target) and "Gemm" in quantized_nodes(target)
    quantize(network, target, pictures, kept=("conv", "gemm"))
    assert not quantized_nodes(target)
    np.testing.assert_allclose(scores(target, pictures), scores(network, pictures), atol=1e-5)


def test_small_dense_layers_stay_in_float(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    qdq_from_onnx(network, tmp_path / "int8.onnx", {"picture": pictures})
    found = quantized_nodes(tmp_path / "int8.onnx")
    assert "Conv" in found and "Gemm" not in found


def test_ranges_come_from_all_samples(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    """One sample in the last, incomplete batch, ten times as bright, widens the steps tenfold."""
    bright = pictures.copy()
    bright[-1] *= 10
    steps = {}
    for name, samples in (("plain", pictures), ("bright", bright)):
        target = quantize(network, tmp_path / f"{name}.onnx", samples, batch=16)
        graph = onnx.load(str(target)).graph
        stored = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
        steps[name] = float(stored["picture_scale"])
    assert 4 < steps["bright"] / steps["plain"] < 12


def test_the_source_stays_as_it_was(
    network: Path, pictures: NDArray[np.float32], tmp_path: Path
) -> None:
    before = network.read_bytes()
    quantize(network, tmp_path / "int8.onnx", pictures)
    assert network.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"int8.onnx"}


def test_without_the_onnx_package_it_says_what_to_install(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(EngineUnavailable, match=r"ferstream\[train\]"):
        qdq_from_onnx(network, tmp_path / "int8.onnx", {})
