"""Bundles from strangers: what their networks and manifests hold is looked at before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferstream.engines import graph as screen
from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.cli import app
from ferstream.engines.errors import BundleCorrupt, EnginesError

from . import tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def bundle(made: Bundle) -> Any:
    """The bundle; what a test does to it is taken back."""
    before = {file: file.read_bytes() for file in made.path.iterdir()}
    yield made
    for file, content in before.items():
        file.write_bytes(content)


def put(bundle: Bundle, content: bytes) -> None:
    """Another fusion, vouched for by the manifest as a stranger would."""
    (bundle.path / "fusion.onnx").write_bytes(content)
    vouched = hashlib.sha256(content).hexdigest()
    rewrite(bundle, lambda manifest: manifest["files"].update({"fusion.onnx": vouched}))


def rewrite(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> None:
    file = bundle.path / "manifest.json"
    document = json.loads(file.read_text("utf-8"))
    change(document)
    file.write_text(json.dumps(document), "utf-8")


def external(model: Any, location: str = "plans/weights") -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def external_though_it_says_not(model: Any) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="../../../etc/passwd")


def external_in_a_constant(model: Any) -> None:
    tensor = TensorProto(dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=".hidden/weights")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["more"], value=tensor))


def branches(model: Any) -> None:
    value = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["out"])], "inner", [], [value])
    node = helper.make_node("If", ["mask"], ["more"], then_branch=inner, else_branch=inner)
    model.graph.node.insert(0, node)


def graph_in_a_harmless_one(model: Any) -> None:
    value = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1])
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["out"])], "inner", [], [value])
    model.graph.node.insert(0, helper.make_node("Identity", ["mask"], ["more"], body=inner))


def loop(model: Any) -> None:
    model.graph.node.insert(0, helper.make_node("Loop", ["mask"], ["more"]))


def of_another_library(model: Any) -> None:
    node = helper.make_node("Anything", ["mask"], ["more"], domain="com.example\x1b[31m")
    model.graph.node.insert(0, node)


def functions(model: Any) -> None:
    body = [helper.make_node("Identity", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("own", "f", ["a"], ["b"], body, opsets))


def training(model: Any) -> None:
    model.training_info.add()


def sparse(model: Any) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "values")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**40]))


def enormous(model: Any) -> None:
    model.graph.initializer.add(name="huge", data_type=TensorProto.FLOAT, dims=[2**20, 2**20])


def negative(model: Any) -> None:
    model.graph.initializer.add(name="odd", data_type=TensorProto.FLOAT, dims=[-1, -(2**40)])


def of_too_many_dimensions(model: Any) -> None:
    model.graph.initializer.add(name="odd", data_type=TensorProto.FLOAT, dims=[1] * 9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (external, "in another file"),
        (external_though_it_says_not, "in another file"),
        (external_in_a_constant, "in another file"),
        (branches, "operator 'If'"),
        (graph_in_a_harmless_one, "a graph within its Identity"),
        (loop, "operator 'Loop'"),
        (of_another_library, r"operator 'com\.example\\x1b\[31m\.Anything'"),
        (functions, "functions of its own"),
        (training, "functions of its own"),
        (sparse, "sparse constants"),
        (enormous, "'huge' of 1099511627776"),
        (negative, "odd shape"),
        (of_too_many_dimensions, "odd shape"),
    ],
)
def test_what_no_network_needs_is_refused(
    bundle: Bundle, change: Callable[[Any], None], said: str
) -> None:
    model = onnx.load_from_string((bundle.path / "fusion.onnx").read_bytes())
    change(model)
    put(bundle, model.SerializeToString())
    with pytest.raises(BundleCorrupt, match=said) as caught:
        load_bundle(bundle.path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"no network", b"\x3a\xff\xff\xff\xff\x0f"])
def test_what_is_no_network_is_refused(bundle: Bundle, content: bytes) -> None:
    put(bundle, content)
    with pytest.raises(BundleCorrupt, match=r"no ONNX file|holds no network"):
        load_bundle(bundle.path)


def test_sizes_are_bounded_before_anything_is_read(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "MOST_BYTES", 1000)
    with pytest.raises(BundleCorrupt, match="has 0 MB, 0 MB are the most"):
        load_bundle(bundle.path)
    monkeypatch.undo()
    monkeypatch.setattr(screen, "MOST_NODES", 2)
    with pytest.raises(BundleCorrupt, match="operators, 2 are the most"):
        load_bundle(bundle.path)


def heads(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["heads"][0].update({name: value})


def part(part: str, name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document[part].update({name: value})


def whole(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({name: value})


def sets(**changes: Any) -> Callable[[dict[str, Any]], None]:
    fields = {"head": "basic8", "coverage": 0.9, "threshold": 1, "penalty": 0, "free": 1}
    return whole("sets", {**fields, **changes})


def calibrator(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return heads("calibrator", {"kind": "temperature", "scale": [1.0], **fields})


ODD: dict[str, Callable[[dict[str, Any]], None]] = {
    "temperature 0": heads("temperature", 0),
    "temperature below 0": heads("temperature", -1.5),
    "temperature of next to nothing": heads("temperature", 1e-300),
    "temperature NaN": heads("temperature", float("nan")),
    "temperature infinite": heads("temperature", float("inf")),
    "temperature huge": heads("temperature", 10**400),
    "weight NaN": part("fusion", "spatial_weight", float("nan")),
    "weight below 0": part("fusion", "spatial_weight", -1),
    "weight above 1": part("fusion", "spatial_word_weight", 2),
    "schema below 1": whole("schema", -1),
    "weight huge": part("fusion", "spatial_weight", 1e300),
    "measured NaN": part("measured", "top1", float("nan")),
    "crop of none": part("crop", "px", 0),
    "crop below none": part("crop", "px", -8),
    "crop that fills the memory": part("crop", "px", 10**6),
    "motion that fills the memory": part("motion", "fields", 10**6),
    "no time between fields": part("motion", "gap_s", 0),
    "still beyond moving": part("motion", "still", 1.0),
    "clip of no time": whole("clip_duration_s", 0),
    "clip of no frames": whole("clip_frames", 0),
    "clip without end": whole("clip_frames", 10**9),
    "recency below 0": whole("clip_recency_s", -1),
    "name that leads elsewhere": whole("name", "../../elsewhere"),
    "name that steers a terminal": whole("name", "a\x1b[2J"),
    "note that steers a terminal": heads("note", "\x1b]0;owned\x07"),
    "licence that turns the line": whole("licence", "\u202egpj.exe"),
    "label that steers a terminal": heads("labels", ["\x9b31m"] * 8),
    "label twice": heads("labels", ["neutral"] * 8),
    "label of a page": heads("labels", ["x" * 101, *"abcdefg"]),
    "text without end": whole("licence", "x" * 30_000),
    "coverage beyond all": sets(coverage=1.5),
    "threshold NaN": sets(threshold=float("nan")),
    "sets of no head": sets(head="nobody"),
    "scale 0": calibrator(scale=[0.0]),
    "scale below 0": calibrator(scale=[-1.0]),
    "scale infinite": calibrator(scale=[float("inf")]),
    "curve that falls": calibrator(kind="isotonic", knots=[[[0, 1], [1, 0]]] * 8),
    "curve of nothing": calibrator(kind="isotonic", knots=[[]] * 8),
    "file of no network": part("files", "another.onnx", "0"),
    "file elsewhere": part("files", "plans/fusion.onnx", "0"),
    "two heads of a name": lambda document: document["heads"].append(document["heads"][0]),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_values_of_a_manifest_are_refused(bundle: Bundle, kind: str) -> None:
    rewrite(bundle, ODD[kind])
    with pytest.raises(EnginesError) as caught:
        load_bundle(bundle.path)
    assert str(caught.value).isprintable(), "it would steer the terminal itself"
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema":2,"a":' + "[" * 50 + "]" * 50 + "}"])
def test_a_manifest_nested_without_end_is_refused(bundle: Bundle, text: str) -> None:
    (bundle.path / "manifest.json").write_text(text)
    with pytest.raises(BundleCorrupt, match="no manifest"):
        load_bundle(bundle.path)


def test_a_manifest_too_large_is_not_read(bundle: Bundle) -> None:
    (bundle.path / "manifest.json").write_text(" " * (5 * 2**20))
    with pytest.raises(BundleCorrupt, match="more than 4194304 bytes"):
        load_bundle(bundle.path)


def test_brackets_of_a_manifest_are_text(bundle: Bundle) -> None:
    """A terminal's tables know marks such as [red] and [/]."""
    from typer.testing import CliRunner

    rewrite(bundle, heads("note", "as [red]shown[/red] in [/nothing]"))
    done = CliRunner().invoke(app, ["info", str(bundle.path)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    assert "as [red]shown[/red] in [/nothing]" in done.output
