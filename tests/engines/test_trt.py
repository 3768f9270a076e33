"""The TensorRT run time on a machine that keeps CUDA's and TensorRT's rules."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferstream.engines.build import build_bundle
from ferstream.engines.bundle import Bundle, write_bundle
from ferstream.engines.engine import open_engine, run_together
from ferstream.engines.errors import (
    ContractMismatch,
    EngineFailed,
    OutOfDeviceMemory,
    PlanStale,
)
from ferstream.engines.lane import Lane
from ferstream.engines.plan import read_plan
from ferstream.engines.trt import TrtEngine

from . import tiny
from .conftest import GPU, MOST, VERSION
from .parity import assert_same, expected
from .trt_world import World


def opened(bundle: Bundle, network: str, **options: Any) -> TrtEngine:
    plan = read_plan(bundle, network, "fp32", GPU, VERSION)
    return TrtEngine(plan, tiny.SPECS[network], **options)


@pytest.fixture
def spatial(built: Bundle) -> Iterator[TrtEngine]:
    engine = opened(built, "spatial")
    yield engine
    engine.close()


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("network", tiny.SPECS)
def test_same_numbers_as_onnxruntime_at_any_batch_and_length(
    built: Bundle, network: str, graphs: bool
) -> None:
    engine = opened(built, network, graphs=graphs)
    random = np.random.default_rng(5)
    for seed in range(30):
        sizes = {"B": int(random.integers(1, 2 * MOST + 4)), "T": int(random.integers(1, 9))}
        inputs = tiny.SPECS[network].example(seed, **sizes)
        assert_same(engine.run(inputs), expected(built, network, inputs))
    assert any(engine.shapes.values()) is graphs
    engine.close()


def test_batches_are_padded_to_few_shapes(spatial: TrtEngine) -> None:
    for batch in range(1, MOST + 1):
        spatial.run(tiny.SPECS["spatial"].example(B=batch))
    assert list(spatial.shapes) == [(("B", n),) for n in (1, 2, 4, 8)]


def test_a_frame_costs_one_launch_one_wait_and_no_memory(
    machine: World, spatial: TrtEngine
) -> None:
    inputs = tiny.SPECS["spatial"].example(B=3)
    for _ in range(2):
        spatial.run(inputs)
    machine.device.counts.clear()
    machine.counts.clear()
    for _ in range(10):
        spatial.run(inputs)
    assert machine.device.counts == {"launch": 10, "synchronize": 10}
    assert not machine.counts


def test_a_shape_is_recorded_when_it_recurs(spatial: TrtEngine) -> None:
    inputs = tiny.SPECS["spatial"].example(B=1)
    spatial.run(inputs)
    assert spatial.shapes == {(("B", 1),): False}
    spatial.run(inputs)
    assert spatial.shapes == {(("B", 1),): True}


def test_a_network_that_cannot_be_recorded_runs_without(
    machine: World, built: Bundle, spatial: TrtEngine
) -> None:
    machine.device.faults["record"] = EngineFailed("cannot be recorded")
    inputs = tiny.SPECS["spatial"].example(B=2)
    for _ in range(4):
        assert_same(spatial.run(inputs), expected(built, "spatial", inputs))
    assert spatial.shapes == {(("B", 2),): False}


def test_shapes_used_longest_ago_make_room(machine: World, built: Bundle) -> None:
    engine = opened(built, "fusion")
    for batch in (1, 2, 4):
        for length in range(1, 9):
            for _ in range(3):
                engine.run(tiny.SPECS["fusion"].example(B=batch, T=length))
    assert len(engine.shapes) == 12
    assert machine.device.graphs == 12
    engine.close()


def test_outputs_are_the_callers_to_keep(spatial: TrtEngine) -> None:
    inputs = tiny.SPECS["spatial"].example(1, B=2)
    kept = [spatial.run(inputs) for _ in range(3)]
    copies = [{name: array.copy() for name, array in outputs.items()} for outputs in kept]
    spatial.run(tiny.SPECS["spatial"].example(2, B=2))
    for outputs, copy in zip(kept, copies, strict=True):
        assert_same(outputs, copy)


def test_no_faces_give_empty_outputs(machine: World, spatial: TrtEngine) -> None:
    outputs = spatial.run({"crop": np.zeros((0, 1, 8, 8), np.uint8)})
    assert outputs["emo135"].shape == (0, 135)
    assert not machine.counts["execute"]


def test_wrong_inputs_and_too_long_clips(built: Bundle, spatial: TrtEngine) -> None:
    with pytest.raises(ContractMismatch, match="crop: got float32"):
        spatial.run({"crop": np.zeros((1, 1, 8, 8), np.float32)})
    fusion = opened(built, "fusion")
    with pytest.raises(EngineFailed, match=r"T=9 is outside its plan's 1 to 8"):
        fusion.run(tiny.SPECS["fusion"].example(T=9))
    fusion.close()


def test_memory_is_accounted_for_and_given_back(machine: World, built: Bundle) -> None:
    engine = opened(built, "spatial")
    held = engine.memory_bytes
    assert held["work"] == 4096
    assert held["buffers"] == MOST * (64 + 4 * (6 + 8 + 135 + 52 + 2))
    in_use = sum(array.nbytes for array in machine.device.memory.values())
    assert held["work"] + held["buffers"] == in_use
    for _ in range(3):
        engine.run(tiny.SPECS["spatial"].example(B=1))
    lane: weakref.ref[Lane] = weakref.ref(next(iter(engine._lanes.values())))
    runtime_engine = weakref.ref(engine._engine)
    engine.close()
    gc.collect()
    assert lane() is None and runtime_engine() is None
    assert machine.device.is_clean


def test_engines_overlap_on_streams_of_their_own(
    machine: World, built: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = [opened(built, network) for network in tiny.SPECS]
    assert len(machine.device.streams) == 3
    work = [
        (engine, tiny.SPECS[engine.spec.name].example(n, B=2)) for n, engine in enumerate(engines)
    ]
    started: list[int] = []
    originals = [engine._finish for engine in engines]
    for engine, original in zip(engines, originals, strict=True):

        def finish(*arguments: Any, _original: Any = original) -> Any:
            started.append(machine.counts["execute"])
            return _original(*arguments)

        monkeypatch.setattr(engine, "_finish", finish)
    for (engine, inputs), outputs in zip(work, run_together(work), strict=True):
        assert_same(outputs, expected(built, engine.spec.name, inputs))
    assert started == [3, 3, 3], "an engine was waited for before all were started"
    for engine in engines:
        engine.close()


def test_a_second_start_before_the_first_result(spatial: TrtEngine) -> None:
    inputs = tiny.SPECS["spatial"].example()
    finish = spatial.start(inputs)
    with pytest.raises(RuntimeError, match="started twice"):
        spatial.start(inputs)
    finish()
    spatial.run(inputs)


def test_run_together_takes_any_engine_and_any_batch(machine: World, built: Bundle) -> None:
    gpu = open_engine(built, "spatial")
    cpu = open_engine(built, "temporal", backend="onnxruntime")
    sizes = (3 * MOST, 2)
    work = [
        (engine, tiny.SPECS[engine.spec.name].example(B=b))
        for engine, b in zip((gpu, cpu), sizes, strict=True)
    ]
    outputs = run_together(work)
    assert [len(out["basic8"]) for out in outputs] == list(sizes)
    gpu.close()


def test_nan_is_an_error_and_not_a_score(machine: World, spatial: TrtEngine) -> None:
    machine.faults.nan = True
    with pytest.raises(EngineFailed, match="fp32 on TensorRT gave NaN or infinity in 'feature'"):
        spatial.run(tiny.SPECS["spatial"].example())
    machine.faults.nan = False
    spatial.run(tiny.SPECS["spatial"].example())


@pytest.mark.parametrize(
    ("where", "text", "kind", "said"),
    [
        ("context", "CUDA error 2: out of memory", OutOfDeviceMemory, "for a context of spatial"),
        ("context", "Internal error", EngineFailed, "makes no context: Internal error"),
        ("execute", "Cuda Runtime (out of memory)", OutOfDeviceMemory, "while running spatial"),
        ("execute", "an illegal memory access", EngineFailed, "did not run: an illegal memory"),
    ],
)
def test_failures_while_running(
    machine: World, spatial: TrtEngine, where: str, text: str, kind: type[Exception], said: str
) -> None:
    setattr(machine.faults, where, text)
    with pytest.raises(kind, match=said):
        spatial.run(tiny.SPECS["spatial"].example())
    setattr(machine.faults, where, None)
    spatial.run(tiny.SPECS["spatial"].example())


@pytest.mark.parametrize("fails", range(12))
def test_a_gpu_that_fills_up_while_opening_keeps_nothing(
    machine: World, built: Bundle, fails: int
) -> None:
    """Each allocation in turn fails, the plan's own memory too."""
    if fails == 0:
        machine.device.total_bytes = 10
        with pytest.raises(OutOfDeviceMemory, match=r"out of device memory for .*spatial"):
            opened(built, "spatial")
        return
    calls = 0
    originals = {name: getattr(machine.device, name) for name in ("allocate", "pinned")}

    def counted(name: str) -> Any:
        def call(size: int) -> Any:
            nonlocal calls
            calls += 1
            if calls == fails:
                raise OutOfDeviceMemory("out of device memory: full")
            return originals[name](size)

        return call

    for name in originals:
        setattr(machine.device, name, counted(name))
    with pytest.raises(OutOfDeviceMemory, match="full"):
        opened(built, "spatial")
    assert machine.device.is_clean


