"""Every network forward, backward, through export and back, in one grid."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ferstream.calibration.int8 import qdq_from_onnx
from ferstream.engines import contract
from ferstream.engines.ort import OrtEngine
from ferstream.training.datasets.fer import FerPlus
from ferstream.training.datasets.motion import FIELDS, FaceShape, MotionMaker
from ferstream.training.exporting.default import HEARD, MORE, SpatialGraph
from ferstream.training.exporting.export import onnx_from_network
from ferstream.training.networks.backbones import bf16_is_quick
from ferstream.training.networks.compact_msau import CompactMSAU
from ferstream.training.networks.fusion import CascadedAttention, Fusion, MotionNet

FEATURES = 672
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A network, its contract, and its budgets.

    half_budget: largest difference of ONNX to PyTorch, relative to the output's deviation; the
    weights are stored in half precision. int8_budget: the same of INT8, as a mean.
    """

    name: str
    build: Callable[[], nn.Module]
    spec: contract.NetworkSpec
    parameters: int
    half_budget: float
    int8_budget: float | None = None


def _fusion() -> Fusion:
    network = Fusion(FEATURES, 0.6, 0.8, 0.5, 0.5)
    nn.init.normal_(network.attend.kernel, std=0.05)
    nn.init.normal_(network.attend.transfer.weight, std=0.03)
    return network


CASES = {
    case.name: case
    for case in (
        Case(
            "spatial",
            lambda: CompactMSAU(judged=True),
            contract.spatial(FEATURES, more=MORE),
            parameters=2_250_000,
            half_budget=0.012,
            int8_budget=0.1,
        ),
        Case(
            "temporal",
            MotionNet,
            contract.temporal(FIELDS, more=HEARD),
            parameters=545_000,
            half_budget=0.012,
            int8_budget=0.05,
        ),
        Case(
            "fusion",
            _fusion,
            contract.fusion(FEATURES, more=MORE, heard=HEARD),
            parameters=680_000,
            half_budget=0.012,
        ),
    )
}
each_network = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
sizes = pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 7), (2, 32)])


@pytest.fixture(scope="module")
def samples(tiny: FerPlus, shape: FaceShape) -> Arrays:
    """Crops and motion stacks that look like those of the real work."""
    maker = MotionMaker(tiny, shape, seed=0)
    stacks = [maker.stack(row, "onset")[0] for row in range(1, 96, 2)]
    return {"crop": tiny.crops(48), "motion": np.stack(stacks)}


