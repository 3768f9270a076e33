"""Who runs a network: `auto` on a machine with a GPU, and how it goes on when the GPU fails."""

from __future__ import annotations

import logging

import pytest

from engines.bundle import Bundle
from engines.engine import gpu_backends, open_engine, run_together, runnable_backends
from engines.errors import EngineFailed, EngineUnavailable

from . import tiny
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
