"""What this machine can do at most, as measured: matrix products and copies.

A network's share of these says how much a better form of it could still gain here. The products
run in ONNX Runtime on as many threads as the networks; a copy runs on one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from .count import Cost
from .graph import one_node

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
