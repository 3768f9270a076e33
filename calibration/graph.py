"""An ONNX network made ready for a lower precision: constants folded, pools folded into layers."""

from __future__ import annotations

import copy
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ferstream.engines.errors import EngineUnavailable

LAYERS = ("Conv", "Gemm")
"""Operators with weights, where the work is."""

_FLOAT = 1
"""ONNX's number of float32."""

FEW_WEIGHTS = 32768
"""A dense layer with fewer runs in float: passing to and from eight bits costs more time than it
saves (timed in turns, the default's fifteen small ones cost its spatial network a few per cent)."""


def load_onnx() -> Any:
    """The onnx package; EngineUnavailable with what to install where it is missing."""
    try:
        import onnx
        import onnxruntime.quantization  # noqa: F401  needs onnx, and says so late
    except ImportError as error:
        raise EngineUnavailable(
            "quantizing needs the onnx package: pip install 'ferstream[train]'"
        ) from error
    return onnx


def prepared(source: Path) -> Any:
    """The network as an onnx ModelProto: weights in float32, constants and pools folded.

    Weights stored in half precision become float32, batch normalisation goes into the layer
    before it, each layer has weights of its own, shapes are inferred.

    Raises:
        EngineUnavailable: the onnx package is missing.
    """
    onnx = load_onnx()
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
        model = onnx.load(str(target))
    fold_pools(model)
    unshare_weights(model)
    return onnx.shape_inference.infer_shapes(model)


def unshare_weights(model: Any) -> int:
    """Gives each layer a copy of weights that an earlier one uses too; returns how many.

    ONNX Runtime cannot open eight-bit weights that two layers share where it makes them unsigned
    (processors without VNNI).
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    seen: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in LAYERS or node.input[1] not in stored:
            continue
        name = node.input[1]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            copied = copy.deepcopy(stored[name])
            copied.name = node.input[1] = f"{name}.{seen[name]}"
            graph.initializer.append(copied)
    return sum(seen.values()) - len(seen)


def fold_pools(model: Any) -> int:
    """Makes one convolution of an average pool and the 1x1 convolution that alone reads it.

    The same sums; a pool in eight bits is slower than in float, and between two layers in eight
    bits it would force a way out and back. Returns how many were folded.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    folded = 0
    for conv in [node for node in graph.node if node.op_type == "Conv"]:
        pool = made_by.get(conv.input[0])
        stored = weights.get(conv.input[1])
        if pool is None or stored is None or not _foldable(pool, conv, readers):
            continue
        weight = numpy_helper.to_array(stored)
        if weight.shape[2:] != (1, 1) or len(readers[stored.name]) != 1:
            continue
        how = _attributes(pool)
        height, width = how["kernel_shape"]
        spread = np.broadcast_to(weight / (height * width), (*weight.shape[:2], height, width))
        stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(spread), stored.name))
        group = _attributes(conv).get("group", 1)
        del conv.attribute[:]
        for name, value in (
            ("kernel_shape", [height, width]),
            ("strides", list(how.get("strides", (1, 1)))),
            ("group", group),
        ):
            conv.attribute.append(helper.make_attribute(name, value))
        conv.input[0] = pool.input[0]
        graph.node.remove(pool)
        folded += 1
    if folded:
        del graph.value_info[:]
    return folded


def layers(model: Any, few_weights: int = FEW_WEIGHTS) -> list[str]:
    """Names of the layers worth eight bits, in the order of the graph: convolutions, and dense
    layers with at least so many weights."""
    sizes = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in LAYERS
        and node.input[1] in sizes
        and (node.op_type == "Conv" or sizes[node.input[1]] >= few_weights)
    ]


def float_tensors(model: Any, operators: tuple[str, ...]) -> dict[str, str]:
    """Activations that these operators read and make, each with the node that makes it."""
    constants = {tensor.name for tensor in model.graph.initializer}
    made_by = {output: node.name for node in model.graph.node for output in node.output}
    wanted = [
        name
        for node in model.graph.node
        if node.op_type in operators
        for name in (*node.input[:1], *node.output)
    ]
    typed = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    floats = {value.name for value in typed if value.type.tensor_type.elem_type == _FLOAT}
    return {name: made_by.get(name, name) for name in wanted if name in floats - constants}


def tidied(model: Any) -> Any:
    """The network without operator sets that no node uses."""
    fresh = copy.deepcopy(model)
    used = {node.domain for node in fresh.graph.node} | {""}
    kept = [opset for opset in fresh.opset_import if opset.domain in used]
    del fresh.opset_import[:]
    fresh.opset_import.extend(kept)
    return fresh


def _foldable(pool: Any, conv: Any, readers: dict[str, list[Any]]) -> bool:
    """Whether nothing but this plain 1x1 convolution reads this plain average pool."""
    if pool.op_type != "AveragePool" or len(readers[pool.output[0]]) != 1:
        return False
    how, what = _attributes(pool), _attributes(conv)
    plain = not any(how.get("pads", ())) and not how.get("ceil_mode", 0)
    plain &= how.get("auto_pad", b"NOTSET") == b"NOTSET" == what.get("auto_pad", b"NOTSET")
    plain &= set(how.get("dilations", (1,))) == {1} and len(how["kernel_shape"]) == 2
    return plain and set(what.get("strides", (1,))) == {1} and not any(what.get("pads", ()))


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in node.attribute}
