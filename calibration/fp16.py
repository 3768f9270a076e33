"""ONNX to FP16: half precision where the weights are, float32 in and out.

What stands before the first layer (pixels squared and summed overflow half precision) and what
computes places rather than features stays in float32.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .graph import LAYERS, prepared, tidied

HALVES = (
    *LAYERS,
    *("MatMul", "Relu", "Sigmoid", "Tanh", "Add", "Mul", "AveragePool", "BatchNormalization"),
    *("ReduceMax", "ReduceMean", "Concat", "Reshape", "Transpose", "Unsqueeze", "Squeeze"),
)
"""Operators that compute in half precision behind the first layer; sums of exponentials and
logarithms do not."""


def half_from_onnx(source: Path, target: Path, kept: tuple[str, ...] = ()) -> None:
    """Write the FP16 form of a network, the nodes named in `kept` left in float32.

    Raises:
        EngineUnavailable: the onnx package is missing.
    """
    target.write_bytes(halved(prepared(source), kept))


def halved(model: Any, kept: tuple[str, ...] = ()) -> bytes:
    """The FP16 form of a prepared network as a serialised ONNX network."""
    with warnings.catch_warnings():
        # Of weights too small for half precision; the gate measures what that costs.
        warnings.simplefilter("ignore")
        from onnxruntime.transformers.float16 import convert_float_to_float16

        half = convert_float_to_float16(
            model,
            keep_io_types=True,
            op_block_list=sorted({node.op_type for node in model.graph.node} - set(HALVES)),
            node_block_list=[*_before_layers(model), *kept],
        )
    return bytes(tidied(half).SerializeToString())


def _before_layers(model: Any) -> list[str]:
    """Nodes that no layer's output reaches."""
    behind: set[str] = set()
    early = []
    for node in model.graph.node:
        if node.op_type in (*LAYERS, "MatMul") or behind & set(node.input):
            behind |= set(node.output)
        else:
            early.append(node.name)
    return early
