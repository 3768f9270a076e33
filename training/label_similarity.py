"""How near any set of labels is in meaning: F_word for labels that are not among the 135 words.

K labels, W = 135 words.

The shipped word similarities know the 135 words of paper 000 and not FER+'s eight names, which are
families of words. So a label is taken as the words that it stands for (`training.label_maps`: a
word for itself, a basic expression for the words that fit it), and two labels are alike as far as
their words are: the cosine of the two shares under the words' similarity. For two of the 135 words
that is the shipped similarity itself (`training.data.word_meaning`: which words a judge names
together, and norms). The affinities of words to expressions are the project's own judgement; a
file of word vectors stands in for all of it.

F_word of labels that are families of words comes through the words too: a label becomes its words,
F_word of the 135 spreads them, and each word goes back to the labels that it belongs to. Equation 5
itself, on eight labels, would give half of a label to the one or two that are a little like it:
surprise would become happiness nearly as much as surprise. It was made for many words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .data.word_meaning import word_meaning
from .errors import OptionsWrong
from .label_maps import word_shares
from .word_distance import similarity_of_words, word_matrix

Array = npt.NDArray[np.float32]


def similarity_of_labels(labels: Sequence[str], vectors: Path | None = None) -> Array:
    """Similarities (K, K), 1 on the diagonal: by a file of word vectors, else by the shipped words.

    Neutral is like nothing where no vectors are given: no word fits it.

    Raises:
        OptionsWrong: a label that the file, or else a bundle, cannot say.
    """
    if vectors is not None:
        return similarity_of_words(labels, vectors)
    try:
        share = word_shares(tuple(labels))
    except OptionsWrong as error:
        raise OptionsWrong(
            f"{error}, nor is it known what it is like: give a file of word vectors"
        ) from error
    return shared_similarity(share, word_meaning())


def matrix_of_labels(labels: Sequence[str], meaning_KK: Array, vectors: bool = False) -> Array:
    """F_word (K, K), each row summing to 1.

    Eq. 4 and 5 of the labels' own similarities where word ``vectors`` gave these; else the words'
    F_word, rolled up, which for the 135 words is the same. Neutral is itself alone.
    """
    if vectors:
        return word_matrix(meaning_KK)
    return rolled_up(word_shares(tuple(labels)), word_matrix(word_meaning()))


def rolled_up(share_KW: Array, word_WW: Array) -> Array:
    """Labels to words (``share_KW``), words to like words, and back to labels: (K, K)."""
    share = np.asarray(share_KW, np.float64)
    mass = share.sum(axis=1, keepdims=True)
    share = share / np.where(mass > 0, mass, 1)
    belongs = share / np.maximum(share.sum(axis=0, keepdims=True), 1e-12)
    matrix = belongs @ np.asarray(word_WW, np.float64) @ share.T
    matrix[mass[:, 0] == 0, mass[:, 0] == 0] = 1
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), np.float32)


def shared_similarity(share_KW: Array, similarity_WW: Array) -> Array:
    """Cosine (K, K) of labels' shares of words under the words' similarity, -1..1.

    A label without words is like itself only.
    """
    share = np.asarray(share_KW, np.float64)
    product = share @ np.asarray(similarity_WW, np.float64) @ share.T
    length = np.sqrt(np.maximum(product.diagonal(), 0))
    there = length > 0
    cosine = np.eye(len(share))
    scaled = product[np.ix_(there, there)] / np.outer(length[there], length[there])
    cosine[np.ix_(there, there)] = scaled
    return np.asarray(np.clip(cosine, -1, 1), np.float32)
