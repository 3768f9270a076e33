"""Engine: one network, opened. `open_engine` picks who runs it.

When a fast engine fails and nobody asked for it by name: one warning, and the sure one.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from .bundle import Bundle
from .contract import Array, NetworkSpec, Tensors
from .cuda import has_driver, has_gpu, probe, tensorrt_is_here
from .errors import BundleError, CudaUnavailable, EngineFailed, EnginesError, EngineUnavailable
from .manifest import FACE_NETWORKS

_LOG = logging.getLogger(__name__)
_told: set[str] = set()


def warn_once(text: str) -> None:
    """Logs a warning, each text once in a process: three networks fail for one reason."""
    if text not in _told:
        _told.add(text)
        _LOG.warning("%s", text)


class FallbackEngine:
    """Runs `first` until it fails, then what `open_second` opens, for good.

    `backend` and `precision` are those of the engine that runs at the moment.
    """

    def __init__(self, first: Engine, open_second: Callable[[], Engine]) -> None:
        self._engine, self._open_second = first, open_second
        self._failed = False

    @property
    def spec(self) -> NetworkSpec:
        """The tensors it takes and gives."""
        return self._engine.spec

    @property
    def backend(self) -> str:
        """Who runs it now."""
        return self._engine.backend

    @property
    def precision(self) -> str:
        """In which precision it runs now."""
        return self._engine.precision

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name; EngineFailed only where the second one fails too."""
        try:
            return self._engine.run(inputs)
        except EngineFailed as error:
            self._switch(error)
        return self._engine.run(inputs)

    @property
    def overlaps(self) -> bool:
        """Whether the engine does that runs now."""
        return self._engine.overlaps

    def start(self, inputs: Tensors) -> Callable[[], dict[str, Array]]:
        """Starts a batch, and gives what waits for its result."""
        try:
            finish = self._engine.start(inputs)
        except EngineFailed as error:
            self._switch(error)
            return lambda: self.run(inputs)

        def result() -> dict[str, Array]:
            try:
                return finish()
            except EngineFailed as error:
                self._switch(error)
            return self._engine.run(inputs)

        return result

    def close(self) -> None:
        """Frees what it holds."""
        self._engine.close()

    def _switch(self, error: EngineFailed) -> None:
        if self._failed:
            raise error
        self._failed = True
        lost, self._engine = self._engine, self._open_second()
        warn_once(f"{lost.backend} failed ({error}); {self._engine.backend} goes on")
        lost.close()


CPU_BACKENDS = {"onnxruntime": "ort:OrtEngine", "openvino": "openvino:OpenVinoEngine"}
"""What runs networks on the CPU, the fastest first: the library's name, and the module and class of
its engine, made of a file, its spec, `precision` and `threads`."""

_PROVIDERS = {
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}
BACKENDS = (*CPU_BACKENDS, "tensorrt", *_PROVIDERS)
"""What may be asked for by name, besides "auto"."""


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
        """fp32, fp16, int8 or fp8."""

    @property
    def overlaps(self) -> bool:
        """Whether `start` returns before the result is there, so that others can run meanwhile."""

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name, the caller's to keep; ContractMismatch for inputs that differ."""

    def start(self, inputs: Tensors) -> Callable[[], dict[str, Array]]:
        """Starts a batch, and gives what waits for its result; else as `run`."""

    def close(self) -> None:
        """Frees what it holds; it is not run again."""


class BaseEngine:
    """An engine that gives each result before it returns."""

    overlaps = False

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """See `Engine`."""
        raise NotImplementedError

    def start(self, inputs: Tensors) -> Callable[[], dict[str, Array]]:
        """Runs right away."""
        outputs = self.run(inputs)
        return lambda: outputs


