"""What a network's file may hold, looked at before any runtime is given it.

A bundle may come from a stranger. ONNX can name other files to read (external data), run graphs
within graphs as often as a number says (Loop, Scan, If), bring functions of its own and name
operators of any library: a bundle's networks need none of that, so none of it is let through.
What the operators that are left ask for in memory and time is bounded by the sizes here, not
exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import BundleCorrupt, ContractMismatch
from .graph import read_model

MOST_BYTES = 1024 * 2**20
"""Of one file; the largest of the papers' networks has 250 MB."""
MOST_NODES = 20_000
MOST_VALUES = 2**28
"""Of one constant tensor."""
MOST_DIMENSIONS = 8

_OPERATORS = """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant
    ConstantOfShape Conv ConvTranspose CumSum DequantizeLinear Div Dropout DynamicQuantizeLinear
    Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample HardSigmoid HardSwish
    Identity InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad Pow
    QuantizeLinear RNN Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Shape Sigmoid
    Sign Sin Cos Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tanh Tile TopK
    Transpose Trilu Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())
"""ONNX's own that take numbers, give numbers and hold no graphs."""
_OWN = ("", "ai.onnx")
_EXTERNAL = 1


def screen(file: Path) -> None:
    """Raise `BundleCorrupt` for a network's file that holds what none of a bundle needs."""
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise _refused(file, f"has {size / 1e6:.0f} MB, {MOST_BYTES / 1e6:.0f} MB are the most")
    try:
        model = read_model(file)
    except ContractMismatch as error:
        raise BundleCorrupt(str(error)) from None
    graph = model.graph
    if model.functions or model.training_info:
        raise _refused(file, "brings functions of its own")
    if len(graph.node) > MOST_NODES:
        raise _refused(file, f"has {len(graph.node)} operators, {MOST_NODES} are the most")
    for node in graph.node:
        if node.domain not in _OWN or node.op_type not in OPERATORS:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise _refused(file, f"has the operator {name[:80]!r}, which no network here needs")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise _refused(file, f"has a graph within its {node.op_type}")
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise _refused(file, f"has a sparse constant in its {node.op_type}")
            held = [attribute.t] if attribute.HasField("t") else []
            _screen_tensors(file, [*held, *attribute.tensors])
    if graph.sparse_initializer:
        raise _refused(file, "has sparse constants")
    _screen_tensors(file, graph.initializer)


def _screen_tensors(file: Path, tensors: Iterable[Any]) -> None:
    for tensor in tensors:
        if tensor.external_data or tensor.data_location == _EXTERNAL:
            raise _refused(file, f"keeps {tensor.name[:80]!r} in another file")
        shape = list(tensor.dims)
        if len(shape) > MOST_DIMENSIONS or any(size < 0 for size in shape):
            raise _refused(file, f"has the constant {tensor.name[:80]!r} of an odd shape")
        if math.prod(shape) > MOST_VALUES:
            raise _refused(file, f"has the constant {tensor.name[:80]!r} of {math.prod(shape)}")


def _refused(file: Path, why: str) -> BundleCorrupt:
    return BundleCorrupt(f"{file} {why}: do not use it, take a bundle from a source you trust")
