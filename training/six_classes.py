"""Clips of fine labels measured on the six basic classes (paper 003, V-D).

A guess counts for the basic class above its leaf, whichever leaf it is. Two exceptions are the
paper's: "disgust" is a leaf under anger in its tree and a class of its own among the six, so that
leaf alone counts as disgust and its siblings as anger; and a guess of a kind of love is wrong for
all six. Clips whose own label is a kind of love have no place among the six and are left out.

N clips, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .basic_parents import basic_parents

SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
NONE_OF_SIX = len(SIX)


def six_of(labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """(K,) the place in SIX of each label; NONE_OF_SIX for love, neutral and what has no class."""
    names, parents = basic_parents(labels)
    above = [
        label if label == "disgust" else names[at]
        for label, at in zip(labels, parents, strict=True)
    ]
    return np.array([SIX.index(name) if name in SIX else NONE_OF_SIX for name in above], np.int64)


def six_class_figures(
    guess_N: npt.NDArray[np.int64], label_N: npt.NDArray[np.int64], labels: Sequence[str]
) -> dict[str, Any]:
    """top1, recall by class, its mean over the classes that occur, and how many clips count."""
    six = six_of(labels)
    guess, label = six[guess_N], six[label_N]
    counted = label < NONE_OF_SIX
    recall = {
        name: float((guess[label == at] == at).mean())
        for at, name in enumerate(SIX)
        if (label == at).any()
    }
    return {
        "n": int(counted.sum()),
        "top1": float((guess[counted] == label[counted]).mean()) if counted.any() else 0.0,
        "macro_recall": float(np.mean(list(recall.values()))) if recall else 0.0,
        "recall": recall,
    }