def inputs_of(case: Case, samples: Arrays, batch: int, frames: int = 5) -> Arrays:
    """Inputs of these sizes, as the real work gives them."""
    given = dict(case.spec.example(seed=batch, B=batch, T=frames))
    for name in given.keys() & samples.keys():
        given[name] = samples[name][:batch]
    if "mask" in given:
        given["mask"][0, frames // 2 + 1 :] = 0
        given["has_motion"][-1] = 0
    return given


@cache
def settled(name: str) -> nn.Module:
    """The network with seeded weights."""
    torch.manual_seed(0)
    return CASES[name].build()


@pytest.fixture(scope="module")
def networks(samples: Arrays) -> dict[str, nn.Module]:
    """The networks, their normalisation settled on the samples, in evaluation mode."""
    made = {}
    for name, case in CASES.items():
        network = settled(name)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.momentum = None
                nn.init.uniform_(layer.weight, 0.6, 1.4)
                nn.init.normal_(layer.bias, std=0.2)
        with torch.no_grad():
            network.train()(**tensors(inputs_of(case, samples, 48)))
        made[name] = network.eval()
    return made


@pytest.fixture(scope="module")
def exported(
    networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("onnx")
    for name, case in CASES.items():
        onnx_from_network(exportable(networks[name]), case.spec, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in CASES}


def exportable(network: nn.Module) -> nn.Module:
    return SpatialGraph(network) if isinstance(network, CompactMSAU) else network


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def outputs_of(network: nn.Module, case: Case, inputs: Arrays) -> Arrays:
    """What the contract's outputs are in PyTorch."""
    with torch.no_grad():
        out = exportable(network).eval()(**tensors(inputs))
    values = [out] if isinstance(out, Tensor) else list(out)
    names = [tensor.name for tensor in case.spec.outputs]
    return {name: value.numpy() for name, value in zip(names, values, strict=True)}


def spread(array: NDArray[Any]) -> float:
    return float(array.std()) + 1e-3


@each_network
@sizes
def test_outputs_keep_the_contract(
    case: Case, networks: dict[str, nn.Module], samples: Arrays, batch: int, frames: int
) -> None:
    inputs = inputs_of(case, samples, batch, frames)
    case.spec.check(inputs, ranges=True)
    outputs = outputs_of(networks[case.name], case, inputs)
    case.spec.check_outputs(outputs, ranges=True)
    assert all(len(value) == batch for value in outputs.values())


@each_network
def test_the_network_is_small(case: Case) -> None:
    count = sum(parameter.numel() for parameter in settled(case.name).parameters())
    assert 0.5 * case.parameters < count <= case.parameters


def leaves(out: Any) -> list[Tensor]:
    """The tensors of a network's output, also of outputs within it."""
    if isinstance(out, Tensor):
        return [out]
    return [] if out is None else [leaf for part in out for leaf in leaves(part)]


@each_network
def test_gradients_reach_every_parameter(case: Case, samples: Arrays) -> None:
    torch.manual_seed(1)
    network = case.build().train()
    out = network(**tensors(inputs_of(case, samples, 8)))
    values = [value for value in leaves(out) if value.requires_grad]
    loss = torch.stack([(value * torch.randn_like(value)).sum() for value in values]).sum()
    torch.autograd.backward(loss)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, f"{name} does not matter"


@each_network
@sizes
def test_onnx_is_the_same_network(
    case: Case,
    networks: dict[str, nn.Module],
    exported: dict[str, Path],
    samples: Arrays,
    batch: int,
    frames: int,
) -> None:
    """Any batch and any number of frames, although it was exported with two and five."""
    inputs = inputs_of(case, samples, batch, frames)
    wanted = outputs_of(networks[case.name], case, inputs)
    engine = OrtEngine(exported[case.name], case.spec, threads=1)
    got = engine.run(inputs)
    engine.close()
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert np.abs(got[name] - value).max() < case.half_budget * spread(value), name


@each_network
def test_the_file_holds_its_weights_in_half(case: Case, exported: dict[str, Path]) -> None:
    model = onnx.load(str(exported[case.name]))
    count = sum(parameter.numel() for parameter in settled(case.name).parameters())
    assert exported[case.name].stat().st_size < 2 * count + 100_000
    assert not list(exported[case.name].parent.glob("*.data")), "one file, nothing beside it"
    names = [tensor.name for tensor in model.graph.input]
    assert names == [tensor.name for tensor in case.spec.inputs]


@each_network
def test_the_file_does_not_say_where_it_was_made(
    case: Case, exported: dict[str, Path], repository: Path
) -> None:
    content = exported[case.name].read_bytes()
    for trace in (str(repository).encode(), b"site-packages", b"stack_trace", b".py"):
        assert trace not in content


@pytest.mark.parametrize("name", [c.name for c in CASES.values() if c.int8_budget is not None])
def test_int8_is_nearly_the_same_network(
    name: str,
    networks: dict[str, nn.Module],
    exported: dict[str, Path],
    samples: Arrays,
    tmp_path: Path,
) -> None:
    case, target = CASES[name], tmp_path / "int8.onnx"
    (fed,) = (tensor.name for tensor in case.spec.inputs)
    qdq_from_onnx(exported[name], target, {fed: samples[fed]}, batch=16)
    kinds = {node.op_type for node in onnx.load(str(target)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert target.stat().st_size < exported[name].stat().st_size
    engine = OrtEngine(target, case.spec, threads=1)
    got = engine.run({fed: samples[fed]})
    engine.close()
    wanted = outputs_of(networks[name], case, {fed: samples[fed]})
    for tensor in wanted.keys() - {"zoom"}:
        error = np.abs(got[tensor] - wanted[tensor]).mean()
        assert case.int8_budget is not None
        assert error < case.int8_budget * spread(wanted[tensor]), tensor


def test_the_feature_size_is_what_the_network_says(networks: dict[str, nn.Module]) -> None:
    network = networks["spatial"]
    assert isinstance(network, CompactMSAU) and network.features == FEATURES
    assert CascadedAttention(network.features).kernel.shape == (FEATURES,)


def test_bf16_is_used_where_it_is_no_slower() -> None:
    """A CPU that emulates it takes several times as long; all others may have it."""
    assert bf16_is_quick("cuda")
    side = torch.randn(8, 32, 24, 24)
    layer = nn.Conv2d(32, 32, 3, padding=1)

    def took_s(mixed: bool) -> float:
        times = []
        for _ in range(3):
            start_s = time.process_time()
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                layer(side)
            times.append(time.process_time() - start_s)
        return min(times)

    if not bf16_is_quick("cpu"):
        assert took_s(mixed=True) > took_s(mixed=False)
