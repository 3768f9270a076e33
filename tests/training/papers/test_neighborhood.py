"""Paper 001's divergence, masks and failure cases against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ferstream.training.papers.neighborhood.figures import failure_cases, frames_about_peak
from ferstream.training.papers.neighborhood.masked_learner import (
    answers_loss,
    batch_threshold,
    masked_mean,
    reliable,
    steady_mask,
    symmetric_divergence,
)

LN = math.log


def test_symmetric_divergence() -> None:
    """P = (3/4, 1/4) and Q = (1/2, 1/2).

    KL(P||Q) = 3/4 ln 3/2 + 1/4 ln 1/2 and KL(Q||P) = 1/2 ln 2/3 + 1/2 ln 2.
    """
    p, q = torch.tensor([[LN(3), 0.0]]), torch.zeros(1, 2)
    there = 0.75 * LN(1.5) + 0.25 * LN(0.5)
    back = 0.5 * LN(2 / 3) + 0.5 * LN(2)
    wanted = (there + back) / 2
    assert symmetric_divergence(p, q).item() == pytest.approx(wanted)
    assert symmetric_divergence(q, p).item() == pytest.approx(wanted)
    assert symmetric_divergence(p, p + 7).item() == pytest.approx(0, abs=1e-7)


def test_a_class_of_no_probability_gives_no_infinity() -> None:
    """Logits 300 apart: the divergence is (p - q) times the difference of the logarithms."""
    found = symmetric_divergence(torch.tensor([[300.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    assert found.item() == pytest.approx(0.5 * (0.5 * LN(2) + 0.5 * (300 - LN(2))), rel=1e-5)


def test_threshold() -> None:
    """Below the threshold a picture teaches, at it and above it does not."""
    assert steady_mask(torch.tensor([0.1, 0.5, 0.9]), 0.5).tolist() == [1, 0, 0]


def test_batch_threshold_is_the_mean() -> None:
    divergence = torch.tensor([0.1, 0.2, 0.9])
    assert batch_threshold(divergence).item() == pytest.approx(0.4)
    assert steady_mask(divergence, batch_threshold(divergence)).tolist() == [1, 1, 0]


def test_who_may_teach() -> None:
    """Divergences about 0, 0.14 and 5: the batch's mean lies between the second and the third."""
    logits = torch.tensor([[LN(3), 0.0], [LN(3), 0.0], [10.0, 0.0]], requires_grad=True)
    neighbour = torch.tensor([[LN(3), 0.0], [0.0, 0.0], [0.0, 0.0]])
    mask = reliable(logits, neighbour)
    assert mask.tolist() == [1, 1, 0] and not mask.requires_grad
    assert reliable(logits, neighbour, 0.1).tolist() == [1, 0, 0]
    assert reliable(logits, neighbour, 100.0).tolist() == [1, 1, 1]


def test_a_batch_of_equal_divergences_is_kept() -> None:
    """The mean lies below none of them: a batch of one would never teach."""
    logits = torch.tensor([[1.0, 0.0]])
    assert reliable(logits, -logits).tolist() == [1]
    assert reliable(logits, logits).tolist() == [1]


def test_masked_pictures_teach_nothing() -> None:
    """Eq. 11: the sum of those that are left, over the whole batch."""
    loss = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    mean = masked_mean(loss, torch.tensor([1.0, 1.0, 0.0]))
    assert mean.item() == pytest.approx(1.0)
    torch.autograd.backward(mean)
    assert loss.grad is not None and loss.grad.tolist() == pytest.approx([1 / 3, 1 / 3, 0])


def test_three_answers_cost_their_sum() -> None:
    """Even answers cost ln 2 each, one of 3/4 costs ln 4/3."""
    even, sure = torch.zeros(1, 2), torch.tensor([[LN(3), 0.0]])
    votes = torch.tensor([[1.0, 0.0]])
    found = answers_loss((even, even, sure), votes, 0.0)
    assert found.tolist() == pytest.approx([2 * LN(2) + LN(4 / 3)])
    focused = answers_loss((even, even, sure), votes)
    assert focused.tolist() == pytest.approx([2 * LN(2) / 4 + LN(4 / 3) / 16])


def test_failure_cases() -> None:
    """All right; one wrong; all wrong but differently; all taken for the same other one."""
    guess = np.array([[2, 2, 2, 2], [2, 2, 0, 2], [0, 1, 0, 0], [1, 1, 1, 1]])
    found = failure_cases(guess, np.array([2, 2, 2, 2]))
    assert found.failed.tolist() == [False, True, True, True]
    assert found.consistently.tolist() == [False, False, False, True]
    assert (found.fc, found.cfc) == (3, 1)


@pytest.mark.parametrize(
    ("frames", "peak", "wanted"),
    [
        (9, None, (8, [4, 5, 6, 7])),
        (9, 4, (4, [2, 3, 5, 6])),
        (5, 0, (0, [1, 2, 3, 4])),
        (9, 7, (7, [4, 5, 6, 8])),
    ],
)
def test_frames_about_the_peak(
    frames: int, peak: int | None, wanted: tuple[int, list[int]]
) -> None:
    assert frames_about_peak(frames, peak) == wanted


@pytest.mark.parametrize(("frames", "peak"), [(4, None), (9, 9), (9, -1)])
def test_a_sequence_that_is_too_short_says_so(frames: int, peak: int | None) -> None:
    with pytest.raises(ValueError, match=f"{frames} frames"):
        frames_about_peak(frames, peak)
