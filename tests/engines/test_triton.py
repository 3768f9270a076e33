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

from ferstream.engines.bundle import Bundle
from ferstream.engines.contract import Tensors
from ferstream.engines.errors import EnginesError, EngineUnavailable, PlanMissing
from ferstream.engines.triton import write_repository

from . import tiny
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


def test_the_ensemble_fits_together_and_computes(bundle: Bundle, tmp_path: Path) -> None:
    """Run as Triton runs it: steps in the order their inputs come to be."""
    write_repository(bundle, tmp_path / "models")
    parsed = configs(tmp_path / "models")
    clip = parsed["tiny_clip"]
    assert (tmp_path / "models" / "tiny_clip" / "1").is_dir()
    sizes = {"B": 2, "T": 5}
    given = {
        **tiny.SPECS["temporal"].example(1, **sizes),
        **tiny.SPECS["fusion"].example(2, **sizes),
    }
    del given["temporal"]
    assert {i.name for i in clip.input} == set(given)
    tensors: dict[str, Any] = dict(given)
    for step in clip.ensemble_scheduling.step:
        model = parsed[step.model_name]
        assert set(step.input_map) == {i.name for i in model.input}
        assert set(step.output_map) <= {o.name for o in model.output}
        file = tmp_path / "models" / step.model_name / "1" / "model.onnx"
        session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
        feeds = {own: tensors[name] for own, name in step.input_map.items()}
        names = list(step.output_map)
        for own, array in zip(names, session.run(names, feeds), strict=True):
            assert step.output_map[own] not in tensors, "a tensor is written twice"
            tensors[step.output_map[own]] = array
    assert {o.name for o in clip.output} <= set(tensors)
    types = {o.name: (o.data_type, list(o.dims)) for o in parsed["tiny_fusion"].output}
    assert {o.name: (o.data_type, list(o.dims)) for o in clip.output} == types
    wanted = by_hand(bundle, given)
    for output in clip.output:
        np.testing.assert_allclose(tensors[output.name], wanted[output.name], atol=1e-6)


def by_hand(bundle: Bundle, given: Tensors) -> Tensors:
    from ferstream.engines.engine import open_engine

    temporal = open_engine(bundle, "temporal", backend="onnxruntime")
    scores = temporal.run({"motion": given["motion"]})["basic8"]
    rest = {name: array for name, array in given.items() if name != "motion"}
    fusion = open_engine(bundle, "fusion", backend="onnxruntime")
    return fusion.run({**rest, "temporal": scores})


def test_pipeline_tells_a_client_what_to_do(bundle: Bundle, tmp_path: Path) -> None:
    write_repository(bundle, tmp_path / "models")
    told = json.loads((tmp_path / "models" / "pipeline.json").read_text("utf-8"))
    assert [step["model"] for step in told["steps"]] == ["tiny_spatial", "tiny_clip"]
    assert told["heads"]["basic8"]["temperature"] == 1.5
    assert "the last 8 at most, no older than 2 s" in told["steps"][0]["keep"]


def test_plans_of_this_machine(machine: World, built: Bundle, tmp_path: Path) -> None:
    write_repository(built, tmp_path / "models", form="plan")
    parsed = configs(tmp_path / "models")
    spatial = parsed["tiny_spatial"]
    assert (spatial.platform, spatial.max_batch_size) == ("tensorrt_plan", 8)
    assert spatial.optimization.cuda.graphs
    assert spatial.instance_group[0].kind == spatial.instance_group[0].KIND_GPU
    assert (tmp_path / "models" / "tiny_spatial" / "1" / "model.plan").stat().st_size
    assert parsed["tiny_clip"].max_batch_size == 8
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
