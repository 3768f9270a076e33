"""Networks made ready for a lower precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from ferstream.calibration.graph import fold_pools, layers, prepared, unshare_weights
from ferstream.engines.bundle import Bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.ort import OrtEngine

CROPS = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)


def test_a_folded_pool_gives_the_same(bundle: Bundle, tmp_path: Path) -> None:
    model = prepared(bundle.path / "spatial.onnx")
    assert "AveragePool" not in {node.op_type for node in model.graph.node}
    file = tmp_path / "folded.onnx"
    onnx.save(model, str(file))
    folded = OrtEngine(file, bundle.manifest.networks["spatial"])
    plain = open_engine(bundle, "spatial", backend="onnxruntime")
    one, other = folded.run({"crop": CROPS}), plain.run({"crop": CROPS})
    assert one["feature"].std() > 0.01
    for name, array in other.items():
        np.testing.assert_allclose(one[name], array, atol=1e-5)


@pytest.mark.parametrize("how", ["padded", "read twice", "strided layer"])
def test_a_pool_that_cannot_be_folded_stays(bundle: Bundle, how: str) -> None:
    model = onnx.load(str(bundle.path / "spatial.onnx"))
    nodes = {node.name: node for node in model.graph.node}
    if how == "padded":
        nodes["pool"].attribute.append(helper.make_attribute("pads", [1, 1, 1, 1]))
    elif how == "read twice":
        model.graph.node.append(helper.make_node("Relu", ["p1"], ["again"], name="again"))
    else:
        nodes["second"].attribute.append(helper.make_attribute("strides", [2, 2]))
    assert fold_pools(model) == 0
    assert "AveragePool" in {node.op_type for node in model.graph.node}


def test_small_dense_layers_are_not_worth_it(bundle: Bundle) -> None:
    model = prepared(bundle.path / "spatial.onnx")
    assert layers(model) == ["first", "second"]
    assert layers(model, few_weights=1) == ["first", "second", "dense"]


def test_layers_that_share_weights_get_their_own(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(str(bundle.path / "spatial.onnx"))
    (dense,) = [node for node in model.graph.node if node.name == "dense"]
    again = helper.make_node("Gemm", list(dense.input), ["again"], name="again")
    again.attribute.extend(dense.attribute)
    model.graph.node.append(again)
    assert unshare_weights(model) == 1 and unshare_weights(model) == 0
    assert dense.input[1] != model.graph.node[-1].input[1]
    onnx.checker.check_model(model)
