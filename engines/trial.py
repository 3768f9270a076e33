"""A fresh plan on trial: does it give what ONNX Runtime gives on the same file, and how fast?"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .contract import Array, NetworkSpec, Tensors
from .device import Device
from .engine import Engine
from .errors import BuildFailed, EngineFailed, OutOfDeviceMemory
from .plan import Plan, Sidecar
from .trt import TrtEngine

TOLERANCE = 1e-3
"""Greatest absolute difference of any output in fp32: the same arithmetic in another order."""

SHIFT, OF_ROWS = 0.1, 0.9
"""In fewer bits: how far a probability may move, in this share of rows. In the others a choice
that the network makes by itself, such as where to look closer, may tip over."""

_RUNS = 50


@dataclass(frozen=True)
class Trial:
    """What a plan did on examples."""

    difference: float
    median_ms: float
    activation_bytes: int

    def told(self, sidecar: Sidecar, build_s: float) -> Sidecar:
        """The sidecar with what was measured."""
        return replace(
            sidecar,
            difference=self.difference,
            median_ms=round(self.median_ms, 4),
            activation_bytes=self.activation_bytes,
            build_s=round(build_s, 2),
        )


def try_plan(data: bytes, sidecar: Sidecar, onnx: Path, spec: NetworkSpec, device: Device) -> Trial:
    """Runs a plan on random examples at the ends of its profile and compares with the CPU.

    Raises BuildFailed where outputs are no numbers or too far from ONNX Runtime's, and
    OutOfDeviceMemory.
    """
    from .ort import OrtEngine

    reference = OrtEngine(onnx, spec, precision=sidecar.precision)
    what = f"{spec.name} in {sidecar.precision}"
    engine = TrtEngine(Plan(data, sidecar, f"the fresh plan of {what}"), spec, device=device)
    try:
        most, frames = sidecar.options["max_batch"], sidecar.options["max_frames"]
        worst = 0.0
        for seed, (batch, length) in enumerate([(1, frames), (min(3, most), 1), (most, frames)]):
            inputs = spec.example(seed, B=batch, T=length)
            worst = max(worst, _compared(what, sidecar.precision, spec, engine, reference, inputs))
        inputs = spec.example(B=sidecar.options["opt_batch"], T=frames)
        return Trial(worst, _median_ms(engine, inputs), engine.memory_bytes["work"])
    except OutOfDeviceMemory:
        raise
    except EngineFailed as error:
        raise BuildFailed(f"{what} was built but does not run: {error}") from error
    finally:
        engine.close()
        reference.close()


def _compared(
    what: str,
    precision: str,
    spec: NetworkSpec,
    engine: TrtEngine,
    reference: Engine,
    inputs: Tensors,
) -> float:
    """The greatest difference of all outputs; BuildFailed where it is too great."""
    wanted = reference.run(inputs)
    got = engine.run(inputs)
    worst = 0.0
    for tensor in spec.outputs:
        one, other = got[tensor.name], wanted[tensor.name]
        difference = float(np.abs(one - other).max())
        worst = max(worst, difference)
        if precision == "fp32":
            measure, allowed, kind = difference, TOLERANCE, "differs"
        elif tensor.unit == "logit":
            shifts = np.abs(_softmax(one) - _softmax(other)).max(-1)
            measure = float(np.quantile(shifts, OF_ROWS))
            allowed, kind = SHIFT, "has probabilities that differ"
        else:
            continue
        if not measure <= allowed:  # so that NaN is no match
            raise BuildFailed(
                f"{what} on TensorRT {kind} from ONNX Runtime by {measure:.2g} in "
                f"{tensor.name!r}, {allowed:g} is allowed: the plan is not kept"
            )
    return worst


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    share: Array = powers / powers.sum(-1, keepdims=True)
    return share


def _median_ms(engine: TrtEngine, inputs: Tensors) -> float:
    times_ms = []
    for _ in range(_RUNS):
        start_s = time.perf_counter()
        engine.run(inputs)
        times_ms.append((time.perf_counter() - start_s) * 1e3)
    return statistics.median(times_ms[_RUNS // 5 :])
