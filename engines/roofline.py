"""What a network costs, and what this machine can do at most.

What a network costs by its ONNX: operations and bytes, whoever runs it.

Counted are the convolutions and matrix products, two operations for each multiply-add; all else
is small beside them and mostly fused into them. Bytes are what these layers read and write, each
tensor once per layer, in the width in which it is kept between Q/DQ nodes: what a machine without
any cache would move. The shapes are those of a real run.

What this machine can do at most, as measured: matrix products and copies.

A network's share of these says how much a better form of it could still gain here. The products
run in ONNX Runtime on as many threads as the networks; a copy runs on one thread.
"""

from __future__ import annotations

import ast
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from .contract import Tensors
from .graph import one_node, read_model

_WEIGHT = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Which input holds a convolution's weight."""
_PRODUCTS = {"Gemm": 1, "MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
_SECOND = _WEIGHT | _PRODUCTS
_BYTES = {"float32": 4, "int32": 4, "int64": 8, "float16": 2, "bfloat16": 2}  # the others: 1
_PASSING = frozenset(("Relu", "Clip", "LeakyRelu"))  # fused between a layer and its Q
_PROFILE_TYPES = {"float": "float32", "float16": "float16"}


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of a network."""

    operations: dict[str, int] = field(default_factory=dict)
    """By the type in which the layer multiplies: int8, float16 or float32."""
    bytes: int = 0

    @property
    def total(self) -> int:
        """Operations of all types."""
        return sum(self.operations.values())


@dataclass(frozen=True, slots=True)
class _Shaped:
    """A node as it ran: shapes and element types."""

    inputs: list[tuple[str, tuple[int, ...]]]
    outputs: list[tuple[str, tuple[int, ...]]]


def cost_of(file: Path, inputs: Tensors) -> Cost:
    """Counts one run of an ONNX file on these inputs.

    Raises ContractMismatch for a file that is no ONNX. Layers inside the branches of If and Loop
    are not counted.
    """
    model = read_model(file)
    nodes = list(model.graph.node)
    for number, node in enumerate(nodes):
        node.name = f"n{number}"  # so that each is found again in the profile
    shaped = _shapes(model.SerializeToString(), inputs)
    edges = _Edges(nodes)
    operations: dict[str, int] = {}
    moved = 0
    for node in nodes:
        if node.op_type not in _SECOND or node.name not in shaped:
            continue
        at = shaped[node.name]
        kind = edges.multiplies_in(node, at)
        operations[kind] = operations.get(kind, 0) + 2 * _multiply_adds(node.op_type, at)
        moved += edges.moved(node, at)
    return Cost(operations, moved)


def _multiply_adds(operator: str, at: _Shaped) -> int:
    """Every output is a sum over the weight's other sizes."""
    weight = at.inputs[_SECOND[operator]][1]
    out = at.outputs[0][1]
    if operator == "ConvTranspose":  # every input is spread over (channels, height, width)
        return math.prod(at.inputs[0][1]) * math.prod(weight[1:])
    if operator in _WEIGHT:
        return math.prod(out) * math.prod(weight[1:])
    if operator == "Gemm":
        return math.prod(out) * math.prod(weight) // out[-1]
    return math.prod(out) * at.inputs[0][1][-1]


class _Edges:
    """Who makes and who takes each tensor."""

    def __init__(self, nodes: list[Any]) -> None:
        self._maker = {name: node for node in nodes for name in node.output}
        self._takers: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                self._takers.setdefault(name, []).append(node)

    def multiplies_in(self, node: Any, at: _Shaped) -> str:
        """int8 where both factors are quantised, else the type in which they are given."""
        first, second = node.input[0], node.input[_SECOND[node.op_type]]
        types = [self._kept_as(first), self._kept_as(second)]
        given = at.inputs[0][0]
        if all(types) or given in ("uint8", "int8"):
            return "int8"
        return given

    def moved(self, node: Any, at: _Shaped) -> int:
        """Bytes read and written by a layer."""
        read = sum(
            math.prod(shape) * (1 if self._kept_as(name) else _BYTES.get(kind, 1))
            for name, (kind, shape) in zip(node.input, at.inputs, strict=False)
        )
        written = sum(
            math.prod(shape) * (1 if self._becomes_int8(name) else _BYTES.get(kind, 1))
            for name, (kind, shape) in zip(node.output, at.outputs, strict=False)
        )
        return read + written

    def _kept_as(self, name: str) -> bool:
        """Whether a tensor comes out of a DequantizeLinear: it is kept in eight bits."""
        maker = self._maker.get(name)
        return maker is not None and maker.op_type == "DequantizeLinear"

    def _becomes_int8(self, name: str) -> bool:
        takers = self._takers.get(name, [])
        return bool(takers) and all(
            taker.op_type == "QuantizeLinear"
            or (taker.op_type in _PASSING and self._becomes_int8(taker.output[0]))
            for taker in takers
        )


def _shapes(model: bytes, inputs: Tensors) -> dict[str, _Shaped]:
    """Every node's shapes, by its name: as profiled by ONNX Runtime, with nothing fused."""
    with tempfile.TemporaryDirectory(prefix="ferstream-") as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        # A weight that was packed is gone from the node's inputs.
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return dict(_ran(events))


def _ran(events: list[dict[str, Any]]) -> Iterator[tuple[str, _Shaped]]:
    for event in events:
        name, _, what = event.get("name", "").rpartition("_kernel_")
        about = event.get("args", {})
        if what == "time" and "output_type_shape" in about:
            yield (
                name,
                _Shaped(_tensors(about["input_type_shape"]), _tensors(about["output_type_shape"])),
            )


def _tensors(listed: Any) -> list[tuple[str, tuple[int, ...]]]:
    """ORT's list of {type: shape}, which some versions write as a text."""
    found = ast.literal_eval(listed) if isinstance(listed, str) else listed
    return [
        (_PROFILE_TYPES.get(kind, kind), tuple(shape))
        for one in found
        for kind, shape in one.items()
    ]


_SIDE = 768
"""Of the square matrices: large enough to be fast, and two of them still fit the caches."""
_COPIES_MB = (1, 16, 128)
"""A copy in the cores' own caches, in the common one, and in memory, on most machines."""

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The best that was measured."""

    product_gops: Mapping[str, float]
    """Thousand million operations per second by element type, a multiply-add being two."""
    copy_gbps: Mapping[int, float]
    """Thousand million bytes read and written per second, by megabytes copied."""

    def least_ms(self, cost: Cost) -> tuple[float, str]:
        """The least time for this at these rates, and what sets it: compute or memory.

        Types without a measured product count as float32; bytes move as fast as in the copy of
        the size nearest to theirs.
        """
        float_gops = self.product_gops["float32"]
        compute_ms = sum(
            operations / self.product_gops.get(kind, float_gops) / 1e6
            for kind, operations in cost.operations.items()
        )
        memory_ms = 0.0
        if cost.bytes:
            nearest = min(self.copy_gbps, key=lambda mb: abs(math.log(mb * 1e6 / cost.bytes)))
            memory_ms = cost.bytes / self.copy_gbps[nearest] / 1e6
        return max((compute_ms, "compute"), (memory_ms, "memory"))

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "product_gops": {kind: round(rate, 1) for kind, rate in self.product_gops.items()},
            "copy_gbps": {f"{mb}_mb": round(rate, 1) for mb, rate in self.copy_gbps.items()},
        }


def ceiling_calls(threads: int | None) -> dict[tuple[str, str | int], Call]:
    """The calls to be timed: ("product", element type) and ("copy", megabytes)."""
    calls: dict[tuple[str, str | int], Call] = {}
    for kind in ("float32", "int8"):
        calls["product", kind] = _product(kind, threads)
    for mb in _COPIES_MB:
        calls["copy", mb] = _copy(mb)
    return calls


def ceilings_from(times_ms: Mapping[tuple[str, str | int], list[float]]) -> Ceilings:
    """The ceilings from the times of `ceiling_calls`: the fastest run of each."""
    product, copy = {}, {}
    for (what, which), taken_ms in times_ms.items():
        best_ms = min(taken_ms)
        if what == "product":
            product[str(which)] = 2 * _SIDE**3 / best_ms / 1e6
        else:
            copy[int(which)] = 2 * int(which) / best_ms  # as many bytes read as written
    return Ceilings(product, copy)


def _product(kind: str, threads: int | None) -> Call:
    """A square product in ONNX Runtime, its right side a constant as a network's weights are."""
    random = np.random.default_rng(0)
    left: Any
    right: Any
    if kind == "int8":
        left = random.integers(0, 256, (_SIDE, _SIDE), np.uint8)
        right = random.integers(-64, 64, (_SIDE, _SIDE), np.int8)
        model = one_node("MatMulInteger", {"left": left}, {"right": right}, "int32")
    else:
        left, right = (random.standard_normal((_SIDE, _SIDE), np.float32) for _ in range(2))
        model = one_node("MatMul", {"left": left}, {"right": right}, "float32")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"left": left})


def _copy(mb: int) -> Call:
    source = np.ones(mb * 1_000_000, np.uint8)
    target = np.zeros_like(source)
    return lambda: np.copyto(target, source)