def open_engine(
    bundle: Bundle,
    network: str,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Engine:
    """Opens one network of a bundle.

    Backend "auto" is TensorRT where there is a GPU and a plan for it, else ONNX Runtime's CUDA
    provider, else the CPU; what fails on the way there or later costs one warning. Precision
    "auto" is int8 on the CPU where the bundle has it, else fp32; on a GPU the plan that ran
    fastest, or fp16. `threads` (CPU) None leaves the number to the backend.

    A precision that the bundle has of other networks only is taken as "auto" for this one, so that
    "int8" means INT8 wherever the bundle has it. Networks that find faces may be there in INT8
    alone, which runs on the CPU: a backend that they are not there for is "auto" too.

    Raises EngineUnavailable (backend or precision not here) and ContractMismatch (the graph is
    not what the manifest says); for a GPU backend asked for by name, all that its opening raises.
    """
    if network not in bundle.manifest.networks or not bundle.precisions(network):
        raise BundleError(f"bundle {bundle.manifest.name} has no network {network!r}")
    if precision not in bundle.precisions(network) and any(
        precision in bundle.precisions(other) for other in bundle.manifest.networks
    ):
        precision = "auto"
    if network in FACE_NETWORKS:
        backend = backend if backend in CPU_BACKENDS else "auto"
    if backend == "auto":
        return _open_auto(bundle, network, precision, threads)
    if backend == "tensorrt" or backend in _PROVIDERS:
        return _open_gpu(bundle, network, backend, precision)
    return _open_cpu(bundle, network, backend, precision, threads)


def run_together(work: Sequence[tuple[Engine, Tensors]]) -> list[dict[str, Array]]:
    """Runs several engines on their inputs; those that can start without waiting overlap.

    Outputs are in the order of the work. Raises what the engines raise.
    """
    for engine, inputs in work:
        engine.spec.check(inputs)  # before anything is under way
    waiting = [engine.start(inputs) for engine, inputs in work]
    return [finish() for finish in waiting]


def present_backends() -> tuple[str, ...]:
    """The CPU backends installed here, the fastest first."""
    return tuple(name for name in CPU_BACKENDS if importlib.util.find_spec(name))


def gpu_backends() -> tuple[str, ...]:
    """The GPU backends that this machine could run, the fastest first; () without a GPU."""
    return _installed_for_gpu() if has_gpu() else ()


def runnable_backends(bundle: Bundle, network: str, precision: str) -> tuple[str, ...]:
    """Who can run a network in a precision here and now: the CPU's, then the GPU's.

    TensorRT is among them only where its plan is there.
    """
    gpu = [
        name
        for name in gpu_backends()
        if name != "tensorrt" or _has_plan(bundle, network, precision)
    ]
    return (*present_backends(), *gpu)


def _open_auto(bundle: Bundle, network: str, precision: str, threads: int | None) -> Engine:
    def on_cpu() -> Engine:
        return _open_cpu(bundle, network, "auto", precision, threads)

    # Starting the driver takes a moment: only where something could use it.
    candidates = _installed_for_gpu() if has_driver() and bundle.suits_gpu(network) else ()
    if not candidates:
        return on_cpu()

    try:
        probe()
    except CudaUnavailable as error:
        warn_once(f"the GPU is not used: {error}")
        return on_cpu()
    for backend in candidates:
        if backend == "onnxruntime-tensorrt":
            continue  # builds for minutes when it is first opened: only by name
        if backend == "tensorrt" and not bundle.manifest.networks[network].sized:
            continue
        try:
            return FallbackEngine(_open_gpu(bundle, network, backend, precision), on_cpu)
        except EnginesError as error:
            warn_once(f"{backend} is not used: {error}")
    return on_cpu()


def _open_cpu(
    bundle: Bundle, network: str, backend: str, precision: str, threads: int | None
) -> Engine:
    have = bundle.precisions(network)
    if precision == "auto":
        precision = "int8" if "int8" in have else "fp32" if "fp32" in have else have[0]
    file = bundle.network_file(network, _held(bundle, network, precision))
    spec = bundle.manifest.networks[network]
    assert file is not None
    module, _, name = CPU_BACKENDS[_cpu_backend(backend)].partition(":")
    make = getattr(importlib.import_module(f".{module}", __package__), name)
    engine: Engine = make(file, spec, precision=precision, threads=threads)
    return engine


def _open_gpu(bundle: Bundle, network: str, backend: str, precision: str) -> Engine:
    """A GPU engine; its EnginesErrors begin with the backend's name and end with a way out."""
    try:
        gpu = probe()
        if backend == "tensorrt":
            from .plan import fastest_precision, read_plan
            from .trt import TrtEngine
            from .trt_log import load_tensorrt

            version = load_tensorrt().__version__
            if precision == "auto":
                precision = fastest_precision(bundle, network, gpu, version)
            _held(bundle, network, precision)
            plan = read_plan(bundle, network, precision, gpu, version)
            return TrtEngine(plan, bundle.manifest.networks[network])
    except CudaUnavailable as error:
        raise CudaUnavailable(
            f"backend {backend!r} is not available: {error}, or use auto"
        ) from error
    from .ort import OrtEngine
    from .plan import plans_folder

    if not _has_provider(backend):
        raise EngineUnavailable(
            f"backend {backend!r} is not available: the installed ONNX Runtime has no "
            f"{_PROVIDERS[backend]}; install onnxruntime-gpu in place of onnxruntime, or use auto"
        )
    if precision == "auto":
        precision = "fp16" if "fp16" in bundle.precisions(network) else "fp32"
    file = bundle.network_file(network, _held(bundle, network, precision))
    assert file is not None
    return OrtEngine(
        file,
        bundle.manifest.networks[network],
        precision=precision,
        provider=backend.removeprefix("onnxruntime-"),
        cache=plans_folder(bundle) / f"{gpu.slug}-onnxruntime",
    )


def _held(bundle: Bundle, network: str, precision: str) -> str:
    """The precision, if the bundle has it."""
    have = bundle.precisions(network)
    if precision not in have:
        raise EngineUnavailable(
            f"bundle {bundle.manifest.name} has {network} in {', '.join(have)}, not in "
            f"{precision!r}; ask for one of these or for auto"
        )
    return precision


def _cpu_backend(asked: str) -> str:
    present = present_backends()
    if asked == "auto" and present:
        return present[0]
    if asked in present:
        return asked
    if asked in BACKENDS:
        hint = f"install it: pip install 'ferstream[{asked}]', or use auto"
    else:
        hint = f"there are auto, {', '.join(BACKENDS)}"
    raise EngineUnavailable(f"backend {asked!r} is not available: {hint}")


def _installed_for_gpu() -> tuple[str, ...]:
    """What is installed that could use a GPU, the fastest first; the driver is not asked."""
    first = ("tensorrt",) if tensorrt_is_here() else ()
    return (*first, *(name for name in _PROVIDERS if _has_provider(name)))


def _has_provider(backend: str) -> bool:
    import onnxruntime

    return _PROVIDERS[backend] in onnxruntime.get_available_providers()


def _has_plan(bundle: Bundle, network: str, precision: str) -> bool:
    from .plan import read_sidecar
    from .trt_log import load_tensorrt

    try:
        read_sidecar(bundle, network, precision, probe(), load_tensorrt().__version__)
    except EnginesError:
        return False
    return True
