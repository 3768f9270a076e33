"""OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from .contract import Array, NetworkSpec, Tensors, TensorSpec, hold, hold_finite
from .engine import BaseEngine
from .errors import EngineUnavailable
from .signal_stack import kept_signal_stack


class OpenVinoEngine(BaseEngine):
    """One ONNX file compiled by OpenVINO; run() belongs to one thread at a time."""

    backend = "openvino"

    def __init__(
        self, file: Path, spec: NetworkSpec, *, precision: str = "fp32", threads: int | None = None
    ) -> None:
        self.spec = spec
        self.precision = precision
        # f32: left alone, OpenVINO computes in bf16 where the processor can, and says nothing.
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f16" if precision == "fp16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            with kept_signal_stack():
                core = ov.Core()
                self._request = core.compile_model(
                    core.read_model(file), "CPU", options
                ).create_infer_request()
        except RuntimeError as error:
            raise EngineUnavailable(f"OpenVINO cannot open {file}: {error}") from error
        compiled = self._request.model_outputs
        graph = NetworkSpec(
            spec.name,
            tuple(_tensor(port, spec.inputs) for port in self._request.model_inputs),
            tuple(_tensor(port, spec.outputs) for port in compiled),
        )
        hold(str(file), graph, spec)
        wanted = {tensor.name for tensor in spec.outputs}
        named = {tensor.name: port for tensor, port in zip(graph.outputs, compiled, strict=True)}
        self._ports = {name: port for name, port in named.items() if name in wanted}

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name; ContractMismatch for inputs that differ from the spec."""
        self.spec.check(inputs)
        outputs = self._request.infer(dict(inputs), share_inputs=True)
        named = {name: np.array(outputs[port]) for name, port in self._ports.items()}
        where = f"{self.spec.name} in {self.precision} on OpenVINO"
        hold_finite(where, named, "the bundle may be damaged; take it anew from where it came")
        return named

    def close(self) -> None:
        """Frees the compiled network."""
        del self._request


def _tensor(port: ov.ConstOutput, known: Sequence[TensorSpec]) -> TensorSpec:
    """The tensor of a port, which may have the names of others that were joined with it."""
    name = next((one.name for one in known if one.name in port.names), port.any_name)
    shape = tuple(
        "?" if size.is_dynamic else size.get_length() for size in port.get_partial_shape()
    )
    return TensorSpec(name, np.dtype(port.get_element_type().to_dtype()).name, shape)
