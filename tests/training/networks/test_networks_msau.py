"""The networks of paper 003 at toy size through the grid, and at the paper's own by their sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ferstream.training.networks.backbones import GoogLeNet, three_channels
from ferstream.training.networks.drml import DrmlSize, magnified
from ferstream.training.networks.msau import Msau, TreeScores, answer
from ferstream.training.networks.tmsau import (
    C3dLstm,
    C3dLstmSize,
    FlowNet,
    FlowNetSize,
    SpatialStream,
    Tmsau,
    Vgg16Lstm,
    Vgg16LstmSize,
)
from tests.training import network_grid as grid
from tests.training.network_grid import Arrays, Case

TOY = DrmlSize(crop_px=106, grid=4, stem=4, middle=6, last=16, hidden=24, full=20, units=5)
FLOW = FlowNetSize(fields=3, crop_px=64, widths=(8, 12, 12), full=(24, 16))
VGG = Vgg16LstmSize(crop_px=32, widths=(8, 8, 12, 12, 12), full=16, hidden=8)
C3D = C3dLstmSize(frames=16, crop_px=32, widths=(4, 6, 8, 8, 8), full=16, hidden=8)


def seen(network: Msau, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Both scales of a Msau, what `recognise` says, and where it looked."""
    crop = inputs["crop"]
    out = network(crop)
    named = {f"coarse_{name}": value for name, value in scores(out.coarse.scores).items()}
    named |= {f"coarse_units{at}": value for at, value in enumerate(out.coarse.units)}
    if out.fine is not None:
        named |= {f"fine_{name}": value for name, value in scores(out.fine.scores).items()}
        named |= {f"fine_units{at}": value for at, value in enumerate(out.fine.units)}
        named["windows"] = out.windows
    named["feature"], named["logits"] = answer(out)
    return named


def scores(found: TreeScores) -> dict[str, Tensor]:
    return {"leaf": found.leaf} | ({} if found.basic is None else {"basic": found.basic})


