"""FaPE-GAN's pairs, pose pictures, losses and steps, and augmentation by synthesised poses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from ferstream.training.errors import OptionsWrong
from ferstream.training.networks.f2ed import FaPEDiscriminator, FaPEGenerator
from ferstream.training.papers.f2ed.pose_gan import (
    BETAS,
    LAMBDA,
    RATE,
    discriminator_loss,
    generator_loss,
)
from ferstream.training.papers.f2ed.pose_images import (
    Wanted,
    balancing_pairs,
    centred,
    landmark_picture,
    pixels,
    synthesised,
    training_pairs,
)

Codes = NDArray[np.int64]


def gan_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    face: torch.Tensor,
    pose: torch.Tensor,
    wanted: torch.Tensor,
    *,
    weight: float = LAMBDA,
    saturating: bool = False,
) -> dict[str, float]:
    """One update of the discriminator, then one of the generator; gives the losses before each.

    Args:
        optimizers: of generator and discriminator.
        face: I_i (B, C, S, S) in -1..1, which also are the real faces of eq. 1.
        pose: I_P (B, P, S, S) in -1..1.
        wanted: I_t (B, C, S, S) in -1..1.
    """
    for_generator, for_discriminator = optimizers
    made = generator(face, pose)
    judged = discriminator_loss(discriminator(face), discriminator(made.detach()))
    for_discriminator.zero_grad(set_to_none=True)
    torch.autograd.backward(judged)
    for_discriminator.step()

    discriminator.requires_grad_(False)
    total, adversarial, distance = generator_loss(
        discriminator(made), made, wanted, weight=weight, saturating=saturating
    )
    for_generator.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    for_generator.step()
    discriminator.requires_grad_(True)
    parts = {"discriminator": judged, "adversarial": adversarial, "l1": distance}
    return {name: float(part.detach()) for name, part in parts.items()}


def face_points(size_px: int, shift: float = 0.0) -> NDArray[np.float64]:
    """68 landmarks in about the place they have in a face."""
    jaw = [(0.1 + 0.05 * i, 0.4 + 0.5 * np.sin(np.pi * i / 16)) for i in range(17)]
    points = list(jaw)
    for start in (0.2, 0.55):
        points += [(start + 0.06 * i, 0.28) for i in range(5)]
    points += [(0.5, 0.35 + 0.06 * i) for i in range(4)]
    points += [(0.42 + 0.04 * i, 0.6) for i in range(5)]
    for centre in (0.32, 0.68):
        turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
        points += [(centre + 0.07 * np.cos(a), 0.4 + 0.03 * np.sin(a)) for a in turn]
    for count, wide in ((12, 0.15), (8, 0.1)):
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
        points += [(0.5 + wide * np.cos(a), 0.74 + wide / 2 * np.sin(a)) for a in turn]
    return np.asarray((np.array(points) + np.array([shift, 0.0])) * size_px)


def test_the_pose_picture_shows_the_contours() -> None:
    picture = landmark_picture(face_points(128), 128)
    assert picture.shape == (128, 128)
    assert set(np.unique(picture)) == {0, 255}
    for x, y in face_points(128):
        assert picture[round(y), round(x)] == 255, "every landmark lies on a line"
    assert 0.02 < (picture > 0).mean() < 0.1
    assert not np.array_equal(picture, landmark_picture(face_points(128, 0.05), 128))
    assert landmark_picture(face_points(128, 0.5), 128).any(), "what lies outside is cut off"
    with pytest.raises(OptionsWrong, match=r"\(160, 2\)"):
        landmark_picture(np.zeros((160, 2)), 128)


def drawn(seed: int) -> tuple[Codes, Codes, Codes]:
    """Subject, pose and expression of 120 images."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, 120), rng.integers(0, 4, 120), rng.integers(0, 5, 120)


codes = st.integers(0, 2**32 - 1).map(drawn)


@settings(max_examples=30, deadline=None)
@given(codes, st.integers(0, 99))
def test_training_pairs_are_one_face_in_two_poses(
    made: tuple[Codes, Codes, Codes], seed: int
) -> None:
    subject, pose, expression = made
    pairs = training_pairs(subject, pose, expression, 40, seed=seed)
    assert np.array_equal(subject[pairs.source], subject[pairs.target])
    assert np.array_equal(expression[pairs.source], expression[pairs.target])
    assert np.all(pose[pairs.source] != pose[pairs.target])
    again = training_pairs(subject, pose, expression, 40, seed=seed)
    assert np.array_equal(pairs.source, again.source)


def test_one_pose_alone_gives_no_pairs() -> None:
    with pytest.raises(OptionsWrong, match="nothing to pair"):
        training_pairs(np.arange(6) % 2, np.zeros(6, int), np.zeros(6, int), 4, seed=0)


@settings(max_examples=30, deadline=None)
@given(codes, st.integers(0, 99))
def test_augmentation_makes_every_pose_of_an_expression_equal(
    made: tuple[Codes, Codes, Codes], seed: int
) -> None:
    _, pose, expression = made
    wanted = balancing_pairs(pose, expression, seed=seed)
    assert np.all(pose[wanted.source] != pose[wanted.target])
    after = np.zeros((5, 4), int)
    np.add.at(after, (expression, pose), 1)
    before = after.copy()
    np.add.at(after, (expression[wanted.source], pose[wanted.target]), 1)
    assert np.all(after == after.max(axis=1, keepdims=True))
    assert np.all(after.max(axis=1) >= before.max(axis=1))
    fewer = balancing_pairs(pose, expression, seed=seed, most=8)
    assert len(fewer.source) <= len(wanted.source)


