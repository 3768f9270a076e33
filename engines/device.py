"""Buffers and streams on the GPU: pycuda, or cuda-python where pycuda is not installed.

Addresses and stream handles are plain integers, as TensorRT takes them. All of it belongs to the
GPU's primary context, which TensorRT uses too; `active` makes that current in the calling thread.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np

from .contract import Array
from .cuda import Graph, probe
from .errors import EngineFailed, EngineUnavailable, OutOfDeviceMemory

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for the legacy default stream


class Recorded(Protocol):
    """Work that was recorded once and can be launched again."""

    def launch(self) -> None:
        """Put it on its stream."""

    def close(self) -> None:
        """Free it."""


class Device(Protocol):
    """One GPU. Everything but `active` is called while it is active.

    Failures are OutOfDeviceMemory or EngineFailed.
    """

    name: str

    def active(self) -> AbstractContextManager[None]:
        """The GPU's context, current in this thread within the block."""

    def allocate(self, size_bytes: int) -> int:
        """Device memory: its address, a multiple of 256."""

    def release(self, address: int) -> None:
        """Free device memory."""

    def pinned(self, size_bytes: int) -> Array:
        """Page-locked host memory, (size_bytes,) uint8, which copies run from without waiting."""

    def unpin(self, host: Array) -> None:
        """Free page-locked memory; no view of it is used again."""

    def stream(self) -> int:
        """A stream's handle."""

    def drop_stream(self, stream: int) -> None:
        """Free a stream."""

    def to_device(self, address: int, host: Array, stream: int) -> None:
        """Put a copy of contiguous pinned memory on the stream."""

    def to_host(self, host: Array, address: int, stream: int) -> None:
        """Put a copy into contiguous pinned memory on the stream."""

    def synchronize(self, stream: int) -> None:
        """Wait for all work of a stream."""

    def record(self, stream: int, work: Callable[[], None]) -> Recorded:
        """What `work` puts on the stream, as a graph; it does not run yet."""

    def free_bytes(self) -> int:
        """Device memory that nobody holds."""


def open_device() -> Device:
    """The GPU by pycuda, else by cuda-python.

    Raises CudaUnavailable (no GPU) or EngineUnavailable (neither is installed, or neither loads:
    pycuda is compiled for one CUDA and does not import beside an older driver).
    """
    probe()
    problem: ImportError | None = None
    for module, kind in (("pycuda", PycudaDevice), ("cuda", CudaPythonDevice)):
        if importlib.util.find_spec(module):
            try:
                return kind()
            except ImportError as error:
                problem = problem or error
    if problem is None:
        raise EngineUnavailable(
            "neither pycuda nor cuda-python is installed: pip install 'ferstream[gpu]'"
        )
    raise EngineUnavailable(
        f"pycuda and cuda-python do not load ({problem}): pip install 'ferstream[gpu]'"
    ) from problem


class PycudaDevice:
    """The first GPU by pycuda."""

    name = "pycuda"

    def __init__(self) -> None:
        driver: Any = importlib.import_module("pycuda.driver")
        self._driver = driver
        driver.init()
        self._context = driver.Device(0).retain_primary_context()
        self._held: dict[int, Any] = {}  # pycuda frees what nobody refers to

    @contextmanager
    def active(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        except self._driver.Error as error:
            raise EngineFailed(f"CUDA failed: {error}") from error
        finally:
            self._driver.Context.pop()

    def allocate(self, size_bytes: int) -> int:
        try:
            allocation = self._driver.mem_alloc(size_bytes)
        except self._driver.MemoryError as error:
            raise _out_of_memory(size_bytes, self.free_bytes()) from error
        self._held[int(allocation)] = allocation
        return int(allocation)

    def release(self, address: int) -> None:
        self._held.pop(address).free()

    def pinned(self, size_bytes: int) -> Array:
        host: Array = self._driver.pagelocked_empty(size_bytes, np.uint8)
        host[:] = 0
        return host

    def unpin(self, host: Array) -> None:
        owner: Any = host.base
        owner.free()

    def stream(self) -> int:
        stream = self._driver.Stream(_NON_BLOCKING)
        self._held[stream.handle] = stream
        return int(stream.handle)

    def drop_stream(self, stream: int) -> None:
        del self._held[stream]

    def to_device(self, address: int, host: Array, stream: int) -> None:
        self._driver.memcpy_htod_async(address, host, self._held[stream])

    def to_host(self, host: Array, address: int, stream: int) -> None:
        self._driver.memcpy_dtoh_async(host, address, self._held[stream])

    def synchronize(self, stream: int) -> None:
        self._held[stream].synchronize()

    def record(self, stream: int, work: Callable[[], None]) -> Graph:
        return Graph(stream, work)

    def free_bytes(self) -> int:
        return int(self._driver.mem_get_info()[0])


class CudaPythonDevice:
    """The first GPU by cuda-python's driver bindings."""

    name = "cuda-python"

    def __init__(self) -> None:
        driver: Any = importlib.import_module("cuda.bindings.driver")
        self._driver = driver
        self._call(driver.cuInit, 0)
        self._context = self._call(driver.cuDevicePrimaryCtxRetain, 0)

    @contextmanager
    def active(self) -> Iterator[None]:
        self._call(self._driver.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            self._call(self._driver.cuCtxPopCurrent)

    def allocate(self, size_bytes: int) -> int:
        return int(self._call(self._driver.cuMemAlloc, size_bytes, size_bytes=size_bytes))

    def release(self, address: int) -> None:
        self._call(self._driver.cuMemFree, address)

    def pinned(self, size_bytes: int) -> Array:
        address = int(self._call(self._driver.cuMemHostAlloc, size_bytes, 0, size_bytes=size_bytes))
        host = np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))
        host[:] = 0
        return host

    def unpin(self, host: Array) -> None:
        self._call(self._driver.cuMemFreeHost, host.ctypes.data)

    def stream(self) -> int:
        return int(self._call(self._driver.cuStreamCreate, _NON_BLOCKING))

    def drop_stream(self, stream: int) -> None:
        self._call(self._driver.cuStreamDestroy, stream)

    def to_device(self, address: int, host: Array, stream: int) -> None:
        self._call(self._driver.cuMemcpyHtoDAsync, address, host.ctypes.data, host.nbytes, stream)

    def to_host(self, host: Array, address: int, stream: int) -> None:
        self._call(self._driver.cuMemcpyDtoHAsync, host.ctypes.data, address, host.nbytes, stream)

    def synchronize(self, stream: int) -> None:
        self._call(self._driver.cuStreamSynchronize, stream)

    def record(self, stream: int, work: Callable[[], None]) -> Graph:
        return Graph(stream, work)

    def free_bytes(self) -> int:
        return int(self._call(self._driver.cuMemGetInfo)[0])

    def _call(self, function: Callable[..., Any], *arguments: Any, size_bytes: int = 0) -> Any:
        """What a function of the driver gives beside its code; its code as an error."""
        code, *results = function(*arguments)
        if code.value == 0:
            return results[0] if len(results) == 1 else results
        if code == self._driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise _out_of_memory(size_bytes, self.free_bytes())
        raise EngineFailed(f"CUDA failed in {function.__name__}: {code.name}")


def _out_of_memory(wanted: int, free: int) -> OutOfDeviceMemory:
    return OutOfDeviceMemory(
        f"out of device memory: {wanted / 1e6:.1f} MB wanted, {free / 1e6:.1f} MB free; close "
        "other programs on the GPU (see `nvidia-smi`) or build with a smaller --max-batch"
    )
