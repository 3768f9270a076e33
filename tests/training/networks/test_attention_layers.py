"""What the layers promise: regions, zoom, attention and fusion, on numbers that can be seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ferstream.training.networks.backbones import (
    RegionLayer,
    ResidualBlock,
    SqueezeExcite,
    residual_stages,
)
from ferstream.training.networks.compact_msau import (
    CompactBody,
    descriptor,
    normalised,
    strongest_cell,
    zoom_in,
)
from ferstream.training.networks.fusion import CascadedAttention, Fusion, FusionOutput, MotionNet

FEATURES = 12


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def a_fusion(weight: float, **options: float) -> Fusion:
    fusion = Fusion(FEATURES, weight, **options).eval()
    nn.init.normal_(fusion.attend.kernel)
    nn.init.normal_(fusion.attend.transfer.weight, std=0.3)
    return fusion


def fused(
    fusion: Fusion, feature: Tensor, mask: Tensor, temporal: Tensor, has_motion: Tensor
) -> FusionOutput:
    """With a motion that says nothing of words and affect."""
    rows = len(feature)
    silent = torch.zeros(rows, 135), torch.zeros(rows, 3)
    out: FusionOutput = fusion(feature, mask, temporal, has_motion, *silent)
    return out


@pytest.mark.parametrize("region", [0, 2, 7, 12])
def test_a_region_has_weights_of_its_own(region: int) -> None:
    layer, grid, channels = RegionLayer(6, 4).eval(), 4, 6
    x = torch.rand(2, channels, 24, 24) + 0.5
    with torch.no_grad():
        before = layer(x)
        layer.conv.weight[region * channels : (region + 1) * channels] += 1
        changed = (layer(x) != before).any(1)
    row, column = divmod(region, grid)
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[row * 6 : row * 6 + 6, column * 6 : column * 6 + 6] = True
    assert changed[:, inside].all() and not changed[:, ~inside].any()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_region_sees_itself_alone(row: int, column: int) -> None:
    layer = RegionLayer(3, 2).eval()
    here = (
        slice(None),
        slice(None),
        slice(4 * row, 4 * row + 4),
        slice(4 * column, 4 * column + 4),
    )
    x = torch.rand(1, 3, 8, 8)
    other = x + 1
    other[here] = x[here]
    with torch.no_grad():
        assert torch.equal(layer(x)[here], layer(other)[here])
        other[here] += 1
        assert not torch.equal(layer(x)[here], layer(other)[here])


def test_without_weights_a_region_layer_passes_on() -> None:
    layer = RegionLayer(3, 2).eval()
    nn.init.zeros_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)  # type: ignore[arg-type]
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(layer(x), x)


@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_halve_the_size_by_their_stride(stride: int) -> None:
    block = ResidualBlock(8, 16, stride, excite=True).eval()
    assert block(torch.rand(2, 8, 12, 12)).shape == (2, 16, 12 // stride, 12 // stride)
    assert residual_stages(8, (16, 24), 2)(torch.rand(2, 8, 12, 12)).shape == (2, 24, 3, 3)


def test_excitation_weighs_whole_channels() -> None:
    x = torch.rand(2, 16, 5, 5) + 0.1
    ratio = SqueezeExcite(16)(x) / x
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert (ratio > 0).all() and (ratio < 1).all()


def test_light_and_contrast_do_not_matter() -> None:
    crop = torch.randint(20, 100, (2, 1, 48, 48))
    x = normalised(crop.to(torch.uint8))
    brighter = normalised((2 * crop + 30).to(torch.uint8))
    assert (x - brighter).abs().max() < 0.1
    torch.testing.assert_close(x.mean((2, 3)), torch.zeros(2, 1), atol=1e-5, rtol=0)
    assert torch.isfinite(normalised(torch.full((1, 1, 48, 48), 7, dtype=torch.uint8))).all()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 5), (5, 1), (3, 3)])
def test_the_strongest_cell_is_found(row: int, column: int) -> None:
    maps = torch.rand(2, 7, 6, 6)
    maps[0, 4, row, column] = 9
    maps[1, 2, column, row] = 9
    centre = torch.tensor([(column + 0.5) / 6, (row + 0.5) / 6])
    torch.testing.assert_close(strongest_cell(maps), torch.stack([centre, centre.flip(0)]))


def place_of_dot(x: Tensor) -> Tensor:
    """Centre of mass (B, 2), x and y in pixels."""
    mass = x[:, 0] / x.sum((2, 3))[..., None]
    line = torch.arange(x.shape[-1], dtype=torch.float32)
    return torch.stack([(mass.sum(1) * line).sum(1), (mass.sum(2) * line).sum(1)], 1)


@pytest.mark.parametrize("dot", [(20, 30), (12, 12), (35, 18)])
def test_zooming_in_shows_the_right_window(dot: tuple[int, int]) -> None:
    """A dot at the window's centre lands in the middle, one beside it twice as far away."""
    x, y = dot
    picture = torch.zeros(2, 1, 48, 48)
    picture[0, 0, y, x] = 1
    picture[1, 0, y - 3, x + 5] = 1
    centre = torch.tensor([[(x + 0.5) / 48, (y + 0.5) / 48]] * 2)
    seen = zoom_in(picture, centre, reach_px=24, out_px=48)
    assert seen.shape == (2, 1, 48, 48)
    torch.testing.assert_close(
        place_of_dot(seen), torch.tensor([[23.5, 23.5], [33.5, 17.5]]), atol=1e-3, rtol=0
    )


