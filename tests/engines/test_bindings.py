"""The code's and the double's use of TensorRT and CUDA, held against NVIDIA's own bindings.

The bindings are real extensions, loaded in a process of their own over libraries that only have
the right names. What the code calls is read from its source, so that a new call is held too.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from . import trt_build_double, trt_double, trt_world
from .cuda_double import DeviceDouble
from .stub_library import ZERO, write_stub
from .wheels import unpacked

VERSIONS = ("10.12.0.36", "10.16.1.11", "11.4.0.106")

SIGNATURES = {
    "Builder.__init__": "logger",
    "Builder.create_network": "flags",
    "Builder.build_serialized_network": "network config",
    "OnnxParser.__init__": "network logger",
    "OnnxParser.parse": "model path",
    "OnnxParser.get_error": "index",
    "Runtime.__init__": "logger",
    "Runtime.deserialize_cuda_engine": "serialized_engine",
    "IBuilderConfig.set_memory_pool_limit": "pool pool_size",
    "IBuilderConfig.clear_flag": "flag",
    "IBuilderConfig.add_optimization_profile": "profile",
    "IBuilderConfig.create_timing_cache": "serialized_timing_cache",
    "IBuilderConfig.set_timing_cache": "cache ignore_mismatch",
    "IOptimizationProfile.set_shape": "input min opt max",
    "INetworkDefinition.get_output": "index",
    "INetworkDefinition.unmark_output": "tensor",
    "ICudaEngine.get_tensor_name": "index",
    "ICudaEngine.get_tensor_dtype": "name",
    "ICudaEngine.get_tensor_shape": "name",
    "ICudaEngine.get_tensor_mode": "name",
    "ICudaEngine.create_execution_context": "strategy",
    "IExecutionContext.set_device_memory": "memory size",
    "IExecutionContext.set_optimization_profile_async": "profile_index stream_handle",
    "IExecutionContext.set_input_shape": "name shape",
    "IExecutionContext.set_tensor_address": "name memory",
    "IExecutionContext.get_tensor_shape": "name",
    "IExecutionContext.infer_shapes": "",
    "IExecutionContext.execute_async_v3": "stream_handle",
    "EngineInspector.get_engine_information": "format",
    "IProgressMonitor.phase_start": "phase_name parent_phase num_steps",
    "IProgressMonitor.step_complete": "phase_name step",
    "IProgressMonitor.phase_finish": "phase_name",
    "ILogger.log": "severity msg",
}
"""The arguments, in order, of every method that the code calls or overrides."""

RESULTS = {
    "OnnxParser.parse": "bool",
    "IBuilderConfig.set_timing_cache": "bool",
    "IBuilderConfig.add_optimization_profile": "int",
    "IExecutionContext.set_input_shape": "bool",
    "IExecutionContext.set_tensor_address": "bool",
    "IExecutionContext.set_optimization_profile_async": "bool",
    "IExecutionContext.execute_async_v3": "bool",
    "IProgressMonitor.step_complete": "bool",
}
"""Methods that report failure by what they return."""

PROPERTIES = {
    "ICudaEngine": ("num_io_tensors", "device_memory_size_v2"),
    "INetworkDefinition": ("num_outputs",),
    "IBuilderConfig": ("profiling_verbosity", "progress_monitor"),
    "OnnxParser": ("num_errors",),
    "ITensor": ("name",),
    "ParserError": ("desc", "node_name", "node_operator"),
    "ITimingCache": ("serialize",),
}

_FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL"),
    *("createInferRuntime_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry", "getNvOnnxParserVersion"),
    *("getPluginRegistry", "initLibNvInferPlugins"),
)

_DUMP = """
import enum, inspect, json, sys
import tensorrt_bindings as trt
found = {"__version__": trt.__version__}
for name, value in vars(trt).items():
    if inspect.isclass(value):
        members = {}
        for member in dir(value):
            doc = getattr(getattr(value, member, None), "__doc__", "") or ""
            members[member] = doc.strip()[:4000]
        found[name] = {"members": members, "enum": {
            k: int(v) for k, v in getattr(value, "__members__", {}).items()}}
    elif callable(value):
        found[name] = {"members": {}, "enum": {}}
