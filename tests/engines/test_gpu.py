"""On a machine with an NVIDIA GPU: CUDA itself, ONNX Runtime's CUDA provider, TensorRT itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ferstream.engines.build import BuildOptions, build_bundle
from ferstream.engines.bundle import Bundle
from ferstream.engines.cuda import has_gpu, tensorrt_is_here
from ferstream.engines.device import CudaPythonDevice, Device, PycudaDevice
from ferstream.engines.engine import Engine, FallbackEngine, gpu_backends, open_engine, run_together
from ferstream.engines.errors import OutOfDeviceMemory
from ferstream.engines.manifest import NETWORKS
from ferstream.engines.plan import PLANS_VARIABLE, plans_folder
from ferstream.engines.trt import TrtEngine

from . import tiny
from .parity import assert_same, expected

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not has_gpu(), reason="no NVIDIA GPU here"),
]

DEVICES: dict[str, Callable[[], Device]] = {
    "pycuda": PycudaDevice,
    "cuda.bindings": CudaPythonDevice,
}


def is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Device:
    if not is_here(request.param):
        pytest.skip(f"{request.param} is not installed")
    return DEVICES[request.param]()


def test_bytes_go_there_and_back_plainly_and_as_a_graph(device: Device) -> None:
    with device.active():
        free = device.free_bytes()
        size = 1 << 20
        stream, address = device.stream(), device.allocate(size)
        assert address % 256 == 0
        sent, back = device.pinned(size), device.pinned(size)

        def there_and_back() -> None:
            device.to_device(address, sent, stream)
            device.to_host(back, address, stream)

        sent[:] = np.arange(size) % 251
        there_and_back()
        device.synchronize(stream)
        assert np.array_equal(sent, back)
        graph = device.record(stream, there_and_back)
        for seed in range(3):
            sent[:] = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
            graph.launch()
            device.synchronize(stream)
            assert np.array_equal(sent, back)
        graph.close()
        device.release(address)
        device.unpin(sent)
        device.unpin(back)
        device.drop_stream(stream)
        assert abs(device.free_bytes() - free) < 64 << 20


def test_more_memory_than_there_is(device: Device) -> None:
    with device.active(), pytest.raises(OutOfDeviceMemory, match=r"MB wanted, .* MB free"):
        device.allocate(1 << 45)


@pytest.mark.parametrize("network", NETWORKS)
def test_cuda_provider_gives_the_cpus_numbers(bundle: Bundle, network: str) -> None:
    if "onnxruntime-cuda" not in gpu_backends():
        pytest.skip("the installed ONNX Runtime has no CUDA provider")
    engine = open_engine(bundle, network, backend="onnxruntime-cuda", precision="fp32")
    for batch in (1, 5):
        inputs = tiny.SPECS[network].example(batch, B=batch, T=6)
        assert_same(engine.run(inputs), expected(bundle, network, inputs))
    engine.close()


@pytest.fixture
def plans(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    if not tensorrt_is_here():
        pytest.skip("TensorRT is not installed")
    monkeypatch.setenv(PLANS_VARIABLE, str(tmp_path / "plans"))
    results = list(build_bundle(bundle, "fp32", BuildOptions(max_batch=8, opt_batch=4)))
    assert {r.network: r.note for r in results if r.state != "built"} == {}
    return bundle


def test_tensorrt_gives_the_cpus_numbers_and_overlaps(plans: Bundle) -> None:
    engines: list[Engine] = [open_engine(plans, n, backend="tensorrt") for n in NETWORKS]
    for seed in range(12):
        sizes = {"B": 1 + seed % 10, "T": 1 + seed % 8}
        work = [(e, tiny.SPECS[e.spec.name].example(seed, **sizes)) for e in engines]
        for (engine, inputs), outputs in zip(work, run_together(work), strict=True):
            assert_same(outputs, expected(plans, engine.spec.name, inputs))
    for engine in engines:
        assert isinstance(engine, TrtEngine)
        assert any(engine.shapes.values()), "no CUDA graph was recorded"
        engine.close()


def test_auto_is_tensorrt_here(plans: Bundle) -> None:
    engine = open_engine(plans, "spatial")
    assert isinstance(engine, FallbackEngine)
    assert engine.backend == "tensorrt"
    engine.close()


def test_a_plan_spoiled_on_disk_is_refused_not_run(plans: Bundle, tmp_path: Path) -> None:
    plan = next(plans_folder(plans).glob("*/spatial.fp32.plan"))
    plan.write_bytes(plan.read_bytes()[:-100])
    assert open_engine(plans, "spatial").backend != "tensorrt"
