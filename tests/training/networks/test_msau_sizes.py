"""Paper 003's networks at the paper's own sizes: shapes and counts of weights, nothing is run."""

from __future__ import annotations

import torch
from torch import nn

from ferstream.training.networks.backbones import GoogLeNet, RegionLayer
from ferstream.training.networks.drml import Drml
from ferstream.training.networks.msau import VARIANTS, Msau
from ferstream.training.networks.tmsau import C3dLstm, SpatialStream, Vgg16Lstm
from tests.training import network_grid as grid


def test_sizes_of_drml() -> None:
    """The paper's: 32 kernels of 11 x 11 x 3, 64 regions with their own 3x3, 2048 + 256 values."""
    with torch.device("meta"):
        network = Drml()
    convolution, regions = network.trunk[0], network.trunk[2]
    assert isinstance(convolution, nn.Conv2d)
    assert tuple(convolution.weight.shape) == (32, 3, 11, 11)
    assert grid.parameters(regions) == 64 * (32 * 32 * 9 + 32) + 2 * 32
    assert network.size.features == 2048 + 256
    last = {name: tuple(weight.shape) for name, weight in network.embedding.named_parameters()}
    assert last["0.weight"] == (4096, 256 * 6 * 6) and last["3.weight"] == (2048, 4096)
    assert network.map_side == 27 and isinstance(network.units, nn.Linear)
    assert network.units.out_features == 12
    middle = 8 * 8 * 32 * 16 + 8 * 8 * 16 * 16 + 6 * 6 * 16 * 16 + 3 * 16
    assert grid.parameters(network) == (
        32 * (363 + 1)
        + 64 * 9248
        + 64
        + 2 * 32
        + middle
        + 256 * (5 * 5 * 16 + 1)
        + 4096 * 9217
        + 2048 * 4097
        + 12 * 2049
    )


def test_every_region_has_weights_of_its_own() -> None:
    """Of 16 regions only the one in row 1, column 2 has weights: only its part is changed."""
    layer = RegionLayer(2, 4).eval()
    with torch.no_grad():
        for parameter in layer.conv.parameters():
            parameter.zero_()
        assert layer.conv.bias is not None
        layer.conv.bias[2 * (1 * 4 + 2) : 2 * (1 * 4 + 3)] = 1.0
        x = torch.rand(1, 2, 12, 12)
        changed = (layer(x) - x).abs().amax((0, 1)) > 0.5
    wanted = torch.zeros(12, 12, dtype=torch.bool)
    wanted[3:6, 6:9] = True
    assert torch.equal(changed, wanted)


def test_msau_has_two_scales_of_2304_values_at_the_papers_size() -> None:
    with torch.device("meta"):
        heads = {v: Msau(variant=v) for v in VARIANTS}
        five = Msau(regions=5)
    assert heads["msau"].features == 2 * 2304 and five.features == 6 * 2304
    assert heads["plain-cnn"].features == heads["au-cnn"].features == 2304
    one_scale = grid.parameters(Drml()) + 2304 * 39 + 39
    assert grid.parameters(heads["msau"]) == 2 * one_scale
    assert grid.parameters(heads["au-z-cnn"]) == 2 * (one_scale - 2304 * 6 - 6)


def test_sizes_of_the_networks_that_the_paper_borrows() -> None:
    """VGG16's 138,357,544 and C3D's 78,409,573 (101 classes) without what comes after the first
    fully connected layer; GoogLeNet's table counts 159 K weights in 3a."""
    with torch.device("meta"):
        vgg, c3d, google = Vgg16Lstm(), C3dLstm(), GoogLeNet()
    second, thousand = 4096 * 4097, 1000 * 4097
    assert grid.parameters(vgg.trunk) + grid.parameters(vgg.full) == 138_357_544 - second - thousand
    after = second + 101 * 4097
    assert grid.parameters(c3d.trunk) + grid.parameters(c3d.full) == 78_409_573 - after
    weights = [w for name, w in google.trunk[5].named_parameters() if w.dim() == 4]
    assert 159 <= sum(weight.numel() for weight in weights) / 1024 < 160
    assert google.features == 1024 and grid.parameters(google) == 5_980_832


def test_the_attention_reads_256_values_of_each_frame() -> None:
    with torch.device("meta"):
        stream = SpatialStream()
    assert grid.parameters(stream) == (2 * 2304 * 256 + 256) + 256 + 256 * 257 + 257 * 39
