"""TensorRT's Python module as its documentation describes it, computing with ONNX Runtime.

It has the names, results and rules that the code meets (test_bindings.py holds the names against
NVIDIA's own bindings): what returns None or False instead of raising, which calls need which
others before them, what a profile admits, which versions and GPUs a plan is for, and that a
context must be left alone once a graph was recorded from it. A breach whose effect on a real GPU
is undefined fails the test at once, by an assertion. This is the running half.
"""

from __future__ import annotations

import json
from enum import IntEnum
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from .trt_build_double import Builder, OnnxParser
from .trt_world import (
    MAGIC,
    TYPES,
    BuilderFlag,
    DataType,
    ExecutionContextAllocationStrategy,
    ILogger,
    IProgressMonitor,
    LayerInformationFormat,
    MemoryPoolType,
    ProfilingVerbosity,
    TensorIOMode,
    World,
)


def make_module(world: World) -> ModuleType:
    """The module, for sys.modules["tensorrt"]."""
    module = ModuleType("tensorrt")
    module.__spec__ = ModuleSpec("tensorrt", None)
    names: dict[str, Any] = {
        "__version__": world.version,
        "ILogger": ILogger,
        "IProgressMonitor": IProgressMonitor,
        "Builder": lambda log: Builder(world, log),
        "OnnxParser": lambda network, log: OnnxParser(world, network, log),
        "Runtime": lambda log: Runtime(world, log),
        "nptype": lambda dtype: dict(TYPES.values())[dtype],
    }
    enums: tuple[Any, ...] = (
        *(DataType, TensorIOMode, MemoryPoolType, ProfilingVerbosity, LayerInformationFormat),
        *(ExecutionContextAllocationStrategy, BuilderFlag),
        IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": world.strongly_typed}),
    )
    names.update({enum.__name__: enum for enum in enums})
    module.__dict__.update(names)
    return module


class Runtime:
    def __init__(self, world: World, log: ILogger) -> None:
        assert log._ready, "ILogger.__init__ was not called"
        self._world = world
        world.log = log

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        world, data = self._world, bytes(serialized_engine)
        try:
            magic, head, model = data.split(b"\n", 2)
            header, size = json.loads(head)
            assert magic + b"\n" == MAGIC and len(model) == size
        except (ValueError, AssertionError):
            return world.error("Serialization assertion magicTag failed: the plan is corrupt")
        if header["version"] != world.version:
            return world.error(f"Version tag does not match: {header['version']}")
        if header["gpu"] != world.gpu:
            return world.error(f"The engine plan file was generated on {header['gpu']}")
        if world.device.free_bytes() < size:
            return world.error("CUDA error: out of memory while deserializing")
        return ICudaEngine(world, model, header["profile"])


class EngineInspector:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        output = {"Name": "out", "Format/Datatype": "Row major linear FP32"}
        if self._engine.world.version.startswith("11"):
            output = {"Name": "out", "DataType": "Float", "Format": "Row major linear"}
        nodes = self._engine.model.graph.node
        layers = [{"Name": node.name or node.op_type, "Outputs": [output]} for node in nodes]
        return json.dumps({"Layers": layers})


