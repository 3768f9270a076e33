from __future__ import annotations

from ferstream.training.datasets.label_lists import word_affinity


def test_every_word_fits_an_emotion_and_none_fits_neutral() -> None:
    affinity = word_affinity()
    assert affinity.shape == (135, 8) and affinity.min() >= 0
    assert not affinity[:, 0].any() and affinity.sum(1).min() > 0
    assert (affinity[:, 1:].max(0) >= 1).all(), "each emotion has a word of its own"
