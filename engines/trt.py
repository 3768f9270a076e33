"""TensorRT: one plan on the GPU, its contexts and one CUDA stream.

What a frame costs: inputs are written into pinned memory, one launch puts copies and kernels on
the stream, one synchronisation waits for them, outputs are copied out. All buffers are made once,
for the profile's greatest sizes; batches are padded to the next power of two, so that few shapes
occur, and a shape that recurs is replayed as a CUDA graph. TensorRT forbids to change a context
that a graph was recorded from, so each shape has a context of its own (a lane); they share the
weights, the buffers and the memory that kernels work in, which is safe on one stream.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from .contract import Array, NetworkSpec, Tensors, TensorSpec, hold, hold_finite
from .device import Device, open_device
from .errors import EngineFailed, OutOfDeviceMemory, PlanStale
from .lane import Buffer, Lane, shape_of
from .plan import BUILD_HINT, Plan
from .trt_log import is_out_of_memory, last_error, load_tensorrt, make_log

# B batch, T frames of a clip

_MOST_LANES = 12
_ALIGNMENT = 256

_Key = tuple[tuple[str, int], ...]


class TrtEngine:
    """One plan on the GPU; it belongs to one thread at a time.

    Args:
        plan: from `plan.read_plan`.
        spec: what the manifest says of the network.
        device: the GPU; opened where not given.
        graphs: whether shapes that recur are replayed as CUDA graphs.

    Raises what `load_tensorrt` and `open_device` raise, PlanStale (TensorRT refuses the plan),
    ContractMismatch (it is another network's) and OutOfDeviceMemory.
    """

    backend = "tensorrt"

    def __init__(
        self, plan: Plan, spec: NetworkSpec, *, device: Device | None = None, graphs: bool = True
    ) -> None:
        self.spec = spec
        self.precision = plan.sidecar.precision
        self._trt = load_tensorrt()
        self._log = make_log(self._trt)
        self._device = device or open_device()
        self._graphs = graphs
        self._profile = _ranges(spec, plan.sidecar.profile)
        self._lanes: OrderedDict[_Key, Lane] = OrderedDict()
        self._buffers: dict[str, Buffer] = {}
        self._busy = False
        self._stream = self._work_address = self._work_bytes = 0
        self._plan_bytes = len(plan.data)
        self._runtime: Any = None
        self._engine: Any = None
        with self._device.active():
            try:
                self._open(plan)
                self._allocate()
            except BaseException:
                self._free()
                raise

    @property
    def memory_bytes(self) -> dict[str, int]:
        """Device memory held: `weights` (the plan's size), `work` of kernels, `buffers`."""
        buffers = sum(buffer.host.nbytes for buffer in self._buffers.values())
        return {"weights": self._plan_bytes, "work": self._work_bytes, "buffers": buffers}

    @property
    def shapes(self) -> dict[_Key, bool]:
        """The free sizes met so far, and whether each is replayed as a CUDA graph."""
        return {key: lane.is_recorded for key, lane in self._lanes.items()}

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name, the caller's to keep; a batch over the profile's goes in parts.

        Raises ContractMismatch (inputs), OutOfDeviceMemory, EngineFailed (a clip longer than the
        profile's, outputs that are no finite numbers, CUDA's own failures).
        """
        self.spec.check(inputs)
        rows, most = _rows(inputs), self._profile["B"][1]
        if rows == 0:
            sizes = _sizes(self.spec, inputs)
            return {t.name: np.empty(shape_of(t, sizes), t.dtype) for t in self.spec.outputs}
        if rows <= most:
            return self._start(inputs)()
        parts = [
            self._start({name: array[at : at + most] for name, array in inputs.items()})()
            for at in range(0, rows, most)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @property
    def overlaps(self) -> bool:
        """It does."""
        return True

    def start(self, inputs: Tensors) -> Callable[[], dict[str, Array]]:
        """Puts one batch on the stream and returns at once; several engines overlap this way.

        What it returns waits and gives what `run` gives, and is called before the next batch is
        started: RuntimeError otherwise. Raises what `run` raises.
        """
        self.spec.check(inputs)
        if not 1 <= _rows(inputs) <= self._profile["B"][1]:
            return lambda: self.run(inputs)
        return self._start(inputs)

    def _start(self, inputs: Tensors) -> Callable[[], dict[str, Array]]:
        if self._busy:
            raise RuntimeError(f"{self.spec.name} was started twice: take the first result first")
        rows = _rows(inputs)
        key = self._key(_sizes(self.spec, inputs))
        with self._device.active():
            lane = self._lane(key)
            for name, view in lane.inputs.items():
                view[:rows] = inputs[name]
            lane.launch()
        self._busy = True
        return lambda: self._finish(lane, rows)

    def _finish(self, lane: Lane, rows: int) -> dict[str, Array]:
        self._busy = False
        with self._device.active():
            self._device.synchronize(self._stream)
            outputs = {name: np.array(view[:rows]) for name, view in lane.outputs.items()}
            if self._graphs:
                lane.record()
        where = f"{self.spec.name} in {self.precision} on TensorRT"
        hold_finite(where, outputs, "build it in fp32, or use another engine")
        return outputs

    def close(self) -> None:
        """Frees the GPU's memory; the engine is not run again."""
        with self._device.active():
            self._settle()
            self._free()

    def _open(self, plan: Plan) -> None:
        trt = self._trt
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan.data)
        if self._engine is None and is_out_of_memory(self._log):
            free = self._device.free_bytes() / 1e6
            raise OutOfDeviceMemory(
                f"out of device memory for {plan.where} ({free:.0f} MB free): close other "
                "programs on the GPU (see `nvidia-smi`)"
            )
        if self._engine is None:
            raise PlanStale(
                f"TensorRT {trt.__version__} refuses {plan.where} ({last_error(self._log)}): "
                f"{BUILD_HINT} with --force"
            )
        sides: dict[bool, list[TensorSpec]] = {True: [], False: []}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            shape = tuple("?" if n < 0 else int(n) for n in self._engine.get_tensor_shape(name))
            dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))).name
            is_input = self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            sides[is_input].append(TensorSpec(name, dtype, shape))
        graph = NetworkSpec(self.spec.name, tuple(sides[True]), tuple(sides[False]))
        hold(plan.where, graph, self.spec)

    def _allocate(self) -> None:
        """Everything that frames need, for the profile's greatest sizes."""
        most = {letter: high for letter, (_, high) in self._profile.items()}
        self._stream = self._device.stream()
        size = max(int(self._engine.device_memory_size_v2), _ALIGNMENT)
        self._work_address, self._work_bytes = self._device.allocate(size), size
        for tensor in (*self.spec.inputs, *self.spec.outputs):
            size = math.prod(shape_of(tensor, most)) * np.dtype(tensor.dtype).itemsize
            host = self._device.pinned(size)
            try:
                self._buffers[tensor.name] = Buffer(self._device.allocate(size), host)
            except BaseException:
                self._device.unpin(host)
                raise

    def _lane(self, key: _Key) -> Lane:
        """The context for these sizes; the one used longest ago makes room for a new one."""
        if key in self._lanes:
            self._lanes.move_to_end(key)
            return self._lanes[key]
        while len(self._lanes) >= _MOST_LANES:
            self._lanes.popitem(last=False)[1].close()
        self._lanes[key] = Lane(
            self._engine,
            self._log,
            self.spec,
            dict(key),
            device=self._device,
            stream=self._stream,
            work=(self._work_address, self._work_bytes),
            buffers=self._buffers,
            strategy=self._trt.ExecutionContextAllocationStrategy.USER_MANAGED,
        )
        return self._lanes[key]

    def _key(self, sizes: dict[str, int]) -> _Key:
        """The batch up to a power of two within the profile; a clip's length stays as it is."""
        low, high = self._profile["B"]
        padded = min(max(1 << (sizes["B"] - 1).bit_length(), low), high)
        for letter, size in sizes.items():
            least, most = self._profile[letter]
            if not (letter == "B" or least <= size) or size > most:
                raise EngineFailed(
                    f"{self.spec.name}: {letter}={size} is outside its plan's {least} to {most}: "
                    "build it for more"
                )
        return tuple(sorted({**sizes, "B": padded}.items()))

    def _settle(self) -> None:
        """Waits for what is on the stream; a GPU that is lost has nothing to wait for."""
        if self._stream:
            with suppress(EngineFailed):
                self._device.synchronize(self._stream)

    def _free(self) -> None:
        """Gives back whatever there is, also to a GPU that takes nothing any more."""
        for lane in self._lanes.values():
            with suppress(EngineFailed):
                lane.close()
        self._lanes.clear()
        self._engine = None  # after its contexts, before its runtime
        self._runtime = None
        for buffer in self._buffers.values():
            with suppress(EngineFailed):
                self._device.release(buffer.address)
            with suppress(EngineFailed):
                self._device.unpin(buffer.host)
        self._buffers.clear()
        with suppress(EngineFailed):
            if self._work_address:
                self._device.release(self._work_address)
            if self._stream:
                self._device.drop_stream(self._stream)
        self._work_address = self._stream = 0


def _rows(inputs: Tensors) -> int:
    return len(next(iter(inputs.values())))


def _sizes(spec: NetworkSpec, inputs: Tensors) -> dict[str, int]:
    """The free sizes by letter; the contract holds, so one tensor with the letter is enough."""
    return {
        letter: size
        for tensor in spec.inputs
        for letter, size in zip(tensor.shape, inputs[tensor.name].shape, strict=True)
        if isinstance(letter, str)
    }


def _ranges(spec: NetworkSpec, profile: dict[str, list[list[int]]]) -> dict[str, tuple[int, int]]:
    """Least and greatest size by letter, from the shapes of a plan's profile."""
    return {
        letter: (profile[tensor.name][0][axis], profile[tensor.name][2][axis])
        for tensor in spec.inputs
        for axis, letter in enumerate(tensor.shape)
        if isinstance(letter, str)
    }
