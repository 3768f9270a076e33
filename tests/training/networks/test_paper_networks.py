"""The papers' networks in one grid: shapes, size, gradients, through ONNX and back, INT8.

A system that is added adds a line to CASES.
"""

from __future__ import annotations

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
from ferstream.engines.contract import NetworkSpec
from ferstream.engines.ort import OrtEngine
from ferstream.training.datasets.fer import FerPlus
from ferstream.training.exporting.export import onnx_from_module
from ferstream.training.networks.backbones import ResNet18, StageMaps
from ferstream.training.networks.clip_streams import (
    FrameAggregation,
    ImageSpatial,
    LabelRollUp,
    NoMotion,
)
from ferstream.training.networks.compact_msau import CompactBody, CompactMSAU
from ferstream.training.networks.slfer import ComponentTask, SegmentationTask, Slfer

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A network as it is trained, and its form that is exported.

    Args:
        build: the network as it is trained.
        inputs: shapes of its inputs; "crop" is uint8.
        outputs: shapes of its outputs in order, None for a part left out.
        parameters: exactly so many.
        exported: the form that goes into a bundle, of the network built; None: it is none.
        spec: the contract of that form.
        int8: largest mean difference of INT8, relative to the output's deviation; None: not
            quantized.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...] | None, ...]
    parameters: int
    exported: Callable[[Any], nn.Module] | None = None
    spec: NetworkSpec | None = None
    int8: float | None = None


def _rolled(network: Any) -> ImageSpatial:
    generator = torch.Generator().manual_seed(0)
    words = torch.rand(8, 135, generator=generator)
    return ImageSpatial(network, LabelRollUp(torch.eye(8), words / words.sum(1, keepdim=True)))


RESNET18 = 11_689_512 - 513_000
"""He et al.: 11.7 M with the classifier of 1000 classes, which this one lacks."""
EXCITE = sum(2 * 2 * c * (c // 16) + 2 * (c // 16 + c) for c in (64, 128, 256, 512))
"""Hu et al., eq. 5: 2 C^2 / r weights a block, two blocks a stage; and biases."""
ECT = 512 * 256 + 256 + 256 * 128 + 128 + 128 * 8 + 8
CT = 512 * 256 + 256 + 256 * 8 + 8
ST_16 = 768 * 16 * 9 + 2 * 16 + 16 * 8 * 9 + 2 * 8 + 8 * 4 * 9 + 2 * 4 + 4 * 8 * 9 + 8
COMPACT = sum(p.numel() for p in CompactBody().parameters()) + 480 * 60 + 60 + 672 * 8 + 8
COMPACT_TASKS = 288 * 16 * 9 + 2 * 16 + 16 * 8 * 9 + 8 + 480 * 240 + 240 + 240 * 8 + 8

CASES = {
    case.name: case
    for case in (
        Case(
            "resnet18",
            lambda: Pair(ResNet18(excite=False)),
            inputs=((2, 3, 64, 64),),
            outputs=((2, 256, 4, 4), (2, 512, 2, 2)),
            parameters=RESNET18,
        ),
        Case(
            "resnet18-se",
            lambda: Pair(ResNet18(excite=True)),
            inputs=((2, 3, 80, 80),),
            outputs=((2, 256, 5, 5), (2, 512, 3, 3)),
            parameters=RESNET18 + EXCITE,
        ),
        Case(
            "slfer-st",
            lambda: Maps(SegmentationTask(16)),
            inputs=((2, 256, 5, 5), (2, 512, 3, 3)),
            outputs=((2, 8, 80, 80),),
            parameters=ST_16,
        ),
        Case(
            "slfer-ct",
            lambda: ComponentTask(),
            inputs=((2, 512),),
            outputs=((2, 8),),
            parameters=CT,
        ),
        Case(
            "slfer-baseline",
            lambda: Slfer(8, excite=False, segmentation=False, components=False),
            inputs=((4, 1, 48, 48),),
            outputs=((4, 8), None, None),
            parameters=RESNET18 + ECT,
        ),
        Case(
            "slfer",
            lambda: Slfer(8, width=16),
            inputs=((4, 1, 48, 48),),
            outputs=((4, 8), (4, 8, 48, 48), (4, 8)),
            parameters=RESNET18 + EXCITE + ECT + CT + ST_16,
            exported=_rolled,
            spec=contract.spatial(512, units=0),
            int8=0.12,
        ),
        Case(
            "compact",
            lambda: CompactMSAU(8, segmentation=True, components=True, width=16),
            inputs=((4, 1, 48, 48),),
            outputs=((4, 672), (4, 8), (4, 8), None, (4, 52), (4, 8, 48, 48), (4, 8), (4, 2)),
            parameters=COMPACT + COMPACT_TASKS,
            exported=_rolled,
            spec=contract.spatial(672),
            int8=0.12,
        ),
    )
}
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
exportable = pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.exported], ids=lambda case: case.name
)


