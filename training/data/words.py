"""How the 135 words relate: which of them fit an emotion, and how alike two of them are.

For label sets that are not words of their own (a set of eight emotions, of 33 classes), whose
labels are shared out among words. Both tables are the project's own judgement, kept as data.
"""

from __future__ import annotations

import csv
import json
from importlib import resources

import numpy as np
import numpy.typing as npt

from engines.taxonomy import load_taxonomy

from .fer import BASIC8

Array = npt.NDArray[np.float32]


def word_similarity() -> Array:
    """F_word (135, 135), symmetric, 1 on the diagonal, in the taxonomy's order."""
    text = resources.files(__package__).joinpath("word_similarity.csv").read_text()
    head, *rows = list(csv.reader(text.splitlines()))
    labels = load_taxonomy("emo135").labels
    if tuple(head[1:]) != labels or tuple(row[0] for row in rows) != labels:
        raise ValueError("word_similarity.csv does not name the 135 words in their order")
    return np.array([[float(v) for v in row[1:]] for row in rows], dtype=np.float32)


def word_affinity() -> Array:
    """How far each word fits each of BASIC8, (135, 8) float32 >= 0; nothing fits neutral."""
    text = resources.files(__package__).joinpath("word_affinity.json").read_text()
    affinity = json.loads(text)["affinity"]
    labels = load_taxonomy("emo135").labels
    return np.array([[affinity[w].get(e, 0.0) for e in BASIC8] for w in labels], dtype=np.float32)
