"""A data set's own labels to what a bundle speaks: the eight basic expressions and the 135 words.

K labels of a data set.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy, roll_up

from .data.word_meaning import word_meaning
from .data.words import word_affinity
from .errors import OptionsWrong

Array = npt.NDArray[np.float32]

SIMILARITY_SHARE = 0.35
"""How much of an expression goes to words similar to its own, as in training the words."""
_UNKNOWN = (
    "the label {!r} is neither a basic expression nor one of the 135 words or of F2ED's 54: a "
    "bundle cannot say what it means"
)


def is_known(label: str) -> bool:
    """Whether a built-in list says what this label means."""
    lists = (load_taxonomy(name).labels for name in ("basic8", "emo135", "fg33"))
    return any(label in known for known in lists) or label in f2ed_words()


def basic8_shares(labels: tuple[str, ...]) -> Array:
    """(K, 8): how each label's probability is shared out among the basic expressions.

    A label that is one of the eight goes there; a word goes to the expressions it fits, by the
    project's word affinity; another of F2ED's labels goes where its words go, the rest of it to
    neutral.

    Raises:
        OptionsWrong: a label is none of these.
    """
    basic8, words = load_taxonomy("basic8"), load_taxonomy("emo135")
    affinity = word_affinity()
    affinity /= np.maximum(affinity.sum(axis=1, keepdims=True), 1e-9)
    shares = np.zeros((len(labels), len(basic8.labels)), np.float32)
    for row, label in enumerate(labels):
        if label in basic8.labels:
            shares[row, basic8.index(label)] = 1
        elif label in words.labels:
            shares[row] = affinity[words.index(label)]
        elif label in f2ed_words():
            near = f2ed_words()[label]
            shares[row, basic8.index("neutral")] = 1 - sum(near.values())
            for word, share in near.items():
                shares[row] += share * affinity[words.index(word)]
        else:
            raise OptionsWrong(_UNKNOWN.format(label))
    return shares


def word_shares(labels: tuple[str, ...]) -> Array:
    """(K, 135): how each label's probability is shared out among the words; neutral has none.

    A label of a set of words goes to its own word, or to the words that roll up to it; a basic
    expression goes to the words that fit it, a part of it to similar ones; another of F2ED's
    labels goes to the words near it.

    Raises:
        OptionsWrong: a label is none of these.
    """
    words, basic8, fg33 = (load_taxonomy(name) for name in ("emo135", "basic8", "fg33"))
    if set(labels) <= set(basic8.labels):
        return _words_of_basic8()[[basic8.index(label) for label in labels]]
    if set(labels) <= set(fg33.labels):
        below = roll_up("emo135", "fg33").T[[fg33.index(label) for label in labels]]
        return np.asarray(below / np.maximum(below.sum(axis=1, keepdims=True), 1e-9), np.float32)
    shares = np.zeros((len(labels), len(words.labels)), np.float32)
    for row, label in enumerate(labels):
        if label in words.labels:
            shares[row, words.index(label)] = 1
        elif label in basic8.labels:
            shares[row] = _words_of_basic8()[basic8.index(label)]
        elif label in f2ed_words():
            for word, share in f2ed_words()[label].items():
                shares[row, words.index(word)] = share
        else:
            raise OptionsWrong(_UNKNOWN.format(label))
    return shares


@cache
def f2ed_words() -> dict[str, dict[str, float]]:
    """The words near each of F2ED's labels that are not words themselves, with shares that add up
    to 1 or less; what is missing is neutral (f2ed54_words.json: the project's own judgement)."""
    file = resources.files("ferstream.training.data") / "f2ed54_words.json"
    text = file.read_text("utf-8")
    shares: dict[str, dict[str, float]] = json.loads(text)["shares"]
    return shares


def _words_of_basic8() -> Array:
    """(8, 135): a distribution over words for each expression, all zero for neutral."""
    fitting = word_affinity().T
    share = fitting / np.maximum(fitting.sum(axis=1, keepdims=True), 1e-9)
    similar = word_meaning()
    similar /= similar.sum(axis=0, keepdims=True)
    spread = (1 - SIMILARITY_SHARE) * share + SIMILARITY_SHARE * share @ similar.T
    return np.asarray(spread, np.float32)