def clip_scores(network: Tmsau, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    out = network(**inputs)
    named = scores(out.spatial)
    if out.temporal is not None:
        named |= {f"temporal_{name}": value for name, value in scores(out.temporal).items()}
    return named | {"attention": out.attention, "logits": out.logits}


def tmsau(temporal: bool, attention: bool = True) -> Tmsau:
    stream = SpatialStream(12, 9, 6, reduced=16, attention=attention)
    if attention:
        attend: Any = stream.attend
        nn.init.normal_(attend.kernel)
        nn.init.normal_(attend.transfer.weight, std=0.3)
    return Tmsau(stream, FlowNet(9, 6, FLOW) if temporal else None)


def motion(batch: int) -> Arrays:
    return {"motion": grid.pictures(batch, 64, 6, seed=3) * 4 - 2}


def toy_crops(batch: int) -> Arrays:
    return {"crop": grid.crops(batch, TOY.crop_px)}


def frames(batch: int) -> Arrays:
    mask = np.ones((batch, 5), np.float32)
    mask[0, 3:] = 0
    feature = np.random.default_rng(4).normal(size=(batch, 5, 12)).astype(np.float32)
    return {"feature": feature, "mask": mask}


def first_inceptions(network: GoogLeNet) -> GoogLeNet:
    """The network as far as the pooling behind its second inception: the other seven are alike."""
    network.trunk = nn.Sequential(*list(network.trunk)[:8])
    return network


seen_by_googlenet: tuple[Any, Any] = (
    lambda batch: {"picture": grid.pictures(batch, 64, 3) * 4 - 2},
    lambda network, inputs: {"feature": network(**inputs)},
)
TREE: grid.Shapes = {"leaf": ("B", 9), "basic": ("B", 6)}
COARSE: grid.Shapes = {"coarse_leaf": ("B", 9), "coarse_basic": ("B", 6), "coarse_units0": ("B", 5)}
FINE: grid.Shapes = {"fine_leaf": ("B", 9), "fine_basic": ("B", 6)}
CLIPS: grid.Shapes = {**TREE, "attention": ("B", 5), "logits": ("B", 9)}
CASES = {
    case.name: case
    for case in (
        Case(
            "msau",
            lambda: Msau(9, 6, size=TOY, regions=2),
            toy_crops,
            seen,
            {
                **COARSE,
                **FINE,
                **{f"fine_units{at}": ("B", 5) for at in range(2)},
                "windows": ("B", 2, 2),
                "feature": ("B", 108),
                "logits": ("B", 9),
            },
            integer=("coarse_leaf", "coarse_basic", "coarse_units0"),
        ),
        Case(
            "googlenet's beginning",
            lambda: first_inceptions(GoogLeNet(1 / 16)),
            *seen_by_googlenet,
            {"feature": ("B", 30)},
            integer=("feature",),
            budget=0.3,
        ),
        Case(
            "vgg16-lstm",
            lambda: Vgg16Lstm(9, 6, VGG),
            lambda batch: {"clip": grid.pictures(batch * 3, 32, 3).reshape(batch, 3, 3, 32, 32)},
            lambda network, inputs: scores(network(**inputs)),
            TREE,
            integer=("leaf", "basic"),
        ),
        Case(
            "c3d-lstm",
            lambda: C3dLstm(9, 6, C3D),
            lambda batch: {
                "clip": grid.pictures(batch * 2, 32, 48).reshape(batch, 2, 3, 16, 32, 32)
            },
            lambda network, inputs: scores(network(**inputs)),
            TREE,
            integer=("leaf", "basic"),
        ),
        Case(
            "tmsau",
            lambda: tmsau(temporal=True),
            lambda batch: {**frames(batch), **motion(batch)},
            clip_scores,
            {
                **TREE,
                "temporal_leaf": ("B", 9),
                "temporal_basic": ("B", 6),
                "attention": ("B", 5),
                "logits": ("B", 9),
            },
            integer=("temporal_leaf", "logits"),
            free={"feature": {1: "T"}, "mask": {1: "T"}},
        ),
    )
}
OTHERS = {
    case.name: case
    for case in (
        Case(
            "googlenet",
            lambda: GoogLeNet(1 / 16),
            *seen_by_googlenet,
            {"feature": ("B", 64)},
            (),
        ),
        Case("nan", lambda: tmsau(temporal=False), frames, clip_scores, CLIPS, ()),
        Case("two-stream", lambda: tmsau(False, False), frames, clip_scores, CLIPS, ()),
        Case(
            "plain-cnn",
            lambda: Msau(9, 6, size=TOY, variant="plain-cnn"),
            toy_crops,
            seen,
            {"coarse_leaf": ("B", 9), "feature": ("B", 36), "logits": ("B", 9)},
            (),
        ),
        Case(
            "au-cnn",
            lambda: Msau(9, 6, size=TOY, variant="au-cnn"),
            toy_crops,
            seen,
            {
                "coarse_leaf": ("B", 9),
                "coarse_units0": ("B", 5),
                "feature": ("B", 36),
                "logits": ("B", 9),
            },
            (),
        ),
        Case(
            "au-z-cnn",
            lambda: Msau(9, 6, size=TOY, variant="au-z-cnn"),
            toy_crops,
            seen,
            {
                "coarse_leaf": ("B", 9),
                "coarse_units0": ("B", 5),
                "fine_leaf": ("B", 9),
                "fine_units0": ("B", 5),
                "windows": ("B", 1, 2),
                "feature": ("B", 72),
                "logits": ("B", 9),
            },
            (),
        ),
    )
}
"""Ablations and baselines, made of the same parts: shapes and gradients alone."""
each_network = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return {name: grid.settled(case) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def files(
    networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("onnx")
    return {name: grid.export(case, networks[name], folder) for name, case in CASES.items()}


@each_network
def test_shapes(case: Case, networks: dict[str, nn.Module]) -> None:
    grid.check_shapes(case, networks[case.name])


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS)
def test_ablations_and_baselines(case: Case) -> None:
    grid.check_shapes(case, grid.settled(case, 4))
    grid.check_gradients(case)


@each_network
def test_gradients_reach_every_parameter(case: Case) -> None:
    grid.check_gradients(case)


@each_network
def test_onnx_is_the_same_network(
    case: Case, networks: dict[str, nn.Module], files: dict[str, Path]
) -> None:
    grid.check_onnx(case, networks[case.name], files[case.name])


@each_network
def test_int8_is_nearly_the_same_network(
    case: Case, networks: dict[str, nn.Module], files: dict[str, Path]
) -> None:
    grid.check_int8(case, networks[case.name], files[case.name])


def test_a_clip_may_have_any_number_of_frames(
    networks: dict[str, nn.Module], files: dict[str, Path]
) -> None:
    """It was exported with five."""
    random = np.random.default_rng(5)
    feature = random.normal(size=(2, 9, 12)).astype(np.float32)
    arrays = {"feature": feature, "mask": np.ones((2, 9), np.float32), **motion(2)}
    wanted = grid.outputs(CASES["tmsau"], networks["tmsau"], arrays)
    got = grid.run_onnx(files["tmsau"], arrays)
    assert got["attention"].shape == (2, 9)
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, atol=1e-4, rtol=1e-3, err_msg=name)


def test_the_second_scale_sees_the_strongest_part_magnified() -> None:
    """What it answers to lies within the window, and the window is the one that is told."""
    network = grid.settled(CASES["msau"], 4)
    assert isinstance(network, Msau)
    crop = torch.from_numpy(grid.crops(1, TOY.crop_px))
    out = network(crop)
    outside = torch.ones(TOY.crop_px, TOY.crop_px, dtype=torch.bool)
    x, y = out.windows[0, 0].long().tolist()
    # Half a sample beyond the edge the pixel beside it is asked, too.
    outside[max(y - 1, 0) : y + 69, max(x - 1, 0) : x + 69] = False
    picture = three_channels(crop).requires_grad_()
    branch: Any = network.fine[0]
    looked = branch(magnified(picture, out.windows[:, 0], 68, TOY.crop_px))
    torch.testing.assert_close(looked.units, out.fine.units[0])
    torch.autograd.backward(looked.feature.sum(), inputs=[picture])
    assert picture.grad is not None and outside.any()
    assert picture.grad.abs().sum() > 0
    assert picture.grad[:, :, outside].abs().sum() == 0


def test_stage_two_leaves_the_units_module_alone() -> None:
    network = Msau(9, 6, size=TOY)
    fixed = {id(parameter) for parameter in network.unit_parameters()}
    left = {name for name, p in network.named_parameters() if id(p) not in fixed}
    assert all("embedding" in name or "heads" in name for name in left)
    assert {"fine.0.embedding.0.weight", "coarse_heads.basic.weight"} <= left


def test_both_scales_answer_with_their_mean_probability() -> None:
    network = grid.settled(CASES["msau"], 4)
    assert isinstance(network, Msau)
    crop = torch.from_numpy(grid.crops(2, TOY.crop_px))
    out = network(crop)
    both = [scale.scores.leaf.softmax(1) for scale in (out.coarse, out.fine)]
    torch.testing.assert_close(network.recognise(crop).logits.exp(), (both[0] + both[1]) / 2)


def test_frames_that_are_not_there_do_not_count() -> None:
    arrays = grid.tensors(frames(2))
    for attention in (True, False):
        network = tmsau(False, attention).eval()
        before = network(**arrays)
        arrays["feature"][0, 3:] += 100
        after = network(**arrays)
        torch.testing.assert_close(before.logits, after.logits)
        assert before.attention[0, 3:].max() < 1e-6
        torch.testing.assert_close(before.attention.sum(1), torch.ones(2))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_streams_are_fused_by_their_weight(weight: float) -> None:
    network = Tmsau(SpatialStream(12, 9, 6, reduced=16), FlowNet(9, 6, FLOW), weight).eval()
    out = network(**grid.tensors({**frames(2), **motion(2)}))
    assert out.temporal is not None
    wanted = weight * out.spatial.leaf.softmax(1) + (1 - weight) * out.temporal.leaf.softmax(1)
    torch.testing.assert_close(out.logits.exp(), wanted)


def test_what_cannot_be_built_says_so() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        DrmlSize(crop_px=171)
    with pytest.raises(ValueError, match="plain-cnn, au-cnn"):
        Msau(variant="cnn")
    with pytest.raises(ValueError, match="1 to 5"):
        Msau(9, size=TOY, regions=6)
    with pytest.raises(ValueError, match="0 to 1"):
        Tmsau(SpatialStream(12, 9, 6), None, 1.5)
    with pytest.raises(ValueError, match="motion"):
        tmsau(temporal=True)(**grid.tensors(frames(1)))
