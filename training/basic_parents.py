"""The second softmax's classes: the basic expression above each label (paper 003, Fig. 2 and IV-A).

The paper's own 33 leaves have its tree. For other labels there is no such tree in the paper; the
rule is this project's:

- the eight of FER+: joy, surprise, sadness, anger (also disgust and contempt, as the paper puts
  them) and fear; neutral is no child of a family and stands for itself. Six classes, too.
- any other words: the family of each in the first of these sets that knows it: the 33, the eight,
  F2ED's 54, the 135. A label that none of them knows, or that has no family, stands for itself.

Joy is called happiness, as in the paper.  K labels, P basic classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import NONE, load_taxonomy

_RENAMED = {"joy": "happiness"}


def basic_parents(labels: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Names of the P basic classes that occur, and the one above each label (K,)."""
    eight = set(labels) <= set(load_taxonomy("basic8").labels)
    known: dict[str, str] = {}
    for label, family in _families(
        ("basic8",) if eight else ("fg33", "basic8", "f2ed54", "emo135")
    ):
        known.setdefault(label, _RENAMED.get(family, family))
    parents = [known.get(label, label) for label in labels]
    names = tuple(dict.fromkeys(parents))
    return names, np.array([names.index(parent) for parent in parents], np.int64)


def parent_shares(labels: Sequence[str]) -> npt.NDArray[np.float32]:
    """(K, P) ones and zeros: a distribution over labels @ this is one over their basic classes."""
    names, index = basic_parents(labels)
    return np.eye(len(names), dtype=np.float32)[index]


def _families(sets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Labels and families of these sets, one set after the other."""
    for name in sets:
        taxonomy = load_taxonomy(name)
        for label, at in zip(taxonomy.labels, taxonomy.family_of, strict=True):
            if at != NONE:
                yield label, taxonomy.families[at]
