"""`bundle build` on a machine that keeps TensorRT's rules: plans, sidecars, timing, staleness."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from ferstream.engines import cuda
from ferstream.engines import graph as screen
from ferstream.engines.build import BuildOptions, Built, build_bundle
from ferstream.engines.bundle import Bundle, load_bundle, write_bundle
from ferstream.engines.engine import open_engine
from ferstream.engines.errors import (
    CudaUnavailable,
    EngineUnavailable,
    PlanMissing,
)
from ferstream.engines.plan import machine_folder, plans_folder, read_plan

from . import tiny
from .conftest import GPU, VERSION
from .trt_double import make_module
from .trt_world import World

SMALL = BuildOptions(max_batch=8, opt_batch=4, workspace_mb=64)


def build(bundle: Bundle, precision: str = "auto", force: bool = False) -> list[Built]:
    return list(build_bundle(bundle, precision, SMALL, force=force))


def test_every_form_gets_a_plan_and_a_sidecar(machine: World, bundle: Bundle) -> None:
    results = build(bundle)
    assert [(r.network, r.precision, r.state) for r in results] == [
        ("spatial", "fp32", "built"),
        ("spatial", "int8", "built"),
        ("temporal", "fp32", "built"),
        ("fusion", "fp32", "built"),
    ]
    folder = machine_folder(bundle, GPU, VERSION)
    assert folder.name == "nvidia-double-1-sm89-trt10.16.1.11"
    assert not [file.name for file in folder.iterdir() if file.suffix == ".part"]
    sidecar = json.loads((folder / "spatial.int8.json").read_text("utf-8"))
    assert sidecar["onnx_sha256"] == bundle.manifest.files["spatial.int8.onnx"]
    assert sidecar["options"] == {
        "max_batch": 8,
        "opt_batch": 4,
        "workspace_mb": 64,
        "max_frames": 8,
    }
    assert sidecar["profile"] == {"crop": [[b, 1, 8, 8] for b in (1, 4, 8)]}
    assert sidecar["layer_precisions"] == {"FP32": len(sidecar["layers"])}
    assert sidecar["median_ms"] > 0 and sidecar["difference"] < 1e-5
    assert sidecar["gpu"] == GPU.name and sidecar["capability"] == [8, 9]
    fusion = json.loads((folder / "fusion.fp32.json").read_text("utf-8"))
    assert fusion["profile"]["feature"] == [[1, 1, 6], [4, 8, 6], [8, 8, 6]]
    assert machine.counts["clear TF32"] == 4
    assert load_bundle(bundle.path) == bundle


def test_a_second_build_leaves_current_plans_alone(machine: World, bundle: Bundle) -> None:
    build(bundle)
    timed = machine.counts["timed"]
    assert {r.state for r in build(bundle)} == {"current"}
    forced = build(bundle, force=True)
    assert {r.state for r in forced} == {"built"}
    assert machine.counts["timed"] == timed, "the timing cache was not used"
    other = list(build_bundle(bundle, "auto", replace(SMALL, max_batch=16)))
    assert {r.state for r in other} == {"built"}


def test_timing_cache_of_another_version_is_left_out(machine: World, bundle: Bundle) -> None:
    build(bundle, "fp32")
    cache = machine_folder(bundle, GPU, VERSION) / "timing.cache"
    made_for, known = json.loads(cache.read_bytes())
    cache.write_text(json.dumps(["11.0 another GPU", known]), "utf-8")
    timed = machine.counts["timed"]
    build(bundle, "fp32", force=True)
    assert machine.counts["timed"] == 2 * timed
    assert json.loads(cache.read_bytes())[0] == made_for


def test_a_precision_by_name_takes_fp32_where_a_network_lacks_it(
    machine: World, bundle: Bundle
) -> None:
    built = [(r.network, r.precision) for r in build(bundle, "int8")]
    assert built == [("spatial", "int8"), ("temporal", "fp32"), ("fusion", "fp32")]
    with pytest.raises(EngineUnavailable, match="has fp32, int8, not 'fp8': precision is a prop"):
        build(bundle, "fp8")
    with pytest.raises(EngineUnavailable, match="no precision 'fp64'; there are auto, fp32"):
        build(bundle, "fp64")


def with_spatial(path: Path, node: onnx.NodeProto, name: str = "spatial.int8.onnx") -> Bundle:
    """The tiny bundle whose spatial network begins with another node."""
    model = onnx.load_from_string(tiny.network("spatial"))
    model.graph.node.insert(1, node)
    model.graph.node[2].input[0] = node.output[0]
    files: dict[str, bytes | Path] = {f"{n}.onnx": tiny.network(n) for n in tiny.SPECS}
    files[name] = model.SerializeToString()
    return write_bundle(path, tiny.manifest(), files)


def test_a_network_that_fails_names_its_operator_and_the_others_go_on(
    machine: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator stands for one that bundles may hold and this TensorRT does not know."""
    monkeypatch.setattr(screen, "OPERATORS", screen.OPERATORS | {"Unique"})
    node = onnx.helper.make_node("Unique", ["level"], ["odd"], name="dedupe")
    results = {(r.network, r.precision): r for r in build(with_spatial(tmp_path / "b", node))}
    failed = results.pop(("spatial", "int8"))
    assert failed.state == "failed"
    assert failed.note == (
        "TensorRT 10.16.1.11 cannot read spatial: node 'dedupe' (Unique): No importer registered "
        "for op: Unique"
    )
    assert {r.state for r in results.values()} == {"built"}


