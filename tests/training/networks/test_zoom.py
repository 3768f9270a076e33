"""Receptive fields, the strongest cells with erasing, and windows magnified."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ferstream.training.networks.drml import (
    Drml,
    DrmlSize,
    ReceptiveField,
    magnified,
    receptive_field,
    strongest_cells,
    window_corners,
)


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([nn.Conv2d(1, 1, 3)], ReceptiveField(3, 1, 0)),
        ([nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2)], ReceptiveField(4, 2, -1)),
        ([nn.Conv2d(1, 1, 5, 2, 2), nn.Conv2d(1, 1, 3, dilation=2)], ReceptiveField(13, 2, -2)),
    ],
)
def test_receptive_field_of_small_chains(layers: list[nn.Module], wanted: ReceptiveField) -> None:
    assert receptive_field(layers) == wanted


def test_receptive_field_is_what_a_cell_answers_to() -> None:
    """Pixels that change a cell in the middle of DRML's map: the gradient's extent."""
    torch.manual_seed(0)
    network = Drml(DrmlSize(crop_px=106, grid=1, stem=2, middle=2, last=2, hidden=4, full=4))
    with torch.no_grad():
        for parameter in network.trunk.parameters():
            parameter.abs_().add_(1e-3)
    picture = torch.rand(1, 3, 106, 106).add(0.1).requires_grad_()
    network.eval()
    # An average looks at every cell of a window, a maximum only at one.
    trunk = nn.Sequential(
        *(nn.AvgPool2d(2) if isinstance(x, nn.MaxPool2d) else x for x in network.trunk)
    )
    torch.autograd.backward(trunk(picture)[0, 0, 5, 3])
    assert picture.grad is not None
    seen_y, seen_x = (axis.unique() for axis in torch.nonzero(picture.grad[0, 0]).T)
    field = network.field
    assert (field.size_px, field.step_px) == (68, 4)
    for found, cell in ((seen_y, 5), (seen_x, 3)):
        first = field.first_px + cell * field.step_px
        assert (int(found.min()), int(found.max())) == (first, first + field.size_px - 1)


def test_an_unknown_layer_has_no_known_reach() -> None:
    with pytest.raises(TypeError, match="Linear"):
        receptive_field([nn.Conv2d(1, 1, 3), nn.Linear(2, 2)])


def test_the_window_is_the_field_of_the_strongest_cell() -> None:
    maps = torch.zeros(2, 3, 6, 6)
    maps[0, 1, 2, 4], maps[1, 0, 5, 0] = 7.0, 9.0
    cells = strongest_cells(maps, 1, 1)
    assert cells.tolist() == [[[4, 2]], [[0, 5]]]
    corners = window_corners(cells, ReceptiveField(12, 4, -1), 30)
    assert corners.tolist() == [[[15.0, 7.0]], [[0.0, 18.0]]], "kept within the picture"


def test_regions_that_were_used_are_erased() -> None:
    """Strongest first; what lies beside a region that was taken comes last."""
    maps = torch.zeros(1, 1, 5, 5)
    maps[0, 0, 0, 0], maps[0, 0, 0, 1], maps[0, 0, 3, 3], maps[0, 0, 4, 0] = 9.0, 8.0, 5.0, 4.0
    assert strongest_cells(maps, 3, 1)[0].tolist() == [[0, 0], [3, 3], [0, 4]]


def test_five_regions_are_five_places_even_where_all_was_erased() -> None:
    maps = torch.rand(8, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    for cells in strongest_cells(maps, 5, 2).tolist():
        assert len({tuple(cell) for cell in cells}) == 5


def test_magnified_is_bilinear() -> None:
    """A window of the picture's own pixels stays; a ramp enlarged stays a ramp."""
    ramp = torch.arange(20.0).repeat(1, 2, 20, 1)
    corner = torch.tensor([[4.0, 6.0]])
    same = magnified(ramp, corner, 8, 8)
    torch.testing.assert_close(same, ramp[:, :, 6:14, 4:12])
    larger = magnified(ramp, corner, 8, 16)[0, 1, 3]
    torch.testing.assert_close(larger, 3.75 + 0.5 * torch.arange(16.0))
