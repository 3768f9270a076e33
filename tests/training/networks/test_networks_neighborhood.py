"""The networks of paper 001 at toy size through the grid, and at the paper's own by their sizes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ferstream.training.networks.neighborhood import (
    AsymmetricAutoencoder,
    AutoencoderSize,
    Critic,
    TwoScale,
    TwoScaleSize,
    grey_picture,
)
from tests.training import network_grid as grid
from tests.training.network_grid import Arrays, Case

CODED = AutoencoderSize(crop_px=32, widths=(6, 8, 12, 16), code=8)
SEEN = TwoScaleSize(crop_px=48, widths=(8, 12, 16, 24, 12), full=(10, 6))


def toy_pictures(batch: int) -> Arrays:
    return {"picture": grid.pictures(batch, 32) * 2 - 1}


def picture_and_noise(batch: int) -> Arrays:
    noise = np.random.default_rng(2).normal(scale=0.3, size=(batch, 8)).astype(np.float32)
    return {**toy_pictures(batch), "noise": noise}


def three_answers(network: TwoScale, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = network(**inputs)._asdict()
    return found


CASES = {
    case.name: case
    for case in (
        Case(
            "autoencoder",
            lambda: AsymmetricAutoencoder(CODED),
            picture_and_noise,
            lambda network, inputs: {"neighbour": network(**inputs)},
            {"neighbour": ("B", 1, 32, 32)},
            integer=("neighbour",),
            budget=0.25,
        ),
        Case(
            "critic",
            lambda: Critic(CODED),
            toy_pictures,
            lambda network, inputs: {"value": network(**inputs)},
            {"value": ("B",)},
            integer=("value",),
        ),
        Case(
            "two-scale",
            lambda: TwoScale(7, size=SEEN),
            lambda batch: {"picture": grid.pictures(batch, 48) * 2 - 1},
            three_answers,
            {"logits": ("B", 7), "original": ("B", 7), "half": ("B", 7)},
            integer=("logits", "original", "half"),
        ),
    )
}
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


def test_the_autoencoder_has_the_shapes_of_table_1() -> None:
    network = AsymmetricAutoencoder().eval()
    wanted = [(1, 112, 112), (16, 56, 56), (32, 28, 28), (64, 14, 14), (80, 7, 7)]
    with torch.no_grad():
        clean, recovered = network.rebuilt(torch.zeros(2, 1, 112, 112))
        code = network.encoder(torch.zeros(2, 1, 112, 112))
    assert [tuple(z.shape[1:]) for z in clean] == wanted
    assert [tuple(z.shape[1:]) for z in recovered] == wanted
    assert code.shape == (2, 64) and network.decoder.full.out_features == 80 * 7 * 7


def test_sizes_of_the_autoencoder() -> None:
    """Kernels 3x3 with BN in the encoder; the decoder has nine residual blocks."""
    network = AsymmetricAutoencoder()
    widths = (1, 16, 32, 64, 80)
    kernels = sum(9 * a * b for a, b in pairwise(widths))
    assert grid.parameters(network.encoder) == kernels + 2 * sum(widths[1:]) + 64 * (3920 + 1)
    blocks = [m for m in network.decoder.modules() if type(m).__name__.endswith("Block")]
    assert len(blocks) == 9


def test_sizes_of_the_two_scale_network() -> None:
    """Table II: rows 1a to 5, 5x5 then 3x3 then 1x1, on either scale, then 64, 32 and 7."""
    with torch.device("meta"):
        network = TwoScale()
    kernels = (
        25 * 64
        + 25 * 64 * 64
        + 9 * (64 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512)
        + 512 * 128
    )
    norms = 2 * (64 + 64 + 128 + 128 + 256 + 256 + 512 + 128)
    full = 64 * (128 * 7 * 7 + 1) + 32 * (128 * 3 * 3 + 1)
    heads = 7 * (64 + 1) + 7 * (32 + 1) + 7 * (96 + 1)
    assert grid.parameters(network) == 2 * (kernels + norms) + full + heads


def test_the_two_scale_network_has_the_shapes_of_table_2() -> None:
    network = TwoScale().eval()
    sides: dict[str, list[tuple[int, ...]]] = {}
    with torch.no_grad():
        for name, branch, side in (
            ("Ori", network.original, 112),
            ("Half", network.smaller, 56),
        ):
            x = torch.zeros(1, 1, side, side)
            sides[name] = []
            for stage in branch.stages:
                x = stage(x)
                sides[name].append(tuple(x.shape[1:3]))
    channels = (64, 64, 128, 128, 256, 256, 512, 128)
    assert sides["Ori"] == list(zip(channels, (56, 56, 28, 28, 14, 14, 7, 7), strict=True))
    assert sides["Half"] == list(zip(channels, (28, 28, 14, 14, 7, 7, 3, 3), strict=True))


def test_the_perceived_maps_are_those_of_conv_3_to_5() -> None:
    network = TwoScale(7, size=SEEN).eval()
    picture = torch.from_numpy(grid.pictures(2, 48))
    third, fourth, fifth = network.original.perceived(picture)
    assert [tuple(m.shape[1:]) for m in (third, fourth, fifth)] == [
        (16, 6, 6), (24, 3, 3), (12, 3, 3)
    ]  # fmt: skip
    torch.testing.assert_close(network.original.stages(picture), fifth)


def test_crops_are_recognised_as_pictures_are() -> None:
    network = TwoScale(7, size=SEEN).eval()
    crop = torch.from_numpy(grid.crops(2, 48))
    found = network.recognise(crop)
    assert found.feature.shape == (2, 16) and network.features == 16
    torch.testing.assert_close(found.logits, network(grey_picture(crop)).logits)
    assert grey_picture(torch.tensor([0, 255])).tolist() == [-1.0, 1.0]


def test_without_noise_on_the_code_the_neighbour_is_the_rebuilt_picture() -> None:
    """Eq. 9: another code, another picture; the same code, the same picture."""
    network = grid.settled(CASES["autoencoder"])
    assert isinstance(network, AsymmetricAutoencoder)
    inputs = grid.tensors(picture_and_noise(2))
    with torch.no_grad():
        rebuilt = network.decoder(network.encoder(inputs["picture"])).clamp(-1, 1)
        same = network(inputs["picture"], torch.zeros(2, 8))
        other = network(**inputs)
    torch.testing.assert_close(same, rebuilt)
    assert (other - same).abs().mean() > 0.01


def test_the_corrupted_encoder_drops_a_tenth_and_the_target_is_not_corrupted() -> None:
    network = AsymmetricAutoencoder(CODED).eval()
    picture = torch.ones(4, 1, 32, 32)
    dropped = (network.encoder.maps(picture, noise=True)[0] == 0).float().mean()
    assert 0.05 < dropped < 0.15
    clean, recovered = network.rebuilt(picture)
    assert torch.equal(clean[0], picture)
    assert not any(z.requires_grad for z in clean) and all(z.requires_grad for z in recovered)


def test_the_critics_weights_are_clipped() -> None:
    network = Critic(CODED)
    network.clip_weights(0.01)
    assert all(parameter.detach().abs().max() <= 0.01 for parameter in network.parameters())


def test_sizes_that_do_not_fit_say_so() -> None:
    with pytest.raises(ValueError, match="100"):
        AutoencoderSize(crop_px=100)
    with pytest.raises(ValueError, match="from 32 on"):
        TwoScaleSize(crop_px=16)