def test_asymmetric_quantization_is_refused_with_the_node(machine: World, tmp_path: Path) -> None:
    model = onnx.load_from_string(tiny.network("spatial"))
    graph = model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.01, np.float32), "scale"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(128, np.uint8), "zero"))
    for at, (kind, source, target) in enumerate(
        [("QuantizeLinear", "level", "q"), ("DequantizeLinear", "q", "dq")]
    ):
        graph.node.insert(
            1 + at,
            onnx.helper.make_node(kind, [source, "scale", "zero"], [target], name=f"{kind}_0"),
        )
    graph.node[3].input[0] = "dq"
    files: dict[str, bytes | Path] = {f"{n}.onnx": tiny.network(n) for n in tiny.SPECS}
    files["spatial.int8.onnx"] = model.SerializeToString()
    results = build(write_bundle(tmp_path / "b", tiny.manifest(), files))
    assert "node 'QuantizeLinear_0' (QuantizeLinear): only symmetric int8" in results[1].note


def test_out_of_memory_while_building(machine: World, bundle: Bundle) -> None:
    machine.faults.build = "[virtualMemoryBuffer.cpp] CUDA error: out of memory"
    for result in build(bundle):
        assert result.state == "failed"
        assert "smaller --max-batch (is 8) or --workspace-mb (is 64)" in result.note
    assert not list(machine_folder(bundle, GPU, VERSION).glob("*.plan"))


def test_builder_that_gives_up_says_why(machine: World, bundle: Bundle) -> None:
    machine.faults.build = "Error Code 10: Could not find any implementation for node conv1"
    assert "builds no spatial: Error Code 10: Could not find" in build(bundle)[0].note


def test_a_plan_that_gives_other_numbers_is_not_kept(machine: World, bundle: Bundle) -> None:
    machine.offset = 0.01
    first = build(bundle)[0]
    assert first.state == "failed"
    assert "differs from ONNX Runtime by 0.01 in 'feature', 0.001 is allowed" in first.note
    with pytest.raises(PlanMissing):
        read_plan(bundle, "spatial", "fp32", GPU, VERSION)


def test_fewer_bits_may_move_probabilities_a_little_only(machine: World, bundle: Bundle) -> None:
    machine.offset = 0.01
    assert build(bundle)[1].state == "built"
    machine.faults.mirrored = True
    failed = build(bundle, force=True)[1]
    assert (failed.precision, failed.state) == ("int8", "failed")
    assert "has probabilities that differ from ONNX Runtime by" in failed.note


def test_nan_in_activations_is_not_kept(machine: World, bundle: Bundle) -> None:
    machine.faults.nan = True
    note = build(bundle)[0].note
    assert "spatial in fp32 was built but does not run" in note
    assert "on TensorRT gave NaN or infinity in 'feature': build it in fp32" in note


def test_progress_is_told_and_ctrl_c_stops_the_build(machine: World, bundle: Bundle) -> None:
    told: list[tuple[str, float]] = []
    list(
        build_bundle(bundle, "fp32", SMALL, progress=lambda what, share: told.append((what, share)))
    )
    shares = [share for what, share in told if what == "spatial fp32: Building"]
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 3

    def interrupted(what: str, share: float) -> None:
        if "Building" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(build_bundle(bundle, "fp32", SMALL, force=True, progress=interrupted))


def test_versions_out_of_range(machine: World, bundle: Bundle) -> None:
    for version in ("10.11.0.33", "12.0.0"):
        sys.modules["tensorrt"].__version__ = version  # type: ignore[attr-defined]
        with pytest.raises(EngineUnavailable, match=rf"{version} is installed, 10\.12 to 11\.x"):
            build(bundle)


def test_the_same_on_tensorrt_11(
    machine: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = World(machine.device, "11.4.0.106", GPU.name)
    monkeypatch.setitem(sys.modules, "tensorrt", make_module(newer))
    results = build(bundle)
    assert {r.state for r in results} == {"built"}
    assert all(set(r.sidecar.layer_precisions) == {"FP32"} for r in results if r.sidecar)
    assert (plans_folder(bundle) / "nvidia-double-1-sm89-trt11.4.0.106").is_dir()
    open_engine(bundle, "fusion", backend="tensorrt").close()


def test_a_driver_older_than_tensorrt_needs(
    machine: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "_probe", lambda library: replace(GPU, cuda=(12, 4)))
    with pytest.raises(CudaUnavailable, match=r"knows CUDA 12\.4, CUDA 13 is needed: .* 580"):
        build(bundle)


def test_sizes_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="--opt-batch may not exceed --max-batch"):
        BuildOptions(max_batch=4, opt_batch=8)