json.dump(found, sys.stdout)
"""


@cache
def bindings(version: str, folder: Path) -> dict[str, Any]:
    """Classes, members, their signatures, and enums of a version of the bindings."""
    cuda = "cu12" if version.startswith("10.12") else "cu13"
    place = unpacked(f"tensorrt-{cuda}-bindings=={version}")
    major = version.split(".")[0]
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        write_stub(folder, f"lib{library}.so.{major}", dict.fromkeys(_FUNCTIONS, ZERO))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _DUMP],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["__version__"] == version
    return found


@pytest.fixture(scope="module", params=VERSIONS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip("the stub libraries are for x86-64 Linux")
    return bindings(request.param, tmp_path_factory.mktemp(f"stubs{request.param}"))


def test_signatures(real: dict[str, Any]) -> None:
    for method, arguments in SIGNATURES.items():
        owner, name = method.split(".")
        doc = real[owner]["members"][name]
        overloads = [line for line in doc.splitlines() if f"{name}(self: " in line]
        taken = [_arguments(line) for line in overloads]
        assert arguments.split() in taken, f"{method} takes {taken}"
        if method in RESULTS:
            assert any(line.endswith(f"-> {RESULTS[method]}") for line in overloads), overloads


def test_properties(real: dict[str, Any]) -> None:
    for owner, names in PROPERTIES.items():
        missing = set(names) - set(real[owner]["members"])
        assert not missing, f"{owner} lacks {missing}"


def test_every_name_of_the_module_that_the_code_uses(
    real: dict[str, Any], repository: Path
) -> None:
    used = set()
    for file in (repository / "engines").glob("*.py"):
        used |= module_names(file.read_text("utf-8"))
    assert len(used) > 20
    for dotted in sorted(used):
        name, *rest = dotted.split(".")
        assert name in real, f"the module has no {name}"
        if rest:
            known = {*real[name]["members"], *real[name]["enum"]}
            assert rest[0] in known, f"trt.{name} has no {rest[0]}"


def test_every_method_that_the_code_calls_is_held(repository: Path) -> None:
    """A call on the builder's or a context's object that no table above names is noticed."""
    known = {name.split(".")[1] for name in SIGNATURES} | {
        name for names in PROPERTIES.values() for name in names
    }
    takers = {"builder", "network", "parser", "config", "profile", "inspector", "runtime"}
    takers |= {"self._context", "self._engine", "self._runtime", "engine", "error", "cache"}
    known |= {"create_builder_config", "create_optimization_profile", "create_engine_inspector"}
    known |= {"get_timing_cache", "is_file", "read_bytes"}
    for name in ("build.py", "lane.py", "trt_log.py"):
        tree = ast.parse((repository / "engines" / name).read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                assert owner not in takers or node.func.attr in known, ast.unparse(node.func)


def test_the_double_has_no_name_of_its_own(real: dict[str, Any]) -> None:
    held = 0
    for module in (trt_world, trt_build_double, trt_double):
        for name, value in vars(module).items():
            ours = isinstance(value, type) and value.__module__ == module.__name__
            if not ours or name in ("World", "Faults", "Severity"):
                continue
            own = {member for member in vars(value) if not member.startswith("_")}
            known = {*real[name]["members"], *real[name]["enum"]}
            assert own <= known, f"{name} lacks {own - known}"
            held += len(own)
    assert held > 60


def test_the_flag_whose_value_changed(real: dict[str, Any]) -> None:
    """It is shifted by its value: a number written into the code would be another flag in 11."""
    value = real["NetworkDefinitionCreationFlag"]["enum"]["STRONGLY_TYPED"]
    world = trt_world.World(DeviceDouble(), real["__version__"], "any")
    assert value == world.strongly_typed


def test_what_eleven_took_away_is_not_used(repository: Path) -> None:
    gone = {"BuilderFlag.FP16", "BuilderFlag.INT8", "BuilderFlag.BF16", "BuilderFlag.FP8"}
    for file in (repository / "engines").glob("*.py"):
        text = file.read_text("utf-8")
        assert not gone & module_names(text)
        assert "device_memory_size " not in text and "int8_calibrator" not in text


_CUDA_CALLS = """
import json, sys
from cuda.bindings import driver
found = {}
for name in sys.argv[1:]:
    doc = getattr(driver, name).__doc__ or ""
    found[name] = doc.strip().splitlines()[0]
try:
    driver.cuInit(0)
    found["cuInit"] = "a driver is here"
except RuntimeError as error:
    found["cuInit"] = str(error)
found["flags"] = [int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value),
    int(driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY.value)]
json.dump(found, sys.stdout)
"""

CUDA_CALLS = {
    "cuInit": 1,
    "cuDevicePrimaryCtxRetain": 1,
    "cuCtxPushCurrent": 1,
    "cuCtxPopCurrent": 0,
    "cuMemAlloc": 1,
    "cuMemFree": 1,
    "cuMemHostAlloc": 2,
    "cuMemFreeHost": 1,
    "cuStreamCreate": 1,
    "cuStreamDestroy": 1,
    "cuStreamSynchronize": 1,
    "cuMemcpyHtoDAsync": 4,
    "cuMemcpyDtoHAsync": 4,
    "cuMemGetInfo": 0,
}
"""How many arguments each function of cuda-python's driver bindings takes."""


def test_cuda_python_has_what_the_device_calls(repository: Path) -> None:
    folders = [unpacked("cuda-bindings==13.0.3"), unpacked("cuda-pathfinder==1.9.0")]
    done = subprocess.run(
        [sys.executable, "-c", _CUDA_CALLS, *CUDA_CALLS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("flags") == [1, 2]
    found.pop("cuInit")
    for name, line in found.items():
        inside = line[line.index("(") + 1 : line.rindex(")")]
        assert len([a for a in inside.split(",") if a.strip()]) == CUDA_CALLS[name], line
    source = (repository / "engines" / "device.py").read_text("utf-8")
    called = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr.startswith("cu") and node.attr[2].isupper()
    }
    assert called == set(CUDA_CALLS)


def module_names(source: str) -> set[str]:
    """What a source takes from `trt`: Name, or Name.member."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            parts = ast.unparse(node).split(".")
            if parts[0] == "trt" and len(parts) > 1 and parts[1].isidentifier():
                found.add(".".join(parts[1:3]) if parts[1][0].isupper() else parts[1])
    return {name for name in found if name.replace(".", "").replace("_", "").isalnum()}


def _arguments(line: str) -> list[str]:
    """Names of a pybind11 signature's arguments, without self."""
    inside = line[line.index("(") + 1 : line.rindex(") ->")]
    depth, names, word = 0, [], ""
    for sign in inside + ",":
        depth += (sign in "[<(") - (sign in "]>)")
        if sign == "," and not depth:
            names.append(word.split(":")[0].strip())
            word = ""
        else:
            word += sign
    return names[1:]
