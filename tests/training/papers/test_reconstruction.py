"""Paper 001's autoencoder losses against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from ferstream.training.networks.neighborhood import AsymmetricAutoencoder, AutoencoderSize, Critic
from ferstream.training.papers.neighborhood.neighbours import (
    RefiningWeights,
    adversarial_loss,
    critic_loss,
    layerwise_loss,
    perceptual_loss,
    picture_loss,
    refining_loss,
)


def test_layerwise_loss() -> None:
    """Eq. 4: two values off by 1 and 3 are 5 a value, times 4; one off by 2 is 4."""
    clean = [torch.zeros(1, 2), torch.zeros(1, 1)]
    recovered = [torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0]])]
    assert layerwise_loss(clean, recovered, (4.0, 1.0)).item() == pytest.approx(4 * 5 + 4)


def test_every_scale_needs_a_weight() -> None:
    with pytest.raises(ValueError):
        layerwise_loss([torch.zeros(1)], [torch.zeros(1)])


def test_perceptual_and_picture_loss() -> None:
    """Eq. 5: pixels off by 2, Conv 3 to 5 off by 1, 2 and 10."""
    seen = [torch.full((1, 4), value) for value in (1.0, 2.0, 10.0)]
    wanted = [torch.zeros(1, 4)] * 3
    perceived = 100 * 1 + 0.1 * 4 + 0.001 * 100
    assert perceptual_loss(seen, wanted).item() == pytest.approx(perceived)
    picture = torch.zeros(1, 1, 2, 2)
    assert picture_loss(picture + 2, picture, seen, wanted).item() == pytest.approx(4 + perceived)
    lighter = picture_loss(picture + 2, picture, seen, wanted, (1.0, 0.0, 0.0))
    assert lighter.item() == pytest.approx(4 + 1)


def test_critic_and_adversarial_loss() -> None:
    """Eq. 6 and 7."""
    rebuilt, real = torch.tensor([1.0, 3.0]), torch.tensor([5.0, 4.0])
    assert critic_loss(rebuilt, real).item() == pytest.approx(2 - 4.5)
    assert adversarial_loss(rebuilt).item() == pytest.approx(-2)


def test_refining_loss() -> None:
    """Eq. 8; the layers' weight falls to a tenth every 20 epochs."""
    one, two, three = (torch.tensor(value) for value in (1000.0, 2.0, 3.0))
    weights = RefiningWeights()
    assert refining_loss(one, two, three, weights).item() == pytest.approx(1 + 10 + 3)
    assert refining_loss(one, two, three, weights, epoch=19).item() == pytest.approx(1 + 10 + 3)
    assert refining_loss(one, two, three, weights, epoch=20).item() == pytest.approx(0.1 + 10 + 3)
    assert weights.layers_at(99) == pytest.approx(1e-7)


def test_the_autoencoder_learns_by_its_layers() -> None:
    """A few steps on one batch make eq. 4 smaller."""
    torch.manual_seed(0)
    network = AsymmetricAutoencoder(AutoencoderSize(crop_px=16, widths=(4, 6, 8, 8), code=6))
    picture = torch.rand(8, 1, 16, 16) * 2 - 1
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    found = []
    for _ in range(30):
        loss = layerwise_loss(*network.rebuilt(picture))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        found.append(loss.item())
    assert sum(found[-5:]) < 0.8 * sum(found[:5])


def test_a_clipped_critic_learns_to_tell_pictures_apart() -> None:
    torch.manual_seed(0)
    size = AutoencoderSize(crop_px=16, widths=(4, 6, 8, 8), code=6)
    critic = Critic(size)
    critic.clip_weights(0.1)
    real, rebuilt = torch.rand(8, 1, 16, 16), -torch.rand(8, 1, 16, 16)
    optimizer = torch.optim.RMSprop(critic.parameters(), 1e-3)
    before = critic_loss(critic(rebuilt), critic(real)).item()
    for _ in range(40):
        loss = critic_loss(critic(rebuilt), critic(real))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        critic.clip_weights(0.1)
    assert critic_loss(critic(rebuilt), critic(real)).item() < min(before, 0)
