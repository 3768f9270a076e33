"""The bench: what a network costs, what the machine can do, and that all take turns."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, checker, helper, load_model_from_string, numpy_helper
from typer.testing import CliRunner

from ferstream.engines.bench import by_turns, measure
from ferstream.engines.bundle import Bundle
from ferstream.engines.cli import app
from ferstream.engines.engine import present_backends
from ferstream.engines.errors import ContractMismatch, EngineUnavailable
from ferstream.engines.graph import one_node, read_model
from ferstream.engines.roofline import Ceilings, Cost, ceiling_calls, ceilings_from, cost_of

from . import tiny

FORMS = 4  # of the tiny bundle: one network in two precisions


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def written(path: Path, nodes: list[Any], x_shape: list[Any], constants: dict[str, Any]) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(x_shape))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_grouped_convolution_is_counted_by_hand(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    weight = np.ones((6, 2, 3, 3), np.float32)
    file = written(tmp_path / "conv.onnx", [node], ["B", 4, 8, 8], {"w": weight})
    cost = cost_of(file, {"x": np.zeros((3, 4, 8, 8), np.float32)})
    assert cost.operations == {"float32": 2 * 3 * 6 * 4 * 4 * 2 * 3 * 3}
    assert cost.bytes == 4 * (3 * 4 * 8 * 8 + weight.size + 3 * 6 * 4 * 4)


@pytest.mark.parametrize("turned", [0, 1])
def test_matrix_products_are_counted_by_hand(tmp_path: Path, turned: int) -> None:
    weight = np.ones((5, 7) if turned else (7, 5), np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["g"], transB=turned),
        helper.make_node("MatMul", ["g", "v"], ["y"]),
    ]
    constants = {"w": weight, "v": np.ones((5, 2), np.float32)}
    file = written(tmp_path / "gemm.onnx", nodes, ["B", 7], constants)
    cost = cost_of(file, {"x": np.zeros((4, 7), np.float32)})
    assert cost.total == 2 * 4 * (7 * 5 + 5 * 2)


def test_quantised_layers_count_as_int8_and_in_single_bytes(tmp_path: Path) -> None:
    def quantised(name: str) -> list[Any]:
        return [
            helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}q"]),
            helper.make_node("DequantizeLinear", [f"{name}q", "s", "z"], [f"{name}d"]),
        ]

    nodes = [
        *quantised("x"),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["m"]),
        helper.make_node("Relu", ["m"], ["r"]),
        *quantised("r"),
        helper.make_node("MatMul", ["rd", "v"], ["y"]),
    ]
    constants = {
        "w": np.ones((7, 5), np.int8),
        "v": np.ones((5, 2), np.float32),
        "s": np.float32(1),
        "z": np.uint8(0),
        "zw": np.int8(0),
    }
    file = written(tmp_path / "qdq.onnx", nodes, ["B", 7], constants)
    cost = cost_of(file, {"x": np.zeros((4, 7), np.float32)})
    # The second product has a float factor, so it multiplies floats.
    assert cost.operations == {"int8": 2 * 4 * 7 * 5, "float32": 2 * 4 * 5 * 2}
    first, second = 4 * 7 + 7 * 5 + 4 * 5, 4 * 5 + 4 * 5 * 2 + 4 * 4 * 2
    assert cost.bytes == first + second


def test_costs_grow_with_the_batch_but_weights_do_not(bundle: Bundle) -> None:
    file = bundle.network_file("spatial")
    assert file is not None
    spec = bundle.manifest.networks["spatial"]
    one, four = (cost_of(file, spec.example(B=batch)) for batch in (1, 4))
    assert four.total == 4 * one.total > 0
    assert one.bytes < four.bytes < 4 * one.bytes


def test_what_is_no_onnx_is_one_line(tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 50):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ContractMismatch, match=r"bad\.onnx.*export"):
            read_model(tmp_path / "bad.onnx")


def test_a_written_model_is_a_model_and_computes() -> None:
    left = np.arange(6, dtype=np.float32).reshape(2, 3)
    right = np.arange(12, dtype=np.float32).reshape(3, 4)
    model = one_node("MatMul", {"left": left}, {"right": right}, "float32")
    checker.check_model(load_model_from_string(model))
    (result,) = ort.InferenceSession(model).run(None, {"left": left})
    np.testing.assert_array_equal(result, left @ right)


def test_ceilings_are_the_fastest_runs() -> None:
    calls = ceiling_calls(threads=1)
    assert {what for what, _ in calls} == {"product", "copy"}
    for call in calls.values():
        call()
    found = ceilings_from({name: [2.0, 1.0, 4.0] for name in calls})
    assert found.product_gops["int8"] == found.product_gops["float32"] == 2 * 768**3 / 1e6
    assert found.copy_gbps[16] == 32.0


def test_the_slower_of_compute_and_memory_bounds() -> None:
    ceilings = Ceilings({"float32": 100.0, "int8": 400.0}, {1: 50.0, 100: 10.0})
    heavy = Cost({"float32": 100_000_000, "int8": 400_000_000}, 1_000)
    assert ceilings.least_ms(heavy) == (2.0, "compute")
    assert ceilings.least_ms(Cost({"float32": 1}, 1_000_000)) == (0.02, "memory")
    assert ceilings.least_ms(Cost({"float32": 1}, 100_000_000)) == (10.0, "memory")


def test_calls_take_turns_and_the_first_run_of_each_is_not_timed() -> None:
    made: list[str] = []
    seconds = itertools.count()
    calls = {name: lambda name=name: made.append(name) for name in "abc"}
    times_ms = by_turns(calls, runs=5, turn=2, clock=lambda: float(next(seconds)))
    assert times_ms == dict.fromkeys("abc", [1000.0] * 5)
    # A round to warm up, two of two timed runs and one of the fifth; each turn has one run more.
    for start, turn in ((0, 3), (9, 3), (18, 3), (27, 2)):
        turns = [made[start + at * turn : start + (at + 1) * turn] for at in range(3)]
        assert sorted(turns) == [[name] * turn for name in "abc"]
    assert len(made) == 33


def test_every_form_is_measured_at_every_batch(bundle: Bundle) -> None:
    rounds: list[tuple[int, int]] = []
    report = measure(
        bundle, batches=(1, 3), runs=12, threads=1, on_round=lambda *at: rounds.append(at)
    )
    assert rounds == [(1, 2), (2, 2)]
    assert len(report.timings) == 2 * FORMS * len(present_backends())
    assert all(0 < timing.median_ms <= timing.p95_ms for timing in report.timings)
    assert all(timing.runs == 12 and timing.cost.total for timing in report.timings)
    assert report.threads["asked"] == 1


def test_only_the_engines_asked_for(bundle: Bundle) -> None:
    report = measure(bundle, backends=("onnxruntime",), runs=1)
    assert {timing.backend for timing in report.timings} == {"onnxruntime"}
    with pytest.raises(EngineUnavailable, match=r"'steam'.*onnxruntime"):
        measure(bundle, backends=("steam",))


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["bench", *arguments], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_prints_one_document_and_draws(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "bench.png"
    text = run(str(bundle.path), "--json", "--runs", "3", "--batch", "2,1", "--plot", str(file))
    document = json.loads(text)
    assert document["batches"] == [1, 2]
    assert set(document["ceilings"]["product_gops"]) == {"float32", "int8"}
    row = document["networks"][0]
    assert row["per_second"] == pytest.approx(row["batch"] / row["median_ms"] * 1e3, rel=0.01)
    assert row["share"] == pytest.approx(row["least_ms"] / row["median_ms"], abs=0.01)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_the_table_names_threads_and_ceilings(bundle: Bundle) -> None:
    text = run(str(bundle.path), "--runs", "1", "--threads", "1", "--backends", "onnxruntime")
    assert "threads: 1, waiting without spinning; onnxruntime" in text
    assert "ceilings: matrix product float32" in text
    assert "median ms" in text
    assert "openvino " not in text.partition("ceilings")[2]


def test_batches_that_are_none_are_misuse(bundle: Bundle) -> None:
    for batch in ("0,1", "two", ""):
        assert "numbers from 1 on" in run(str(bundle.path), "--batch", batch, code=2)


def test_a_plot_that_cannot_be_written_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    for place in (tmp_path / "gone" / "bench.png", tmp_path / "bench.nothing"):
        with pytest.raises(Exception, match="the plot cannot be written"):
            run(str(bundle.path), "--runs", "1", "--plot", str(place))
