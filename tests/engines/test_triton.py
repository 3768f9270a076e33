"""The Triton repository: held against Triton's own schema, and run as an ensemble by hand."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.contract import Tensors, motion_input
from ferstream.engines.errors import EnginesError, EngineUnavailable, PlanMissing
from ferstream.engines.triton import write_repository

from .trt_world import World
from .wheels import unpacked

VERSION = "2.73.0"


@cache
def message_class() -> Any:
    """Triton's ModelConfig message, from the schema that its own client carries.

    The schema is read out of the generated module, which itself would want another protobuf.
    """
    file = unpacked(f"tritonclient=={VERSION}") / "tritonclient" / "grpc" / "model_config_pb2.py"
    blobs = [
        node.args[0].value
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("AddSerializedFile")
        and isinstance(node.args[0], ast.Constant)
    ]
    schema = descriptor_pb2.FileDescriptorProto.FromString(blobs[0])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def configs(folder: Path) -> dict[str, Any]:
    """Every model's config, parsed strictly: an unknown field or enum is an error."""
    kind = message_class()
    return {
        file.parent.name: text_format.Parse(file.read_text("utf-8"), kind())
        for file in folder.glob("*/config.pbtxt")
    }


def test_configs_are_of_tritons_schema(bundle: Bundle, tmp_path: Path) -> None:
    names = write_repository(bundle, tmp_path / "models", max_batch=16)
    parsed = configs(tmp_path / "models")
    assert sorted(parsed) == sorted(names)
    for name, config in parsed.items():
        assert config.name == name
        assert config.max_batch_size == 16
    spatial = parsed["tiny_spatial"]
    assert spatial.platform == "onnxruntime_onnx"
    assert [(i.name, list(i.dims)) for i in spatial.input] == [("crop", [1, 8, 8])]
    assert list(spatial.dynamic_batching.preferred_batch_size) == [4, 8, 16]
    fusion = parsed["tiny_fusion"]
    assert [list(i.dims) for i in fusion.input] == [[-1, 6], [-1], [8], [1]]
    folder = tmp_path / "models"
    for config in (spatial, fusion):
        for output in config.output:
            if output.label_filename:
                labels = (folder / config.name / output.label_filename).read_text("utf-8")
                assert len(labels.splitlines()) == output.dims[0]
    file = folder / "tiny_spatial" / "1" / "model.onnx"
    assert file.read_bytes() == (bundle.path / "spatial.int8.onnx").read_bytes()
    assert [f.name for f in folder.parent.iterdir() if f.name.startswith(".")] == []


def asked(folder: Path, name: str, given: Tensors) -> dict[str, Any]:
    """What an ensemble gives, run as Triton runs it: steps in the order their inputs come to be,
    tensors of the types and sizes that the configs say."""
    parsed = configs(folder)
    ensemble = parsed[name]
    assert (folder / name / "1").is_dir()
    assert {i.name for i in ensemble.input} == set(given)
    hold(ensemble.input, given)
    tensors: dict[str, Any] = dict(given)
    for step in ensemble.ensemble_scheduling.step:
        model = parsed[step.model_name]
        assert set(step.input_map) == {i.name for i in model.input}
        assert set(step.output_map) <= {o.name for o in model.output}
        file = folder / step.model_name / "1" / "model.onnx"
        session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
        feeds = {own: tensors[name] for own, name in step.input_map.items()}
        hold(model.input, feeds)
        names = list(step.output_map)
        made = dict(zip(names, session.run(names, feeds), strict=True))
        hold([one for one in model.output if one.name in made], made)
        for own, array in made.items():
            assert step.output_map[own] not in tensors, "a tensor is written twice"
            tensors[step.output_map[own]] = array
    read = {name for step in ensemble.ensemble_scheduling.step for name in step.input_map.values()}
    told = {o.name for o in ensemble.output}
    assert set(tensors) == read | told, "a tensor that nobody reads"
    hold(ensemble.output, tensors)
    return {name: tensors[name] for name in told}


def hold(declared: Any, tensors: Tensors) -> None:
    """Types and sizes as declared, the batch's own left out."""
    for one in declared:
        array = tensors[one.name]
        assert {"float32": 11, "uint8": 2}[array.dtype.name] == one.data_type
        assert len(array.shape) == len(one.dims) + 1
        assert all(w in (-1, got) for w, got in zip(one.dims, array.shape[1:], strict=True))


def run(bundle: Bundle, network: str, precision: str, inputs: Tensors) -> Tensors:
    from ferstream.engines.engine import open_engine

    opened = open_engine(bundle, network, backend="onnxruntime", precision=precision)
    try:
        return opened.run(inputs)
    finally:
        opened.close()


@pytest.fixture(scope="module")
def default() -> Bundle:
    return load_bundle("default")


