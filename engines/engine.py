"""Engine: one network, opened. `open_engine` picks who runs it."""

from __future__ import annotations

import importlib.util
from typing import Protocol

from .bundle import Bundle
from .contract import Array, NetworkSpec, Tensors
from .errors import BundleError, EngineUnavailable

BACKENDS = ("onnxruntime", "openvino", "tensorrt")
"""What may be asked for by name, besides "auto"."""

_FASTEST_FIRST = ("onnxruntime", "openvino")
"""What "auto" tries in turn."""


class Engine(Protocol):
    """One network of a bundle, ready to run. It belongs to one thread at a time."""

    @property
    def spec(self) -> NetworkSpec:
        """The tensors it takes and gives."""

    @property
    def backend(self) -> str:
        """Who runs it, such as onnxruntime."""

    @property
    def precision(self) -> str:
        """fp32, fp16 or int8."""

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name, the caller's to keep; ContractMismatch for inputs that differ."""

    def close(self) -> None:
        """Frees what it holds; it is not run again."""


def open_engine(
    bundle: Bundle,
    network: str,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Engine:
    """Opens one network of a bundle.

    Precision "auto" is int8 where the bundle has it, else fp32. `threads` None leaves the number
    to the backend. Raises EngineUnavailable (backend or precision not here) and ContractMismatch
    (the graph is not what the manifest says).
    """
    precision = _precision(bundle, network, precision)
    backend = _backend(backend)
    file = bundle.network_file(network, precision)
    spec = bundle.manifest.networks.get(network)
    if file is None or spec is None:
        raise BundleError(f"bundle {bundle.manifest.name} has no network {network!r}")
    if backend == "onnxruntime":
        from .ort import OrtEngine

        return OrtEngine(file, spec, precision=precision, threads=threads)
    from .openvino import OpenVinoEngine

    return OpenVinoEngine(file, spec, precision=precision, threads=threads)


def present_backends() -> tuple[str, ...]:
    """The backends installed here, the fastest first."""
    return tuple(name for name in _FASTEST_FIRST if importlib.util.find_spec(name))


def _precision(bundle: Bundle, network: str, asked: str) -> str:
    have = bundle.precisions(network)
    if asked == "auto":
        return "int8" if "int8" in have else "fp32"
    if asked not in have:
        raise EngineUnavailable(
            f"bundle {bundle.manifest.name} has {network} in {', '.join(have)}, not in {asked!r}; "
            "ask for one of these or for auto"
        )
    return asked


def _backend(asked: str) -> str:
    present = present_backends()
    if asked == "auto" and present:
        return present[0]
    if asked in present:
        return asked
    if asked == "tensorrt":
        hint = "this version runs no TensorRT engines; use auto"
    elif asked in BACKENDS:
        hint = f"install it: pip install 'ferstream[{asked}]', or use auto"
    else:
        hint = f"there are auto, {', '.join(BACKENDS)}"
    raise EngineUnavailable(f"engine {asked!r} is not available: {hint}")
