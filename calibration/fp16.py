"""ONNX to FP16: half precision where the weights are, float32 in and out.

What stands before the first layer (pixels squared and summed overflow half precision), what
computes places rather than features and what overflows on the samples stays in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import LAYERS, float_tensors, tidied
from .ranges import Samples, activation_ranges

HALVES = (
    *LAYERS,
    *("MatMul", "Relu", "Sigmoid", "Tanh", "Add", "Mul", "AveragePool", "BatchNormalization"),
    *("ReduceMax", "ReduceMean", "Concat", "Reshape", "Transpose", "Unsqueeze", "Squeeze"),
)
"""Operators that compute in half precision behind the first layer; sums of exponentials and
logarithms do not."""

MOST = float(np.finfo(np.float16).max) / 2
"""Half of what half precision holds, since other samples may reach further."""


def overflowing(model: Any, samples: Samples) -> tuple[str, ...]:
    """Nodes that read or make more than MOST on these samples.

    Looked at apart, as ONNX Runtime on a CPU computes these files in float32 and would not show
    it.

    Raises:
        NotFinite: a tensor holds NaN or infinity on these samples.
    """
    early = _before_layers(model)
    ranges = activation_ranges(model, float_tensors(model, HALVES), samples, "minmax")
    high = {name for name, reach in ranges.items() if max(map(abs, reach)) > MOST}
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type in HALVES and node.name not in early and high & {*node.input, *node.output}
    )


def halved(model: Any, kept: tuple[str, ...] = ()) -> bytes:
    """The FP16 form of a prepared network as a serialised ONNX network."""
    fresh = tidied(model)
    early = _before_layers(fresh)
    pass_ = _Halving(fresh)
    for node in list(fresh.graph.node):
        if node.op_type in HALVES and node.name not in early and node.name not in kept:
            pass_.halve(node)
        else:
            pass_.leave(node)
    pass_.finish()
    return bytes(fresh.SerializeToString())


class _Halving:
    """The graph on its way: which tensors are there in which precision."""

    def __init__(self, model: Any) -> None:
        from onnx import TensorProto

        self._graph = model.graph
        self._float, self._half = TensorProto.FLOAT, TensorProto.FLOAT16
        typed = [*self._graph.input, *self._graph.value_info, *self._graph.output]
        self._floats = {v.name for v in typed if v.type.tensor_type.elem_type == self._float}
        self._weights = {t.name: t for t in self._graph.initializer if t.data_type == self._float}
        self._outputs = {value.name for value in self._graph.output}
        self._halves: dict[str, str] = {}
        """By a tensor's old name its name in half precision, where it is there."""
        self._wholes: set[str] = set()
        """Tensors made in half precision that were also cast back."""
        self._nodes: list[Any] = []

    def halve(self, node: Any) -> None:
        """This node computes in half precision."""
        for at, name in enumerate(node.input):
            if name in self._weights or name in self._floats:
                node.input[at] = self._half_of(name)
        for at, name in enumerate(node.output):
            if name in self._floats:
                node.output[at] = self._halves[name] = f"{name}_half"
        self._nodes.append(node)
        for name in self._outputs & {
            old for old, new in self._halves.items() if new in node.output
        }:
            self._whole_of(name)

    def leave(self, node: Any) -> None:
        """This node computes in float32, or on whole numbers."""
        for name in node.input:
            if name in self._halves and name not in self._weights:
                self._whole_of(name)
        self._nodes.append(node)

    def finish(self) -> None:
        """Puts the nodes back, and drops weights that nobody reads any more."""
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input}
        used = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(used)
        del self._graph.value_info[:]

    def _half_of(self, name: str) -> str:
        if name not in self._halves:
            self._halves[name] = f"{name}_half"
            if name in self._weights:
                from onnx import numpy_helper

                with np.errstate(over="ignore"):  # infinity then, which the gate sees
                    value = numpy_helper.to_array(self._weights[name]).astype(np.float16)
                tensor = numpy_helper.from_array(value, f"{name}_half")
                self._graph.initializer.append(tensor)
            else:
                self._cast(name, f"{name}_half", self._half)
                self._wholes.add(name)
        return self._halves[name]

    def _whole_of(self, name: str) -> None:
        if name not in self._wholes:
            self._wholes.add(name)
            self._cast(self._halves[name], name, self._float)

    def _cast(self, source: str, target: str, kind: int) -> None:
        from onnx import helper

        self._nodes.append(
            helper.make_node("Cast", [source], [target], name=f"cast_to_{target}", to=kind)
        )


def _before_layers(model: Any) -> set[str]:
    """Nodes that no layer's output reaches."""
    behind: set[str] = set()
    early = set()
    for node in model.graph.node:
        if node.op_type in (*LAYERS, "MatMul") or behind & set(node.input):
            behind |= set(node.output)
        else:
            early.add(node.name)
    return early
