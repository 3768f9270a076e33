"""A lane: one TensorRT context set to one shape, with the CUDA graph recorded from it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .contract import Array, NetworkSpec, TensorSpec
from .device import Device, Recorded
from .errors import EngineFailed, OutOfDeviceMemory
from .trt_log import is_out_of_memory, last_error

_RUNS_BEFORE_RECORDING = 2

Sizes = Mapping[str, int]
"""Free sizes by letter, such as B=4, T=32."""


@dataclass(frozen=True)
class Buffer:
    """Room for one tensor at its greatest: on the GPU and, pinned, on the host."""

    address: int
    host: Array

    def view(self, tensor: TensorSpec, sizes: Sizes) -> Array:
        """The host's part as an array of the tensor's shape."""
        shape = shape_of(tensor, sizes)
        dtype = np.dtype(tensor.dtype)
        return self.host[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


def shape_of(tensor: TensorSpec, sizes: Sizes) -> tuple[int, ...]:
    """A tensor's shape with its letters filled in."""
    return tuple(sizes[size] if isinstance(size, str) else size for size in tensor.shape)


class Lane:
    """One context for one shape. `inputs` and `outputs` are views of pinned memory, (B, ...).

    TensorRT's rules that it keeps: a profile chosen and shapes set before addresses are used, one
    plain run before a recording, and no change to a context that a graph was recorded from.
    Raises OutOfDeviceMemory or EngineFailed.
    """

    def __init__(
        self,
        engine: Any,
        log: Any,
        spec: NetworkSpec,
        sizes: Sizes,
        *,
        device: Device,
        stream: int,
        work: tuple[int, int],
        buffers: Mapping[str, Buffer],
        strategy: Any,
    ) -> None:
        self._log, self._name, self._device, self._stream = log, spec.name, device, stream
        self._addresses = {name: buffer.address for name, buffer in buffers.items()}
        self.inputs = {t.name: buffers[t.name].view(t, sizes) for t in spec.inputs}
        self.outputs = {t.name: buffers[t.name].view(t, sizes) for t in spec.outputs}
        self._runs = 0
        self._graph: Recorded | None = None
        self._context = engine.create_execution_context(strategy)
        if self._context is None:
            if is_out_of_memory(log):
                free = device.free_bytes() / 1e6
                raise OutOfDeviceMemory(
                    f"out of device memory for a context of {spec.name} ({free:.0f} MB free): "
                    "close other programs on the GPU or build with a smaller --max-batch"
                )
            raise self._failed("makes no context")
        self._context.set_device_memory(*work)
        if not self._context.set_optimization_profile_async(0, stream):
            raise self._failed("refuses its profile")
        device.synchronize(stream)
        for tensor in spec.inputs:
            if not self._context.set_input_shape(tensor.name, shape_of(tensor, sizes)):
                raise self._failed(f"refuses the shape {shape_of(tensor, sizes)} of {tensor.name}")
        for name, address in self._addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise self._failed(f"refuses the address of {name}")
        missing = self._context.infer_shapes()
        if missing:
            raise self._failed(f"lacks shapes of {', '.join(missing)}")
        for name, view in self.outputs.items():
            shape = tuple(self._context.get_tensor_shape(name))
            if shape != view.shape:
                raise self._failed(f"gives {name} as {shape}, not {view.shape}")

    def launch(self) -> None:
        """Puts copies in, kernels and copies out on the stream."""
        self._runs += 1
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue()

    def record(self) -> None:
        """Records the graph once the shape has recurred; the stream is idle.

        A network that cannot be recorded goes on without, which is slower and no failure.
        """
        if self._graph is not None or self._runs != _RUNS_BEFORE_RECORDING:
            return
        try:
            self._graph = self._device.record(self._stream, self._enqueue)
        except EngineFailed as error:
            logging.getLogger(__name__).info("%s runs without a graph: %s", self._name, error)

    @property
    def is_recorded(self) -> bool:
        """Whether it is replayed as a graph."""
        return self._graph is not None

    def close(self) -> None:
        """Frees graph and context."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None
        self._context = None

    def _enqueue(self) -> None:
        for name, view in self.inputs.items():
            self._device.to_device(self._addresses[name], view, self._stream)
        if not self._context.execute_async_v3(self._stream):
            if is_out_of_memory(self._log):
                raise OutOfDeviceMemory(f"out of device memory while running {self._name}")
            raise self._failed("did not run")
        for name, view in self.outputs.items():
            self._device.to_host(view, self._addresses[name], self._stream)

    def _failed(self, what: str) -> EngineFailed:
        return EngineFailed(f"TensorRT: {self._name} {what}: {last_error(self._log)}")
