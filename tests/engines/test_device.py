"""NVIDIA's cuda-python, our buffers and our graphs over a driver that works in host memory.

The driver is compiled from libcuda_double.c; without a compiler these tests are skipped. The
whole run time then goes through real bindings: their argument types, their results, their codes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .wheels import unpacked

_COMPILER = shutil.which("cc") or shutil.which("gcc")

pytestmark = pytest.mark.skipif(
    _COMPILER is None or sys.platform != "linux", reason="no C compiler here"
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libcuda.so.1."""
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("libcuda_double.c")
    command = [str(_COMPILER), "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(source)]
    subprocess.run([*command, "-o", str(folder / "libcuda.so.1")], check=True)
    return folder


def run(driver: Path, repository: Path, script: str) -> str:
    """What a script prints in a process where that driver and cuda-python are installed."""
    wheels = [unpacked("cuda-bindings==13.0.3"), unpacked("cuda-pathfinder==1.9.0")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(driver),
            "PYTHONPATH": os.pathsep.join(map(str, [repository, *wheels])),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_copies_and_graphs(driver: Path, repository: Path) -> None:
    said = run(
        driver,
        repository,
        """
        import numpy as np
        from ferstream.engines.cuda import probe
        from ferstream.engines.device import open_device

        print(probe())
        device = open_device()
        with device.active():
            free = device.free_bytes()
            stream, address = device.stream(), device.allocate(5000)
            sent, back = device.pinned(5000), device.pinned(5000)
            assert address % 256 == 0 and not sent.any()

            def work():
                device.to_device(address, sent, stream)
                device.to_host(back, address, stream)

            sent[:] = np.arange(5000) % 251
            work()
            device.synchronize(stream)
            assert np.array_equal(sent, back)
            graph = device.record(stream, work)
            for value in (3, 4):
                sent[:] = value
                assert not np.array_equal(sent, back)
                graph.launch()
                device.synchronize(stream)
                assert np.array_equal(sent, back)
            graph.close()
            device.release(address)
            device.unpin(sent)
            device.unpin(back)
            device.drop_stream(stream)
            assert device.free_bytes() == free
        print(device.name)
        """,
    )
    assert said == (
        "Gpu(name='Double', capability=(9, 0), memory_bytes=67108864, cuda=(13, 0))\ncuda-python\n"
    )


def test_failures(driver: Path, repository: Path) -> None:
    said = run(
        driver,
        repository,
        """
        from ferstream.engines.device import open_device
        from ferstream.engines.errors import EngineFailed, OutOfDeviceMemory

        device = open_device()
        with device.active():
            for call in (
                lambda: device.allocate(1 << 30),
                lambda: device.release(12345),
                lambda: device.record(device.stream(), lambda: device.synchronize(7)),
            ):
                try:
                    call()
                except OutOfDeviceMemory as error:
                    print("full:", error)
                except EngineFailed as error:
                    print("failed:", error)
            stream = device.stream()
            device.record(stream, lambda: None).close()
        """,
    )
    full, freed, recorded = said.splitlines()
    assert full.startswith("full: out of device memory: 1073.7 MB wanted, 67.1 MB free; close")
    assert freed == "failed: CUDA failed in cuMemFree: CUDA_ERROR_INVALID_VALUE"
    assert recorded.startswith("failed: CUDA failed in cuStreamSynchronize: CUDA_ERROR_STREAM")


def test_a_pycuda_of_another_cuda_is_passed_over(
    driver: Path, repository: Path, tmp_path: Path
) -> None:
    """pycuda is compiled for one CUDA; beside another driver its import fails."""
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").touch()
    (tmp_path / "pycuda" / "driver.py").write_text("raise ImportError('undefined symbol: cuX')")
    said = run(
        driver,
        repository,
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from ferstream.engines.device import open_device
        from ferstream.engines.errors import EngineUnavailable

        print(open_device().name)
        sys.modules["cuda.bindings.driver"] = None
        try:
            open_device()
        except EngineUnavailable as error:
            print(error)
        """,
    )
    name, problem = said.splitlines()
    assert name == "cuda-python"
    assert problem == (
        "pycuda and cuda-python do not load (undefined symbol: cuX): pip install 'ferstream[gpu]'"
    )
