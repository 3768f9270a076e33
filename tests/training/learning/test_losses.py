"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ferstream.training.learning.losses import (
    action_unit_loss,
    focal_loss,
    ranking_loss,
    unit_label_loss,
    vote_cross_entropy,
)

LN = math.log


def test_vote_cross_entropy() -> None:
    """Even logits cost ln K whatever the votes; logits of 3 to 1 cost ln 4/3 and ln 4."""
    logits = torch.tensor([[0.0, 0.0], [LN(3), 0.0]])
    votes = torch.tensor([[0.3, 0.7], [0.5, 0.5]])
    second = 0.5 * LN(4 / 3) + 0.5 * LN(4)
    even = vote_cross_entropy(logits, votes, torch.ones(2))
    assert even.item() == pytest.approx((LN(2) + second) / 2)
    weighed = vote_cross_entropy(logits, votes, torch.tensor([1.0, 3.0]))
    assert weighed.item() == pytest.approx((LN(2) + 3 * second) / 4)


def test_nothing_rated_costs_nothing() -> None:
    logits = torch.randn(3, 8, requires_grad=True)
    loss = vote_cross_entropy(logits, torch.full((3, 8), 1 / 8), torch.zeros(3))
    assert loss.item() == 0
    assert action_unit_loss(logits, torch.rand(3, 8), torch.zeros(3)).item() == 0


def test_the_best_answer_is_the_votes_themselves() -> None:
    votes = torch.tensor([[0.2, 0.5, 0.3]])
    logits = votes.log().requires_grad_()
    torch.autograd.backward(vote_cross_entropy(logits, votes, torch.ones(1)))
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


def test_action_unit_loss() -> None:
    """A logit of 0 costs ln 2; ln 3 (probability 3/4) costs ln 4/3 where the unit is on."""
    logits = torch.tensor([[0.0, LN(3)], [5.0, -5.0]])
    units = torch.tensor([[0.4, 1.0], [1.0, 1.0]])
    loss = action_unit_loss(logits, units, torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx((LN(2) + LN(4 / 3)) / 2, abs=1e-6)


def test_ranking_loss() -> None:
    """Probabilities of the majority 1/2 then 3/4, and 1/2 then 1/4: the second one costs."""
    coarse = torch.zeros(2, 2)
    fine = torch.tensor([[LN(3), 0.0], [0.0, LN(3)]])
    votes = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    assert ranking_loss(coarse, fine, votes, 0.05).item() == pytest.approx((0 + 0.30) / 2)
    assert ranking_loss(coarse, fine, votes, 0.5).item() == pytest.approx((0.25 + 0.75) / 2)


def test_ranking_loss_teaches_both_scales() -> None:
    coarse = torch.zeros(1, 3, requires_grad=True)
    fine = torch.zeros(1, 3, requires_grad=True)
    votes = torch.tensor([[1.0, 0.0, 0.0]])
    torch.autograd.backward(ranking_loss(coarse, fine, votes, 0.05))
    assert coarse.grad is not None and fine.grad is not None
    assert coarse.grad[0, 0] > 0 > fine.grad[0, 0]


def test_half_precision_logits_are_summed_in_full() -> None:
    logits, votes = torch.randn(64, 8), torch.full((64, 8), 1 / 8)
    full = vote_cross_entropy(logits, votes, torch.ones(64))
    half = vote_cross_entropy(logits.bfloat16(), votes, torch.ones(64))
    assert half.dtype == torch.float32 and half.item() == pytest.approx(full.item(), rel=0.01)


def test_unit_label_loss() -> None:
    """Eq. 2: probability 3/4 costs ln 4/3 where the unit is shown and ln 4 where it is absent;
    the sum over the units is averaged over both pictures."""
    logits = torch.tensor([[LN(3), LN(3), LN(3)], [0.0, 50.0, -50.0]])
    labels = torch.tensor([[1, -1, 0], [-1, 0, 0]])
    wanted = (LN(4 / 3) + LN(4) + LN(2)) / 2
    assert unit_label_loss(logits, labels).item() == pytest.approx(wanted, rel=1e-6)


def test_units_without_a_label_teach_nothing() -> None:
    logits = torch.randn(2, 4, requires_grad=True)
    labels = torch.tensor([[1, 0, -1, 0], [0, 0, 0, 0]])
    torch.autograd.backward(unit_label_loss(logits, labels))
    assert logits.grad is not None
    assert ((logits.grad != 0) == (labels != 0)).all()


def test_very_sure_units_cost_what_they_should() -> None:
    """No infinity where the sigmoid rounds to 0 or 1."""
    loss = unit_label_loss(torch.tensor([[200.0, -200.0]]), torch.tensor([[-1, -1]]))
    assert loss.item() == pytest.approx(200.0)


def test_focal_loss() -> None:
    """At 3/4 a class costs ln 4/3 times (1/4) squared; without focus it is cross entropy."""
    logits = torch.tensor([[LN(3), 0.0], [LN(3), 0.0]])
    votes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = focal_loss(logits, votes)
    assert found.tolist() == pytest.approx([LN(4 / 3) / 16, LN(4) * 9 / 16])
    assert focal_loss(logits, votes, 0.0).tolist() == pytest.approx([LN(4 / 3), LN(4)])