def test_a_rare_pose_and_a_rare_expression_are_filled_up() -> None:
    """As after ER-UP and ER-UE: the landmarks come from the same expression where it has them."""
    pose = np.array([0] * 40 + [1] * 40 + [0] * 3 + [1] * 3 + [2] * 6)
    expression = np.array([0] * 80 + [1] * 6 + [0] * 6)
    wanted = balancing_pairs(pose, expression, seed=0)
    of_rare = expression[wanted.source] == 1
    to_new = pose[wanted.target] == 2
    assert (of_rare & to_new).sum() == round(92 / 6), "an expression that never had this pose"
    assert (~of_rare & to_new).sum() == 34
    kept = ~(of_rare & to_new)
    assert np.array_equal(expression[wanted.source[kept]], expression[wanted.target[kept]])


def test_nothing_lacks_nothing_is_made() -> None:
    wanted = balancing_pairs(np.arange(8) % 2, np.arange(8) // 4, seed=0)
    assert len(wanted.source) == len(wanted.target) == 0


def test_losses_by_hand() -> None:
    """Eq. 1 to 3 with D(I) = 0.8, D(G) = 0.25 and pixels that differ by 0.5 and 0."""
    real, fake = torch.logit(torch.tensor([0.8])), torch.logit(torch.tensor([0.25]))
    wanted = -np.log(0.8) - np.log(0.75)
    assert discriminator_loss(real, fake).item() == pytest.approx(wanted)
    made, true = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.0, 1.0]])
    total, adversarial, distance = generator_loss(fake, made, true, saturating=True)
    assert adversarial.item() == pytest.approx(np.log(0.75))
    assert distance.item() == pytest.approx(0.25)
    assert total.item() == pytest.approx(np.log(0.75) + 10 * 0.25)
    total, adversarial, _ = generator_loss(fake, made, true, weight=2)
    assert adversarial.item() == pytest.approx(-np.log(0.25))
    assert total.item() == pytest.approx(-np.log(0.25) + 0.5)


def test_both_forms_push_the_generator_the_same_way() -> None:
    still = torch.zeros(1)
    for saturating in (False, True):
        fake = torch.tensor([-0.5], requires_grad=True)
        loss = generator_loss(fake, still, still, saturating=saturating)[0]
        torch.autograd.backward(loss)
        assert fake.grad is not None
        assert fake.grad.item() < 0


def squares(side: int = 32) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Sixteen faces that are blocks: left or right by pose, shaded by person; their landmarks."""
    faces = np.full((16, 1, side, side), 30, np.uint8)
    points = np.zeros((16, 68, 2))
    for row in range(16):
        left = 4 if row % 2 else 16
        faces[row, 0, 8:24, left : left + 12] = 120 + 8 * (row // 2)
        points[row] = face_points(side, -0.2 if row % 2 else 0.2)
    return faces, points


def test_the_gan_learns_to_turn() -> None:
    faces, points = squares()
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    generator = FaPEGenerator(width=8, blocks=1)
    judge = FaPEDiscriminator(width=8, halvings=2)
    optimizers = (
        torch.optim.Adam(generator.parameters(), 10 * RATE, betas=BETAS),
        torch.optim.Adam(judge.parameters(), 10 * RATE, betas=BETAS),
    )
    pictures = np.stack([landmark_picture(each, 32) for each in points])[:, None]
    start = [parameter.detach().clone() for parameter in judge.parameters()]
    losses = []
    for _ in range(60):
        source = rng.integers(0, 16, 8)
        target = source ^ 1
        face, pose, answer = (
            centred(torch.from_numpy(part))
            for part in (faces[source], pictures[target], faces[target])
        )
        losses.append(gan_step(generator, judge, optimizers, face, pose, answer))
    assert losses[-1]["l1"] < 0.4 * losses[0]["l1"]
    assert all(np.isfinite(list(each.values())).all() for each in losses)
    assert any(not torch.equal(a, b) for a, b in zip(start, judge.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in judge.parameters())

    source = np.arange(16)
    turned = synthesised(generator, Wanted(source, source ^ 1), lambda r: faces[r], points, batch=5)
    assert turned.shape == faces.shape
    assert turned.dtype == np.uint8
    error = np.abs(turned.astype(int) - faces[source ^ 1]).mean()
    unturned = np.abs(faces.astype(int) - faces[source ^ 1]).mean()
    assert error < unturned / 2


def test_nothing_wanted_nothing_made() -> None:
    faces, points = squares()
    none = Wanted(np.empty(0, np.int64), np.empty(0, np.int64))
    generator: nn.Module = FaPEGenerator(width=4, blocks=0)
    made: Any = synthesised(generator, none, lambda rows: faces[rows], points)
    assert made.shape == (0, 1, 32, 32)


def test_pixels_come_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(pixels(centred(every)), every)
    assert pixels(torch.tensor([-1.2, 1.2])).tolist() == [0, 255]
