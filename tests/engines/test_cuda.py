"""Asking the driver: real libraries with the driver's functions, written for the test."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ferstream.engines import cuda
from ferstream.engines.cuda import Gpu, has_driver, has_gpu, probe
from ferstream.engines.device import open_device
from ferstream.engines.errors import CudaUnavailable, EngineFailed

from .stub_library import ZERO, gives, stores, write_stub

x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux",
    reason="the stub libraries are for x86-64 Linux",
)


def driver(folder: Path, **functions: bytes) -> str:
    """A driver of CUDA 13.0 with one GPU of compute capability 9.9, or as changed."""
    healthy = {
        "cuInit": ZERO,
        "cuDriverGetVersion": stores(13000),
        "cuDeviceGetCount": stores(1),
        "cuDeviceGet": stores(0),
        "cuDeviceGetName": stores(int.from_bytes(b"H20\0", "little")),
        "cuDeviceTotalMem_v2": stores(1 << 30),
        "cuDeviceGetAttribute": stores(9),
    }
    return str(write_stub(folder, "libcuda_double.so.1", {**healthy, **functions}))


@x86_64
def test_a_gpu_is_found(tmp_path: Path) -> None:
    library = driver(tmp_path)
    assert probe(library) == Gpu("H20", (9, 9), 1 << 30, (13, 0))
    assert probe(library).slug == "h20-sm99"
    assert has_driver(library)


@x86_64
@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ({"cuInit": gives(100)}, "shows no GPU: see `nvidia-smi` and CUDA_VISIBLE_DEVICES"),
        ({"cuInit": gives(803)}, "kernel module and libcuda differ: reboot"),
        ({"cuInit": gives(804)}, "too old for the CUDA libraries beside it: update it"),
        ({"cuInit": gives(34)}, "a stub for building, not a driver"),
        ({"cuInit": gives(999)}, r"does not start \(CUDA error 999\)"),
        ({"cuDeviceGetCount": stores(0)}, "shows no GPU"),
        ({"cuDriverGetVersion": stores(11080)}, r"knows CUDA 11\.8, CUDA 12 is needed: .* 525"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, functions: dict[str, bytes], said: str) -> None:
    library = driver(tmp_path, **functions)
    with pytest.raises(CudaUnavailable, match=said):
        probe(library)
    assert has_driver(library)


@x86_64
def test_graphs_end_their_recording_whatever_happens(tmp_path: Path) -> None:
    names = (
        *("cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"),
        *("cuGraphDestroy", "cuGraphLaunch", "cuGraphExecDestroy"),
    )
    fine = dict.fromkeys(names, ZERO)
    library = driver(tmp_path, **fine)
    graph = cuda.Graph(7, lambda: None, library)
    graph.launch()
    graph.close()

    def fails() -> None:
        raise EngineFailed("cannot be recorded")

    with pytest.raises(EngineFailed, match="cannot be recorded"):
        cuda.Graph(7, fails, library)
    for name, said in (
        ("cuStreamBeginCapture_v2", "CUDA error 900 from cuStreamBeginCapture_v2"),
        ("cuStreamEndCapture", r"cannot be recorded as a CUDA graph \(CUDA error 900\)"),
        ("cuGraphInstantiateWithFlags", "CUDA error 900 from cuGraphInstantiateWithFlags"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        with pytest.raises(EngineFailed, match=said):
            cuda.Graph(7, lambda: None, driver(folder, **{**fine, name: gives(900)}))


def test_a_machine_without_a_driver() -> None:
    with pytest.raises(CudaUnavailable, match=r"no NVIDIA driver here \(libnone\.so\.1 cannot"):
        probe("libnone.so.1")
    assert not has_driver("libnone.so.1")


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_the_cpu_path_imports_nothing_for_the_gpu() -> None:
    """Opening the default engine neither imports nor probes more than it must."""
    script = (
        "import sys\n"
        "from ferstream.engines.bundle import load_bundle\n"
        "from ferstream.engines.engine import open_engine\n"
        "engine = open_engine(load_bundle(), 'spatial', backend='auto')\n"
        "print(engine.backend, [m for m in sys.modules if m.split('.')[0] in\n"
        "    ('tensorrt', 'tensorrt_bindings', 'cuda', 'pycuda') or m in\n"
        "    [f'ferstream.engines.{n}' for n in ('trt', 'plan', 'build', 'device')]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "onnxruntime []\n", done.stderr
    assert not done.stderr


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_no_device_without_a_gpu() -> None:
    with pytest.raises(CudaUnavailable):
        open_device()
