from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.taxonomy import load_taxonomy, roll_up
from training.data.fer import BASIC8, FerPlus
from training.data.words import (
    SIMILARITY_SHARE,
    expression_strength,
    intensity,
    word_affinity,
    word_similarity,
    word_targets,
)

WORDS = load_taxonomy("emo135")
FAMILIES = load_taxonomy("family6").labels
Floats = NDArray[np.float32]


def voted(tiny: FerPlus, *counts: dict[str, int], moves: tuple[float, ...] = ()) -> FerPlus:
    """Photographs with these votes, their faces moving by these amounts (all alike if none)."""
    raw = np.zeros((len(counts), 8), np.float32)
    for row, votes in enumerate(counts):
        for name, count in votes.items():
            raw[row, BASIC8.index(name)] = count
    units = np.zeros((len(counts), 52), np.float32)
    units[:, tiny.blendshape_names.index("jawOpen")] = moves or 0.5
    few = tiny.subset(np.arange(len(counts)))
    return replace(
        few,
        raw_votes=raw,
        votes=raw / raw.sum(1, keepdims=True),
        blendshapes=units,
        seen=np.ones(len(counts), bool),
    )


def probability(target: Floats, word: str) -> float:
    return float(target[WORDS.labels.index(word)])


def family_mass(target: Floats) -> dict[str, float]:
    return dict(zip(FAMILIES, (target @ roll_up("emo135", "family6")).tolist(), strict=True))


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


def test_targets_are_distributions(tiny: FerPlus) -> None:
    targets, weight = word_targets(tiny)
    assert targets.shape == (len(tiny), 135) and targets.min() >= 0
    expressed = tiny.votes[:, 1:].sum(1) > 0
    np.testing.assert_allclose(targets[expressed].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(weight, tiny.votes[:, 1:].sum(1), atol=1e-5)


@pytest.mark.parametrize(
    ("emotion", "family"),
    [
        ("happiness", "joy"),
        ("surprise", "surprise"),
        ("sadness", "sadness"),
        ("anger", "anger"),
        ("disgust", "anger"),
        ("fear", "fear"),
        ("contempt", "anger"),
    ],
)
def test_the_voted_family_gets_the_mass(tiny: FerPlus, emotion: str, family: str) -> None:
    target, weight = word_targets(voted(tiny, {emotion: 10}))
    mass = family_mass(target[0])
    assert weight[0] == pytest.approx(1, abs=1e-5)
    assert max(mass, key=mass.__getitem__) == family
    assert mass[family] > 0.4


def test_mass_follows_the_votes(tiny: FerPlus) -> None:
    """More raters for sadness move mass from anger to sadness, step by step."""
    data = voted(tiny, *({"anger": 10 - n, "sadness": n} for n in (2, 4, 6, 8)))
    masses = [family_mass(target) for target in word_targets(data)[0]]
    sad, angry = [m["sadness"] for m in masses], [m["anger"] for m in masses]
    assert sad == sorted(sad) and angry == sorted(angry, reverse=True)
    assert angry[0] > sad[0] and sad[-1] > angry[-1]


@pytest.mark.parametrize(
    ("emotion", "mild", "strong"),
    [
        ("anger", "annoyance", "rage"),
        ("fear", "apprehension", "terror"),
        ("happiness", "contentment", "ecstasy"),
    ],
)
def test_intensity_parts_mild_words_from_strong(
    tiny: FerPlus, emotion: str, mild: str, strong: str
) -> None:
    """Most raters saw nothing in a face that hardly moves; all of them saw the one that does."""
    data = voted(tiny, {"neutral": 6, emotion: 4}, {emotion: 10}, {emotion: 10}, moves=(0, 0.5, 1))
    weak, _, full = word_targets(data)[0]
    assert probability(weak, mild) > 3 * probability(weak, strong)
    assert probability(full, strong) > 3 * probability(full, mild)


def test_a_neutral_face_has_no_word(tiny: FerPlus) -> None:
    target, weight = word_targets(voted(tiny, {"neutral": 10}))
    assert weight[0] == 0 and not target[0].any()


def test_strength_is_a_rank_within_the_emotion(tiny: FerPlus) -> None:
    data = voted(tiny, *[{"fear": 10}] * 3, {"anger": 10}, moves=(0.9, 0.1, 0.2, 0.05))
    np.testing.assert_allclose(expression_strength(data), [5 / 6, 1 / 6, 3 / 6, 1 / 2])
    unseen = replace(data, seen=np.zeros(4, bool))
    np.testing.assert_allclose(expression_strength(unseen), 0.5)


def test_gaze_and_blinks_are_no_strength(tiny: FerPlus) -> None:
    data = voted(tiny, {"fear": 10}, {"fear": 10}, moves=(0.2, 0.3))
    data.blendshapes[0, data.blendshape_names.index("eyeBlinkLeft")] = 1
    data.blendshapes[0, data.blendshape_names.index("eyeLookDownLeft")] = 1
    assert expression_strength(data).argmax() == 1


def test_intensity_is_votes_times_strength(tiny: FerPlus) -> None:
    data = voted(tiny, {"neutral": 5, "fear": 5}, {"fear": 10}, {"neutral": 10})
    data = replace(data, seen=np.zeros(3, bool))
    np.testing.assert_allclose(intensity(data), [0.5 * 0.75, 0.75, 0])


def test_similarity_takes_its_share_at_most(tiny: FerPlus) -> None:
    """What the votes put into a family stays there but for the share that similar words get."""
    targets, _ = word_targets(voted(tiny, {"happiness": 10}))
    mass = family_mass(targets[0])
    assert mass["joy"] + mass["love"] >= 0.98 * (1 - SIMILARITY_SHARE)
