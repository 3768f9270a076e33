"""ONNX Runtime: on the CPU, and on an NVIDIA GPU by its CUDA and TensorRT providers."""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from .contract import Array, NetworkSpec, Tensors, TensorSpec, hold, hold_finite
from .engine import BaseEngine
from .errors import EngineFailed, EngineUnavailable, OutOfDeviceMemory

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_WARNINGS, _ERRORS_ONLY, _FATAL_ONLY = 2, 3, 4
_CPU, _CUDA, _TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))


class OrtEngine(BaseEngine):
    """One ONNX file in an ONNX Runtime session; run() may be called from any thread.

    Args:
        provider: cpu, cuda or tensorrt.
        cache: a folder where the TensorRT provider keeps what it built.

    Raises EngineUnavailable (a file or a provider that does not open: ONNX Runtime itself would
    go on without the provider and say nothing) and ContractMismatch.
    """

    def __init__(
        self,
        file: Path,
        spec: NetworkSpec,
        *,
        precision: str = "fp32",
        threads: int | None = None,
        provider: str = "cpu",
        cache: Path | None = None,
    ) -> None:
        self.spec = spec
        self.precision = precision
        self.backend = "onnxruntime" if provider == "cpu" else f"onnxruntime-{provider}"
        options = session_options()
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads or 0
        # Waiting threads would otherwise burn the cores that decoding and tracking need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        gpu = provider != "cpu"
        with _hushed() if gpu else contextlib.nullcontext():
            providers = _providers(provider, cache)
            # Left alone, a session whose provider fails is quietly made with another one.
            fallback = {"enable_fallback": 0} if gpu else {}
            try:
                self._session = ort.InferenceSession(file, options, providers=providers, **fallback)
            except Exception as error:  # onnxruntime's own classes share no public base
                why = _why(provider) if gpu else ""
                raise EngineUnavailable(
                    f"ONNX Runtime cannot open {file}: {why or ' '.join(str(error).split())}"
                ) from error
        wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if self._session.get_providers()[0] != wanted:
            raise EngineUnavailable(
                f"ONNX Runtime could not start its {wanted} ({_why(provider) or 'no reason given'})"
                ": install the CUDA and cuDNN that its version wants, or use a CPU engine"
            )
        graph = NetworkSpec(
            spec.name,
            tuple(_tensor(node) for node in self._session.get_inputs()),
            tuple(_tensor(node) for node in self._session.get_outputs()),
        )
        hold(str(file), graph, spec)
        self._outputs = [tensor.name for tensor in spec.outputs]

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name; ContractMismatch for inputs that differ from the spec.

        On a GPU also OutOfDeviceMemory and EngineFailed.
        """
        self.spec.check(inputs)
        try:
            outputs = self._session.run(self._outputs, inputs)
        except Exception as error:
            if self.backend == "onnxruntime":
                raise
            text = " ".join(str(error).split())
            full = "out of memory" in text.lower() or "failed to allocate" in text.lower()
            raise (OutOfDeviceMemory if full else EngineFailed)(
                f"{self.spec.name} on {self.backend}: {text[:300]}"
            ) from error
        named = dict(zip(self._outputs, outputs, strict=True))
        where = f"{self.spec.name} in {self.precision} on {self.backend}"
        hold_finite(where, named, "the bundle may be damaged; take it anew from where it came")
        return named

    def close(self) -> None:
        """Frees the session."""
        del self._session


def session_options() -> ort.SessionOptions:
    """What every session has: errors alone are told, sums of eight bits are exact."""
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Processors without VNNI add two products of eight bits in sixteen, which overflow: their
    # INT8 weights become unsigned, which is exact and as fast. Others ignore the entry.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _providers(provider: str, cache: Path | None) -> list[Any]:
    """Providers with their options, the wanted one first; the CPU takes what it cannot do."""
    if provider == "cpu":
        return [_CPU]
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds CUDA and cuDNN where pip put them
    # HEURISTIC: the default tries every algorithm anew for each new batch size.
    cuda = (_CUDA, {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})
    if provider == "cuda":
        return [cuda, _CPU]
    options = {}
    if cache is not None:
        with contextlib.suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            options = {
                "trt_engine_cache_enable": "1",
                "trt_engine_cache_path": str(cache),
                "trt_timing_cache_enable": "1",
                "trt_timing_cache_path": str(cache),
            }
    return [(_TENSORRT, options), cuda, _CPU]


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """ONNX Runtime prints what it cannot load, even to standard output; here one line must do."""
    ort.set_default_logger_severity(_FATAL_ONLY)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        ort.set_default_logger_severity(_WARNINGS)


def _why(provider: str) -> str:
    """Which library keeps a provider from loading, as the loader says; "" where none does."""
    folder = Path(ort.__file__).parent / "capi"
    for name in ("shared", "cuda", provider):
        file = folder / f"libonnxruntime_providers_{name}.so"
        try:
            ctypes.CDLL(str(file), ctypes.RTLD_GLOBAL if name == "shared" else ctypes.RTLD_LOCAL)
        except OSError as error:
            return str(error)
    return ""


def _tensor(node: ort.NodeArg) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else str(size) for size in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)


class InnerTensors:
    """An ONNX network, serialised, that gives any of its declared outputs and keeps no contract:
    for those who measure ranges.

    Raises EngineUnavailable for a network that ONNX Runtime cannot open.
    """

    def __init__(self, network: bytes) -> None:
        options = session_options()
        try:
            self._session = ort.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes share no public base
            text = " ".join(str(error).split())
            raise EngineUnavailable(f"ONNX Runtime cannot open the network: {text}") from error

    def run(self, inputs: Tensors, names: Sequence[str]) -> dict[str, Array]:
        """The outputs of these names."""
        return dict(zip(names, self._session.run(list(names), dict(inputs)), strict=True))