@pytest.fixture(scope="module")
def repository(default: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the default bundle, in float, so that what is asked differs by rounding alone."""
    folder = tmp_path_factory.mktemp("triton") / "models"
    write_repository(default, folder, precision="fp32")
    return folder


def test_a_clip_is_read_as_the_pipeline_reads_it(default: Bundle, repository: Path) -> None:
    specs = default.manifest.networks
    inputs = specs["fusion"].example(2, B=2, T=5)
    motion = specs["temporal"].example(1, B=2)
    taken = {motion_input(head): array for head, array in heard(default, motion).items()}
    assert set(taken) < set(inputs)
    given = {**{n: a for n, a in inputs.items() if n not in taken}, **motion}
    got = asked(repository, "default_clip", given)
    wanted = run(default, "fusion", "fp32", {**inputs, **taken})
    assert set(got) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, atol=1e-4)


def heard(bundle: Bundle, motion: Tensors) -> Tensors:
    return run(bundle, "temporal", "fp32", motion)


def test_a_live_frame_is_read_as_the_pipeline_reads_it(default: Bundle, repository: Path) -> None:
    """Five frames of two faces, one request for each; the client keeps the features."""
    specs = default.manifest.networks
    width = specs["fusion"].inputs[0].shape[-1]
    history = np.zeros((2, 1, int(width)), np.float32)
    mask = np.zeros((2, 1), np.float32)
    for number in range(5):
        crop = specs["spatial"].example(number, B=2)
        motion = specs["temporal"].example(number, B=2)
        mask = np.concatenate([mask, np.ones((2, 1), np.float32)], 1)
        flags = {"mask": mask, "has_motion": np.full((2, 1), 0.5, np.float32)}
        got = asked(repository, "default_frame", {**crop, **motion, **flags, "history": history})
        frame = run(default, "spatial", "fp32", crop)
        history = np.concatenate([history, got["feature"][:, None]], 1)
        scores = {motion_input(head): a for head, a in heard(default, motion).items()}
        clip = run(default, "fusion", "fp32", {"feature": history, **flags, **scores})
        for name, array in clip.items():
            np.testing.assert_allclose(got[name], array, atol=1e-4)
        for name, array in frame.items():
            told = got[f"frame_{name}"] if name in clip else got[name]
            np.testing.assert_allclose(told, array, atol=1e-4)
        assert got["attention"].shape == (2, number + 2) and not got["attention"][:, 0].any()
    assert set(got) == {*clip, *(f"frame_{name}" if name in clip else name for name in frame)}


def test_all_that_the_pipeline_runs_is_there(default: Bundle, repository: Path) -> None:
    """Those that find faces too, in the form that the bundle has them in."""
    parsed = configs(repository)
    own = {f"default_{part}" for part in ("join", "clip", "frame")}
    assert set(parsed) == own | {f"default_{network}" for network in default.manifest.held}
    for network in default.manifest.held:
        config, spec = parsed[f"default_{network}"], default.manifest.networks[network]
        example = spec.example(3, B=2)
        hold(config.input, example)
        file = repository / config.name / "1" / "model.onnx"
        session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [output.name for output in config.output]
        hold(config.output, dict(zip(names, session.run(names, example), strict=True)))


def test_pipeline_tells_a_client_what_to_do(bundle: Bundle, tmp_path: Path) -> None:
    write_repository(bundle, tmp_path / "models")
    told = json.loads((tmp_path / "models" / "pipeline.json").read_text("utf-8"))
    assert [step["model"] for step in told["steps"]] == ["tiny_frame", "tiny_spatial", "tiny_clip"]
    assert told["heads"]["basic8"]["temperature"] == 1.5
    assert "the last 8 at most, no older than 2 s" in told["steps"][0]["keep"]
    assert "less than 0.25 s after the one before it" in told["steps"][0]["keep"]


def test_plans_of_this_machine(machine: World, built: Bundle, tmp_path: Path) -> None:
    write_repository(built, tmp_path / "models", form="plan")
    parsed = configs(tmp_path / "models")
    spatial = parsed["tiny_spatial"]
    assert (spatial.platform, spatial.max_batch_size) == ("tensorrt_plan", 8)
    assert spatial.optimization.cuda.graphs
    assert spatial.instance_group[0].kind == spatial.instance_group[0].KIND_GPU
    assert (tmp_path / "models" / "tiny_spatial" / "1" / "model.plan").stat().st_size
    assert parsed["tiny_clip"].max_batch_size == parsed["tiny_frame"].max_batch_size == 8
    assert parsed["tiny_join"].platform == "onnxruntime_onnx"
    with pytest.raises(PlanMissing, match="spatial in int8"):
        write_repository(built, tmp_path / "others", form="plan", precision="int8")
    assert not (tmp_path / "others").exists()


def test_a_repository_is_replaced_and_nothing_else_is(bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "models"
    write_repository(bundle, place)
    write_repository(bundle, place, precision="fp32")
    file = place / "tiny_spatial" / "1" / "model.onnx"
    assert file.read_bytes() == (bundle.path / "spatial.onnx").read_bytes()
    other = tmp_path / "photographs"
    other.mkdir()
    (other / "one.png").write_bytes(b"")
    with pytest.raises(EnginesError, match="is no repository of ferstream: name another"):
        write_repository(bundle, other)
    with pytest.raises(EngineUnavailable, match="has spatial in fp32, int8, not in 'fp16'"):
        write_repository(bundle, tmp_path / "c", precision="fp16")
    with pytest.raises(EngineUnavailable, match="no form 'torch'"):
        write_repository(bundle, tmp_path / "c", form="torch")
    assert not (tmp_path / "c").exists()
