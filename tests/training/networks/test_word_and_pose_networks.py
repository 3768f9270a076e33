"""The networks of papers 000 and 004: sizes, shapes, gradients, through ONNX and INT8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ferstream.calibration.int8 import qdq_from_onnx
from ferstream.engines.contract import NetworkSpec, TensorSpec
from ferstream.engines.ort import OrtEngine
from ferstream.training.datasets.word_meaning import word_meaning
from ferstream.training.exporting.export import onnx_from_module
from ferstream.training.networks.emo135 import (
    CorrelationClassifier,
    CorrelationLayer,
    CorrelationNet,
    ExpressionEmbedding,
    FaceTrunk,
    embedded,
)
from ferstream.training.networks.f2ed import (
    FaNet,
    FaPEDiscriminator,
    FaPEGenerator,
    LightCNN,
    MaxFeatureMap,
)
from ferstream.training.papers.emo135.similarity import word_matrix

Array = NDArray[Any]
WORDS = 12
TOY = (8, 8, 12, 16, 16)


def similarity(words: int = 135) -> Tensor:
    return torch.from_numpy(word_matrix(word_meaning()[:words, :words]))


class Recognised(nn.Module):
    """What run time asks of an image network, as one graph."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        out = self.network.recognise(crop)
        return out.feature, out.logits


def toy_embedding() -> ExpressionEmbedding:
    return ExpressionEmbedding(FaceTrunk(widths=(8, 16, 24), blocks=1))


def toy_correlation(**ablation: bool) -> nn.Module:
    return Recognised(CorrelationNet(toy_embedding(), similarity(WORDS), **ablation))


def toy_fa_net(layers: int) -> nn.Module:
    return Recognised(FaNet(WORDS, layers=layers, crop_px=32, widths=TOY, embedding=24))


@dataclass(frozen=True)
class Case:
    """A toy network, its inputs beyond the batch, and its outputs."""

    build: Callable[[], nn.Module]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


CROP, FACE = {"crop": (1, 32, 32)}, {"face": (1, 32, 32), "pose": (1, 32, 32)}
CASES = {
    "embedding": Case(toy_embedding, CROP, {"embedding": (16,)}),
    "correlation": Case(toy_correlation, CROP, {"feature": (16,), "logits": (WORDS,)}),
    "without embedding": Case(
        lambda: toy_correlation(embedded=False), CROP, {"feature": (24,), "logits": (WORDS,)}
    ),
    "without correlation layers": Case(
        lambda: toy_correlation(correlated=False), CROP, {"feature": (16,), "logits": (WORDS,)}
    ),
    "fa-net 9": Case(lambda: toy_fa_net(9), CROP, {"feature": (24,), "logits": (WORDS,)}),
    "fa-net 29": Case(lambda: toy_fa_net(29), CROP, {"feature": (24,), "logits": (WORDS,)}),
    "fape generator": Case(lambda: FaPEGenerator(width=8, blocks=2), FACE, {"made": (1, 32, 32)}),
    "fape discriminator": Case(
        lambda: FaPEDiscriminator(width=8, halvings=2), {"face": (1, 32, 32)}, {"real": (1, 6, 6)}
    ),
}
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
EXPORTED = {
    name: CASES[name]
    for name in ("correlation", "fa-net 29", "fape generator", "fape discriminator")
}
"""One of each family, which has every kind of layer of it; the others are parts or ablations."""


