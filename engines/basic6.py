"""The six expressions of standard sets told by a network of finer words (paper 003, V-D).

A guessed leaf stands for its parent in the tree, with two exceptions. Disgust, in the tree a leaf
of anger, is an expression of its own in standard sets. Love is none of the six: a face taken for
it is wrong whatever it shows.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .taxonomy import NONE, load_taxonomy

BASIC6 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""Ekman's six, in the paper's order; none is love, none is neutral."""


@cache
def basic6_of_fg33() -> tuple[int, ...]:
    """For each of the 33 leaves its place in `BASIC6`; NONE for the leaves of love.

    Of anger's leaves only the one named disgust counts as disgust.
    """
    leaves = load_taxonomy("fg33")
    parents = (leaves.families[at] for at in leaves.family_of)
    found = []
    for leaf, parent in zip(leaves.labels, parents, strict=True):
        name = "disgust" if leaf == "disgust" else parent
        found.append(BASIC6.index(name) if name in BASIC6 else NONE)
    return tuple(found)


def basic6_guess(leaf_N: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Guessed leaves of fg33 as places in `BASIC6`, NONE where love was guessed: (N,).

    NONE equals no label, so it counts as a miss for all six.
    """
    return np.asarray(np.array(basic6_of_fg33(), np.int64)[leaf_N])