def test_zooming_matches_plain_bilinear_sampling() -> None:
    x, centre = torch.rand(3, 1, 48, 48), torch.tensor([[0.5, 0.4], [0.3, 0.6], [0.7, 0.7]])
    steps = ((torch.arange(32) + 0.5) / 32 - 0.5) * 24 / 48
    at = 2 * (centre[:, :, None] + steps) - 1
    ones = torch.ones(3, 32, 32)
    grid = torch.stack([at[:, 0][:, None] * ones, at[:, 1][:, :, None] * ones], -1)
    wanted = nn.functional.grid_sample(x, grid, align_corners=False)
    torch.testing.assert_close(zoom_in(x, centre, 24, 32), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("corner", [0.0, 1.0])
def test_the_window_stays_within_the_crop(corner: float) -> None:
    even = zoom_in(torch.ones(1, 1, 48, 48), torch.full((1, 2), corner), 24, 32)
    assert (even[:, :, 1:-1, 1:-1] > 0.999).all() and even.min() > 0.5


def test_the_descriptor_is_each_channels_maximum_and_mean() -> None:
    maps = torch.rand(2, 3, 4, 4)
    found = descriptor(maps)
    torch.testing.assert_close(found[:, :3], maps.flatten(2).max(2).values)
    torch.testing.assert_close(found[:, 3:], maps.flatten(2).mean(2))


def test_the_fine_scale_reads_the_zoomed_window() -> None:
    """Changing pixels far from the window changes no fine feature, given the same window."""
    network = CompactBody().eval()
    x = normalised(torch.randint(0, 255, (1, 1, 48, 48), dtype=torch.uint8))
    far = x.clone()
    far[:, :, :8] += 1
    centre = torch.tensor([[0.5, 0.7]])
    with torch.no_grad():
        a, b = (network.fine(zoom_in(image, centre, 24, 32)) for image in (x, far))
    torch.testing.assert_close(a, b)


def test_velocities_are_compressed() -> None:
    """An outlier's scores are bounded: a hundredfold velocity hardly changes a tenfold one."""
    network = MotionNet().eval()
    motion = torch.randn(1, 16, 32, 32).sign()
    with torch.no_grad():
        ten, thousand = network(10 * motion), network(1000 * motion)
    for one, other in zip(ten, thousand, strict=True):
        assert (one - other).abs().max() < 0.1


def test_attention_starts_as_averaging() -> None:
    attend, feature = CascadedAttention(FEATURES), torch.randn(2, 5, FEATURES)
    clip, attention = attend(feature, torch.ones(2, 5))
    torch.testing.assert_close(clip, feature.mean(1))
    torch.testing.assert_close(attention, torch.full((2, 5), 0.2))


def test_attention_ignores_empty_frames_and_sums_to_one() -> None:
    attend = a_fusion(1.0).attend
    feature, mask = torch.randn(2, 6, FEATURES), torch.ones(2, 6)
    mask[0, 2:], mask[1, :3] = 0, 0
    clip, attention = attend(feature, mask)
    torch.testing.assert_close(attention.sum(1), torch.ones(2))
    assert not attention[mask == 0].any() and (attention[mask == 1] > 0).all()
    feature[mask == 0] = 50.0
    again, _ = attend(feature, mask)
    torch.testing.assert_close(again, clip)
    alone, _ = attend(feature[:1, :2], mask[:1, :2])
    torch.testing.assert_close(alone, clip[:1])


def test_attention_does_not_care_for_order() -> None:
    attend, feature = a_fusion(1.0).attend, torch.randn(1, 6, FEATURES)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    clip, attention = attend(feature, torch.ones(1, 6))
    turned, moved = attend(feature[:, order], torch.ones(1, 6))
    torch.testing.assert_close(turned, clip)
    torch.testing.assert_close(moved, attention[:, order])


def test_one_frame_without_motion_keeps_its_own_scores() -> None:
    fusion, feature = a_fusion(0.6), torch.randn(4, 1, FEATURES)
    out = fused(fusion, feature, torch.ones(4, 1), torch.randn(4, 8) * 9, torch.zeros(4, 1))
    frame = fusion.basic8(feature[:, 0])
    torch.testing.assert_close(out.basic8, frame.log_softmax(1), atol=1e-5, rtol=0)
    judged = fusion.judged(feature[:, 0])
    torch.testing.assert_close(out.emo135, judged.words, atol=1e-4, rtol=0)
    torch.testing.assert_close(out.affect, judged.affect)
    torch.testing.assert_close(out.attention, torch.ones(4, 1))


def clip_inputs() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 4, FEATURES), torch.ones(3, 4)