class Pair(nn.Module):
    """A network with a tuple of outputs, as a plain module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *given: Tensor) -> Any:
        return self.network(*given)


class Maps(Pair):
    """A network whose one input is a pair of maps."""

    def forward(self, *given: Tensor) -> Any:
        return self.network(StageMaps(*given))


@cache
def settled(name: str) -> nn.Module:
    """The network with seeded weights, its normalisation settled, in evaluation mode."""
    torch.manual_seed(0)
    network = CASES[name].build()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = None
            nn.init.uniform_(layer.weight, 0.6, 1.4)
            nn.init.normal_(layer.bias, std=0.2)
    with torch.no_grad():
        network.train()(*inputs_of(CASES[name], seed=1, batch=16))
    return network.eval()


def inputs_of(case: Case, seed: int = 0, batch: int | None = None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for shape in case.inputs:
        wanted = (batch or shape[0], *shape[1:])
        if shape[1] == 1:
            made.append(torch.randint(0, 256, wanted, dtype=torch.uint8, generator=generator))
        else:
            made.append(torch.randn(wanted, generator=generator))
    return made


def outputs_of(network: nn.Module, inputs: list[Tensor]) -> list[Tensor | None]:
    out = network(*inputs)
    return [out] if isinstance(out, Tensor) else list(out)


@each
def test_outputs_have_their_shapes(case: Case) -> None:
    with torch.no_grad():
        found = outputs_of(settled(case.name), inputs_of(case))
    shapes = tuple(None if value is None else tuple(value.shape) for value in found)
    assert shapes == case.outputs
    assert all(value is None or torch.isfinite(value).all() for value in found)


@each
def test_the_number_of_parameters(case: Case) -> None:
    assert sum(p.numel() for p in settled(case.name).parameters()) == case.parameters


@each
def test_gradients_reach_every_parameter(case: Case) -> None:
    torch.manual_seed(1)
    network = case.build().train()
    found = [value for value in outputs_of(network, inputs_of(case)) if value is not None]
    loss = torch.stack([(value * torch.randn_like(value)).sum() for value in found]).sum()
    torch.autograd.backward(loss)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, f"{name} does not matter"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every exportable network as ONNX."""
    folder = tmp_path_factory.mktemp("onnx")
    made = {}
    for case in CASES.values():
        if case.exported is None or case.spec is None:
            continue
        inputs = inputs_of(case, batch=2)
        names = [tensor.name for tensor in case.spec.inputs]
        onnx_from_module(
            case.exported(settled(case.name)),
            dict(zip(names, inputs, strict=True)),
            tuple(tensor.name for tensor in case.spec.outputs),
            folder / f"{case.name}.onnx",
            free={name: {0: "B"} for name in names},
        )
        made[case.name] = folder / f"{case.name}.onnx"
    return made


def spread(value: NDArray[Any]) -> float:
    return float(value.std()) + 1e-3 if value.size else 1.0


def wanted_of(case: Case, inputs: list[Tensor]) -> Arrays:
    assert case.exported is not None and case.spec is not None
    with torch.no_grad():
        values = outputs_of(case.exported(settled(case.name)).eval(), inputs)
    names = [tensor.name for tensor in case.spec.outputs]
    return {n: v.numpy() for n, v in zip(names, values, strict=True) if v is not None}


@exportable
@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_is_the_same_network(case: Case, files: dict[str, Path], batch: int) -> None:
    assert case.spec is not None
    inputs = inputs_of(case, seed=2, batch=batch)
    wanted = wanted_of(case, inputs)
    case.spec.check_outputs(wanted, ranges=True)
    engine = OrtEngine(files[case.name], case.spec, threads=1)
    names = [tensor.name for tensor in case.spec.inputs]
    got = engine.run({n: t.numpy() for n, t in zip(names, inputs, strict=True)})
    engine.close()
    case.spec.check_outputs(got, ranges=True)
    for name, value in wanted.items():
        assert np.abs(got[name] - value).max(initial=0) < 0.02 * spread(value), name


@exportable
def test_int8_is_nearly_the_same_network(
    case: Case, files: dict[str, Path], tiny: FerPlus, tmp_path: Path
) -> None:
    assert case.spec is not None and case.int8 is not None
    (fed,) = (tensor.name for tensor in case.spec.inputs)
    samples = {fed: tiny.crops(case.inputs[0][-1])[:48]}
    target = tmp_path / "int8.onnx"
    qdq_from_onnx(files[case.name], target, samples, batch=16)
    kinds = {node.op_type for node in onnx.load(str(target)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert target.stat().st_size < 0.6 * files[case.name].stat().st_size
    engine = OrtEngine(target, case.spec, threads=1)
    got = engine.run(samples)
    engine.close()
    wanted = wanted_of(case, [torch.from_numpy(samples[fed])])
    for name in wanted.keys() - {"zoom", "au"}:
        error = np.abs(got[name] - wanted[name]).mean()
        assert error < case.int8 * spread(wanted[name]), name


@torch.no_grad()
def test_testing_needs_the_expression_task_alone() -> None:
    """Paper 002: "ST and CT are removed" for testing; the scores are those of training."""
    network, crops = settled("slfer"), inputs_of(CASES["slfer"])
    assert isinstance(network, Slfer)
    alone = network.recognise(*crops)
    torch.testing.assert_close(alone.logits, network(*crops).logits)
    torch.testing.assert_close(network.head(alone.feature), alone.logits)


@torch.no_grad()
def test_a_clip_is_the_mean_of_its_frames() -> None:
    torch.manual_seed(0)
    roll_up = LabelRollUp(torch.eye(8), torch.rand(8, 135))
    network = FrameAggregation(nn.Linear(6, 8), roll_up)
    feature, mask = torch.randn(2, 4, 6), torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
    silent = torch.zeros(2, 8), torch.zeros(2, 1)
    basic8, words, attention = network(feature, mask, *silent)
    torch.testing.assert_close(attention, mask / mask.sum(1, keepdim=True))
    wanted = network.head(torch.stack([feature[0, :2].mean(0), feature[1].mean(0)]))
    torch.testing.assert_close(basic8.softmax(1), wanted.softmax(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(words.exp().sum(1), torch.ones(2))
    moving = network(feature, mask, torch.randn(2, 8), torch.ones(2, 1))
    torch.testing.assert_close(moving[0], basic8)
    assert NoMotion()(torch.randn(3, 2, 32, 32)).eq(0).all()
