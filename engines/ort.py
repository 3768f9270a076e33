"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from .contract import Array, NetworkSpec, Tensors, TensorSpec, hold
from .errors import EngineUnavailable

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_ERRORS_ONLY = 3


class OrtEngine:
    """One ONNX file in an ONNX Runtime session; run() may be called from any thread."""

    backend = "onnxruntime"

    def __init__(
        self, file: Path, spec: NetworkSpec, *, precision: str = "fp32", threads: int | None = None
    ) -> None:
        self.spec = spec
        self.precision = precision
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads or 0
        # Waiting threads would otherwise burn the cores that decoding and tracking need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no public base
            raise EngineUnavailable(f"ONNX Runtime cannot open {file}: {error}") from error
        graph = NetworkSpec(
            spec.name,
            tuple(_tensor(node) for node in self._session.get_inputs()),
            tuple(_tensor(node) for node in self._session.get_outputs()),
        )
        hold(str(file), graph, spec)
        self._outputs = [tensor.name for tensor in spec.outputs]

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name; ContractMismatch for inputs that differ from the spec."""
        self.spec.check(inputs)
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))

    def close(self) -> None:
        """Frees the session."""
        del self._session


def _tensor(node: ort.NodeArg) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else str(size) for size in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)
