"""The NVIDIA driver, asked directly: is there a GPU, which one, and how its graphs are replayed.

Nothing is imported for it and where there is no driver the answer takes no time, so that the CPU
path starts as fast as before. TensorRT is touched only after `probe` found a GPU: with a missing
driver its runtime can take the whole process with it.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from .errors import CudaUnavailable, EngineFailed

LIBRARY = "libcuda.so.1"

OLDEST_CUDA = 12
"""The oldest CUDA that a driver must know for anything here: 12 came with driver 525."""

_DRIVERS = {12: 525, 13: 580}
"""The first driver that knows a CUDA; NVIDIA's release notes, table of toolkit versions."""

_NO_DEVICE, _STUB, _MISMATCH, _TOO_OLD = 100, 34, 803, 804
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: others may go on allocating


@dataclass(frozen=True)
class Gpu:
    """The first GPU that CUDA shows (CUDA_VISIBLE_DEVICES chooses among several)."""

    name: str
    capability: tuple[int, int]
    """Compute capability, such as (9, 0)."""
    memory_bytes: int
    cuda: tuple[int, int]
    """The newest CUDA that the driver knows, such as (13, 0)."""

    @property
    def slug(self) -> str:
        """A name for folders: nvidia-h200-sm90."""
        words = "".join(c if c.isalnum() else " " for c in self.name.lower()).split()
        return f"{'-'.join(words)}-sm{self.capability[0]}{self.capability[1]}"


def probe(library: str = LIBRARY) -> Gpu:
    """The GPU; CudaUnavailable where there is no driver, one too old, or no GPU.

    A GPU once found stays found; a machine without one is asked again each time.
    """
    return _probe(library)


def has_gpu() -> bool:
    """Whether `probe` finds a GPU."""
    try:
        probe()
    except CudaUnavailable:
        return False
    return True


def has_driver(library: str = LIBRARY) -> bool:
    """Whether an NVIDIA driver is installed, working or not."""
    try:
        _load(library)
    except CudaUnavailable:
        return False
    return True


def hold_driver(gpu: Gpu, wanted: int) -> None:
    """Raises CudaUnavailable where the driver does not know this CUDA (its major version)."""
    if gpu.cuda[0] < wanted:
        raise CudaUnavailable(
            f"the NVIDIA driver knows CUDA {gpu.cuda[0]}.{gpu.cuda[1]}, CUDA {wanted} is needed: "
            f"install driver {_DRIVERS.get(wanted, 'of that CUDA')} or newer"
        )


def cuda_of_tensorrt() -> int:
    """The CUDA that the installed TensorRT was made for, OLDEST_CUDA where pip cannot say."""
    from importlib import metadata  # slow to import, and only GPU machines come here

    for major in sorted(_DRIVERS, reverse=True):
        for name in (f"tensorrt-cu{major}", f"tensorrt-cu{major}-bindings"):
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
            return major
    return OLDEST_CUDA


def tensorrt_is_here() -> bool:
    """Whether the tensorrt module is installed; nothing is imported for it."""
    return importlib.util.find_spec("tensorrt") is not None


@cache
def _probe(library: str) -> Gpu:
    driver = _load(library)
    _started(driver.cuInit(0))
    version, count, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    _started(driver.cuDriverGetVersion(ctypes.byref(version)))
    _started(driver.cuDeviceGetCount(ctypes.byref(count)))
    if not count.value:
        _started(_NO_DEVICE)
    _started(driver.cuDeviceGet(ctypes.byref(device), 0))
    name, size = ctypes.create_string_buffer(256), ctypes.c_size_t()
    _started(driver.cuDeviceGetName(name, len(name), device))
    _started(driver.cuDeviceTotalMem_v2(ctypes.byref(size), device))
    capability = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        _started(driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device))
        capability.append(value.value)
    gpu = Gpu(
        name.value.decode(errors="replace") or "NVIDIA GPU",
        (capability[0], capability[1]),
        size.value,
        (version.value // 1000, version.value % 1000 // 10),
    )
    hold_driver(gpu, OLDEST_CUDA)
    return gpu


@cache
def _load_found(library: str) -> ctypes.CDLL:
    return ctypes.CDLL(library)


def _load(library: str) -> ctypes.CDLL:
    try:
        return _load_found(library)
    except OSError as error:
        raise CudaUnavailable(
            f"no NVIDIA driver here ({library} cannot be loaded): install one"
        ) from error


def _started(code: int) -> None:
    """Raises CudaUnavailable with what a code of the driver's start means."""
    if code == 0:
        return
    reasons = {
        _NO_DEVICE: "the NVIDIA driver shows no GPU: see `nvidia-smi` and CUDA_VISIBLE_DEVICES",
        _STUB: "libcuda is a stub for building, not a driver: install the NVIDIA driver",
        _MISMATCH: "the NVIDIA driver's kernel module and libcuda differ: reboot, or reinstall it",
        _TOO_OLD: "the NVIDIA driver is too old for the CUDA libraries beside it: update it",
    }
    raise CudaUnavailable(
        reasons.get(code, f"the NVIDIA driver does not start (CUDA error {code}): see `nvidia-smi`")
    )


class Graph:
    """Work recorded from a stream, replayed by one call: a CUDA graph.

    `record` does the work on the stream, which does not run it but writes it down. Raises
    EngineFailed where something in the work cannot be recorded. The CUDA context is current.
    """

    def __init__(self, stream: int, record: Callable[[], None], library: str = LIBRARY) -> None:
        self._driver, self._stream = _load(library), ctypes.c_void_p(stream)
        self._run = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(_THREAD_LOCAL))
        try:
            record()
        finally:
            # Also after a failure: the stream would otherwise go on recording.
            ended = self._driver.cuStreamEndCapture(self._stream, ctypes.byref(graph))
        if ended:
            raise EngineFailed(f"the work cannot be recorded as a CUDA graph (CUDA error {ended})")
        try:
            flags = ctypes.c_ulonglong(0)
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(self._run), graph, flags)
        finally:
            self._driver.cuGraphDestroy(graph)

    def launch(self) -> None:
        """Put all of it on the stream."""
        self._call("cuGraphLaunch", self._run, self._stream)

    def close(self) -> None:
        """Free it."""
        self._driver.cuGraphExecDestroy(self._run)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._driver, name)(*arguments)
        if code:
            raise EngineFailed(f"CUDA error {code} from {name}")
