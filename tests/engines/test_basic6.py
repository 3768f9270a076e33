"""The six expressions from guessed leaves, by the paper's rules."""

from __future__ import annotations

import numpy as np
import pytest

from ferstream.engines.basic6 import BASIC6, basic6_guess, basic6_of_fg33
from ferstream.engines.taxonomy import NONE, load_taxonomy

LEAVES = load_taxonomy("fg33")


@pytest.mark.parametrize(
    ("leaf", "expression"),
    [
        ("thrill", "happiness"),
        ("terror", "fear"),
        ("gloom", "sadness"),
        ("astonishment", "surprise"),
        ("anger", "anger"),
        ("contempt", "anger"),
        ("loathing", "anger"),
        ("disgust", "disgust"),
        ("affection", None),
        ("lust", None),
    ],
)
def test_a_leaf_stands_for_its_parent(leaf: str, expression: str | None) -> None:
    found = basic6_of_fg33()[LEAVES.index(leaf)]
    assert found == (NONE if expression is None else BASIC6.index(expression))


def test_every_leaf_has_its_place() -> None:
    places = np.array(basic6_of_fg33())
    count = {name: int((places == k).sum()) for k, name in enumerate(BASIC6)}
    assert count == {
        "anger": 8, "disgust": 1, "fear": 5, "happiness": 7, "sadness": 7, "surprise": 3
    }  # fmt: skip
    assert (places == NONE).sum() == len(LEAVES.members("love")) == 2


def test_love_is_a_miss_whatever_the_face_shows() -> None:
    guess = basic6_guess(np.array([LEAVES.index("lust"), LEAVES.index("pride")]))
    assert guess.tolist() == [NONE, BASIC6.index("happiness")]
    for label in range(len(BASIC6)):
        assert guess[0] != label