class ICudaEngine:
    device_memory_size_v2 = 4096

    def __init__(self, world: World, model: bytes, profile: dict[str, list[list[int]]]) -> None:
        self.world, self.profile = world, profile
        self.model = onnx.load_from_string(model)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        graph = self.model.graph
        self.tensors = {i.name: (TensorIOMode.INPUT, i) for i in graph.input}
        self.tensors.update({o.name: (TensorIOMode.OUTPUT, o) for o in graph.output})
        self.contexts = 0

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return str(list(self.tensors)[index])

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self.tensors[name][0]

    def get_tensor_dtype(self, name: str) -> DataType:
        dtype: DataType = TYPES[self.tensors[name][1].type.tensor_type.elem_type][0]
        return dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        dims = self.tensors[name][1].type.tensor_type.shape.dim
        return tuple(-1 if dim.dim_param else dim.dim_value for dim in dims)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy) -> Any:
        if self.world.faults.context:
            return self.world.error(self.world.faults.context)
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        self.contexts += 1
        self.world.counts["context"] += 1
        return IExecutionContext(self, first=self.contexts == 1)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine, first: bool) -> None:
        self.engine, self._world = engine, engine.world
        self._profile_chosen = first  # the first context has profile 0 of itself
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._work: tuple[int, int] | None = None
        self._flushed = self._recorded = False

    def _changes(self) -> None:
        assert not self._recorded, "a context was changed after a graph was recorded from it"

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._changes()
        self._profile_chosen = True
        return profile_index == 0 and stream_handle in self._world.device.streams

    def set_device_memory(self, memory: int, size: int) -> None:
        self._changes()
        assert memory % 256 == 0 and size >= self.engine.device_memory_size_v2
        self._world.device.at(memory, size)
        self._work = (memory, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._changes()
        assert self._profile_chosen, "shapes were set before a profile was chosen"
        low, _, high = self.engine.profile.get(name, ([], [], []))
        if len(shape) != len(low) or not all(
            a <= n <= b for a, n, b in zip(low, shape, high, strict=True)
        ):
            self._world.error(f"shape {shape} of {name} is outside {low} to {high}")
            return False
        self._shapes[name] = tuple(shape)
        self._flushed = False
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._changes()
        if name not in self.engine.tensors or memory % 256:
            self._world.error(f"address {memory:#x} of {name} is refused")
            return False
        self._addresses[name] = memory
        return True

    def infer_shapes(self) -> list[str]:
        inputs = [n for n, (mode, _) in self.engine.tensors.items() if mode is TensorIOMode.INPUT]
        return [name for name in inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        letters: dict[str, int] = {}
        for known, shape in self._shapes.items():
            dims = self.engine.tensors[known][1].type.tensor_type.shape.dim
            letters.update({d.dim_param: n for d, n in zip(dims, shape, strict=True)})
        dims = self.engine.tensors[name][1].type.tensor_type.shape.dim
        return tuple(letters[d.dim_param] if d.dim_param else d.dim_value for d in dims)

    def execute_async_v3(self, stream_handle: int) -> bool:
        world, device = self._world, self._world.device
        device.needs_context()
        world.counts["execute"] += 1
        if world.faults.execute:
            world.error(world.faults.execute)
            return False
        if set(self._addresses) != set(self.engine.tensors) or self.infer_shapes():
            world.error("addresses or shapes are missing")
            return False
        assert self._work is not None, "no memory was given to work in"
        stream = device.streams[stream_handle]
        if stream.recording is not None:
            assert self._flushed, "recorded without a plain run after the shapes were set"
            self._recorded = True
        else:
            assert not self._recorded, "a plain run of a context that a graph was recorded from"
            self._flushed = True
        users = world.work_users.setdefault(self._work[0], stream_handle)
        assert users == stream_handle, "two streams work in the same memory"
        stream.put(self._compute)
        return True

    def _compute(self) -> None:
        device, feeds = self._world.device, {}
        assert self._work is not None
        device.at(*self._work)[:] = 0x5A
        for name, shape in self._shapes.items():
            dtype = np.dtype(TYPES[self.engine.tensors[name][1].type.tensor_type.elem_type][1])
            size = int(np.prod(shape)) * dtype.itemsize
            feeds[name] = device.at(self._addresses[name], size).view(dtype).reshape(shape).copy()
        names = [n for n, (mode, _) in self.engine.tensors.items() if mode is TensorIOMode.OUTPUT]
        for name, array in zip(names, self.engine.session.run(names, feeds), strict=True):
            array = array + array.dtype.type(self._world.offset)
            if self._world.faults.mirrored:
                array = array[..., ::-1].copy()
            if self._world.faults.nan:
                array[:] = np.nan
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            device.at(self._addresses[name], data.nbytes)[:] = data
