from __future__ import annotations

import numpy as np

from engines.taxonomy import load_taxonomy
from training.data.words import word_affinity, word_similarity

WORDS = load_taxonomy("emo135")


def test_similarity_is_symmetric_with_ones_on_the_diagonal() -> None:
    similarity = word_similarity()
    assert similarity.shape == (135, 135)
    np.testing.assert_array_equal(similarity, similarity.T)
    np.testing.assert_array_equal(np.diag(similarity), 1)
    assert similarity.min() >= 0 and similarity.max() == 1


def test_a_word_resembles_its_own_family_most() -> None:
    similarity = word_similarity()
    family = np.array(WORDS.family_of)
    own = family[:, None] == family[None]
    other = similarity[~own].mean()
    assert similarity[own & ~np.eye(135, dtype=bool)].mean() > 1.5 * other


def test_every_word_fits_an_emotion_and_none_fits_neutral() -> None:
    affinity = word_affinity()
    assert affinity.shape == (135, 8) and affinity.min() >= 0
    assert not affinity[:, 0].any() and affinity.sum(1).min() > 0
    assert (affinity[:, 1:].max(0) >= 1).all(), "each emotion has a word of its own"
