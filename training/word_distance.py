"""How near emotion words are in meaning (paper 000, eq. 4 and 5, sections 3.3 and 4.4).

K words, N samples, D dimensions of a word embedding.

Decisions: the paper calls Word2Vec(C_i, C_j) a distance and uses it as a similarity (near words
must have large entries); here it is the cosine of the two word vectors, and 0 where that is
negative, since a label cannot be less than absent. A distance (Table 4) is 1 - cosine. The
shipped matrix (`training.data.word_meaning`) stands in where no word file is given.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy

from .data.word_meaning import word_meaning
from .errors import OptionsWrong
from .expression_similarity import Matrix, row_normalised

Array = npt.NDArray[np.floating[Any]]

NEUTRAL = "neutral"


def read_word_vectors(path: Path, words: Sequence[str]) -> npt.NDArray[np.float32]:
    """Vectors (K, D) of the words from a text file of word2vec (a first line "count D") or GloVe.

    The file is read line by line and only the words asked for are kept. A word that stands there
    in other letters' case only is taken so, the first one; a word's own spelling comes first.

    Raises:
        OptionsWrong: no such file, a line that is none, vectors of different lengths, or missing
            words.
    """
    if not path.is_file():
        raise OptionsWrong(f"no file of word vectors at {path}")
    exact: dict[str, npt.NDArray[np.float32]] = {}
    folded: dict[str, npt.NDArray[np.float32]] = {}
    wanted, lower = set(words), {word.lower() for word in words}
    size = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            word, _, rest = line.rstrip().partition(" ")
            if number == 1 and rest.strip().isdigit() and word.isdigit():
                continue
            if word not in wanted and word.lower() not in lower:
                continue
            vector = _vector(rest, f"{path}, line {number}")
            size = size or len(vector)
            if len(vector) != size:
                raise OptionsWrong(f"{path}, line {number}: {len(vector)} numbers, not {size}")
            if word in wanted:
                exact.setdefault(word, vector)
            folded.setdefault(word.lower(), vector)
    missing = [word for word in words if word not in exact and word.lower() not in folded]
    if missing:
        raise OptionsWrong(
            f"{path} has no vector of {len(missing)} of {len(words)} words ("
            f"{', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}): give a larger vocabulary"
        )
    return np.stack([exact[word] if word in exact else folded[word.lower()] for word in words])


def cosine(vectors_KD: Array) -> Matrix:
    """Cosine of every two words' vectors, (K, K) -1..1."""
    vectors = np.asarray(vectors_KD, np.float64)
    norm = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray((vectors / norm) @ (vectors / norm).T, np.float32)


def word_matrix(similarity_KK: Array) -> Matrix:
    """F_word (eq. 4 and 5) from similarities, each row summing to 1, the diagonal 0.5.

    A word that is like only one other becomes the same label as that one: eq. 5 gives half to each.
    """
    return row_normalised(np.maximum(similarity_KK, 0))


def similarity_of_words(words: Sequence[str], path: Path | None = None) -> Matrix:
    """Similarities (K, K) of words by a file of word vectors, or by the shipped matrix.

    The shipped matrix has the 135 words; neutral is like none of them.

    Raises:
        OptionsWrong: a word that the file or the shipped matrix does not have.
    """
    if path is not None:
        return cosine(read_word_vectors(path, words))
    labels = load_taxonomy("emo135").labels
    strange = [word for word in words if word not in labels and word != NEUTRAL]
    if strange:
        raise OptionsWrong(
            f"the shipped word similarities have no {strange[0]!r}: give a file of word vectors"
        )
    known = [at for at, word in enumerate(words) if word != NEUTRAL]
    rows = [labels.index(words[at]) for at in known]
    similarity = np.eye(len(words), dtype=np.float32)
    similarity[np.ix_(known, known)] = word_meaning()[np.ix_(rows, rows)]
    return similarity


def semantic_distances(
    scores_NK: Array,
    label_N: npt.NDArray[np.integer[Any]],
    similarity_KK: Array,
    tops: Sequence[int] = (1, 5, 10),
) -> dict[str, tuple[float, float]]:
    """Table 4: mean word distance of the truth to the top-k words and to the rest of all words.

    Gives {"top1": (predicted, rest), ...}, distances 1 - similarity. The truth among the top k
    counts with its distance 0 to itself; it never counts among the rest.

    Raises:
        OptionsWrong: a k that leaves no rest.
    """
    classes = scores_NK.shape[1]
    if max(tops) > classes - 2:
        raise OptionsWrong(f"top {max(tops)} of {classes} words leaves no rest to compare with")
    distance_NK = 1 - np.asarray(similarity_KK, np.float64)[label_N]
    rows = np.arange(len(label_N))
    distance_NK[rows, label_N] = 0
    order_NK = np.argsort(-scores_NK, axis=1, kind="stable")
    found = {}
    for k in tops:
        near = np.zeros(scores_NK.shape, bool)
        np.put_along_axis(near, order_NK[:, :k], True, axis=1)
        rest = ~near
        rest[rows, label_N] = False
        found[f"top{k}"] = (float(distance_NK[near].mean()), float(distance_NK[rest].mean()))
    return found


def correlation_of_word_models(
    models: Mapping[str, Array], reference_KK: Array
) -> dict[str, float]:
    """Table 3: Pearson's correlation of each model's similarities with a reference matrix, over
    the pairs of different words (the upper triangle; a matrix that is not symmetric is averaged
    with its transpose)."""
    pairs = np.triu_indices(len(reference_KK), 1)

    def flat(matrix_KK: Array) -> npt.NDArray[np.float64]:
        matrix = np.asarray(matrix_KK, np.float64)
        return np.asarray(((matrix + matrix.T) / 2)[pairs])

    wanted = flat(reference_KK)
    return {name: float(np.corrcoef(flat(model), wanted)[0, 1]) for name, model in models.items()}


def read_similarity(path: Path, words: Sequence[str]) -> Matrix:
    """A similarity or rating matrix (K, K) from a CSV file with the words in its first row and
    first column, in any order; the shape of the shipped matrix.

    Raises:
        OptionsWrong: no such file, a word is missing, or a field is no number.
    """
    if not path.is_file():
        raise OptionsWrong(f"no file of rated similarities at {path}")
    with path.open(encoding="utf-8", newline="") as lines:
        head, *rows = list(csv.reader(lines))
    places, cells = {word: at for at, word in enumerate(head)}, {row[0]: row for row in rows if row}
    missing = [word for word in words if word not in places or word not in cells]
    if missing:
        raise OptionsWrong(f"{path} has no row and column of {missing[0]!r}")
    try:
        return np.array([[float(cells[a][places[b]]) for b in words] for a in words], np.float32)
    except (ValueError, IndexError) as error:
        raise OptionsWrong(f"{path}: a field that is no number ({error})") from error


def _vector(text: str, where: str) -> npt.NDArray[np.float32]:
    try:
        vector = np.array(text.split(), np.float32)
    except ValueError as error:
        raise OptionsWrong(f"{where}: {error}; expected a word and its numbers") from error
    if not len(vector):
        raise OptionsWrong(f"{where}: a word without numbers")
    return vector