def test_a_plan_that_tensorrt_refuses(machine: World, built: Bundle) -> None:
    machine.gpu = "NVIDIA Double 2"
    with pytest.raises(PlanStale, match=r"refuses .*spatial\.fp32\.plan .*generated on .* --force"):
        opened(built, "spatial")


def test_a_plan_of_another_network(machine: World, built: Bundle) -> None:
    plan = read_plan(built, "temporal", "fp32", GPU, VERSION)
    with pytest.raises((ContractMismatch, KeyError)):
        TrtEngine(plan, tiny.SPECS["spatial"])


def test_outputs_beyond_the_contract_are_left_out(machine: World, tmp_path: Path) -> None:
    import onnx

    model = onnx.load_from_string(tiny.network("spatial"))
    extra = onnx.helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, ("B", 64))
    model.graph.output.insert(0, extra)
    files: dict[str, bytes | Path] = {f"{n}.onnx": tiny.network(n) for n in tiny.SPECS}
    bundle = write_bundle(
        tmp_path / "b", tiny.manifest(), {**files, "spatial.onnx": model.SerializeToString()}
    )
    assert {r.state for r in build_bundle(bundle, "fp32")} == {"built"}
    engine = open_engine(bundle, "spatial", backend="tensorrt")
    assert "flat" not in engine.run(tiny.SPECS["spatial"].example())
    engine.close()
