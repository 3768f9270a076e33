"""The building half of TensorRT's module: parser, profiles, timing cache, builder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from .trt_world import (
    MAGIC,
    BuilderFlag,
    ILogger,
    MemoryPoolType,
    ProfilingVerbosity,
    World,
)

_NOT_KNOWN = {"QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger", "Unique", "Det"}
"""Some operators that the parser's table of supported ones lacks."""


class Builder:
    def __init__(self, world: World, log: ILogger) -> None:
        assert log._ready, "ILogger.__init__ was not called"
        self._world = world
        world.log = log

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags & (1 << self._world.strongly_typed), "weakly typed"
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._world)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Any:
        world, monitor = self._world, config.progress_monitor
        assert network.model is not None, "build of an empty network"
        if world.faults.build:
            return world.error(world.faults.build)
        dynamic = [i.name for i in network.model.graph.input if not all(_fixed(i))]
        if dynamic and not config.profiles:
            return world.error(f"Network has dynamic inputs {dynamic}, but no profile is given")
        if config.profiles and set(config.profiles[0].shapes) < set(dynamic):
            return world.error("profile 0 lacks shapes of an input")
        layers = [node.name or node.op_type for node in network.model.graph.node]
        if monitor is not None:
            monitor.phase_start("Building", None, len(layers))
        for step, layer in enumerate(layers):
            if config.cache is not None and layer not in config.cache.known:
                world.counts["timed"] += 1
                config.cache.known.append(layer)
            if monitor is not None:
                monitor.phase_start("Timing", "Building", 1)
                going = monitor.step_complete("Timing", 0)
                monitor.phase_finish("Timing")
                if not (monitor.step_complete("Building", step) and going):
                    return world.error("Build was cancelled")
        if monitor is not None:
            monitor.phase_finish("Building")
        header = {
            "version": world.version,
            "gpu": world.gpu,
            "profile": config.profiles[0].shapes if config.profiles else {},
        }
        model = network.model.SerializeToString()
        data: bytes = MAGIC + json.dumps([header, len(model)]).encode() + b"\n" + model
        return data


class INetworkDefinition:
    def __init__(self) -> None:
        self.model: onnx.ModelProto | None = None

    @property
    def num_outputs(self) -> int:
        assert self.model is not None
        return len(self.model.graph.output)

    def get_output(self, index: int) -> Any:
        assert self.model is not None
        return self.model.graph.output[index]

    def unmark_output(self, tensor: Any) -> None:
        assert self.model is not None
        self.model.graph.output.remove(tensor)


class ParserError:
    def __init__(self, desc: str, node: onnx.NodeProto) -> None:
        self._desc, self._node = desc, node

    def desc(self) -> str:
        return self._desc

    def node_name(self) -> str:
        return str(self._node.name)

    def node_operator(self) -> str:
        return str(self._node.op_type)


class OnnxParser:
    def __init__(self, world: World, network: INetworkDefinition, log: ILogger) -> None:
        self._world, self._network = world, network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            self._network.model = onnx.load_from_string(model)
        except Exception:
            self._errors = [ParserError("Failed to parse ONNX model", onnx.NodeProto())]
            return False
        self._errors = list(_breaches(self._network.model.graph))
        return not self._errors


def _breaches(graph: onnx.GraphProto) -> Iterator[ParserError]:
    """What TensorRT's parser and strongly typed networks do not take."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    bytes_in = {i.name for i in graph.input if i.type.tensor_type.elem_type == TensorProto.UINT8}
    for node in graph.node:
        if node.op_type in _NOT_KNOWN:
            yield ParserError(f"No importer registered for op: {node.op_type}", node)
        if node.op_type not in ("Cast", "Identity") and bytes_in & set(node.input):
            yield ParserError("UINT8 tensors can only be cast", node)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
            zero = constants.get(node.input[2])
            if zero is not None and (zero.any() or zero.dtype in (np.uint8, np.int32)):
                text = f"only symmetric int8 quantization is supported, got {zero.dtype}"
                yield ParserError(text, node)


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = [list(min), list(opt), list(max)]

    @property
    def _is_valid(self) -> bool:
        return all(
            a <= b <= c for shapes in self.shapes.values() for a, b, c in zip(*shapes, strict=True)
        )


class ITimingCache:
    def __init__(self, world: World, data: bytes) -> None:
        self.made_for = f"{world.version} {world.gpu}"
        self.known: list[str] = []
        self.fits = True
        if data:
            made_for, self.known = json.loads(data)
            self.fits = made_for == self.made_for

    def serialize(self) -> bytes:
        return json.dumps([self.made_for, self.known]).encode()


class IBuilderConfig:
    def __init__(self, world: World) -> None:
        self._world = world
        self.profiles: list[IOptimizationProfile] = []
        self.cache: ITimingCache | None = None
        self.progress_monitor: Any = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.pools: dict[MemoryPoolType, int] = {}

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[pool] = pool_size

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._world.counts[f"clear {flag.name}"] += 1

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if not profile._is_valid:
            self._world.error("profile with min > opt or opt > max")
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(self._world, serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if not (cache.fits or ignore_mismatch):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self.cache


def _fixed(value: Any) -> list[bool]:
    return [not dim.dim_param for dim in value.type.tensor_type.shape.dim]