def given(case: Case, batch: int, seed: int = 0) -> dict[str, Array]:
    """Smooth pictures: bytes for crops, -1..1 for faces and poses."""
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for name, shape in case.inputs.items():
        coarse = rng.uniform(0, 255, (batch, shape[0], 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
        noisy = np.clip(coarse + rng.normal(0, 10, (batch, *shape)), 0, 255)
        crop = name == "crop"
        found[name] = noisy.astype(np.uint8) if crop else (noisy / 127.5 - 1).astype(np.float32)
    return found


def run(network: nn.Module, inputs: dict[str, Array]) -> list[Tensor]:
    out = network(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    return [out] if isinstance(out, Tensor) else list(out)


def settled(case: Case) -> nn.Module:
    """Seeded weights; normalisation that has seen the samples."""
    torch.manual_seed(0)
    network = case.build()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = None
            nn.init.uniform_(layer.weight, 0.6, 1.4)
            nn.init.normal_(layer.bias, std=0.2)
    with torch.no_grad():
        run(network.train(), given(case, 48))
    return network.eval()


def spec_of(case: Case) -> NetworkSpec:
    inputs = tuple(
        TensorSpec(name, "uint8" if name == "crop" else "float32", ("B", *shape))
        for name, shape in case.inputs.items()
    )
    outputs = tuple(
        TensorSpec(name, "float32", ("B", *shape)) for name, shape in case.outputs.items()
    )
    return NetworkSpec("toy", inputs, outputs)


def spread(array: Array) -> float:
    return float(array.std()) + 1e-3


@each
def test_shapes(case: Case) -> None:
    for batch in (1, 3):
        with torch.no_grad():
            out = run(settled(case), given(case, batch))
        assert [tuple(value.shape) for value in out] == [
            (batch, *shape) for shape in case.outputs.values()
        ]
        assert all(torch.isfinite(value).all() for value in out)


@each
def test_gradients_reach_every_parameter(case: Case) -> None:
    torch.manual_seed(1)
    network = case.build().train()
    loss = torch.stack(
        [(value * torch.randn_like(value)).sum() for value in run(network, given(case, 8))]
    ).sum()
    torch.autograd.backward(loss)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, f"{name} does not matter"


@pytest.mark.parametrize("case", EXPORTED.values(), ids=EXPORTED)
def test_onnx_and_int8_are_the_same_network(case: Case, tmp_path: Path) -> None:
    network, spec, file = settled(case), spec_of(case), tmp_path / "network.onnx"
    example = {name: torch.from_numpy(value) for name, value in given(case, 2).items()}
    free = {name: {0: "B"} for name in case.inputs}
    onnx_from_module(network, example, tuple(case.outputs), file, free=free)
    inputs = given(case, 24, seed=5)
    with torch.no_grad():
        wanted = [value.numpy() for value in run(network, inputs)]
    whole = tmp_path / "int8.onnx"
    qdq_from_onnx(file, whole, inputs, batch=8, few_weights=0)
    kinds = {node.op_type for node in onnx.load(str(whole)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    for path, budget, judge in ((file, 0.02, np.max), (whole, 0.12, np.mean)):
        engine = OrtEngine(path, spec, threads=1)
        got = engine.run(inputs)
        engine.close()
        for name, value in zip(case.outputs, wanted, strict=True):
            error = float(judge(np.abs(got[name] - value)))
            assert error < budget * spread(value), (path.name, name, error / spread(value))


def test_embeddings_lie_on_the_unit_sphere() -> None:
    network = settled(CASES["embedding"])
    crops = given(CASES["embedding"], 20)["crop"]
    points = embedded(network, crops, batch=7)
    assert points.shape == (20, 16)
    assert np.allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)
    assert np.allclose(points[:5], embedded(network, crops[:5]), atol=1e-5)


def test_what_an_identity_network_sees_is_taken_away() -> None:
    """Its weights never change, and a network that sees the same leaves nothing of the face."""
    torch.manual_seed(0)
    trunk, identity = (FaceTrunk(widths=(8, 16), blocks=1) for _ in range(2))
    network = ExpressionEmbedding(trunk, identity=identity).train()
    assert not identity.training
    crop = torch.from_numpy(given(CASES["embedding"], 6)["crop"])
    torch.autograd.backward(network(crop)[:, 0].sum())
    assert all(parameter.grad is None for parameter in identity.parameters())
    identity.load_state_dict(trunk.state_dict())
    points = network.eval()(crop)
    assert torch.allclose(points, points[:1].expand_as(points), atol=1e-5)


def test_a_correlation_layer_starts_as_its_matrix() -> None:
    """One emotion's score is spread over those that look like it: column of F_exp."""
    matrix = torch.tensor([[0.5, 0.4, 0.1], [0.3, 0.5, 0.2], [0.0, 0.5, 0.5]])
    layer = CorrelationLayer(matrix)
    assert torch.allclose(layer(torch.eye(3))[0], matrix[:, 0])
    assert layer.weight.requires_grad
    matrix[0, 0] = 9
    assert layer.weight[0, 0] == 0.5, "a copy"


def test_the_classifier_has_three_correlation_layers_at_the_papers_size() -> None:
    """Fully connected and correlation in turn, 135 wide; F_exp in each of the three."""
    matrix = similarity()
    classifier = CorrelationClassifier(16, matrix)
    layers = [part for part in classifier if isinstance(part, CorrelationLayer)]
    assert len(layers) == 3
    assert all(torch.equal(layer.weight, matrix) for layer in layers)
    dense, normal = 16 * 135 + 135 * 135 + (135 * 135 + 135), 2 * 2 * 135
    count = sum(parameter.numel() for parameter in classifier.parameters())
    assert count == dense + normal + 3 * 135 * 135
    plain = CorrelationClassifier(16, matrix, correlated=False)
    assert not [part for part in plain if isinstance(part, CorrelationLayer)]
    assert sum(p.numel() for p in plain.parameters()) == count + 3 * 135, "biases more"


def test_correlation_net_at_the_papers_size() -> None:
    network = CorrelationNet(ExpressionEmbedding(FaceTrunk(channels=3)), similarity()).eval()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert 11e6 < count < 12.5e6, "about a ResNet18"
    with torch.no_grad():
        out = network.recognise(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
    assert out.feature.shape == (1, 16)
    assert out.logits.shape == (1, 135)


def test_the_larger_of_each_pair_wins() -> None:
    x = torch.tensor([[1.0, -2.0, 0.0, 3.0]])
    assert MaxFeatureMap()(x).tolist() == [[1, 3]]


def test_light_cnn_has_the_published_weights() -> None:
    """Wu et al. 2018, Tables 2 and 3, in thousands; conv2 is listed with 165 and has 82."""
    weights = {
        layers: [
            parameter.numel() // 1000
            for name, parameter in LightCNN(layers).named_parameters()
            if name.endswith("weight")
        ]
        for layers in (9, 29)
    }
    assert weights[9] == [2, 4, 82, 18, 331, 73, 442, 32, 294, 4194]
    assert sum(weights[9]) - 82 + 165 == 5_555, "5,556 published, with 2.4 and 4.6 for 2 and 4"
    assert sum(weights[29]) - 82 + 165 == pytest.approx(12_637, rel=1e-3)
    assert [len(weights[layers]) - 1 for layers in (9, 29)] == [9, 29], "convolutions"


@pytest.mark.parametrize("layers", [9, 29])
def test_fa_net_at_the_papers_size(layers: int) -> None:
    network = FaNet(54, layers=layers).eval()
    with torch.no_grad():
        out = network.recognise(torch.zeros(1, 1, 128, 128, dtype=torch.uint8))
    assert out.feature.shape == (1, 256)
    assert out.logits.shape == (1, 54)


def test_fine_tuning_keeps_what_was_learned() -> None:
    network = FaNet(54, layers=9, crop_px=32, widths=TOY, embedding=24).eval()
    crop = torch.from_numpy(given(CASES["fa-net 9"], 2)["crop"])
    before = network.recognise(crop).feature
    network.for_expressions(8)
    after = network.recognise(crop)
    assert torch.equal(before, after.feature)
    assert after.logits.shape == (2, 8)


def test_fape_gan_at_the_papers_size() -> None:
    """256 pixels; each judged patch is 70 pixels wide."""
    generator, judge = FaPEGenerator().eval(), FaPEDiscriminator().eval()
    assert 7.5e6 < sum(parameter.numel() for parameter in generator.parameters()) < 12e6
    face = torch.zeros(1, 1, 256, 256, requires_grad=True)
    assert judge(face).shape == (1, 1, 30, 30)
    field = nn.Sequential(*(part for part in judge.layers if isinstance(part, nn.Conv2d)))
    grid = field(face)
    torch.autograd.backward(grid[0, 0, 15, 15])
    assert face.grad is not None
    seen = face.grad[0, 0].abs().sum(0).nonzero()
    assert int(seen.max() - seen.min()) + 1 == 70
    with torch.no_grad():
        assert generator(face, face).shape == (1, 1, 256, 256)


def test_the_pose_changes_what_is_made() -> None:
    torch.manual_seed(0)
    generator = FaPEGenerator(width=8, blocks=1).eval()
    face = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        first, second = (generator(face, pose) for pose in (face, -face))
    assert (first - second).abs().max() > 1e-3
    assert first.abs().max() <= 1
