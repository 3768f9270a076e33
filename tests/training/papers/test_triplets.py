"""Triplets: drawn from distances, read from a file, and the loss over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from ferstream.training.errors import OptionsWrong
from ferstream.training.papers.emo135.embedding import triplet_accuracy, triplet_loss
from ferstream.training.papers.emo135.triplets import (
    Rows,
    blended,
    blendshape_distance,
    draw_triplets,
    margins,
    read_triplets,
    vote_distance,
)

Crowd = tuple[NDArray[np.float32], NDArray[np.int64]]

VOTES = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]], np.float32)


def rows(*values: int) -> Rows:
    return np.array(values, np.int64)


def test_vote_distance_by_hand() -> None:
    """Hellinger: sqrt(1 - sum sqrt(p q))."""
    found = vote_distance(VOTES)(rows(0, 0, 0, 1), rows(0, 1, 3, 2))
    half = np.sqrt(1 - np.sqrt(0.5))
    assert np.allclose(found, [0, half, 1, half], atol=1e-6)


def test_blendshape_distance_by_hand() -> None:
    """Standardised: the size of a unit does not count; what never moves does not either."""
    shapes = np.array([[0, 0, 7], [2, 0, 7], [0, 20, 7], [2, 20, 7]], np.float32)
    found = blendshape_distance(shapes)(rows(0, 0, 0), rows(1, 2, 3))
    assert np.allclose(found, [np.sqrt(0.5), np.sqrt(0.5), 1])
    with pytest.raises(OptionsWrong, match="no blendshape differs"):
        blendshape_distance(np.ones((4, 52)))


def test_blended_lies_between() -> None:
    votes, shapes = vote_distance(VOTES), blendshape_distance(VOTES)
    a, b = rows(0, 1), rows(3, 2)
    third = (2 * votes(a, b) + shapes(a, b)) / 3
    assert np.allclose(blended(votes, shapes, 1 / 3)(a, b), third)
    with pytest.raises(OptionsWrong, match="share of 2"):
        blended(votes, shapes, 2)


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    """Votes and labels of 300 faces."""
    rng = np.random.default_rng(0)
    votes = rng.dirichlet([0.3] * 8, 300).astype(np.float32)
    return votes, np.asarray(votes.argmax(1), np.int64)


def test_the_odd_one_is_the_farther_by_the_gap(crowd: Crowd) -> None:
    votes, label = crowd
    distance = vote_distance(votes)
    found = draw_triplets(distance, label, 1000, seed=(0, 1), gap=0.15)
    a, b, odd = found.rows.T
    assert len(found) == 1000
    assert np.all(distance(a, b) + 0.15 < np.minimum(distance(a, odd), distance(b, odd)))
    assert np.all((a != b) & (a != odd) & (b != odd))


def test_all_kinds_come_up_with_their_margins(crowd: Crowd) -> None:
    votes, label = crowd
    found = draw_triplets(vote_distance(votes), label, 2000, seed=(3,), gap=0.05)
    kinds = np.array([len(set(label[triplet])) for triplet in found.rows])
    assert {1, 2, 3} == set(kinds)
    assert np.allclose(found.margin, np.where(kinds == 1, 0.1, 0.2))
    assert np.array_equal(margins(found.rows, label), found.margin)


def test_triplets_follow_the_seed(crowd: Crowd) -> None:
    votes, label = crowd
    first, again, other = (
        draw_triplets(vote_distance(votes), label, 50, seed=seed).rows
        for seed in ((0, 1), (0, 1), (0, 2))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_differences_end_with_a_line() -> None:
    alike = np.full((20, 8), 1 / 8, np.float32)
    with pytest.raises(OptionsWrong, match="only 0 of 10 triplets"):
        draw_triplets(vote_distance(alike), np.zeros(20, int), 10, seed=(0,))
    with pytest.raises(OptionsWrong, match="2 faces"):
        draw_triplets(vote_distance(VOTES), np.zeros(2, int), 10, seed=(0,))


def test_a_given_set_is_read(tmp_path: Path) -> None:
    path = tmp_path / "triplets.csv"
    path.write_text("# a, b, odd\nc.png, a.png,b.png\n\na.png,b.png,c.png\n")
    found = read_triplets(path, ["a.png", "b.png", "c.png"])
    assert found.rows.tolist() == [[2, 0, 1], [0, 1, 2]]
    assert np.allclose(found.margin, 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "line 1: 2 names"),
        ("a,b,c\na,b,z\n", "line 2: no image 'z'"),
        ("#\n", "no triplet"),
    ],
)
def test_a_wrong_set_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "triplets.csv"
    path.write_text(text)
    with pytest.raises(OptionsWrong, match=message):
        read_triplets(path, ["a", "b", "c"])


def test_triplet_loss_by_hand() -> None:
    """Squared distances: pair 1, to the odd one 4 from a and 1 from b."""
    a, b, odd = (torch.tensor([[value]]) for value in (0.0, 1.0, 2.0))
    assert triplet_loss(a, b, odd, torch.tensor([0.2])).item() == pytest.approx(0.2)
    assert triplet_loss(a, b, odd, torch.tensor([3.5])).item() == pytest.approx(0.5 + 3.5)
    assert triplet_accuracy(a, b, odd).item() == 0, "b is as near to the odd one"
    assert triplet_accuracy(a, b, odd + 0.1).item() == 1


def test_learning_from_triplets_brings_like_faces_together(
    crowd: Crowd,
) -> None:
    votes, label = crowd
    torch.manual_seed(0)
    given = torch.from_numpy(votes + np.random.default_rng(1).normal(0, 0.1, votes.shape)).float()
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    held_out = draw_triplets(vote_distance(votes), label, 400, seed=(9,)).rows

    def points(chosen: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        codes = nn.functional.normalize(network(given), dim=1)
        a, b, odd = (codes[torch.from_numpy(column)] for column in chosen.T)
        return a, b, odd

    before = triplet_accuracy(*points(held_out)).item()
    for step in range(60):
        found = draw_triplets(vote_distance(votes), label, 256, seed=(0, step))
        loss = triplet_loss(*points(found.rows), torch.from_numpy(found.margin))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    after = triplet_accuracy(*points(held_out)).item()
    assert after > max(0.85, before + 0.05)