def test_a_weight_of_one_ignores_motion() -> None:
    fusion, (feature, mask) = a_fusion(1.0), clip_inputs()
    still = fused(fusion, feature, mask, torch.zeros(3, 8), torch.zeros(3, 1))
    moving = fused(fusion, feature, mask, torch.randn(3, 8) * 5, torch.ones(3, 1))
    for a, b in zip(still, moving, strict=True):
        torch.testing.assert_close(a, b)


def test_a_weight_of_zero_believes_motion_alone() -> None:
    fusion, (feature, mask), temporal = a_fusion(0.0), clip_inputs(), torch.randn(3, 8)
    out = fused(fusion, feature, mask, temporal, torch.ones(3, 1))
    torch.testing.assert_close(out.basic8, temporal.log_softmax(1), atol=1e-5, rtol=0)


def test_streams_are_mixed_as_probabilities() -> None:
    fusion, (feature, mask), temporal = a_fusion(0.7), clip_inputs(), torch.randn(3, 8)
    out = fused(fusion, feature, mask, temporal, torch.tensor([[1.0], [1.0], [0.0]]))
    clip, _ = fusion.attend(feature, mask)
    spatial = fusion.basic8(clip).softmax(1)
    wanted = 0.7 * spatial + 0.3 * temporal.softmax(1)
    wanted[2] = spatial[2]
    torch.testing.assert_close(out.basic8.exp(), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.basic8.exp().sum(1), torch.ones(3))


def test_a_mixture_is_sharpened_where_there_is_motion() -> None:
    fusion, (feature, mask), temporal = a_fusion(0.7), clip_inputs(), torch.randn(3, 8)
    has_motion = torch.tensor([[1.0], [1.0], [0.0]])
    plain = fused(fusion, feature, mask, temporal, has_motion).basic8
    fusion.mixture_temperature = 0.5
    sharp = fused(fusion, feature, mask, temporal, has_motion).basic8
    torch.testing.assert_close(sharp[:2], 2 * plain[:2])
    torch.testing.assert_close(sharp[2], plain[2])


def test_words_and_affect_are_mixed_where_there_is_motion() -> None:
    fusion = a_fusion(1.0, word_weight=0.6, affect_weight=0.2)
    feature, mask = clip_inputs()
    words, affect = torch.randn(3, 135), torch.rand(3, 3)
    has_motion = torch.tensor([[1.0], [0.5], [0.0]])
    out = fusion(feature, mask, torch.zeros(3, 8), has_motion, words, affect)
    alone = fusion.judged(fusion.attend(feature, mask)[0])
    share = 0.4 * has_motion
    wanted = (1 - share) * alone.words.sigmoid() + share * words.sigmoid()
    torch.testing.assert_close(out.emo135.sigmoid(), wanted, atol=1e-5, rtol=0)
    share = 0.8 * has_motion
    torch.testing.assert_close(out.affect, (1 - share) * alone.affect + share * affect)
    torch.testing.assert_close(out.fg33, alone.fine)


def test_frames_count_by_their_weight() -> None:
    """A frame that counts half as much as another like it gets half of its attention."""
    attend = CascadedAttention(FEATURES).eval()
    feature = torch.randn(1, 1, FEATURES).expand(1, 4, FEATURES)
    _, attention = attend(feature, torch.tensor([[1.0, 0.5, 0.25, 0.0]]))
    wanted = torch.tensor([[1.0, 0.5, 0.25, 0.0]]) / 1.75
    torch.testing.assert_close(attention, wanted, atol=1e-6, rtol=0)
