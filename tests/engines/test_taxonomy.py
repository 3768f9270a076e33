"""Label lists and the way from fine to coarse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ferstream.engines.taxonomy import NONE, load_taxonomy, roll_up

FINEST_FIRST = ("emo135", "fg33", "basic8", "family6")


@pytest.mark.parametrize(
    ("name", "labels", "families", "clusters"),
    [
        ("emo135", 135, 6, 25),
        ("fg33", 33, 6, 0),
        ("basic8", 8, 6, 0),
        ("family6", 6, 6, 0),
        ("f2ed54", 54, 6, 0),
    ],
)
def test_counts(name: str, labels: int, families: int, clusters: int) -> None:
    taxonomy = load_taxonomy(name)
    assert len(set(taxonomy.labels)) == len(taxonomy.labels) == labels
    assert len(set(taxonomy.families)) == families
    assert len(taxonomy.family_of) == labels
    assert len(taxonomy.clusters) == clusters
    assert len(taxonomy.cluster_of) == (labels if clusters else 0)
    assert set(taxonomy.family_of) - {NONE} == set(range(families)) - (
        {taxonomy.families.index("love")} if name == "basic8" else set()
    )


def test_orders_that_networks_rely_on() -> None:
    assert load_taxonomy("basic8").labels == (
        *("neutral", "happiness", "surprise", "sadness"),
        *("anger", "disgust", "fear", "contempt"),
    )
    assert load_taxonomy("family6").labels == load_taxonomy("emo135").families
    assert load_taxonomy("emo135").labels[:3] == ("adoration", "affection", "love")
    assert load_taxonomy("emo135").labels[-1] == "dread"


def test_families_and_clusters() -> None:
    words = load_taxonomy("emo135")
    assert words.members("surprise") == ("amazement", "surprise", "astonishment")
    assert sum(len(words.members(family)) for family in words.families) == 135
    assert words.clusters[words.cluster_of[words.index("loathing")]] == "rage"
    assert load_taxonomy("basic8").family_of[0] == NONE


def test_intensity_orders_what_people_order() -> None:
    words = load_taxonomy("emo135")
    if not words.intensity:
        pytest.skip("no intensities in this build")
    strength = dict(zip(words.labels, words.intensity, strict=True))
    assert all(0.0 <= value <= 1.0 for value in strength.values())
    pairs = [("annoyance", "rage"), ("apprehension", "terror"), ("contentment", "ecstasy")]
    assert all(strength[mild] < strength[strong] for mild, strong in pairs)


@pytest.mark.parametrize(("fine", "coarse"), list(itertools.combinations(FINEST_FIRST, 2)))
def test_roll_up_keeps_probability(fine: str, coarse: str) -> None:
    matrix = roll_up(fine, coarse)
    assert matrix.shape == (len(load_taxonomy(fine).labels), len(load_taxonomy(coarse).labels))
    assert matrix.dtype == np.float32
    has_place = np.array([label != "neutral" for label in load_taxonomy(fine).labels])
    assert np.array_equal(matrix.sum(1), has_place.astype(np.float32))


def test_every_leaf_takes_its_own_word_and_stays_in_its_family() -> None:
    words, leaves = load_taxonomy("emo135"), load_taxonomy("fg33")
    matrix = roll_up("emo135", "fg33")
    own_name = {"happiness": "joy"}
    for row, column in np.argwhere(matrix):
        family = leaves.families[leaves.family_of[column]]
        assert words.families[words.family_of[row]] == own_name.get(family, family)
    for column, leaf in enumerate(leaves.labels):
        assert matrix[words.index(leaf), column] == 1.0


def test_two_steps_equal_one() -> None:
    through = roll_up("emo135", "fg33") @ roll_up("fg33", "family6")
    assert np.array_equal(through, roll_up("emo135", "family6"))


@pytest.mark.parametrize(
    ("word", "label"),
    [("tenderness", "happiness"), ("revulsion", "disgust"), ("scorn", "contempt")],
)
def test_words_among_the_eight(word: str, label: str) -> None:
    row = roll_up("emo135", "basic8")[load_taxonomy("emo135").index(word)]
    assert load_taxonomy("basic8").labels[int(row.argmax())] == label


def test_same_set_is_left_alone() -> None:
    assert np.array_equal(roll_up("basic8", "basic8"), np.eye(8))


def test_f2ed_stands_beside_the_others() -> None:
    """Not all of its words are among the 135; it knows their families."""
    matrix = roll_up("f2ed54", "family6")
    labels, families = load_taxonomy("f2ed54").labels, load_taxonomy("family6").labels
    assert matrix.sum() == 53 and not matrix[labels.index("neutral")].any()
    assert families[int(matrix[labels.index("terror")].argmax())] == "fear"
    assert np.array_equal(roll_up("f2ed54", "f2ed54"), np.eye(54))
    for pair in (("f2ed54", "basic8"), ("emo135", "f2ed54"), ("f2ed54", "emo135")):
        with pytest.raises(ValueError, match=f"no way from {pair[0]} to {pair[1]}"):
            roll_up(*pair)


def test_refusals_say_what_there_is() -> None:
    with pytest.raises(ValueError, match="emo135, fg33, basic8, family6, f2ed54"):
        load_taxonomy("emo54")
    with pytest.raises(ValueError, match="finer"):
        roll_up("basic8", "emo135")
