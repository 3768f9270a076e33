"""A bundle whose spatial network has convolutions, made node by node, and labelled drawn faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from ferstream.engines.bundle import Bundle, write_bundle
from tests.engines import tiny

CHANNELS = 8


def spatial(broken: float = 1.0) -> bytes:
    """Pixels to features by a convolution, a pool before a 1x1 one, a rectifier and dense layers.

    Args:
        broken: a factor on the first weights; one that is not finite breaks the network.
    """
    rng = np.random.default_rng(7)
    graph = tiny._Graph(3)
    constant, add = graph.constant, graph.add

    def weight(name: str, *shape: int) -> str:
        size = 2.5 * np.prod(shape[1:]) ** -0.5
        return constant(name, rng.normal(0, size, shape).astype(np.float32))

    add("Cast", ["crop"], "level", to=TensorProto.FLOAT)
    add("Div", ["level", constant("white", np.float32(255 / broken))], "bright")
    add("Conv", ["bright", weight("k1", CHANNELS, 1, 3, 3)], "c1", name="first", pads=[1] * 4)
    add("Relu", ["c1"], "r1", name="relu1")
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    add("AveragePool", ["r1"], "p1", name="pool", **pool)
    add("Conv", ["p1", weight("k2", CHANNELS, CHANNELS, 1, 1)], "c2", name="second")
    add("Relu", ["c2"], "r2", name="relu2")
    add("GlobalAveragePool", ["r2"], "g", name="mean")
    add("Flatten", ["g"], "flat", name="flatten")
    dense = rng.normal(0, 4.0, (CHANNELS, tiny.FEATURES)).astype(np.float32)
    bias = constant("bias", np.zeros(tiny.FEATURES, np.float32))
    add("Gemm", ["flat", constant("dense", dense), bias], "feature", name="dense")
    for name, width in (("basic8", 8), ("emo135", 135)):
        graph.linear("feature", tiny.FEATURES, name, width)
    add("Sigmoid", [graph.linear("feature", tiny.FEATURES, "au_logit", tiny.UNITS)], "au")
    add("Sigmoid", [graph.linear("feature", tiny.FEATURES, "zoom_logit", 2)], "zoom")
    return graph.serialised(tiny.SPECS["spatial"])


def bundle(path: Path, broken: float = 1.0) -> Bundle:
    """The tiny bundle with that spatial network, in float alone."""
    files: dict[str, bytes | Path] = {
        "spatial.onnx": spatial(broken),
        "temporal.onnx": tiny.network("temporal"),
        "fusion.onnx": tiny.network("fusion"),
    }
    return write_bundle(path, tiny.manifest(), files)


def dequantized_inputs(onnx: bytes) -> set[str]:
    """Names of the nodes whose first input comes out of a DequantizeLinear."""
    import onnx as package

    graph = package.load_from_string(onnx).graph
    made = {out for node in graph.node if node.op_type == "DequantizeLinear" for out in node.output}
    return {node.name for node in graph.node if node.input and node.input[0] in made}


def stored(onnx: bytes) -> dict[str, Any]:
    """Constants by name."""
    import onnx as package

    graph = package.load_from_string(onnx).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
