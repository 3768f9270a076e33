"""TensorRT's module and what it tells while it works."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from .cuda import cuda_of_tensorrt, hold_driver, probe
from .errors import BuildFailed, EngineUnavailable

OLDEST, TOO_NEW = (10, 12), (12, 0)
"""TensorRT versions that take the strongly typed path this code is written for."""

_MOST_LINES, _LINES_SHOWN = 1000, 20

_TYPE_SIGNS = (
    *(("bfloat16", "BF16"), ("bf16", "BF16"), ("fp8", "FP8"), ("fp16", "FP16"), ("half", "FP16")),
    *(("fp32", "FP32"), ("float", "FP32"), ("uint8", "UINT8"), ("int8", "INT8")),
    *(("int32", "INT32"), ("int64", "INT64"), ("bool", "BOOL")),
)
"""How an inspector's texts name a type; a sign that holds another comes before it."""


def load_tensorrt() -> Any:
    """The tensorrt module, after CUDA was found: without a driver it can end the process.

    Raises CudaUnavailable (no driver, too old, no GPU) or EngineUnavailable (not installed, a
    version out of range, libraries that do not load).
    """
    gpu = probe()
    hold_driver(gpu, cuda_of_tensorrt())
    try:
        import tensorrt as trt
    except ModuleNotFoundError as error:
        raise EngineUnavailable(
            f"TensorRT is not installed ({error.name}): pip install 'ferstream[gpu]'"
        ) from error
    except (ImportError, OSError) as error:
        raise EngineUnavailable(
            f"TensorRT is installed but does not load ({error}): install it anew"
        ) from error
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if not OLDEST <= version < TOO_NEW:
        raise EngineUnavailable(
            f"TensorRT {trt.__version__} is installed, 10.12 to 11.x are supported: "
            "pip install 'ferstream[gpu]'"
        )
    return trt


def make_log(trt: Any) -> Any:
    """A trt.ILogger that keeps warnings and errors in `lines`, (severity, text), and is silent."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []
            severity = trt.ILogger.Severity
            self._kept = {
                severity.INTERNAL_ERROR: "error",
                severity.ERROR: "error",
                severity.WARNING: "warning",
            }

        def log(self, severity: Any, msg: str) -> None:
            if severity in self._kept and len(self.lines) < _MOST_LINES:
                self.lines.append((self._kept[severity], " ".join(msg.split())))

    return Log()


def last_error(log: Any) -> str:
    """The last error that TensorRT told, for the end of a message."""
    errors = [text for severity, text in log.lines if severity == "error"]
    return errors[-1] if errors else "TensorRT says no more"


def is_out_of_memory(log: Any) -> bool:
    """Whether TensorRT's errors speak of memory."""
    text = " ".join(text for severity, text in log.lines if severity == "error").lower()
    return any(sign in text for sign in ("out of memory", "outofmemory", "memory allocation"))


def plan_layers(trt: Any, plan: bytes, log: Any) -> list[dict[str, str]]:
    """Name and type of each layer of a plan, by TensorRT's inspector; empty where it tells none."""
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BuildFailed(f"TensorRT cannot open what it just built: {last_error(log)}")
    inspector = engine.create_engine_inspector()
    try:
        told = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))[
            "Layers"
        ]
    except (ValueError, KeyError, TypeError):
        return []
    return [
        {"name": str(layer.get("Name", "")), "type": _layer_type(layer)}
        for layer in told
        if isinstance(layer, dict)
    ]


def _layer_type(layer: dict[str, Any]) -> str:
    """What a layer computes in: its first output's type, as TensorRT 10 or 11 writes it."""
    outputs = layer.get("Outputs") or [{}]
    first = outputs[0] if isinstance(outputs[0], dict) else {}
    text = str(first.get("DataType") or first.get("Format/Datatype") or "")
    for sign, name in _TYPE_SIGNS:
        if sign in text.lower():
            return name
    return text or "unknown"


def log_summary(log: Any) -> dict[str, Any]:
    """How many errors and warnings TensorRT told, and the first of them."""
    counts = Counter(severity for severity, _ in log.lines)
    first = [f"{severity}: {text}" for severity, text in log.lines[:_LINES_SHOWN]]
    return {"errors": counts["error"], "warnings": counts["warning"], "first": first}


def make_monitor(trt: Any, progress: Callable[[str, float], None]) -> Any:
    """A trt.IProgressMonitor that tells of the outermost phase, and stops the build on Ctrl-C."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped_by: BaseException | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self._steps[phase_name] = max(num_steps, 1)

        def step_complete(self, phase_name: str, step: int) -> bool:
            # An exception may not leave through TensorRT's own code.
            try:
                if phase_name in self._steps:
                    progress(phase_name, min(1.0, (step + 1) / self._steps[phase_name]))
            except BaseException as error:
                self.stopped_by = error
            return self.stopped_by is None

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
