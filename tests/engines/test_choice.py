"""Who runs a network: `auto` on a machine with a GPU, and how it goes on when the GPU fails."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from ferstream.engines import cuda
from ferstream.engines.bundle import Bundle
from ferstream.engines.engine import gpu_backends, open_engine, run_together, runnable_backends
from ferstream.engines.errors import (
    CudaUnavailable,
    EngineFailed,
    EngineUnavailable,
    OutOfDeviceMemory,
)

from . import tiny
from .function import FunctionEngine
from .parity import assert_same, expected
from .trt_world import World


def test_auto_takes_tensorrt_where_there_is_a_plan(machine: World, built: Bundle) -> None:
    engine = open_engine(built, "spatial")
    assert (engine.backend, engine.precision) == ("tensorrt", "fp32")
    inputs = tiny.SPECS["spatial"].example(B=3)
    assert_same(engine.run(inputs), expected(built, "spatial", inputs))
    assert gpu_backends() == ("tensorrt",)
    assert runnable_backends(built, "spatial", "fp32")[-1] == "tensorrt"
    assert "tensorrt" not in runnable_backends(built, "spatial", "int8")
    engine.close()


def test_auto_without_a_plan_warns_once_and_takes_the_cpu(
    machine: World, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            engine = open_engine(bundle, "spatial")
            assert engine.backend == "onnxruntime"
    assert len(caplog.messages) == 1
    assert "tensorrt is not used: no TensorRT plan of spatial" in caplog.messages[0]
    with pytest.raises(EngineUnavailable, match="run `ferstream bundle build`"):
        open_engine(bundle, "spatial", backend="tensorrt")


def test_auto_goes_on_with_the_cpu_when_the_gpu_fails(
    machine: World, built: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine(built, "spatial")
    inputs = tiny.SPECS["spatial"].example(B=2)
    engine.run(inputs)
    machine.faults.execute = "CUDA error 719: unspecified launch failure"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert_same(engine.run(inputs), expected(built, "spatial", inputs))
    assert (engine.backend, engine.precision) == ("onnxruntime", "int8")
    assert len(caplog.messages) == 1
    assert "tensorrt failed" in caplog.messages[0] and "onnxruntime goes on" in caplog.messages[0]
    assert machine.device.is_clean
    engine.close()


@pytest.mark.parametrize("fault", ["execute", "nan"])
def test_a_gpu_that_fails_between_start_and_result(
    machine: World, built: Bundle, fault: str
) -> None:
    engine = open_engine(built, "spatial")
    inputs = tiny.SPECS["spatial"].example(B=2)
    setattr(machine.faults, fault, "launch failure")
    assert_same(run_together([(engine, inputs)])[0], expected(built, "spatial", inputs))
    assert engine.backend == "onnxruntime"
    engine.close()


def test_a_gpu_asked_for_by_name_fails_loudly(machine: World, built: Bundle) -> None:
    engine = open_engine(built, "spatial", backend="tensorrt")
    machine.faults.execute = "CUDA error 719"
    with pytest.raises(EngineFailed, match="did not run: CUDA error 719"):
        engine.run(tiny.SPECS["spatial"].example())
    engine.close()


def test_a_gpu_that_is_lost_for_good(machine: World, built: Bundle) -> None:
    """After some failures CUDA refuses every call, freeing and waiting too."""
    engine = open_engine(built, "spatial")
    inputs = tiny.SPECS["spatial"].example(B=2)
    for _ in range(3):
        engine.run(inputs)
    device = machine.device
    for name in ("allocate", "release", "pinned", "unpin", "synchronize", "drop_stream"):
        device.faults[name] = EngineFailed("CUDA_ERROR_ILLEGAL_ADDRESS")
    assert_same(engine.run(inputs), expected(built, "spatial", inputs))
    assert engine.backend == "onnxruntime"
    device.faults.clear()
    device.memory.clear()
    device.pinned_arrays.clear()
    device.streams.clear()


def with_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX Runtime that lists the CUDA provider, beside no TensorRT."""
    monkeypatch.delitem(sys.modules, "tensorrt")
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_a_provider_that_does_not_start_is_noticed(
    machine: World,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """ONNX Runtime itself would go on with the CPU under the GPU's name."""
    with_provider(monkeypatch)
    assert gpu_backends() == ("onnxruntime-cuda",)
    with pytest.raises(EngineUnavailable, match="could not start its CUDAExecutionProvider"):
        open_engine(bundle, "spatial", backend="onnxruntime-cuda")
    with caplog.at_level(logging.WARNING):
        assert open_engine(bundle, "spatial").backend == "onnxruntime"
        assert open_engine(bundle, "fusion").backend == "onnxruntime"
    assert len(caplog.messages) == 1
    assert "onnxruntime-cuda is not used: ONNX Runtime could not start" in caplog.messages[0]


def test_auto_takes_the_cuda_provider_where_tensorrt_is_absent(
    machine: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider is played by the CPU's; which options and precision it gets is real."""
    with_provider(monkeypatch)
    asked: list[Any] = []
    full: list[bool] = []
    real = ort.InferenceSession

    class Session:
        def __init__(
            self, file: Path, options: Any, providers: list[Any], enable_fallback: int = 1
        ) -> None:
            assert not enable_fallback
            asked.append((file.name, providers))
            self._session = real(file, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

        def run(self, names: list[str], inputs: Any) -> Any:
            if full:
                raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")
            return self._session.run(names, inputs)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    inputs = tiny.SPECS["spatial"].example(B=2)
    wanted = expected(bundle, "spatial", inputs)
    monkeypatch.setattr("ferstream.engines.ort.ort.InferenceSession", Session)
    engine = open_engine(bundle, "spatial", backend="onnxruntime-cuda")
    assert open_engine(bundle, "spatial").backend == "onnxruntime-cuda"
    assert (engine.backend, engine.precision) == ("onnxruntime-cuda", "fp32")
    name, providers = asked[0]
    assert name == "spatial.onnx"
    assert providers[0] == (
        "CUDAExecutionProvider",
        {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    )
    assert_same(engine.run(inputs), wanted)
    full.append(True)
    with pytest.raises(OutOfDeviceMemory, match="spatial on onnxruntime-cuda: CUDA failure 2"):
        engine.run(inputs)


@pytest.mark.parametrize("backend", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_an_onnxruntime_without_the_provider(machine: World, bundle: Bundle, backend: str) -> None:
    with pytest.raises(EngineUnavailable, match="install onnxruntime-gpu in place of onnxruntime"):
        open_engine(bundle, "spatial", backend=backend)


def test_tensorrt_that_is_absent_or_does_not_load(
    machine: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineUnavailable, match=r"TensorRT is not installed \(tensorrt\): pip"):
        open_engine(bundle, "spatial", backend="tensorrt")


def test_a_driver_alone_is_not_even_started(
    machine: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting it takes a moment, and nothing installed could use the GPU."""
    asked: list[str] = []
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.setattr(cuda, "_probe", asked.append)
    assert open_engine(bundle, "spatial").backend == "onnxruntime"
    assert not asked


def test_no_plan_leads_to_the_cuda_provider(
    machine: World,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened: list[str] = []

    def engine_of(*arguments: Any, provider: str = "cpu", **options: Any) -> FunctionEngine:
        opened.append(provider)
        return FunctionEngine(tiny.SPECS["spatial"], dict)

    monkeypatch.setattr("ferstream.engines.engine._has_provider", lambda name: True)
    monkeypatch.setattr("ferstream.engines.ort.OrtEngine", engine_of)
    with caplog.at_level(logging.WARNING):
        open_engine(bundle, "spatial")
    assert opened == ["cuda"]
    assert len(caplog.messages) == 1 and "tensorrt is not used" in caplog.messages[0]


def test_a_driver_without_a_gpu_is_told_once_where_tensorrt_is_installed(
    machine: World,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(library: str) -> cuda.Gpu:
        raise CudaUnavailable("the NVIDIA driver shows no GPU")

    monkeypatch.setattr(cuda, "_probe", broken)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert open_engine(bundle, "spatial").backend == "onnxruntime"
    assert caplog.messages == ["the GPU is not used: the NVIDIA driver shows no GPU"]
    with pytest.raises(CudaUnavailable, match=r"backend 'tensorrt' is not available: .* no GPU"):
        open_engine(bundle, "spatial", backend="tensorrt")
